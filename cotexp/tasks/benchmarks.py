"""The published benchmarks: a table of facts, and a function per format that reads a row.

A task's files have fixed places below a data folder (`Split.files`). Rows keep the form of their source; the same reader takes the
original files and the hub's copies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cotexp.records import AnswerType, Question
from cotexp.settings.base import ConfigError
from cotexp.tasks.boxes import BARE_BOX, last_boxed
from cotexp.tasks.closings import with_closing
from cotexp.tasks.options import LETTERS, shuffled_options
from cotexp.tasks.rows import Row, read_rows
from cotexp.tasks.splits import make_question


@dataclass(frozen=True, slots=True)
class HubCopy:
    """A copy on the Hugging Face hub: `name` is a repository (or a local folder that `datasets` can load)."""

    name: str
    split: str
    config: str | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """One split: its possible files below a data folder (the first existing one is read, downloads go to the first), and its official row count."""

    files: tuple[str, ...]
    num_rows: int
    hub: HubCopy | None = None


@dataclass(frozen=True, slots=True)
class Parsed:
    """The content of a row: `gold_field` holds the answer; `solution` is a worked solution without the closing sentence, or empty.

    `answered` is false if the source lacks the answer.
    """

    text: str
    gold_field: str
    options: Mapping[str, str] | None = None
    solution: str = ""
    answered: bool = True


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Facts about a benchmark. A split that the source lacks is absent from `splits`."""

    answer_type: AnswerType
    splits: Mapping[str, Split]
    parse: Callable[[Row], Parsed]
    licence: str


@dataclass(frozen=True, slots=True)
class FileQuestions:
    """The questions of one file, in order, including duplicates. `num_unanswered` rows have no gold answer and are left out."""

    questions: list[Question]
    num_unanswered: int


def read_split(name: str, benchmark: Benchmark, path: Path, *, is_test: bool = False) -> FileQuestions:
    """The questions of one file. A test file must have an answer in every row.

    Raises: ConfigError naming file, line and field of the first row that cannot be read, or for an empty file.
    """
    shown = f"{path.parent.name}/{path.name}"
    questions, num_unanswered = [], 0
    for row in read_rows(path, shown):
        parsed = benchmark.parse(row)
        if parsed.answered or is_test:
            questions.append(_question(name, benchmark, row, parsed))
        else:
            num_unanswered += 1
    if not questions:
        raise ConfigError(f"{shown} must hold at least one question; {path} is empty")
    return FileQuestions(questions, num_unanswered)


def _question(name: str, benchmark: Benchmark, row: Row, parsed: Parsed) -> Question:
    field = parsed.gold_field
    raw = parsed.solution if field == "solution" else row.value(field)
    gold = row.gold(field, benchmark.answer_type, parsed.options, raw=raw)
    references = [with_closing(parsed.solution, gold, benchmark.answer_type, parsed.options)] if parsed.solution else []
    return make_question(name, text=parsed.text, answer=gold, answer_type=benchmark.answer_type, options=parsed.options or {}, references=references)


# --- one function per format ---------------------------------------------------------------------------------------

_MARK = re.compile(r"<<[^<>\n]*>>")
_LETTERED = re.compile(r"\s*\(?([A-Z])\s*\)\s*(.*?)\s*", re.DOTALL)


def gsm8k(row: Row) -> Parsed:
    """The solution loses its calculator marks and the line with the answer."""
    solution = _MARK.sub("", row.text("answer").rsplit("####", 1)[0]).rstrip()
    return Parsed(row.text("question"), "answer", solution=solution)


def math(row: Row) -> Parsed:
    """The test file has a field for the answer; the training file has the answer only in the solution's last box.

    Two training solutions write `\\boxed 2`, which becomes `\\boxed{2}`; two have an empty box, which counts as unanswered.
    """
    solution = BARE_BOX.sub(r"\\boxed{\1}", row.text("solution"))
    if row.fields.get("answer") is not None:
        return Parsed(row.text("problem"), "answer", solution=solution)
    box = last_boxed(solution)
    if box is None:
        raise row.refusal("solution", "must state its answer in \\boxed{...}, because the row has no field 'answer'")
    return Parsed(row.text("problem"), "solution", solution=solution, answered=bool(box.strip()))


