"""Log-probabilities of texts about questions, or ranks of their tokens, under the model before fine-tuning."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cotexp.jobs.engines import load_local
from cotexp.models.encoding import Encoder
from cotexp.stages.context import Context, environment, scoring_model
from cotexp.tasks import answer_type_of

if TYPE_CHECKING:
    from cotexp.inference.scoring import Text

SEPARATOR = "\n"
"""Stands between a rationale and the connector."""


def score_rows(
    context: Context,
    question_of: Mapping[str, str],
    texts: Callable[[str, Encoder], list[Text]],
    on_row: Callable[[str, list[list[float]]], None],
    on_long: Callable[[str, list[Text]], None] | None = None,
    *,
    ranks: bool = False,
) -> None:
    """Give `on_row` the log-probabilities of the `texts` of each row, or with `ranks` their tokens' places among all tokens; the rows of a
    question share its prompt.

    `question_of`: row -> id of the question that its texts are about. `on_long` gets the rows that the model's context cannot hold.
    Raises: RunFailed for such a row without `on_long`.
    """
    from cotexp.inference.scoring import Item, Scorer
    from cotexp.models import head

    loaded = load_local(context, context.base, scoring_model(context.settings)).loaded
    scorer = Scorer(loaded, max_batch_tokens=context.settings.scoring.max_batch_tokens)
    questions = {each.id: each for each in context.training_questions}
    items: dict[str, Item] = {}
    rows: dict[str, list[tuple[str, int]]] = {}
    for row, name in question_of.items():
        own = texts(row, loaded.encoder)
        item = items.get(name) or Item(name, loaded.encoder.prompt(context.prompt_for(questions[name])), [])
        if on_long is not None and not scorer.fits(item._replace(texts=own)):
            on_long(row, own)
            continue
        items.setdefault(name, item).texts.extend(own)
        rows.setdefault(name, []).append((row, len(own)))

    def on_item(name: str, found: list[list[float]]) -> None:
        values = iter(found)
        for row, count in rows[name]:
            on_row(row, list(itertools.islice(values, count)))

    scorer.score(list(items.values()), on_item, head.ranks if ranks else head.log_probabilities)


def text_after(before: str, text: str, encoder: Encoder) -> Text:
    """A text whose tokens are all scored, after what was thought `before` it, which may be empty."""
    from cotexp.inference.scoring import Text

    earlier = encoder.text_ids(before)
    ids = [*earlier, *encoder.text_ids(text, goes_on=bool(earlier))]
    return Text(ids, list(range(len(earlier), len(ids))))


def answers_read(context: Context, task: str) -> dict[str, Any]:
    """What the likelihood of an answer to a question of this task depends on beside the model and the texts: part of a stage's key."""
    scoring = context.settings.scoring
    return {
        "task": task,
        "prompt": context.prompts[task].identity,
        "connector": scoring.connector,
        "answer": scoring.answer,
        "answers": answer_type_of(context.settings.tasks[task]),
        **environment(scoring_model(context.settings)),
    }


def answer_after(ids: list[int], joint: str, answer: str, encoder: Encoder, *, read_text: bool = False) -> Text:
    """The tokens of a text, `joint`, which ends with the connector, and the answer with the end of the sequence, which is scored.

    `read_text`: the tokens of the text are scored too, before those of the answer.
    """
    from cotexp.inference.scoring import Text

    before = [*ids, *encoder.text_ids(joint.rstrip(), goes_on=bool(ids))]
    space = joint[len(joint.rstrip()) :]  # tokenizers attach it to the next word
    answer_ids = [*encoder.text_ids(space + answer, goes_on=bool(before)), encoder.eos_id]
    read = range(len(before), len(before) + len(answer_ids))
    return Text([*before, *answer_ids], [*(range(len(ids)) if read_text else ()), *read])
