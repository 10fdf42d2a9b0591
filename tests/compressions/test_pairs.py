"""A compressor learns from pairs of correct rationales of the same question, from the longer one to the shorter one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_records import rationale

from cotexp import commands, flow
from cotexp.commands.encode import print_encoded
from cotexp.commands.export import export_model
from cotexp.compressions.macc import Macc
from cotexp.compressions.pairs import RationalePairs
from cotexp.compressions.rewriting import ToRewrite
from cotexp.config import command_line
from cotexp.flow import Walk
from cotexp.jobs import pipeline
from cotexp.methods.mixture import pair_examples
from cotexp.methods.statistics import pair_metrics
from cotexp.records import Example, Question, Rationale
from cotexp.settings.base import ConfigError, RunFailed
from cotexp.stages import checkpoint
from cotexp.stages.context import Context
from cotexp.tasks import StoriesTask, load_questions

LEVELS = (0, 3, 6)
"""Reference solutions of a story that stand for three teachers."""


def names(pairs: list[tuple[Rationale, Rationale]]) -> list[tuple[str, str]]:
    return [(long.id, short.id) for long, short in pairs]


def test_each_correct_chain_is_paired_with_every_shorter_one_of_its_question() -> None:
    chains = [rationale("p", sample, num_cot_tokens=length, cot=f"text {sample}") for sample, length in enumerate((20, 40, 30))]
    chains += [rationale("q", sample, num_cot_tokens=length, cot=f"text {sample}") for sample, length in enumerate((9, 8))]
    assert names(RationalePairs().pairs(chains)) == [("p/1", "p/2"), ("p/1", "p/0"), ("p/2", "p/0"), ("q/0", "q/1")]


def test_wrong_chains_equal_lengths_and_repeated_texts_make_no_pairs() -> None:
    wrong = rationale("q", 0, num_cot_tokens=50, cot="a wrong one", correct=False)
    same = [rationale("q", sample, num_cot_tokens=30, cot=f"text {sample}") for sample in (1, 2)]
    assert RationalePairs().pairs([wrong, *same]) == []
    twice = [rationale("q", 3, num_cot_tokens=20, cot="told twice \n"), rationale("q", 4, num_cot_tokens=20, cot=" told twice")]
    assert len(RationalePairs().pairs([same[0], *twice])) == 1


def test_another_way_to_the_answer_is_no_shorter_form_of_this_one() -> None:
    texts = ("Each has 3, so 6 * 3 = 18, and 4 * 3 = 12. In all 18 + 12 = 30.", "All are 6 + 4 = 10. So 10 * 3 = 30.", "3 * 6 = 18, 12 = 30.", "30.")
    more = "6 * 3 = 18, 4 * 3 = 12, 12 + 18 = 30."
    chains = [rationale("q", sample, cot=text, num_cot_tokens=30 - sample) for sample, text in enumerate((*texts, more))]
    found = names(RationalePairs().pairs(chains))
    assert found == [("q/0", "q/4"), ("q/2", "q/4"), ("q/3", "q/4")], "numbers count in any order, and what the longer text lacks may be added"
    assert len(RationalePairs(keep_calculations=False).pairs(chains)) == 10


def test_calculations_are_kept_in_any_notation_and_not_by_being_unread() -> None:
    plain, bold, answer = "First 16 - 3 - 4 = 9, then 9 * 2 = 18.", "16 – 3 – 4 = **9**, $9 \\times 2 = \\boxed{18}$.", "She makes 18 dollars."
    unknown, other = "We know 2x + 3 = 39, so 2x = 36, and x = 18.", "It is 18."

    def kept(long: str, short: str) -> bool:
        chains = [rationale("q", sample, cot=text, num_cot_tokens=30 - sample) for sample, text in enumerate((long, short))]
        return bool(RationalePairs().pairs(chains))

    assert kept(plain, bold)
    assert kept(bold, plain)
    assert not kept(bold, answer)
    assert not kept(plain, answer)
    assert not kept(unknown, other), "equations of which none can be read might be lost"
    assert kept(answer, other), "a chain without equations has nothing to lose"


def test_thinking_is_paired_with_thinking() -> None:
    chains = [
        rationale("q", 0, id="q/0/thinking", num_cot_tokens=40, cot="long thoughts"),
        rationale("q", 0, num_cot_tokens=9, cot="answer part"),
        rationale("q", 1, id="q/1/thinking", num_cot_tokens=30, cot="thoughts"),
        rationale("q", 1, num_cot_tokens=8, cot="part"),
    ]
    assert names(RationalePairs().pairs(chains)) == [("q/0", "q/1"), ("q/0/thinking", "q/1/thinking")]
    question = {"q": Question(id="q", text="How many?", answer="7", task="stories")}
    examples = pair_examples(RationalePairs().pairs(chains), question, "{rationale}")
    assert [each.id for each in examples] == ["q/0/rewrite/1", "q/0/thinking/rewrite/1/thinking"]


@given(st.lists(st.tuples(st.sampled_from("pqr"), st.integers(1, 6), st.sampled_from("abcd"), st.booleans()), max_size=24))
def test_pairs_are_exactly_those_that_two_loops_find(drawn: list[tuple[str, int, str, bool]]) -> None:
    chains = [
        rationale(question, sample, num_cot_tokens=length, cot=f"{text}{length}", correct=correct)
        for sample, (question, length, text, correct) in enumerate(drawn)
    ]
    expected = {
        (long.question_id, long.cot, short.cot)
        for long in chains
        for short in chains
        if long.correct and short.correct and long.question_id == short.question_id and short.num_cot_tokens < long.num_cot_tokens
    }
    found = [(long.question_id, long.cot, short.cot) for long, short in RationalePairs().pairs(chains)]
    assert len(found) == len(set(found))
    assert set(found) == expected
    assert RationalePairs().pairs(chains[::-1]) == RationalePairs().pairs(chains), "the order of files does not matter"


def test_a_pair_is_asked_for_in_the_words_of_a_round() -> None:
    long, short = rationale("q", 0, num_cot_tokens=9, cot="A long way. \n"), rationale("q", 1, num_cot_tokens=3, cot="Short. ")
    question = Question(id="q", text="How many?", answer="7", task="stories")
    example = pair_examples([(long, short)], {"q": question}, RationalePairs().prompt)[0]
    assert example.prompt == Macc().rewrite_prompt(ToRewrite("How many?", "", "A long way.", "7", 1, 9, 9))
    assert (example.completion, example.form, example.compressed, example.question_id) == ("Short.", "rewrite", False, "q")


@pytest.mark.parametrize(
    ("overrides", "beginning"),
    [
        (["compression=pairs"], "teacher must give several rationales per question with compression=pairs; got 'self', which gives one"),
        (["compression=pairs", "teacher=reference"], "teacher must give several rationales per question"),
        (["compression=pairs", "selection=lowest_rank_surprisal", "selection.k=1"], "selection.k must be at least 2 with compression=pairs"),
        (["compression=pairs", "selection.max_rationales=1"], "selection.max_rationales must be at least 2 with compression=pairs"),
        (["compression=pairs", "teacher.num_samples=4", "teacher.temperature=1", "mixture.full_ratio=1"], "mixture.full_ratio must be below 1"),
        (["compression=pairs", "teacher.num_samples=4", "teacher.temperature=1", "mixture.rewrite_ratio=1"], "mixture.rewrite_ratio must be 0"),
        (["compression=pairs", "compression.prompt=Shorten."], "compression.prompt must contain {rationale}"),
        (["experiment=tiny", "compression.prompt=Shorten."], "compression.prompt must contain {rationale}"),
        (["compression=pairs", "evaluation.modes=[compress]"], "evaluation.modes must not contain 'compress' with compression=pairs"),
    ],
)
def test_what_teaches_nothing_is_refused(overrides: list[str], beginning: str) -> None:
    with pytest.raises(ConfigError) as caught:
        command_line.check_command_line(overrides, multirun=False)
    assert any(problem.startswith(beginning) for problem in caught.value.problems), caught.value.problems


def test_target_compressor_and_arms_of_the_word_problems_hold_back_the_same_questions() -> None:
    given = {"macc/arithmetic_target": [], "macc/arithmetic_compressor": [], "macc/arithmetic": ["compressor.model.path=COMPRESSOR"]}
    chosen = [command_line.check_command_line([f"experiment={name}", *own], multirun=False)[0] for name, own in given.items()]
    assert len({str((each.task.train, each.task.num_validation, each.task.seed, each.evaluation.tasks)) for each in chosen}) == 1
    assert {str(each.tasks) for each in chosen[:2]} == {str(chosen[2].tasks).replace("num_train=384", "num_train=None")}
    assert chosen[1].compression.prompt == chosen[2].compression.prompt, "the compressor is asked as it was taught"


# --- through the pipeline -------------------------------------------------------------------------------------------------


def recorded(folder: Path, *, levels: tuple[int, ...] = LEVELS, answer: str = "") -> Path:
    """Solutions of every story of these splits, of several lengths, also of the test questions; with another `answer` all are wrong."""
    sets = load_questions(StoriesTask(num_train=12, num_validation=4, num_test=4))
    path = folder / "rationales.jsonl"
    rows = []
    for each in [*sets.train, *sets.validation, *sets.test]:
        for level in levels:
            chain, closing = each.references[level].rsplit("\n", 1)
            rows.append({"question": each.text, "text": f"{chain}\n{answer or closing}", "source": f"teacher {level}"})
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return path


def words_of(folder: Path, rationales: Path, *overrides: str) -> list[str]:
    own = ["experiment=macc/compressor", "model=tiny", f"teacher.files=[{rationales}]", "task.num_train=12", "task.num_validation=4"]
    steps = ["task.num_test=4", "trainer.max_steps=2", "trainer.batch_size=4", "tracking=none", f"paths.outputs={folder / 'outputs'}"]
    return [*own, *steps, *overrides]


def context_of(folder: Path, rationales: Path, *overrides: str) -> Context:
    return pipeline.prepare(command_line.check_command_line(words_of(folder, rationales, *overrides), multirun=False)[0])


def examples_of(context: Context) -> dict[str, list[Example]]:
    made = flow.training_set(context, Walk())
    examples = checkpoint.make_examples(context, made.chosen, made.compressed)
    return {"train": examples.train, "validation": examples.validation}


def test_pairs_come_from_the_questions_of_their_split_alone(tmp_path: Path) -> None:
    context = context_of(tmp_path, recorded(tmp_path), "mixture.full_ratio=0")
    for split, examples in examples_of(context).items():
        questions = {each.id: each for each in context.questions[split]}
        assert len(examples) == 3 * len(questions), "three solutions make three pairs"
        assert {each.question_id for each in examples} == set(questions)
        for each in examples:
            assert questions[each.question_id].text in each.prompt
            texts = [reference.rsplit("\n", 1)[0] for reference in questions[each.question_id].references]
            before, after = (next(level for level in LEVELS if texts[level] in text) for text in (each.prompt, each.completion))
            assert before < after


def test_metrics_tell_how_many_pairs_there_are_and_what_they_keep() -> None:
    texts = ("So 3 + 4 = 7 and 7 * 2 = 14, in many words.", "3 + 4 = 7, then 7 * 2 = 14.", "2 * 7 = 14.")
    chains = [rationale("q", sample, cot=text, num_cot_tokens=length) for sample, (text, length) in enumerate(zip(texts, (20, 15, 5), strict=True))]
    found = pair_metrics(RationalePairs(keep_calculations=False).pairs(chains))
    assert found == {"num_pairs": 3, "compression_ratio": pytest.approx(25 / 55), "calculations_kept_ratio": pytest.approx((1 + 0.5 + 0.5) / 3)}
    without = [rationale("q", sample, cot=f"no calculation {sample}", num_cot_tokens=9 - sample) for sample in (0, 1)]
    assert pair_metrics(RationalePairs().pairs(without)) == {"num_pairs": 1, "compression_ratio": pytest.approx(8 / 9)}
    assert pair_metrics([]) == {"num_pairs": 0}


def test_the_mixture_gives_the_share_of_full_solutions(tmp_path: Path) -> None:
    examples = examples_of(context_of(tmp_path, recorded(tmp_path), "mixture.full_ratio=0.25"))["train"]
    forms = [each.form for each in examples]
    assert (forms.count("rewrite"), forms.count("full")) == (36, 12)


def test_pairs_are_counted_without_fine_tuning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands.run_experiment(context_of(tmp_path, recorded(tmp_path), "compress_only=true").settings)
    expected = r"macc/compressor: 36 pairs, whose shorter rationales have \d\d\.\d% of the tokens; nothing is fine-tuned\n"
    assert re.fullmatch(expected, capsys.readouterr().out)
    commands.run_experiment(context_of(tmp_path, recorded(tmp_path, levels=(0,)), "compress_only=true").settings)
    assert capsys.readouterr().out == "macc/compressor: 0 pairs; nothing is fine-tuned\n"
    assert not (tmp_path / "outputs" / "runs").exists()


@pytest.mark.parametrize(("levels", "answer"), [((0,), ""), (LEVELS, "The answer is 99999.")])
def test_rationales_without_a_pair_end_the_run_before_fine_tuning_in_one_line(tmp_path: Path, levels: tuple[int, ...], answer: str) -> None:
    context = context_of(tmp_path, recorded(tmp_path, levels=levels, answer=answer), "selection=all", "selection.validation=all")
    with pytest.raises(
        RunFailed, match=r"^no train question has two correct rationales of different lengths \(\d+ rationales of 12 questions, \d+ of"
    ):
        examples_of(context)
    assert not (tmp_path / "outputs" / "store" / "checkpoint").exists()


def test_a_look_at_few_questions_says_that_more_may_have_what_they_lack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = words_of(tmp_path, recorded(tmp_path, levels=(0,)))
    with pytest.raises(RunFailed, match=r"^encode, which looks at 2 of the training questions \(--questions looks at more\): no train question has"):
        print_encoded(words, num_questions=2)
    assert "supervised" not in capsys.readouterr().out
    print_encoded(words_of(tmp_path, recorded(tmp_path)), num_questions=1)
    assert "supervised" in capsys.readouterr().out


@pytest.mark.slow
def test_a_model_taught_by_recorded_pairs_is_exported_and_compresses(tmp_path: Path) -> None:
    context = context_of(tmp_path, recorded(tmp_path))
    result = pipeline.run(context)
    assert result.metrics["training/num_steps"] == 2
    assert result.metrics["pairs/num_pairs"] == 36
    folder = tmp_path / "compressor"
    export_model("macc/compressor", folder, dtype="float32", outputs=tmp_path / "outputs")
    card = (folder / "README.md").read_text()
    assert "88% of its examples were rewrites: a correct rationale of a training question by teacher=recorded becomes a shorter correct one" in card
    own = ["debug=fast", "compressor=local", f"compressor.model.path={folder}", "compress_only=true", "compression.max_rounds=2"]
    overrides = [*own, "tracking=none", f"paths.outputs={tmp_path / 'outputs'}"]
    compressed = pipeline.run(pipeline.prepare(command_line.check_command_line(overrides, multirun=False)[0]))
    assert compressed.metrics["rounds/num_written"] > 0
    assert compressed.metrics["compression/compression_ratio"] < 1
