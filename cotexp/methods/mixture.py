"""Training examples from rationales and their compressed forms.

Source: MACC: compressed chains after the `<compress>` mark, mixed with original chains without it. The share of originals is not
published; `full_ratio` is ours. C3oT: the same two forms under two instructions. Hsieh et al.: rationale and answer as two tasks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import pairwise

from cotexp.compressions.base import Compression
from cotexp.records import Compressed, Example, Question, Rationale
from cotexp.settings.training import Mixture
from cotexp.tasks.answers import join_solution


def full_examples(rationales: Sequence[Rationale], prompts: Mapping[str, str], rule: Compression) -> list[Example]:
    """One example in full form per rationale, exactly as written; the compression `rule` defines how the prompt requests it."""
    return [
        Example(
            id=f"{each.id}/full",
            question_id=each.question_id,
            **rule.ask("full", prompts[each.question_id])._asdict(),
            completion=each.text,
            form="full",
        )
        for each in rationales
    ]


def compressed_examples(
    rationales: Sequence[Rationale], compressed: Sequence[Compressed], prompts: Mapping[str, str], rule: Compression
) -> list[Example]:
    """One example in short form per compressed rationale: the shorter chain, then the original closing sentence."""
    by_id = {each.id: each for each in rationales}
    examples = []
    for each in compressed:
        rationale = by_id[each.rationale_id]
        examples.append(
            Example(
                id=f"{rationale.id}/compress",
                question_id=rationale.question_id,
                **rule.ask("compress", prompts[rationale.question_id], each.ratio)._asdict(),
                completion=join_solution(each.text, rationale.closing, rationale.separator),
                form="compress",
            )
        )
    return examples


def label_examples(rationales: Sequence[Rationale], labels: Mapping[str, str], prompts: Mapping[str, str], rule: Compression) -> list[Example]:
    """One example in short form per rationale that says only the answer; `labels` maps questions to the text with their gold answer."""
    return [
        Example(
            id=f"{each.id}/compress",
            question_id=each.question_id,
            **rule.ask("compress", prompts[each.question_id])._asdict(),
            completion=labels[each.question_id],
            form="compress",
        )
        for each in rationales
    ]


def rewrite_examples(rationales: Sequence[Rationale], questions: Mapping[str, Question], prompt: str, count: int) -> list[Example]:
    """`count` examples of the compressor's role, each one of its question's `rewrites`, or else a reference solution and the next shorter one.

    With references alone, no output is longer than its input, and the shortest level is never an input.
    """
    examples = []
    for number in range(count):
        rationale = rationales[number % len(rationales)]
        question = questions[rationale.question_id]
        pairs = question.rewrites or list(pairwise(reference.rsplit("\n", 1)[0] for reference in question.references))
        before, after = pairs[_spread(f"{rationale.id}/{number // len(rationales)}", 0) % len(pairs)]
        examples.append(
            Example(
                id=f"{rationale.id}/rewrite/{number // len(rationales)}",
                question_id=question.id,
                prompt=prompt.format(question=question.text, rationale=before, answer=question.answer),
                completion=after,
                form="rewrite",
            )
        )
    return examples


def pair_examples(pairs: Sequence[tuple[Rationale, Rationale]], questions: Mapping[str, Question], prompt: str) -> list[Example]:
    """One example of the compressor's role per pair of chains: the first one is asked for, the second one written. Thinking counts as a chain."""
    return [
        Example(
            id=f"{long.id}/rewrite/{short.id.removeprefix(f'{short.question_id}/')}",
            question_id=long.question_id,
            prompt=prompt.format(question=questions[long.question_id].text, rationale=long.cot.strip(), answer=questions[long.question_id].answer),
            completion=short.cot.strip(),
            form="rewrite",
        )
        for long, short in pairs
    ]


def mix(full: list[Example], short: list[Example], mixture: Mixture, *, seed: int) -> list[Example]:
    """As many examples as `full_ratio` allows: all of one form, and a subset of the other that depends only on `seed`.

    Subsets are nested: a larger share contains every example of a smaller one. Between 0 and 1 each form keeps at least one example.
    """
    ratio = mixture.full_ratio
    assert ratio is not None
    if not short or ratio == 1:
        return full
    if ratio == 0:
        return short
    num_full = min(len(full), max(1, round(len(short) * ratio / (1 - ratio))))
    num_short = min(len(short), max(1, round(len(full) * (1 - ratio) / ratio)))
    return _subset(full, num_full, seed, beside=short) + _subset(short, num_short, seed, beside=full)


def _subset(examples: list[Example], count: int, seed: int, *, beside: list[Example]) -> list[Example]:
    """`count` of `examples`, first those whose rationale is also in `beside`, the other form; the order within both groups depends on `seed`."""
    paired = {each.id.rsplit("/", 1)[0] for each in beside}
    chosen = {each.id for each in sorted(examples, key=lambda each: (each.id.rsplit("/", 1)[0] not in paired, _spread(each.id, seed)))[:count]}
    return [each for each in examples if each.id in chosen]


def _spread(text: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{text}".encode()).digest()[:8], "big")
