"""Scoring of a question's rationales beside one forward pass per pair of question and rationale with all logits, at its best batch.

    python benchmarks/scoring.py [--model FOLDER] [--questions 2] [--prompts 150,1000] [--rounds 1] [--device cpu]

Each question has its answer without a rationale and six rationales in three forms (complete, without the last sentence, with one changed token). Each
text ends with the same answer, whose log-probability is the score. Without a folder the model has random weights with the shape of SmolLM2-135M.
Scores must be equal to 1e-4. Goals: 3 times as fast after prompts of 150 tokens, 4.5 times after 1,000.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measure import Row, in_turns, keep
from peak import Step

from cotexp.inference.scoring import Item, Scorer, Text
from cotexp.models import identity, loading
from cotexp.settings.models import PretrainedModel

BATCHES = (1, 8)
"""Batch sizes of the peer, of which the faster one counts."""
GOALS = {150: 3, 1000: 4.5}
"""Tokens of a prompt -> least ratio."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--questions", type=int, default=2)
    parser.add_argument("--prompts", default="150,1000", help="tokens of a prompt")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args()
    loaded = load(options.model, options.device)
    for length in map(int, options.prompts.split(",")):
        draw = random.Random(0)
        compare(loaded, [question(str(number), draw, loaded.model.config.vocab_size, length) for number in range(options.questions)], length, options)


def compare(loaded: loading.LoadedModel, items: list[Item], length: int, options: argparse.Namespace) -> None:
    """Score in every way, in turns, and keep a row."""
    texts = [(item.prompt_ids, text) for item in items for text in item.texts]
    scorer = Scorer(loaded)
    ways: dict[str, Callable[[], list[list[float]]]] = {"ours": lambda: with_scorer(scorer, items)}
    ways |= {f"batches of {size}": lambda size=size: with_transformers(loaded, texts, size) for size in BATCHES}
    seconds, scores = in_turns(ways, options.rounds, warm_up=False)
    best = min((each for each in ways if each != "ours"), key=seconds.__getitem__)
    largest = max(abs(a - b) for one, other in zip(scores["ours"], scores[best], strict=True) for a, b in zip(one, other, strict=True))
    sizes = {"questions": len(items), "texts": len(texts), "tokens": sum(len(prompt) + len(text.ids) for prompt, text in texts)}
    sizes |= {"seconds": seconds, "peer's way": best, "largest difference": largest}
    ours, theirs = seconds["ours"], seconds[best]
    keep(Row(f"scoring_{length}", "s", ours, theirs, theirs / ours, GOALS.get(length), largest <= 1e-4, sizes))


def load(folder: Path | None, device: str) -> loading.LoadedModel:
    settings = PretrainedModel(path=str(folder) if folder else "shipped:tiny", device=device)
    loaded = loading.load(identity.find(settings).folder, settings)
    if folder is None:
        torch.manual_seed(0)
        loaded.model = Step("smollm2_135m", "full", 1, 1, False).model(loaded.model.dtype).to(loaded.device).eval()
    return loaded


def question(name: str, draw: random.Random, vocabulary: int, length: int) -> Item:
    """A prompt of about `length` tokens, rationales of 120 to 260, last sentences of 15 to 30, and an answer of 8 tokens with its connector."""

    def ids(low: int, high: int) -> list[int]:
        return [draw.randrange(vocabulary) for _ in range(draw.randint(low, high))]

    prompt, connector, answer, texts = ids(length * 2 // 3, length * 4 // 3), ids(4, 4), ids(4, 4), [[]]
    for _ in range(6):
        rationale = ids(120, 260)
        hidden = draw.randint(len(rationale) // 2, len(rationale) - 20)
        texts += [rationale, rationale[: -draw.randint(15, 30)], rationale[:hidden] + ids(1, 1) + rationale[hidden + 1 :]]
    ends = [len(each) + len(connector) for each in texts]
    return Item(name, prompt, [Text(each + connector + answer, list(range(end, end + len(answer)))) for each, end in zip(texts, ends, strict=True)])


def with_scorer(scorer: Scorer, items: list[Item]) -> list[list[float]]:
    scores: dict[str, list[list[float]]] = {}
    scorer.score(items, scores.__setitem__)
    return [each for item in items for each in scores[item.id]]


@torch.inference_mode()
def with_transformers(loaded: loading.LoadedModel, texts: list[tuple[list[int], Text]], batch_size: int) -> list[list[float]]:
    """Scores computed in the usual way: complete texts, right-padded in batches of similar length, with the log-softmax of all logits."""
    order = sorted(range(len(texts)), key=lambda number: len(texts[number][0]) + len(texts[number][1].ids))
    scores: list[Any] = [None] * len(texts)
    for first in range(0, len(order), batch_size):
        batch = order[first : first + batch_size]
        whole = [texts[number][0] + texts[number][1].ids for number in batch]
        longest = max(map(len, whole))
        ids_BT = torch.tensor([each + [0] * (longest - len(each)) for each in whole], device=loaded.device)
        mask_BT = torch.tensor([[1] * len(each) + [0] * (longest - len(each)) for each in whole], device=loaded.device)
        log_probabilities_BTV = loaded.model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits.float().log_softmax(dim=-1)
        of_tokens_BT = log_probabilities_BTV[:, :-1].gather(2, ids_BT[:, 1:, None])[..., 0].tolist()
        for number, row in zip(batch, of_tokens_BT, strict=True):
            prompt, text = texts[number]
            scores[number] = [row[len(prompt) + index - 1] for index in text.read]
    return scores


if __name__ == "__main__":
    main()
