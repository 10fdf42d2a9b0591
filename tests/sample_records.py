"""Records with every field set, for tests that state only the fields that they are about."""

from __future__ import annotations

from typing import Any

from cotexp.records import Compressed, Prediction, Rationale, Round, Score


def prediction(question: str, *, correct: bool = False, sample: int = 0, num_cot_tokens: int = 10, **changes: Any) -> Prediction:
    """An answer to a question of stories, `correct` under the strict and the lenient rule."""
    asked = {"task": "stories", "mode": "full", "gold": "7", "answer_type": "decimal", "options": {}}
    written = {"text": "", "finish_reason": "stop", "num_cot_tokens": num_cot_tokens, "num_tokens": num_cot_tokens + 6}
    grade = {"extracted": "7", "extracted_by": "boxed", "strict": correct, "lenient": correct, "math_verify": None, "timed_out": False}
    return Prediction(**{"id": f"{question}/{sample}", "question_id": question, "sample": sample, **asked, **written, **grade, **changes})


def rationale(question: str = "q", sample: int = 0, *, num_cot_tokens: int = 5, **changes: Any) -> Rationale:
    """A correct rationale, whose closing sentence has five tokens."""
    texts = {"cot": "the original chain \n", "closing": "The answer is 7.", "answer": "7", "correct": True, "finish_reason": "stop"}
    lengths = {"num_cot_tokens": num_cot_tokens, "num_tokens": num_cot_tokens + 5}
    return Rationale(**{"id": f"{question}/{sample}", "question_id": question, "sample": sample, **texts, **lengths, **changes})


def rewrite(number: int, num_tokens: int, *, of: str = "q/0", **changes: Any) -> Round:
    """Round `number` of the rationale `of`, which keeps its answer."""
    hashes = {"tokenizer": "t", "prompt_hash": "p", "previous_text_hash": "h"}
    result = {"text": f"round {number}", "finish_reason": "stop", "outcome": "ok", "answer_kept": True}
    return Round(**{"id": f"{of}/{number}", "rationale_id": of, "round": number, "num_tokens": num_tokens, **hashes, **result, **changes})


def compressed(question: str = "q", **changes: Any) -> Compressed:
    """Round 1 of the first rationale of `question`, kept after a rebound."""
    kept = {"text": "short", "kept_round": 1, "num_tokens": 50, "num_tokens_original": 100, "stop_reason": "rebound", "num_rounds_run": 2}
    return Compressed(**{"rationale_id": f"{question}/0", **kept, **changes})


def score(name: str, **changes: Any) -> Score:
    """Likelihoods that make every ratio 1: one answer token."""
    with_rationale = {"answer_nll_plain": 3.0, "answer_nll_masked": 3.0, "answer_nll_hidden": 3.0}
    sizes = {"num_answer_tokens": 1, "answer_nll": 3.0, "num_tokens": 10, "nll": 10.0, "rank_sum": 20}
    return Score(**{"id": name, "question_id": name.split("/")[0], **sizes, **with_rationale, **changes})
