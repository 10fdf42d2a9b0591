"""Baselines through the pipeline: models that are only told, cut outputs, and two instructions in place of the mark."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cotexp.commands import cli
from cotexp.config import command_line
from cotexp.inference.engine import Output, Request
from cotexp.jobs import engines, pipeline
from cotexp.settings.sampling import Sampling
from cotexp.stages import budgets, checkpoint, compressing, predictions, rationales, rounds, selecting
from cotexp.stages.context import Context
from cotexp.stages.training_set import TrainingSet

FAST = ("debug=fast", "tracking=none", "evaluation.latency=false")


def context_of(outputs: Path, *overrides: str) -> Context:
    return pipeline.make_context(command_line.check_command_line([*FAST, f"paths.outputs={outputs}", *overrides], multirun=False)[0])


class Listener:
    """An engine that answers everything alike and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.num_steps: dict[str, int] = {}
        """End of a prompt -> the steps of its answer, one if there is none."""

    def generate(self, requests: Sequence[Request], sampling: Sampling, emit: Callable[[Output], None]) -> None:
        self.asked += requests
        for each in requests:
            num_steps = next((own for end, own in self.num_steps.items() if each.prompt.endswith(end)), 1)
            emit(Output(each.id, num_steps * "4 + 3 = 7\n" + "The answer is 7.", 9, "stop", 0.0))


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Listener:
    engine = Listener()
    monkeypatch.setattr(predictions, "answering_engine", lambda context, mode: engine)
    return engine


@pytest.mark.slow
def test_a_model_that_is_only_told_is_asked_with_the_instruction_and_not_trained(tmp_path: Path, listener: Listener) -> None:
    context = context_of(tmp_path, "compression=be_concise")
    result = pipeline.run(context)
    prompts = [context.prompt_for(each) for each in context.questions.test]
    assert sorted(each.prompt for each in listener.asked) == sorted([*prompts, *(f"{each}\nBe concise." for each in prompts)])
    assert not any(each.compressed for each in listener.asked)
    assert {path.name for path in (tmp_path / "store").iterdir()} == {"predictions", "grades"}
    assert {"eval/base/accuracy", "eval/compress/accuracy", "eval/compress/delta_accuracy_vs_base"} <= result.metrics.keys()
    assert not any(name.startswith(("training/", "rationales/", "selection/", "compression/")) for name in result.metrics)


@pytest.mark.slow
def test_other_words_share_the_base_answers_and_another_seed_is_the_same_run(tmp_path: Path, listener: Listener) -> None:
    first = pipeline.run(context_of(tmp_path, "compression=be_concise"))
    asked = len(listener.asked)
    again = pipeline.run(context_of(tmp_path, "compression=be_concise", "seed=1", "trainer.learning_rate=1e-4"))
    assert (again.folder, again.computed, len(listener.asked)) == (first.folder, False, asked)
    other = pipeline.run(context_of(tmp_path, "compression=prompt_only", "compression.instruction=Hurry."))
    assert other.folder != first.folder
    assert len(listener.asked) == asked + 16
    assert all(each.prompt.endswith("\nHurry.") for each in listener.asked[asked:])


