"""Token pruning through the pipeline: importances against an independent formula, shared by all ratios; examples and answers behind their ratio."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import tokenizer_kinds
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from cotexp.config import command_line
from cotexp.jobs import pipeline, planning
from cotexp.jobs.engines import load_encoder
from cotexp.jobs.likelihoods import text_after
from cotexp.methods import reasoning
from cotexp.records import Rationale
from cotexp.stages import checkpoint, compressing, importances, latency, predictions, rationales
from cotexp.stages.context import Context

SMALL = (
    *("experiment=none", "compression=tokenskip", "teacher=reference", "task.num_train=30", "task.num_validation=4", "task.num_test=2"),
    *("trainer.max_epochs=0.2", "evaluation.max_new_tokens=8", "evaluation.latency=false", "tracking=none"),
)


def context_of(outputs: Path, model: Path, *overrides: str, plan: bool = False) -> Context:
    given = [*SMALL, "model=hf", f"model.path={model}", "compressor=self", f"paths.outputs={outputs}", *overrides]
    return pipeline.make_context(command_line.check_command_line(given, multirun=False)[0], plan=plan)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def context(random_model: Path, outputs: Path) -> Context:
    return context_of(outputs, random_model)


@pytest.fixture(scope="module")
def chains(context: Context) -> list[Rationale]:
    return rationales.make(context)


def slow_surprisals(context: Context, chain: Rationale, *, before: str = "") -> list[float]:
    """-log p of each token of a chain, from whole logits in float64, alone in its batch."""
    encoder = load_encoder(context)
    model: Any = AutoModelForCausalLM.from_pretrained(context.base.folder, dtype=torch.float32).eval()
    question = next(each for each in context.training_questions if each.id == chain.question_id)
    own = encoder.text_ids(chain.cot.strip())
    ids = [*encoder.prompt(context.prompt_for(question)), *encoder.text_ids(before), *own]
    with torch.no_grad():
        logprobs = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), dim=-1)
    return [-float(logprobs[place - 1, ids[place]]) for place in range(len(ids) - len(own), len(ids))]


def test_an_importance_is_the_surprisal_of_the_token_given_question_and_chain_so_far(context: Context, chains: list[Rationale]) -> None:
    found = importances.make(context, chains)
    assert found.keys() == {each.id for each in chains}
    for each in chains[:5]:
        assert found[each.id] == pytest.approx(slow_surprisals(context, each), abs=2e-3, rel=1e-3)


def test_an_answer_part_is_read_behind_its_thinking_and_both_parts_have_one_ratio(
    random_model: Path, tmp_path: Path, chains: list[Rationale]
) -> None:
    context = context_of(tmp_path, random_model)
    thought = dataclasses.replace(chains[0], cot=f"<think>\nAnn has 3.\n</think>\n\n{chains[0].cot}", num_thinking_tokens=5)
    thinking, chain = reasoning.chains([thought])
    found = importances.make(context, [thinking, chain])
    assert found[chain.id] == pytest.approx(slow_surprisals(context, chain, before="Ann has 3.\n</think>\n\n"), abs=2e-3, rel=1e-3)
    parts = compressing.compress(context, [thinking, chain], {}, importances.make(context, [thinking, chain]))
    (joined,) = reasoning.joined([thought], parts)
    assert parts[0].ratio == parts[1].ratio == joined.ratio


@pytest.mark.parametrize("kind", ["metaspace first", "metaspace always", "bytes as GPT-4"])
def test_an_answer_part_has_the_tokens_that_go_on_behind_its_thinking(kind: str, random_model: Path, tmp_path: Path, story_texts: list[str]) -> None:
    """SentencePiece puts a space before a text, and none before what goes on; nothing of the chain is lost."""
    folder = tmp_path / "model"
    tokenizer = tokenizer_kinds.make(kind, story_texts, tokenizer_kinds.TEMPLATES["zephyr"])
    config = AutoConfig.from_pretrained(random_model, vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, bos_token_id=None)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    context = context_of(tmp_path / "outputs", folder, "compression.ratios=[0.99]")
    cot = "Ann has 3 apples. 3 plus 4 is 7."
    written = rationales.make(context)[0]
    thought = dataclasses.replace(written, cot=f"<think>\nSo 3 and 4.\n</think>\n\n{cot}", num_thinking_tokens=5)
    thinking, chain = reasoning.chains([thought])
    encoder, before = load_encoder(context), "So 3 and 4.\n</think>\n\n"
    found = importances.make(context, [thinking, chain])
    assert len(found[chain.id]) == len(encoder.text_ids(cot, goes_on=True))
    scored = text_after(reasoning.before_answer_part(chain, {thinking.id: thinking, chain.id: chain}), cot, encoder)
    assert scored.ids == [*encoder.text_ids(before), *encoder.text_ids(cot, goes_on=True)]
    assert encoder.decode(scored.ids) == before + cot
    assert compressing.compress(context, [thinking, chain], {}, importances.make(context, [thinking, chain]))[1].text == cot


def test_every_ratio_reads_the_same_importances(context: Context, chains: list[Rationale], random_model: Path, outputs: Path) -> None:
    compressing.compress(context, chains, {}, importances.make(context, chains))
    (ledger,) = (outputs / "store" / "importances").iterdir()
    before = {path: path.read_bytes() for path in ledger.glob("rows-*")}
    other = context_of(outputs, random_model, "compression.ratios=[0.3]", "compression.protect=false", "seed=1")
    assert importances.spec(other, "stories") == importances.spec(context, "stories")
    pruned = compressing.compress(other, chains, {}, importances.make(other, chains))
    assert {path: path.read_bytes() for path in ledger.glob("rows-*")} == before
    assert {each.ratio for each in pruned} == {0.3}
    planned = {each.name: each for each in planning.plan(other)}
    assert (planned["importances/stories"].num_wanted, planned["importances/stories"].num_missing) == (34, 0)


def test_rows_that_lie_there_are_not_made_again(random_model: Path, tmp_path: Path, chains: list[Rationale]) -> None:
    context = context_of(tmp_path, random_model)
    importances.make(context, chains[:10])
    found = importances.make(context, chains)
    lines = [line for path in (tmp_path / "store" / "importances").glob("*/rows-*") for line in path.read_text().splitlines()]
    assert len(lines) == len({json.loads(line)["id"] for line in lines}) == len(found) == 34


def test_pruned_chains_have_their_ratios_and_keep_every_number_in_order(context: Context, chains: list[Rationale]) -> None:
    pruned = compressing.compress(context, chains, {}, importances.make(context, chains))
    originals = {each.id: each for each in chains}
    assert {each.ratio for each in pruned} == {0.9, 0.8, 0.7, 0.6, 0.5}
    for each in pruned:
        text = originals[each.rationale_id].cot.strip()
        assert re.findall(r"\d+|[-+*/=]", each.text) == re.findall(r"\d+|[-+*/=]", text)
        words = iter(re.findall(r"\w+", text))
        assert all(any(word == one for word in words) for one in re.findall(r"\w+", each.text)), "whole words in order, nothing new"
        if each.stop_reason == "none":
            assert abs(each.num_tokens - each.ratio * each.num_tokens_original) <= 2
        else:
            assert each.stop_reason == "protected"
            assert each.num_tokens > each.ratio * each.num_tokens_original - 1
    assert any(each.stop_reason == "none" for each in pruned)


def test_examples_are_asked_for_by_their_ratio_and_full_ones_as_before(context: Context, chains: list[Rationale]) -> None:
    pruned = compressing.compress(context, chains, {}, importances.make(context, chains))
    examples = checkpoint.make_examples(context, chains, pruned).train
    ratio_of = {each.rationale_id: each.ratio for each in pruned}
    short, full = ([each for each in examples if each.form == form] for form in ("compress", "full"))
    assert (len(short), len(full)) == (30, 6), "six forms, each as often as the others on average"
    assert [each.ratio for each in short] == [ratio_of[each.id.removesuffix("/compress")] for each in short]
    assert not any(each.compressed for each in examples)
    assert all(each.ratio is None for each in full)


@pytest.mark.slow
def test_another_ratio_is_asked_of_the_same_model(context: Context, random_model: Path, outputs: Path) -> None:
    """Neither its checkpoint nor the answers of the other modes are made again."""
    more = context_of(outputs, random_model, "evaluation.ratio=0.8")
    first, second = pipeline.run(context), pipeline.run(more)
    assert first.folder != second.folder
    assert len(list(outputs.glob("store/checkpoint/*/manifest.json"))) == 1
    assert len(list(outputs.glob("store/predictions/*/rows-*"))) == 4, "answers of base, full, and two ratios"
    assert latency.spec(context, "compress") != latency.spec(more, "compress")
    assert latency.spec(context, "full") == latency.spec(more, "full")


@pytest.mark.slow
def test_a_run_counts_what_was_pruned_to_which_ratio(context: Context) -> None:
    result = pipeline.run(context)
    rows = [json.loads(line) for line in (result.folder / "compressed.jsonl").read_text().splitlines()]
    metrics = {name.removeprefix("compression/"): value for name, value in result.metrics.items()}
    assert metrics["num_rationales"] == len(rows) == 34
    assert metrics["num_protected"] == sum(each["stop_reason"] == "protected" for each in rows)
    for ratio in (0.9, 0.8, 0.7, 0.6, 0.5):
        own = [each for each in rows if each["ratio"] == ratio]
        expected = sum(each["num_tokens"] for each in own) / sum(each["num_tokens_original"] for each in own)
        assert metrics[f"compression_ratio_at_{ratio}"] == pytest.approx(expected)


def test_answers_are_asked_for_at_the_ratio_of_the_evaluation(context: Context) -> None:
    question = context.questions.test[0]
    assert predictions.request_for(context, "compress", "x/0", question).ratio == 0.5
    assert predictions.request_for(context, "full", "x/0", question).ratio is None
    assert not predictions.request_for(context, "compress", "x/0", question).compressed


@pytest.mark.slow
def test_an_encoder_decoder_model_prunes_and_learns_too(encoder_decoders: dict[str, Path], tmp_path: Path) -> None:
    context = context_of(tmp_path, encoder_decoders["t5"], "task.num_train=8", "evaluation.modes=[compress]")
    result = pipeline.run(context)
    rows = [json.loads(line) for line in (result.folder / "compressed.jsonl").read_text().splitlines()]
    assert all(each["num_tokens"] <= each["num_tokens_original"] for each in rows)
    assert any(each["num_tokens"] < 0.95 * each["num_tokens_original"] for each in rows)


def test_llmlingua_that_is_not_installed_is_named_before_anything_is_computed(
    random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cotexp.inference import llmlingua
    from cotexp.settings.base import ConfigError

    given = ("compression=tokenskip_llmlingua2", f"compression.classifier={random_model}")
    assert context_of(tmp_path, random_model, *given, plan=True).classifier is not None
    monkeypatch.setattr(llmlingua.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'cotexp\[llmlingua\]'; importance=surprisal needs none"):
        context_of(tmp_path, random_model, *given)
    monkeypatch.undo()
    assert not (tmp_path / "store").exists()


def test_a_classifier_of_another_kind_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cotexp.inference import llmlingua
    from cotexp.settings.base import ConfigError

    monkeypatch.setattr(llmlingua.importlib.util, "find_spec", lambda name: object())
    with pytest.raises(
        ConfigError, match=r"compression\.classifier must be a model of LLMLingua-2, with xlm-roberta-large or bert-base-multilingual-cased"
    ):
        llmlingua.check(tmp_path / "gpt2")
    llmlingua.check(tmp_path / "llmlingua-2-xlm-roberta-large-meetingbank")
