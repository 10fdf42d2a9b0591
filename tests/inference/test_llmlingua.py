"""LLMLingua-2's package with a random classifier of its kind; the published weights are not needed, and nothing is fetched."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cotexp.inference.llmlingua import RATES, Classifier
from cotexp.settings.base import RunFailed
from cotexp.stages import compressing, importances, rationales

pytest.importorskip("llmlingua", reason="the extra `llmlingua` is not installed")

TEXT = "At first, Ann has 128 shells. Then Ann gets 3 more shells, so we add 3: 128 + 3 = 131."
MODEL = "llmlingua-2-xlm-roberta-large-random"


class Words:
    """Stands for tiktoken's table, which the package would fetch: it only counts the tokens of words."""

    def encode(self, text: str, **_: Any) -> list[str]:
        return re.findall(r"\w{1,4}|\W", text)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    import tiktoken

    monkeypatch.setattr(tiktoken, "encoding_for_model", lambda name: Words())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An XLM-RoBERTa that classifies tokens, 2 layers of width 32, with a small vocabulary."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import XLMRobertaConfig, XLMRobertaForTokenClassification, XLMRobertaTokenizer

    pieces = Tokenizer(models.Unigram())
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    pieces.train_from_iterator([TEXT] * 3, trainers.UnigramTrainer(vocab_size=90, special_tokens=special, unk_token="<unk>", show_progress=False))
    tokenizer = XLMRobertaTokenizer(vocab=[tuple(each) for each in json.loads(pieces.to_str())["model"]["vocab"]])
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 520}
    model = XLMRobertaForTokenClassification(XLMRobertaConfig(vocab_size=len(tokenizer), num_labels=2, **shape))
    with torch.no_grad():
        model.classifier.weight *= 30  # or all tokens are alike to it
    path = tmp_path_factory.mktemp("models") / MODEL
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def probabilities(folder: Path) -> dict[str, float]:
    """Word -> mean probability of being kept, from transformers alone."""
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForTokenClassification.from_pretrained(folder, dtype=torch.float32).eval()
    encoded = tokenizer(TEXT, return_tensors="pt")
    with torch.no_grad():
        kept = torch.softmax(model(**encoded).logits[0], dim=-1)[:, 1].tolist()
    words: list[tuple[str, list[float]]] = []
    for token, value in list(zip(tokenizer.convert_ids_to_tokens(encoded["input_ids"][0]), kept, strict=True))[1:-1]:
        if token.startswith("▁") or token in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~":
            words.append((token.lstrip("▁"), [value]))
        else:
            words[-1] = (words[-1][0] + token, [*words[-1][1], value])
    return {f"{number} {word}": sum(values) / len(values) for number, (word, values) in enumerate(words)}


@pytest.mark.usefixtures("table")
def test_importances_have_the_order_of_the_classifiers_probabilities(folder: Path) -> None:
    found = Classifier(folder, "cpu").words(TEXT)
    expected = probabilities(folder)
    assert [word for word, _ in found] == [name.split(" ", 1)[1] for name in expected]
    assert "".join(word for word, _ in found) == TEXT.replace(" ", "")
    importances = [importance for _, importance in found]
    assert len(set(importances)) > 5
    assert {round(each * len(RATES)) for each in importances} <= set(range(len(RATES) + 1))
    for one, p in zip(importances, expected.values(), strict=True):
        assert all(one <= other for other, q in zip(importances, expected.values(), strict=True) if p < q)


@pytest.mark.usefixtures("table")
def test_a_run_prunes_by_the_classifier(folder: Path, random_model: Path, tmp_path: Path) -> None:
    from cotexp.config import command_line
    from cotexp.jobs import pipeline, planning

    given = [
        *("experiment=none", "compression=tokenskip_llmlingua2", f"compression.classifier={folder}", "teacher=reference", "compressor=self"),
        *("model=hf", f"model.path={random_model}", f"paths.outputs={tmp_path}", "task.num_train=4", "task.num_validation=2", "task.num_test=2"),
    ]
    context = pipeline.make_context(command_line.check_command_line(given, multirun=False)[0])
    chains = rationales.make(context)
    pruned = compressing.compress(context, chains, {}, importances.make(context, chains))
    for each, chain in zip(pruned, chains, strict=True):
        assert re.findall(r"\d+", each.text) == re.findall(r"\d+", chain.cot)
        assert each.stop_reason == "protected" or abs(each.num_tokens - each.ratio * each.num_tokens_original) <= 2
    spec = importances.spec(context, "stories")
    assert spec is not None
    assert context.classifier is not None
    assert spec.description["classifier"] == context.classifier.sha256, "its weights make the key, wherever they lie"
    planned = {each.name: each for each in planning.plan(context)}
    assert planned["importances/stories"].num_missing == 0
    (rows,) = (tmp_path / "store" / "importances").glob("*/rows-*")
    assert len(rows.read_text().splitlines()) == 6


def test_a_classifier_that_cannot_be_had_ends_in_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tiktoken

    def refuse(name: str) -> None:
        raise ConnectionError("no network here\nsecond line")

    monkeypatch.setattr(tiktoken, "encoding_for_model", refuse)
    with pytest.raises(
        RunFailed, match=r"^compression.classifier: llmlingua cannot load .*, or tiktoken's table from the network \(no network here\)$"
    ):
        Classifier(folder, "cpu")
