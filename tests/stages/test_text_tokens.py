"""Tokens that teacher and compressor on this machine read and wrote, as a run counts them."""

from __future__ import annotations

from pathlib import Path

from cotexp.compressions.rewriting import ToRewrite
from cotexp.config import command_line
from cotexp.jobs import pipeline
from cotexp.jobs.engines import load_encoder
from cotexp.records import Rationale, Round
from cotexp.stages import rounds, texts
from cotexp.stages.context import Context
from cotexp.stages.training_set import TrainingSet
from cotexp.teachers.recorded import RecordedTeacher

CHAINS = ("Ann has 2 apples. She gets 3 more, so she has 2 + 3 = 5 apples.", "2 + 3 = 5.", "5.")


def context(model: Path, outputs: Path, *chosen: str) -> Context:
    sizes = ["task.num_train=3", "task.num_validation=1", "task.num_test=2", "tracking=none", f"model.path={model}", f"paths.outputs={outputs}"]
    return pipeline.make_context(command_line.check_command_line([*sizes, *chosen], multirun=False)[0])


def rationale(question: str, sample: int, num_tokens: int) -> Rationale:
    own = {"cot": CHAINS[0], "closing": "", "answer": "5", "correct": True, "finish_reason": "stop"}
    return Rationale(id=f"{question}/{sample}", question_id=question, sample=sample, num_tokens=num_tokens, num_cot_tokens=num_tokens, **own)  # type: ignore[arg-type]


def test_a_compressor_reads_the_prompt_and_the_chain_of_each_round_and_writes_the_next(random_model: Path, tmp_path: Path) -> None:
    made = context(random_model, tmp_path, "compression=macc", "compressor=self")
    encoder, question = load_encoder(made), made.training_questions[0]
    lengths = [encoder.count(text) for text in CHAINS]
    chain = rationale(question.id, 0, lengths[0])
    fields = {"tokenizer": "", "prompt_hash": "", "previous_text_hash": "", "finish_reason": "stop", "outcome": "ok", "answer_kept": True}
    run = [
        Round(id=f"{chain.id}/{number}", rationale_id=chain.id, round=number, text=CHAINS[number], num_tokens=lengths[number], **fields)  # type: ignore[arg-type]
        for number in (1, 2)
    ]
    found = rounds.metrics(made, TrainingSet(chains=[chain, rationale(question.id, 1, 9)], rounds={chain.id: run}))
    before = [ToRewrite(question.text, "", text, "5", number, lengths[number - 1], lengths[0]) for number, text in enumerate(CHAINS[:2], 1)]
    asked = list(map(made.settings.compression.rewrite_prompt, before))
    assert found["compressor/num_tokens_out"] == lengths[1] + lengths[2]
    assert found["compressor/num_tokens_in"] == sum(len(encoder.prompt(each)) for each in asked)


def test_a_teacher_on_this_machine_reads_its_prompt_for_every_sample(random_model: Path, tmp_path: Path) -> None:
    made = context(random_model, tmp_path, "compression=none", "teacher=local", f"teacher.model.path={random_model}")
    first, second = made.training_questions[:2]
    written = TrainingSet(written=[rationale(first.id, 0, 7), rationale(first.id, 1, 8), rationale(second.id, 0, 9)])
    lengths = [len(load_encoder(made).prompt(made.prompt_for(each))) for each in (first, second)]
    assert texts.metrics(made, written) == {"teacher/num_tokens_in": 2 * lengths[0] + lengths[1], "teacher/num_tokens_out": 24}


def test_worked_solutions_cost_nothing_and_prompts_of_recorded_texts_are_unknown(random_model: Path, tmp_path: Path) -> None:
    made = context(random_model, tmp_path, "compression=none", "teacher=reference")
    written = TrainingSet(written=[rationale(made.training_questions[0].id, 0, 7)])
    assert texts.metrics(made, written) == {}
    made.settings.teacher = RecordedTeacher(files=["mine.jsonl"])
    assert texts.metrics(made, written) == {"teacher/num_tokens_out": 7}
