"""What a compression is: settings, traits that the rest of the program asks for, and a function from chains to shorter ones.

A new compression is one class in a file of its own here and one line in `cotexp/compressions/__init__.py`; nothing else asks for its name
or class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from cotexp.records import Compressed, Rationale, Round
from cotexp.settings.base import Section, keyed

StoredSettings = Mapping[str, Any]
"""The settings of a finished run as its settings.json holds them."""


class PromptForm(NamedTuple):
    """How a model is asked for one form of an answer: what the user says, and whether the `<compress>` mark or a ratio follows."""

    prompt: str
    compressed: bool
    ratio: float | None = None


class Encoder(Protocol):
    """What a compression needs of the target model's tokenizer (`cotexp.models.encoding.Encoder`)."""

    def readable(self, text: str) -> str: ...
    def text_ids(self, text: str, *, goes_on: bool = False) -> list[int]: ...
    def spans(self, text: str, *, goes_on: bool = False) -> list[tuple[int, int]]: ...
    def decode(self, ids: list[int]) -> str: ...
    def count(self, text: str) -> int: ...
    def cut(self, text: str, num_tokens: int) -> str: ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What a compression may be given. `rounds` and `importances` are empty unless its traits ask for them.

    `rounds`: chain id -> rounds 1, 2, ... that its compressor wrote; if `rounds_are_recorded` there are no more, or none at all.
    `importances`: chain id -> one number per token, larger is more important.
    `deterministic`: whether the compressor answers an unchanged text with the same text. `encoder` loads the target model's tokenizer.
    """

    rounds: Mapping[str, Sequence[Round]]
    importances: Mapping[str, Sequence[float]]
    encoder: Callable[[], Encoder]
    deterministic: bool
    seed: int
    rounds_are_recorded: bool = False


class Compression(Section):
    """Base of the settings class of each compression; a subclass is a dataclass with a field `name`.

    Traits:
    * `trains`: the model is fine-tuned.
    * `has_short_form`: there is a short form of an answer besides the full one.
    * `has_full_form`: and the full one is trained.
    * `learns_labels`: the short form is the gold answer alone, in place of a shorter chain.
    * `asks_compressor`: a compressor rewrites the chains in rounds (`cotexp.compressions.rewriting`).
    * `answers_anew`: its rounds are new answers to the question, not rewrites of the round before.
    * `estimates_budget`: the model first estimates a budget of tokens for each test question (`estimate`, `budget_in`, `ask_within`).
    * `ranks_tokens`: every token of a chain gets an importance.
    * `rounds_end`: when its rounds end, for reports, unless a setting `stop` says so.
    * `teaches_compressor`: examples of the compressor's role may be mixed in.
    * `pairs_rationales`: examples of the compressor's role, made of `pairs` of chains, take the place of the short form.
    * `asked_by`: what asks for the short form: the `<compress>` mark, an instruction (settings `instruction`, `long_instruction`), or a ratio.
    * `words_of_instruction`: where the words of its instructions come from, for reports.
    """

    __slots__ = ()
    name: str
    trains: ClassVar[bool] = True
    has_short_form: ClassVar[bool] = True
    has_full_form: ClassVar[bool] = True
    learns_labels: ClassVar[bool] = False
    asks_compressor: ClassVar[bool] = False
    answers_anew: ClassVar[bool] = False
    estimates_budget: ClassVar[bool] = False
    ranks_tokens: ClassVar[bool] = False
    teaches_compressor: ClassVar[bool] = False
    pairs_rationales: ClassVar[bool] = False
    asked_by: ClassVar[Literal["mark", "instruction", "ratio"]] = "mark"
    rounds_end: ClassVar[str] = "one round"
    words_of_instruction: ClassVar[str] = ""

    @property
    def compresses_chains(self) -> bool:
        """Whether training chains become shorter."""
        return self.trains_short_form and not self.learns_labels

    @property
    def trains_short_form(self) -> bool:
        """Whether training examples in the short form are needed."""
        return self.trains and self.has_short_form

    @property
    def classifier_path(self) -> str | None:
        """The model that ranks tokens, if the target model does not: a folder or hub id."""
        return None

    def complete(self, settings: Any) -> None:
        """Fill in settings of this run that are None by default and depend on several sections."""

    def run_contradictions(self, settings: Any) -> Iterator[str]:
        """Sentences about settings of other sections that do not go with this compression."""
        yield from ()

    def compress(self, chains: Sequence[Rationale], tools: Tools) -> list[Compressed]:
        """The short form of each chain; a chain may be dropped."""
        return []

    def pairs(self, chains: Sequence[Rationale]) -> list[tuple[Rationale, Rationale]]:
        """(a chain, its rewrite), both correct and of one question, by which a compressor learns; without repeated texts."""
        return []

    @classmethod
    def taught(cls, settings: StoredSettings) -> str:
        """A sentence for a model's card: what it was taught as a compressor; empty if it was not. From a run's stored settings."""
        return ""

    @classmethod
    def words_for(cls, form: str, own: StoredSettings) -> str | None:
        """The words that ask for a form or mode, None if there are none; `own` holds the settings of this compression."""
        return own.get(INSTRUCTIONS.get(form, ""))

    def instruction_for(self, form: str) -> str | None:
        """The words that ask for a form or mode, None if there are none."""
        return self.words_for(form, keyed(self))

    def ask(self, form: str, prompt: str, ratio: float | None = None) -> PromptForm:
        """How a model is asked for a form or mode; training and evaluation both ask here.

        An instruction is a line of its own after the task's `prompt` (ours: where peers put theirs is not known to us). Without one, the
        mark asks for "compress", or a `ratio` if there is one; every other form has the prompt alone.
        """
        if form == "compress" and ratio is not None:
            return PromptForm(prompt, False, ratio)
        instruction = self.instruction_for(form)
        return PromptForm(f"{prompt}\n{instruction}", False) if instruction else PromptForm(prompt, form == "compress")

    @classmethod
    def disclosures(cls, settings: StoredSettings) -> Iterator[str]:
        """Sentences for reports: what this compression does that its paper does not say, from a run's stored settings."""
        if cls.asked_by == "instruction":
            yield f"Our choice: an instruction follows the task's prompt on a new line{cls.words_of_instruction}."


INSTRUCTIONS = {"full": "long_instruction", "compress": "instruction"}
"""Form or mode -> the setting that holds the words by which it is asked for, if there are some."""