@pytest.mark.slow
def test_each_budget_is_asked_once_and_the_command_finds_where_lengths_turn(
    tmp_path: Path, listener: Listener, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model is longest under the smallest budget; answers without a budget are shared, and a further budget asks for its own answers alone."""
    listener.num_steps = {"less than 10 tokens:": 7, "less than 25 tokens:": 3}
    for budget in (10, 25):
        pipeline.run(context_of(tmp_path, "compression=budget", f"compression.budget={budget}"))
    assert len(listener.asked) == 3 * 16
    pipeline.run(context_of(tmp_path, "compression=budget", "compression.budget=50"))
    assert [each.prompt.splitlines()[-1] for each in listener.asked[48:]] == 16 * ["Let's think step by step and use less than 50 tokens:"]
    assert not pipeline.run(context_of(tmp_path, "compression=budget", "compression.budget=25", "seed=3")).computed
    cli.main(["elasticity", "debug", "--outputs", str(tmp_path)])
    printed = " ".join(capsys.readouterr().out.split())
    assert "Token elasticity: the mean is smallest at budget 50, " in printed
    text = (tmp_path / "reports/debug/elasticity/report.md").read_text()
    assert [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")][2:] == ["none", "10", "25", "50"]


@pytest.mark.slow
def test_a_cut_answer_is_what_the_model_writes_under_that_budget(tmp_path: Path) -> None:
    cut = pipeline.run(context_of(tmp_path, "compression=none", "evaluation.modes=[base,truncate]", "evaluation.truncate_ratio=0.7"))
    most = int(cut.metrics["eval/truncate/stories/budget_tokens"])
    short = context_of(tmp_path, "compression=none", "evaluation.modes=[base]", f"evaluation.max_new_tokens={most}")
    pipeline.run(short)
    context = context_of(tmp_path, "compression=none", "evaluation.modes=[base,truncate]", "evaluation.truncate_ratio=0.7")
    base, truncated, written = (
        one.store.ledger(predictions.spec(one, mode, "stories")).read() for one, mode in ((context, "base"), (context, "truncate"), (short, "base"))
    )
    assert {name: row["text"] for name, row in truncated.items()} == {name: row["text"] for name, row in written.items()}
    assert {name: row["num_tokens"] for name, row in truncated.items()} == {name: row["num_tokens"] for name, row in written.items()}
    num_cut = sum(row["num_tokens"] > most for row in base.values())
    assert 0 < num_cut < len(base)
    assert cut.metrics["eval/truncate/num_cut"] == num_cut == sum(row["finish_reason"] == "budget" for row in truncated.values())
    total = sum(row["num_tokens"] for row in base.values())
    assert 0.6 * total < sum(row["num_tokens"] for row in truncated.values()) <= 0.7 * total
    assert not (tmp_path / "store" / "checkpoint").exists()


@pytest.mark.slow
def test_a_cut_answer_that_has_its_result_already_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the answers go on after their result, so that it outlives the cut; those of the others are lost."""

    class Talkative(Listener):
        def generate(self, requests: Sequence[Request], sampling: Sampling, emit: Callable[[Output], None]) -> None:
            for number, each in enumerate(requests):
                gold = golds[each.id.rsplit("/", 1)[0]]
                stated = f"The answer is {gold}."
                text = f"{stated}{' I am sure.' * 20}" if number % 2 else f"{'Let me think. ' * 20}{stated}"
                emit(Output(each.id, text, count(text), "stop", 0.0))

    context = context_of(tmp_path, "compression=none", "evaluation.modes=[base,truncate]", "evaluation.truncate_ratio=0.5")
    golds, count = {each.id: each.answer for each in context.questions.test}, engines.load_encoder(context).count
    monkeypatch.setattr(predictions, "answering_engine", lambda context, mode: Talkative())
    metrics = pipeline.run(context).metrics
    assert (metrics["eval/base/accuracy"], metrics["eval/truncate/accuracy"]) == (1.0, 0.5)
    assert (metrics["eval/truncate/num_cut"], metrics["eval/truncate/num_truncated"]) == (16, 0)


@pytest.mark.slow
def test_each_task_has_an_output_budget_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Uneven(Listener):
        def generate(self, requests: Sequence[Request], sampling: Sampling, emit: Callable[[Output], None]) -> None:
            for each in requests:
                text = "4 + 3 = 7. " * (3 if each.id.startswith("stories") else 12)
                emit(Output(each.id, text, count(text), "stop", 0.0))

    for name, first in (("file", 0), ("test", 50)):
        lines = [json.dumps({"question": f"What is {n} plus 1?", "answer": n + 1}) for n in range(first, first + 8)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    own = ("task=custom", f"task.file={tmp_path / 'file.jsonl'}", f"task.test_file={tmp_path / 'test.jsonl'}", "task.num_validation=2")
    both = ("evaluation.tasks=[custom,stories]", "evaluation.modes=[base,truncate]", "evaluation.truncate_ratio=0.5", "compression=none")
    context = context_of(tmp_path / "outputs", *own, *both)
    count = engines.load_encoder(context).count
    monkeypatch.setattr(predictions, "answering_engine", lambda context, mode: Uneven())
    metrics = pipeline.run(context).metrics
    for task, repeated in (("stories", 3), ("custom", 12)):
        assert metrics[f"eval/truncate/{task}/budget_tokens"] == count("4 + 3 = 7. " * repeated) // 2
        assert metrics[f"eval/truncate/{task}/num_cut"] == metrics[f"eval/truncate/{task}/num_questions"]


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["macc", "truncate", "c3ot", "step_by_step"])
def test_a_question_is_asked_in_evaluation_as_it_was_in_training(compression: str, random_model: Path, tmp_path: Path) -> None:
    model = [f"{slot}.path={random_model}" for slot in ("model", "compressor.model")]
    context = context_of(
        tmp_path, "model=hf", "compressor=local", *model, "teacher=reference", f"compression={compression}", "compressor.max_new_tokens=4"
    )
    written = rationales.make(context)
    chosen, _ = selecting.select(context, written, {})
    made = TrainingSet(chosen=chosen, chains=chosen)
    rounds.add(context, made)
    compressed = compressing.compress(context, chosen, made.rounds, {})
    examples = checkpoint.make_examples(context, chosen, compressed)
    questions = {each.id: each for each in context.training_questions}
    forms = {form: [each for each in examples.train if each.form == form] for form in ("full", "compress")}
    assert [len(each) for each in forms.values()] == [24, 24]
    for form, own in forms.items():
        for each in own:
            request = predictions.request_for(context, form, each.id, questions[each.question_id])
            assert (request.prompt, request.compressed) == (each.prompt, each.compressed)
    asked = {
        form: {(each.prompt.removeprefix(context.prompt_for(questions[each.question_id])), each.compressed) for each in own}
        for form, own in forms.items()
    }
    assert all(len(each) == 1 for each in asked.values())
    assert asked["full"] != asked["compress"]


def test_tale_asks_the_model_itself_again_with_half_of_each_budget_and_learns_from_the_last_right_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = context_of(tmp_path, "compression=tale", "teacher=reference", "mixture.full_ratio=0")
    questions = {context.prompt_for(each): each for each in context.training_questions}
    asked: dict[str, list[str]] = {prompt: [] for prompt in questions}

    class Answering:
        """Writes two calculations, then one, then a wrong answer."""

        def generate(self, requests: Sequence[Request], sampling: Sampling, emit: Callable[[Output], None]) -> None:
            for each in requests:
                prompt, _, words = each.prompt.rpartition("\n")
                asked[prompt].append(words)
                number = len(asked[prompt])
                answer = questions[prompt].answer if number < 3 else "1234"
                emit(Output(each.id, (3 - number) * "4 + 3 = 7\n" + f"The answer is \\boxed{{{answer}}}.", 9, "stop", 0.0))

    monkeypatch.setattr(rounds, "load_engine", lambda *given: Answering())
    written = rationales.make(context)
    made = TrainingSet(chosen=written, chains=written)
    rounds.add(context, made)
    words = "Let's think step by step and use less than {} tokens:"
    for each in written:
        prompt = context.prompt_for(next(own for own in context.training_questions if own.id == each.question_id))
        lengths = [each.num_cot_tokens // 2**number for number in (1, 2, 3)]
        assert asked[prompt] == [words.format(length) for length in lengths]
    assert {tuple(one.text for one in of_chain) for of_chain in made.rounds.values()} == {("4 + 3 = 7\n4 + 3 = 7", "4 + 3 = 7", "")}
    made.kept = compressing.compress(context, written, made.rounds, {})
    assert {(each.text, each.kept_round) for each in made.kept} == {("4 + 3 = 7", 2)}
    examples = checkpoint.make_examples(context, written, made.kept)
    assert all(each.completion.startswith("4 + 3 = 7") and each.completion.count("4 + 3") == 1 and each.compressed for each in examples.train)
    other = context_of(tmp_path, "compression=tale", "teacher=reference", "task.prompt='{question} Think.'")
    keys = {own.key for each in (context, other) if (own := rounds.spec(each, "stories"))}
    assert len(keys) == 2, "the question is asked in the task's words"


def test_tale_ep_asks_each_question_with_the_budget_that_the_model_estimates_for_it(
    tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first estimate is unreadable, so its question is asked without a budget. Estimates are made once."""
    context = context_of(tmp_path, "compression=tale_ep")
    test = context.questions.test
    estimates = {each.id: "[[%d]]" % (20 + number) if number else "a few" for number, each in enumerate(test)}  # noqa: UP031
    asked: list[Request] = []

    class Estimating:
        def generate(self, requests: Sequence[Request], sampling: Sampling, emit: Callable[[Output], None]) -> None:
            asked.extend(requests)
            for each in requests:
                emit(Output(each.id, estimates[each.id], 5, "stop", 0.0))

    monkeypatch.setattr(budgets, "load_engine", lambda *given: Estimating())
    result = pipeline.run(context)
    assert {each.prompt for each in asked} == {context.settings.compression.estimate.format(question=each.text) for each in test}
    words = "\nLet's think step by step and use less than {} tokens:"
    within = [context.prompt_for(each) + (words.format(20 + number) if number else "") for number, each in enumerate(test)]
    assert sorted(each.prompt for each in listener.asked) == sorted([*(context.prompt_for(each) for each in test), *within])
    assert result.metrics["eval/compress/num_unread_budgets"] == 1
    assert result.metrics["eval/compress/budget_mean"] == pytest.approx(sum(20 + number for number in range(1, len(test))) / (len(test) - 1))
    assert {"budgets/stories", "predictions/compress/stories"} <= json.loads((result.folder / "stages.json").read_text()).keys()
    pipeline.run(context_of(tmp_path, "compression=tale_ep", "evaluation.modes=[compress]"))
    assert len(asked) == len(test), "another run finds the estimates again"
    other = context_of(tmp_path, "compression=tale_ep", "compression.estimate='{question} How long?'")
    assert predictions.spec(other, "compress", "stories").key != predictions.spec(context, "compress", "stories").key
    assert predictions.spec(other, "base", "stories").key == predictions.spec(context, "base", "stories").key
