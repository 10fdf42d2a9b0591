"""Rounds 1, 2, ... of every chain: what the compressor made of the round before, as many as the stop rule reads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from cotexp.compressions.rewriting import ToRewrite
from cotexp.jobs import api_texts
from cotexp.jobs.engines import load_encoder, load_engine, rows_at_once
from cotexp.methods import reasoning
from cotexp.methods.rounds import outcome_of
from cotexp.records import WITHOUT_TEXT, Question, Rationale, Round
from cotexp.settings.base import RunFailed, keyed
from cotexp.stages import rationales, rewrites
from cotexp.stages.context import Compute, Context, Emit, by_task, compressor_model, environment, hash_of, is_deterministic, parent
from cotexp.stages.rationales import CHUNK_OF_KNOWN_TEXTS
from cotexp.stages.training_set import TrainingSet
from cotexp.store.claims import ChunkSize
from cotexp.store.specs import Spec
from cotexp.store.stored_files import Row
from cotexp.tasks.grading import is_kept

NAME = "rounds"
VERSION = 3
READS = ("rationales", "rewrites")
BOUNDED = True

log = logging.getLogger(__name__)

Rounds = dict[str, list[Round]]
"""Chain id -> its rounds 1, 2, ..."""


def spec(context: Context, task: str) -> Spec | None:
    """None when this compression asks no compressor. Stop rules do not enter: every rule reads the same rounds."""
    settings = context.settings
    if not settings.compression.asks_compressor:
        return None
    if context.recorded_rounds:
        recorded = context.recorded_rounds[task].sha256
        source = {"rationales": rationales.spec(context, task).key, "recorded": recorded, "tokenizer": context.base.sha256}
        return Spec(NAME, {"version": VERSION, **source})
    written = rewrites.spec(context, task)
    if written is not None:
        compressor: dict[str, Any] = {"compressor": {"rewrites": written.key}}
    else:
        model = compressor_model(settings)
        assert context.compressor is not None
        assert model is not None
        compressor = {
            "compressor": keyed(settings.compressor),
            "model": context.compressor.sha256,
            **environment(model),
        }
    own = {
        "rationales": rationales.spec(context, task).key,
        "tokenizer": context.base.sha256,
        **settings.compression.decides_rounds,
        **({"asked": context.prompts[task].identity, "judged": "stated answers"} if settings.compression.answers_anew else {}),
        **compressor,
    }
    return Spec(NAME, {"version": VERSION, **own})


model = compressor_model


def add(context: Context, made: TrainingSet) -> None:
    """The rounds of every chain; none when this compression asks no compressor. In a look those that are stored, up to the first missing one.

    Raises: RunFailed if answers are to be written anew of chains that are thinking.
    """
    if not context.settings.compression.asks_compressor:
        return
    if context.look is None:
        check_thinking(context, made.chains)
        for recorded in context.recorded_rounds.values():
            log.info("%s", recorded.note)
    questions = {each.id: each for each in context.training_questions}
    for task in by_task(context.training_questions):
        made.rounds |= _of_task(context, task, [each for each in made.chains if questions[each.question_id].task == task], questions)


def is_thinking(chain: Rationale) -> bool:
    """Whether the chain is the thinking of a rationale, after which its whole solution follows."""
    return chain.id.endswith(f"/{reasoning.THINKING}")


def check_thinking(context: Context, chains: Sequence[Rationale]) -> None:
    """Raises: RunFailed if chains are thinking, and the rounds are new answers: each would take the place of the thinking and of what follows it."""
    rule = context.settings.compression
    num_thinking = sum(map(is_thinking, chains))
    if rule.answers_anew and num_thinking:
        raise RunFailed(
            f"compression={rule.name} answers questions anew, and cannot replace thinking: {num_thinking} of the {len(chains)} chains are "
            "the thinking of a rationale; take a teacher that does not think, turn its thinking off (chat_template_kwargs), or take compression=macc"
        )


def metrics(context: Context, made: TrainingSet) -> dict[str, float]:
    """How many rewrites there are, and how many of them cannot be used, by outcome, and the tokens of a compressor on this machine; nothing where
    no compressor was asked.
    """
    outcomes: list[str] = [each.outcome for run in made.rounds.values() for each in run]
    failed = ("length", *WITHOUT_TEXT)
    if not outcomes:
        return {}
    counts = {"rounds/num_written": len(outcomes), **{f"rounds/num_{each}": outcomes.count(each) for each in failed}}
    if context.recorded_rounds:
        counts["rounds/num_chains_without"] = sum(not run for run in made.rounds.values())
        counts["compressor/num_tokens_out"] = sum(each.num_tokens for run in made.rounds.values() for each in run)  # nobody knows the prompts
    return counts | (_num_tokens(context, made) if context.compressor is not None else {})


def _num_tokens(context: Context, made: TrainingSet) -> dict[str, float]:
    """Tokens that the compressor read and wrote, in prompts and texts of rounds, by the tokenizer and template of the model that is trained."""
    encoder, questions = load_encoder(context), {each.id: each for each in context.training_questions}
    read = written = 0
    for each in made.chains:
        run = made.rounds.get(each.id, [])
        read += sum(len(encoder.prompt(_rewriting(context, questions[each.question_id], each, run[:number])[1])) for number in range(len(run)))
        written += sum(one.num_tokens for one in run)
    return {"compressor/num_tokens_in": read, "compressor/num_tokens_out": written}


def _of_task(context: Context, task: str, chains: Sequence[Rationale], questions: Mapping[str, Question]) -> Rounds:
    """Round by round: finished chains make no more rows."""
    own = spec(context, task)
    assert own is not None
    rule, deterministic = context.settings.compression, is_deterministic(context.settings)
    rounds: Rounds = {each.id: [] for each in chains}
    active, number, most = list(chains), 0, rule.most_rounds
    while active := [each for each in active if rule.decide(each, rounds[each.id], deterministic=deterministic) is None]:
        number += 1
        if context.recorded_rounds:
            recorded = context.recorded_rounds[task].rounds
            active = [each for each in active if len(recorded.get(each.id, ())) >= number]
        lengths = {each.id: rounds[each.id][-1].num_tokens if number > 1 else each.num_cot_tokens for each in active}
        ids = [f"{each.id}/{number}" for each in sorted(active, key=lambda each: (lengths[each.id], each.id))]
        compute = _one_round(context, task, active, rounds, number)
        chunk_size = _chunk_size(context, {each.id: each for each in active}, rounds, lengths)
        rows = context.rows(f"rounds/{task}", own, ids, compute, chunk_size=chunk_size, shown=f"round {number}")
        if context.look is not None:
            num_open = len(ids) - len(rows)
            context.look.count(f"rounds/{task}", (most - number) * num_open, (most - number) * num_open)
        active = [each for each in active if f"{each.id}/{number}" in rows]
        for each in active:
            rounds[each.id].append(Round.from_row(rows[f"{each.id}/{number}"]))
    if context.look is not None:
        num_unknown = context.look.num_unwritten[task] * most
        context.look.count(f"rounds/{task}", num_unknown, num_unknown)
        if rewrites.spec(context, task) is not None:  # one for each round, asked for by the rows above
            counted = context.look.stages[f"rounds/{task}"]
            context.look.count(f"rewrites/{task}", counted.num_wanted, counted.num_missing)
    return rounds


def _chunk_size(context: Context, rationales: dict[str, Rationale], rounds: Rounds, lengths: dict[str, int]) -> ChunkSize:
    """How many chains are claimed and rewritten at once; a rewrite is expected to be as long as what goes in."""
    if context.settings.compressor.server is not None:
        return api_texts.EVERYTHING
    if context.recorded_rounds:
        return CHUNK_OF_KNOWN_TEXTS
    questions = {each.id: each for each in context.training_questions}

    def prompt(name: str) -> str:
        rationale = rationales[parent(name)]
        return _rewriting(context, questions[rationale.question_id], rationale, rounds[rationale.id])[1]

    model = compressor_model(context.settings)
    assert model is not None
    return rows_at_once(context, model, context.settings.compressor, prompt, lambda name: lengths[parent(name)])


def _rewriting(context: Context, question: Question, rationale: Rationale, before: Sequence[Round]) -> tuple[str, str]:
    """(the chain that is rewritten next, what the compressor is asked), after these rounds."""
    rule = context.settings.compression
    previous = before[-1].text if before else rationale.cot.strip()
    answer = question.answer if rule.prompt_answer == "gold" else rationale.answer or ""
    lengths = [rationale.num_cot_tokens, *(each.num_tokens for each in before)]
    asked = ToRewrite(question.text, context.prompt_for(question), previous, answer, len(lengths), lengths[-1], lengths[0])
    return previous, rule.rewrite_prompt(asked)


def _one_round(context: Context, task: str, active: Sequence[Rationale], rounds: Rounds, number: int) -> Compute:
    questions, rule = {each.id: each for each in context.training_questions}, context.settings.compression
    rationales = {each.id: each for each in active}

    def compute(ids: list[str], emit: Emit) -> None:
        count = load_encoder(context).count
        prompts, previous = {}, {}
        for each in ids:
            rationale = rationales[parent(each)]
            previous[each], prompts[each] = _rewriting(context, questions[rationale.question_id], rationale, rounds[rationale.id])

        def read(name: str, output: Row) -> Row:
            rationale, written = rationales[parent(name)], reasoning.without_thinking(output["text"])
            question = questions[rationale.question_id]
            text = written if is_thinking(rationale) else rule.chain_in(written, question)
            one = Round(
                id=name,
                rationale_id=rationale.id,
                round=number,
                text=text,
                num_tokens=count(text),
                tokenizer=context.base.sha256[:12],
                prompt_hash=hash_of([prompts[name]]),
                previous_text_hash=hash_of([previous[name]]),
                finish_reason=output["finish_reason"],
                outcome=outcome_of(text, output["finish_reason"]),
                answer_kept=is_kept(rationale.answer, written, question, must_state=rule.answers_anew),
                seconds=output["seconds"],
            )
            return asdict(one) | ({"usage": output["usage"]} if output["usage"] else {})

        if context.recorded_rounds or context.compressor is None:
            texts = _recorded(context, task, ids, number) if context.recorded_rounds else rewrites.make(context, task, prompts, number)
            for each in ids:
                emit(read(each, texts[each]))
        else:
            _generate(context, prompts, previous, lambda output: emit(read(output["id"], output)))

    return compute


def _recorded(context: Context, task: str, ids: Sequence[str], number: int) -> dict[str, Row]:
    """Id -> what the compressor's files have as round `number`."""
    found = {each: context.recorded_rounds[task].rounds[parent(each)][number - 1] for each in ids}
    return {each: {"text": one.text, "finish_reason": one.finish_reason, "seconds": 0.0, "usage": None} for each, one in found.items()}


def _generate(context: Context, prompts: Mapping[str, str], previous: Mapping[str, str], on_text: Callable[[Row], None]) -> None:
    """Let the compressor rewrite; a rewrite is expected to be as long as the previous chain."""
    from cotexp.inference.engine import Request

    model = compressor_model(context.settings)
    assert model is not None
    assert context.compressor is not None
    engine = load_engine(context, context.compressor, model)
    count = load_encoder(context).count
    requests = [Request(name, prompt, expected=count(previous[name])) for name, prompt in prompts.items()]
    engine.generate(requests, context.settings.compressor, lambda output: on_text(asdict(output)))
