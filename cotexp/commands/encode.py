"""`cotexp encode`: the tokens that the model reads in training."""

from __future__ import annotations

import copy

from rich.text import Text

from cotexp import flow
from cotexp.config import command_line
from cotexp.flow import Walk
from cotexp.jobs import engines, pipeline
from cotexp.jobs.checks import check_models, check_room
from cotexp.models.encoding import Encoder
from cotexp.progress import page
from cotexp.records import Example
from cotexp.settings.base import ConfigError, RunFailed
from cotexp.stages import checkpoint
from cotexp.stages.context import Context
from cotexp.tasks import QuestionSets
from cotexp.visible import visible


def print_encoded(overrides: list[str], *, num_questions: int) -> None:
    """Print the training examples of the first questions. Rationales and rounds come from the store, or are made only for these questions.

    Raises: ConfigError if the settings train nothing; RunFailed if these questions leave no example.
    """
    settings = command_line.check_command_line(overrides, multirun=False)[0]
    if not settings.trains:
        compression, modes = settings.compression.name, settings.evaluation.modes
        raise ConfigError(f"encode: compression={compression} with evaluation.modes={modes} trains nothing, so there are no examples to show")
    context = pipeline.prepare(settings)
    check_models(context)
    check_room(context)
    context.questions = QuestionSets(train=context.questions.train[:num_questions], validation=[], test=[])
    try:
        made = flow.training_set(context, Walk())
        examples = checkpoint.make_examples(context, made.chosen, made.compressed).train
    except RunFailed as error:  # of a run over all questions it may not be true
        raise RunFailed(f"encode, which looks at {num_questions} of the training questions (--questions looks at more): {error}") from None
    encoder = encoder_with_mark(context)
    console = page()
    console.print("dim: read only; ", Text("green: supervised", style="green"), "; ", Text("magenta: special token", style="bold magenta"), sep="")
    for example in examples:
        console.print(coloured(example, encoder))


def encoder_with_mark(context: Context) -> Encoder:
    """The target model's encoder with the `<compress>` token added, as training adds it."""
    from tokenizers import AddedToken

    from cotexp.models.loading import is_encoder_decoder

    encoder, model = engines.load_encoder(context), context.settings.model
    tokenizer = copy.deepcopy(encoder.tokenizer)
    if encoder.compress_id is None:
        tokenizer.add_tokens([AddedToken(model.compress_token, special=True, normalized=False)], special_tokens=True)
    return Encoder.of(
        tokenizer,
        compress_token=model.compress_token,
        literal=model.literal_encoding,
        encoder_decoder=is_encoder_decoder(context.base.folder, model),
    )


def coloured(example: Example, encoder: Encoder) -> Text:
    """One example with every token shown; line breaks are shown as ⏎."""
    encoded = encoder.example(example.prompt, example.completion, compressed=example.compressed, ratio=example.ratio)
    special = set(encoder.tokenizer.all_special_ids) | {encoder.compress_id}
    text = Text(f"\n{example.id}: {example.form}, {len(encoded.ids)} tokens, {sum(encoded.loss_mask)} supervised\n", style="bold")
    for token, supervised in zip(encoded.ids, encoded.loss_mask, strict=True):
        name = encoder.tokenizer.convert_ids_to_tokens(token)
        piece = encoder.tokenizer.decode([token], skip_special_tokens=False)
        piece = visible(piece, keep="\n").replace("\n", "⏎\n")
        piece = f" {piece}" if name.startswith("▁") and not piece.startswith(" ") else piece  # decoding a single token loses its space
        style = "magenta" if token in special else "green" if supervised else "dim"
        text.append(piece, style=f"not bold {style}" + (" underline" if supervised else ""))
    return text