def svamp(row: Row) -> Parsed:
    body = row.text("Body")
    return Parsed(f"{body}{'' if body[-1] in '.!?' else '.'} {row.text('Question')}", "Answer")


def mawps(row: Row) -> Parsed:
    return Parsed(row.text("sQuestion"), "lSolutions")


def aqua(row: Row) -> Parsed:
    """The original format has a list of options; in the Flan Collection they follow the question, one per line."""
    if "options" in row.fields:
        options = row.value("options")
        if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
            raise row.refusal("options", "must be a list of texts")
        return Parsed(row.text("question"), "correct", _lettered(row, "options", options), row.optional_text("rationale"))
    text, separator, lines = row.text("question").partition("\nOptions:\n")
    if not separator:
        raise row.refusal("question", "must list its options below a line 'Options:', or the row must have a field 'options'")
    return Parsed(text.strip(), "answer", _lettered(row, "question", lines.split("\n")), row.optional_text("chain_of_thought"))


def _lettered(row: Row, field: str, options: Iterable[str]) -> dict[str, str]:
    """Options such as "A)12" or "(B) 13"; the letters must run from A without a gap."""
    texts: dict[str, str] = {}
    for letter, option in zip(LETTERS, options, strict=False):
        match = _LETTERED.fullmatch(option)
        if match is None or match[1] != letter:
            raise row.refusal(field, f"must give option {letter} as '{letter})...'; got {option!r}")
        texts[letter] = match[2]
    return _at_least_two(row, field, texts)


def choices(row: Row) -> Parsed:
    """ARC and CommonsenseQA: nested as in the original files, or flat with lists of labels and texts as on the hub."""
    question = row.value("question")
    if isinstance(question, Mapping):
        inner = Row(question, f"{row.place}, in 'question'")
        return Parsed(inner.text("stem"), "answerKey", _relabelled(inner, _choice_pairs(inner)))
    return Parsed(row.text("question"), "answerKey", _relabelled(row, _choice_pairs(row)))


def _choice_pairs(row: Row) -> Iterator[tuple[object, object]]:
    raw = row.value("choices")
    if isinstance(raw, Mapping):
        inner = Row(raw, f"{row.place}, in 'choices'")
        labels, texts = inner.value("label"), inner.value("text")
        if not isinstance(labels, list) or not isinstance(texts, list) or len(labels) != len(texts):
            raise row.refusal("choices", "must hold two lists of the same length, 'label' and 'text'")
        yield from zip(labels, texts, strict=True)
    elif isinstance(raw, list) and all(isinstance(choice, Mapping) for choice in raw):
        for number, choice in enumerate(raw, 1):
            inner = Row(choice, f"{row.place}, choice {number}")
            yield inner.value("label"), inner.value("text")
    else:
        raise row.refusal("choices", f"must be a list of objects with 'label' and 'text'; got {type(raw).__name__}")


def _relabelled(row: Row, pairs: Iterable[tuple[object, object]]) -> dict[str, str]:
    """Texts under the letters A, B, ...; the source's labels must be these letters, or the numbers 1, 2, ... in order."""
    labels, texts = [], []
    for label, text in pairs:
        if not isinstance(label, str) or not isinstance(text, str):
            raise row.refusal("choices", f"must hold texts only; got {label!r} and {text!r}")
        labels.append(label.strip())
        texts.append(text.strip())
    if labels not in ([str(number) for number in range(1, len(labels) + 1)], list(LETTERS[: len(labels)])):
        raise row.refusal("choices", f"must be labelled A, B, ... or 1, 2, ... in order; got {', '.join(labels)}")
    return _at_least_two(row, "choices", dict(zip(LETTERS, texts, strict=False)))


def _at_least_two(row: Row, field: str, options: dict[str, str]) -> dict[str, str]:
    if len(options) < 2:
        raise row.refusal(field, f"must hold at least two options; got {len(options)}")
    return options


def strategyqa(row: Row) -> Parsed:
    """`target` is the answer followed by the human facts, which become the solution."""
    facts = re.sub(r"^(?:yes|no)\b[.,:]?\s*", "", row.optional_text("target"), flags=re.IGNORECASE)
    return Parsed(row.text("input"), "target_scores", solution=facts)


