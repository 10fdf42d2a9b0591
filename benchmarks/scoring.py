"""Speed of scoring many texts after one prompt, compared with a loop over the texts and with padded batches.

    python benchmarks/scoring.py [--model FOLDER] [--questions 2]

Each question has its answer without a rationale, and six rationales in three forms (complete, without the last sentence, with one changed token).
Each text ends with the same answer, whose log-probability is the score. Without a folder the model has random weights with the shape of
SmolLM2-135M. Prints seconds, ratios, tokens per second, and the largest difference of the scores.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from cotexp.inference.scoring import Item, Scorer, Text
from cotexp.models import identity, loading
from cotexp.settings.models import PretrainedModel

SMOLLM2_135M = LlamaConfig(
    vocab_size=49152,
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    max_position_embeddings=8192,
    tie_word_embeddings=True,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--questions", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=8, help="of the padded batches")
    options = parser.parse_args()
    loaded = load(options.model)
    draw = random.Random(0)
    items = [question(str(number), draw, loaded.model.config.vocab_size) for number in range(options.questions)]
    texts = [(item.prompt_ids, text) for item in items for text in item.texts]
    num_tokens = sum(len(prompt) + len(text.ids) for prompt, text in texts)
    print(f"{options.model or 'random SmolLM2-135M'} on {loaded.device}, {loaded.model.dtype}, {torch.get_num_threads()} threads")
    print(f"{len(items)} questions, {len(texts)} texts, {num_tokens} tokens with their prompts")
    scorer = Scorer(loaded)
    ours, our_seconds = timed(lambda: with_scorer(scorer, items))
    print(f"cotexp scorer     {our_seconds:7.2f} s  {num_tokens / our_seconds:7.0f} tokens/s")
    for name, size in (("one by one", 1), (f"batches of {options.batch_size}", options.batch_size)):
        theirs, seconds = timed(lambda size=size: with_transformers(loaded, texts, size))
        differences = [abs(a - b) for one, other in zip(ours, theirs, strict=True) for a, b in zip(one, other, strict=True)]
        print(f"{name:17} {seconds:7.2f} s  {num_tokens / seconds:7.0f} tokens/s  ratio {seconds / our_seconds:.2f}")
        print(f"{'':17} largest difference of scores {max(differences):.0e}")


def load(folder: Path | None) -> loading.LoadedModel:
    settings = PretrainedModel(path=str(folder) if folder else "shipped:tiny")
    loaded = loading.load(identity.find(settings).folder, settings)
    if folder is None:
        torch.manual_seed(0)
        loaded.model = LlamaForCausalLM(SMOLLM2_135M).to(device=loaded.device, dtype=loaded.model.dtype).eval()
    return loaded


def question(name: str, draw: random.Random, vocabulary: int) -> Item:
    """A prompt of 100 to 200 tokens, rationales of 120 to 260, last sentences of 15 to 30, and an answer of 8 tokens with its connector."""

    def ids(low: int, high: int) -> list[int]:
        return [draw.randrange(vocabulary) for _ in range(draw.randint(low, high))]

    prompt, connector, answer, texts = ids(100, 200), ids(4, 4), ids(4, 4), [[]]
    for _ in range(6):
        rationale = ids(120, 260)
        hidden = draw.randint(len(rationale) // 2, len(rationale) - 20)
        texts += [rationale, rationale[: -draw.randint(15, 30)], rationale[:hidden] + ids(1, 1) + rationale[hidden + 1 :]]
    ends = [len(each) + len(connector) for each in texts]
    return Item(name, prompt, [Text(each + connector + answer, list(range(end, end + len(answer)))) for each, end in zip(texts, ends, strict=True)])


def timed(work: Callable[[], list[list[float]]]) -> tuple[list[list[float]], float]:
    started = time.perf_counter()
    return work(), time.perf_counter() - started


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
