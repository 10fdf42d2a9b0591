"""Turns prompts and completions into token ids, and marks the supervised ones. No other module does this.

Forms of a prompt with the question Q:

* Plain models: `Q` for a full chain of thought, `Q EOS <compress> EOS` for a short one.
* Chat models: the mark is at the end of the user's turn, `Q<compress>`, since EOS closes the turn. `literal` gives the plain form in the turn.
* Encoder-decoder models read the prompt as source and write the completion. If the tokenizer ends a source with EOS, as T5's does, that EOS is
  the last one of the form: `Q EOS` and `Q EOS <compress> EOS`.
* A ratio replaces the mark, as in TokenSkip: `Q EOS 0.5 EOS`, also in a user's turn. If EOS ends the turn, it is the second one.

A prompt is encoded as a whole, so its ids are those of the chat template, and yet no text can turn into a control token (`guarded_tokenizer`).
The ids of a completion are those of the template's answering turn, with the template's space before the answer.

Tokenizers differ in the texts that they can encode. T5's reads any white space as one space, so a T5 neither reads nor writes line breaks, and
it drops characters that its vocabulary lacks (braces, backslashes, "<"), so LaTeX is lost. Without braces, `\\boxed{19}` in a text is replaced
by "#### 19", the other mark of a final answer, so that such a model can state one.

Source: MACC and TokenSkip for the plain forms. The chat form is our choice (METHODS).
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from cotexp.models.guarded_tokenizer import GuardedTokenizer, Pieces
from cotexp.models.tokenizer import frame, opening_of_answers, prompt_text
from cotexp.settings.base import ConfigError, RunFailed

_BOX = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}")


class Encoded(NamedTuple):
    """Token ids of an example and, of equal length, 1 for each supervised token and 0 for the others.

    The zeros come first: for an encoder-decoder model they are the source and the ones are the target.
    """

    ids: list[int]
    loss_mask: list[int]


@dataclass(frozen=True, slots=True)
class Encoder:
    """Encodes for one tokenizer. `compress_id` is None for a model without the mark. `mark_ids` follow the text of a compressed prompt.

    `prefix_ids` and `suffix_ids` are the ids that the tokenizer puts around a plain text. A completion follows one of the texts `before`, or is a
    separate text for an encoder-decoder model. `lead`: ids that the chat template puts before an answer; `opening`: the decoded `lead`.
    """

    tokenizer: Any
    joint: GuardedTokenizer = dataclasses.field(compare=False, repr=False)
    prefix_ids: list[int]
    suffix_ids: list[int]
    eos_id: int
    compress_id: int | None
    mark_ids: list[int]
    ratio_ends: bool
    has_braces: bool
    starts_texts: bool
    before: tuple[str, ...] = dataclasses.field(compare=False, repr=False)
    lead: str
    opening: str = ""

    @classmethod
    def of(cls, tokenizer: Any, *, compress_token: str | None, literal: bool = False, encoder_decoder: bool = False) -> Encoder:
        """The encoder of a tokenizer. Raises: ConfigError if the tokenizer reads its mark after a question as text."""
        compress_id = tokenizer.convert_tokens_to_ids(compress_token) if compress_token in tokenizer.get_vocab() else None
        eos_id, mark = tokenizer.eos_token_id, [] if compress_id is None else [compress_id]
        joint = GuardedTokenizer.of(tokenizer, (tokenizer.eos_token, compress_token))
        prefix, suffix = ([], []) if tokenizer.chat_template else _put_around(tokenizer, encoder_decoder)
        after = frame(tokenizer)[1] if tokenizer.chat_template else ""
        if mark and (literal or not tokenizer.chat_template):
            mark = [eos_id, *mark, *([] if suffix[:1] == [eos_id] else [eos_id])]
        before = joint.control(after)
        encoder = cls(
            tokenizer=tokenizer,
            joint=joint,
            prefix_ids=prefix,
            suffix_ids=suffix,
            eos_id=eos_id,
            compress_id=compress_id,
            mark_ids=mark,
            ratio_ends=suffix[:1] != [eos_id] and not after.startswith(tokenizer.eos_token),
            has_braces=tokenizer.unk_token_id not in tokenizer("{}", add_special_tokens=False)["input_ids"],
            starts_texts=encoder_decoder,
            before=(before, *_seam(joint, before)) if before else (),
            lead="" if encoder_decoder else _lead(tokenizer, joint, before),
        )
        if mark and compress_id not in encoder.prompt("a", compressed=True):
            raise ConfigError(
                f"model.compress_token: the tokenizer of {tokenizer.name_or_path} reads {compress_token!r} after a question as text; "
                "set single_word and normalized of that token to false in its tokenizer.json"
            )
        shown = encoder.decode(encoder.text_ids("a"))
        return dataclasses.replace(encoder, opening=shown.removesuffix("a") if shown.strip() == "a" else "")

    def prompt(self, text: str, *, compressed: bool = False, ratio: float | None = None) -> list[int]:
        """Ids of a prompt, up to the first token that the model writes. With a `ratio` the prompt has no mark."""
        assert self.mark_ids or not compressed, "this tokenizer has no <compress> token"
        asked = self.asked(compressed=compressed, ratio=ratio)
        own = self.readable(text)
        if self.tokenizer.chat_template:
            whole = self.joint.control(prompt_text(self.tokenizer, self.joint.hide(own) + asked))
        else:
            whole = own + self.joint.control(asked)
        return [*self.prefix_ids, *self.joint.pieces(whole).ids, *self.suffix_ids]

    def asked(self, *, compressed: bool = False, ratio: float | None = None) -> str:
        """The text after a prompt that requests a short chain of thought; special tokens appear by name."""
        if ratio is not None:
            return f"{self.tokenizer.eos_token}{ratio:g}{self.tokenizer.eos_token if self.ratio_ends else ''}"
        return "".join(self.tokenizer.convert_ids_to_tokens(self.mark_ids)) if compressed else ""

    def example(self, prompt: str, completion: str, *, compressed: bool = False, ratio: float | None = None) -> Encoded:
        """Ids of prompt, completion and EOS; completion and EOS are supervised."""
        prompt_ids = self.prompt(prompt, compressed=compressed, ratio=ratio)
        target_ids = [*self.text_ids(completion), self.eos_id]
        return Encoded(prompt_ids + target_ids, [0] * len(prompt_ids) + [1] * len(target_ids))

    def text_ids(self, text: str, *, goes_on: bool = False) -> list[int]:
        """Ids of a text that a model writes after a prompt; `goes_on`: after other text. Names of special tokens are ordinary characters."""
        return self._pieces(text, goes_on=goes_on).ids

    def _pieces(self, text: str, *, goes_on: bool = False) -> Pieces:
        own = self.readable(text)
        if goes_on or not own:
            return self.joint.pieces(own) if self.starts_texts else self.joint.continuation((), own)
        lead, before = self.lead, self.before
        if own.startswith(" ") and self.opening and not lead:
            lead, before = self.opening, ()  # a tokenizer that adds a space before a text takes the first space of the text for it
        elif self.starts_texts:
            return self.joint.pieces(own)
        ids, spans = self.joint.continuation(before, lead + own)
        return Pieces(ids, [(max(0, first - len(lead)), max(0, end - len(lead))) for first, end in spans])

    def readable(self, text: str) -> str:
        """The text with its final answer in a form that the tokenizer can write."""
        return text if self.has_braces else _BOX.sub(r"#### \1", text)

    def spans(self, text: str, *, goes_on: bool = False) -> list[tuple[int, int]]:
        """The characters (first, end) of `readable(text)` that each token of `text_ids(text, goes_on=goes_on)` covers.

        Raises: RunFailed for a tokenizer without offsets, such as one written only in Python.
        """
        if not self.tokenizer.is_fast:
            raise RunFailed(f"{type(self.tokenizer).__name__} does not give the offsets of its tokens; add a tokenizer.json to the model's folder")
        return self._pieces(text, goes_on=goes_on).spans

    def count(self, text: str) -> int:
        """Length of a text in tokens, without special tokens."""
        return len(self.text_ids(text))

    def cut(self, text: str, num_tokens: int) -> str:
        """The text of the first `num_tokens` tokens, without a last character of which some tokens are missing."""
        return self.decode(self.text_ids(text)[:num_tokens]).rstrip("\N{REPLACEMENT CHARACTER}")

    def decode(self, ids: list[int]) -> str:
        """The text with these `text_ids`, or the text that a model wrote with them. They are decoded after other text, so that no space is lost."""
        other = self.joint.pieces("a").ids
        before, whole = self._decoded(other), self._decoded([*other, *ids])
        return whole[len(before) :].removeprefix(self.opening) if whole.startswith(before) else self._decoded(ids)

    def _decoded(self, ids: list[int]) -> str:
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def _put_around(tokenizer: Any, encoder_decoder: bool) -> tuple[list[int], list[int]]:
    """Ids that the tokenizer puts before and after a plain text.

    The ids after it end a source. After a causal model's prompt there are none, since they would end the text that the model continues.
    """
    bare, framed = tokenizer("a", add_special_tokens=False)["input_ids"], tokenizer("a")["input_ids"]
    start = next(i for i in range(len(framed)) if framed[i : i + len(bare)] == bare)
    return framed[:start], framed[start + len(bare) :] if encoder_decoder else []


def _seam(joint: GuardedTokenizer, before: str) -> tuple[str, ...]:
    """Texts before a completion. The seam replaces an added token at their end, which would swallow the white space after it."""
    last = joint.pieces(before).ids[-1:]
    return (joint.seam,) if last and last[0] in joint.tokenizer.added_tokens_decoder else ()


def _lead(tokenizer: Any, joint: GuardedTokenizer, before: str) -> str:
    """White space that the chat template puts before an answer, if tokens represent it."""
    lead = opening_of_answers(tokenizer) if tokenizer.chat_template else ""
    return lead if joint.pieces(before + lead + "a").ids != joint.pieces(before + "a").ids else ""