def bigbench_choice(row: Row) -> Parsed:
    """BIG-bench lists the correct option first in nearly every row, so the options are shuffled into a fixed order."""
    scores = row.mapping("target_scores")
    options = shuffled_options(scores)
    return Parsed(row.text("input"), "target_scores", _at_least_two(row, "target_scores", {key: text.strip() for key, text in options.items()}))


# --- the table ------------------------------------------------------------------------------------------------------------


def _train_and_test(name: str, num_train: int, num_test: int) -> dict[str, Split]:
    return {"train": Split((f"{name}/train.jsonl",), num_train), "test": Split((f"{name}/test.jsonl",), num_test)}


def _hub(name: str, repository: str, config: str | None, counts: Mapping[str, int]) -> dict[str, Split]:
    """Splits whose files and hub splits have the same names, except `dev.jsonl`, the validation split."""
    files = {"validation": "dev"}
    return {split: Split((f"{name}/{files.get(split, split)}.jsonl",), count, HubCopy(repository, split, config)) for split, count in counts.items()}


_MAWPS_LICENCE = "none stated; part of the MAWPS collection"

BENCHMARKS: dict[str, Benchmark] = {
    "gsm8k": Benchmark("decimal", _hub("gsm8k", "openai/gsm8k", "main", {"train": 7473, "test": 1319}), gsm8k, "MIT"),
    "math500": Benchmark(
        "latex",
        {
            "train": Split(("math/train.jsonl",), 7500, HubCopy("DigitalLearningGmbH/MATH-lighteval", "train")),
            "test": Split(("math500/test.jsonl",), 500, HubCopy("HuggingFaceH4/MATH-500", "test")),
        },
        math,
        "MIT",
    ),
    "aime24": Benchmark(
        "integer",
        {"test": Split(("aime24/test.jsonl",), 30, HubCopy("HuggingFaceH4/aime_2024", "train"))},
        lambda row: Parsed(row.text("problem"), "answer"),
        "problems (c) Mathematical Association of America",
    ),
    "svamp": Benchmark("decimal", _hub("svamp", "ChilleD/SVAMP", None, {"train": 700, "test": 300}), svamp, "MIT"),
    "multiarith": Benchmark("decimal", _train_and_test("multiarith", 420, 180), mawps, _MAWPS_LICENCE),
    "addsub": Benchmark("decimal", _train_and_test("addsub", 276, 119), mawps, _MAWPS_LICENCE),
    "singleeq": Benchmark("decimal", _train_and_test("singleeq", 356, 152), mawps, _MAWPS_LICENCE),
    "aqua": Benchmark(
        "choice",
        {
            "train": Split(("aqua/train.jsonl", "aqua/train_flan_subset.jsonl"), 97467, HubCopy("deepmind/aqua_rat", "train", "raw")),
            **_hub("aqua", "deepmind/aqua_rat", "raw", {"validation": 254, "test": 254}),
        },
        aqua,
        "Apache-2.0",
    ),
    "commonsense_qa": Benchmark(
        "choice",
        {
            "train": Split(("commonsense_qa/train.jsonl",), 9741, HubCopy("tau/commonsense_qa", "train")),
            "test": Split(("commonsense_qa/dev.jsonl",), 1221, HubCopy("tau/commonsense_qa", "validation")),
        },
        choices,
        "MIT",
    ),
    "strategyqa": Benchmark("boolean", _train_and_test("strategyqa", 1603, 687), strategyqa, "Apache-2.0 (BIG-bench), MIT (StrategyQA)"),
    "date_understanding": Benchmark("choice", _train_and_test("date_understanding", 258, 111), bigbench_choice, "Apache-2.0 (BIG-bench)"),
    "tracking_shuffled_objects": Benchmark(
        "choice", _train_and_test("tracking_shuffled_objects", 525, 225), bigbench_choice, "Apache-2.0 (BIG-bench)"
    ),
    "arc_challenge": Benchmark(
        "choice",
        _hub("arc_challenge", "allenai/ai2_arc", "ARC-Challenge", {"train": 1119, "validation": 299, "test": 1172}),
        choices,
        "CC BY-SA 4.0",
    ),
}
"""Task -> facts. CommonsenseQA's test split is its labelled dev set, as usual: the real test labels are not public."""
