"""The only place where prompts and completions become token ids.

What is supervised is decided next to what is written. Plain models: `Q` (full form) or `Q EOS <compress> EOS`. Chat models: the mark
stands at the end of the user's turn, `Q<compress>`, since EOS closes the turn there; `literal` gives the plain form inside the turn.
An encoder-decoder model reads the prompt as its source and writes the completion; where its tokenizer ends a source with EOS, as T5's
does, that EOS is the mark's last: `Q EOS` and `Q EOS <compress> EOS`. A ratio stands in place of the mark as TokenSkip has it, `Q EOS 0.5
EOS`, inside a user's turn too, where an EOS that ends the turn is the second one.
A prompt is encoded as a whole, so its ids are those of the chat template, yet no text can ever turn into a control token (`joint`). A
completion has the ids that go on from there: those of the template's own answering turn, its space before the answer included.

Not every tokenizer can say everything. T5's reads any run of white space as one space, so a T5 neither sees nor writes line breaks, and
what its vocabulary lacks (braces, backslashes, "<") is left out of decoded texts: LaTeX is lost on it. Where there are no braces, a
`\\boxed{19}` in a text is read as "#### 19", the other mark of a final answer, so that such a model too can state one that counts.

Source: MACC and TokenSkip for the plain forms; METHODS for the chat form, which is our choice.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from cotexp.models.guarded_tokenizer import GuardedTokenizer, Pieces
from cotexp.models.tokenizer import frame, opening_of_answers, prompt_text
from cotexp.sections import ConfigError, RunFailed

_BOX = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}")


class Encoded(NamedTuple):
    """Token ids of a whole example and, of equal length, 1 where a token is supervised and 0 where not.

    The zeros come first: for an encoder-decoder model they are the source and the ones are the target.
    """

    ids: list[int]
    loss_mask: list[int]


@dataclass(frozen=True, slots=True)
class Encoder:
    """Encodes for one tokenizer. `compress_id` is None for a model without the mark; `mark_ids` follow the text of a compressed prompt.

    `prefix_ids` and `suffix_ids` are what the tokenizer itself puts around a plain text. Completions stand behind one of `before`, or at the
    start of their own for an encoder-decoder model; `lead` is what the template puts before an answer, and `opening` how that is decoded.
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
        """Raises: ConfigError where the tokenizer takes its own mark for text behind a question."""
        compress_id = tokenizer.convert_tokens_to_ids(compress_token) if compress_token in tokenizer.get_vocab() else None
        eos_id, mark = tokenizer.eos_token_id, [] if compress_id is None else [compress_id]
        joint = GuardedTokenizer.of(tokenizer, (tokenizer.eos_token, compress_token))
        prefix, suffix = ([], []) if tokenizer.chat_template else _put_around(tokenizer, encoder_decoder)
        behind = frame(tokenizer)[1] if tokenizer.chat_template else ""
        if mark and (literal or not tokenizer.chat_template):
            mark = [eos_id, *mark, *([] if suffix[:1] == [eos_id] else [eos_id])]
        before = joint.control(behind)
        encoder = cls(
            tokenizer=tokenizer,
            joint=joint,
            prefix_ids=prefix,
            suffix_ids=suffix,
            eos_id=eos_id,
            compress_id=compress_id,
            mark_ids=mark,
            ratio_ends=suffix[:1] != [eos_id] and not behind.startswith(tokenizer.eos_token),
            has_braces=tokenizer.unk_token_id not in tokenizer("{}", add_special_tokens=False)["input_ids"],
            starts_texts=encoder_decoder,
            before=(before, *_seam(joint, before)) if before else (),
            lead="" if encoder_decoder else _lead(tokenizer, joint, before),
        )
        if mark and compress_id not in encoder.prompt("a", compressed=True):
            raise ConfigError(
                f"model.compress_token: the tokenizer of {tokenizer.name_or_path} reads {compress_token!r} behind a question as text; "
                "set single_word and normalized of that token to false in its tokenizer.json"
            )
        shown = encoder.decode(encoder.text_ids("a"))
        return dataclasses.replace(encoder, opening=shown.removesuffix("a") if shown.strip() == "a" else "")

    def prompt(self, text: str, *, compressed: bool = False, ratio: float | None = None) -> list[int]:
        """Ids up to where the model begins to write; the whole source of an encoder-decoder model. A `ratio` asks by itself, without the mark."""
        assert self.mark_ids or not compressed, "this tokenizer has no <compress> token"
        asked = self.asked(compressed=compressed, ratio=ratio)
        own = self.readable(text)
        if self.tokenizer.chat_template:
            whole = self.joint.control(prompt_text(self.tokenizer, self.joint.hide(own) + asked))
        else:
            whole = own + self.joint.control(asked)
        return [*self.prefix_ids, *self.joint.pieces(whole).ids, *self.suffix_ids]

    def asked(self, *, compressed: bool = False, ratio: float | None = None) -> str:
        """What asks for the short form behind the text of a prompt, with names of special tokens for these."""
        if ratio is not None:
            return f"{self.tokenizer.eos_token}{ratio:g}{self.tokenizer.eos_token if self.ratio_ends else ''}"
        return "".join(self.tokenizer.convert_ids_to_tokens(self.mark_ids)) if compressed else ""

    def example(self, prompt: str, completion: str, *, compressed: bool = False, ratio: float | None = None) -> Encoded:
        """Ids of prompt, completion and EOS; completion and EOS are supervised."""
        prompt_ids = self.prompt(prompt, compressed=compressed, ratio=ratio)
        target_ids = [*self.text_ids(completion), self.eos_id]
        return Encoded(prompt_ids + target_ids, [0] * len(prompt_ids) + [1] * len(target_ids))

    def text_ids(self, text: str, *, goes_on: bool = False) -> list[int]:
        """Ids of what a model writes behind a prompt, or of what `goes_on` behind other text; names of special tokens are ordinary characters."""
        return self._pieces(text, goes_on=goes_on).ids

    def _pieces(self, text: str, *, goes_on: bool = False) -> Pieces:
        own = self.readable(text)
        if goes_on or not own:
            return self.joint.pieces(own) if self.starts_texts else self.joint.behind((), own)
        lead, before = self.lead, self.before
        if own.startswith(" ") and self.opening and not lead:
            lead, before = self.opening, ()  # a tokenizer that puts a space before a text takes the text's own for it
        elif self.starts_texts:
            return self.joint.pieces(own)
        ids, spans = self.joint.behind(before, lead + own)
        return Pieces(ids, [(max(0, first - len(lead)), max(0, end - len(lead))) for first, end in spans])

    def readable(self, text: str) -> str:
        """The text with its final answer in a form that the tokenizer can write."""
        return text if self.has_braces else _BOX.sub(r"#### \1", text)

    def spans(self, text: str, *, goes_on: bool = False) -> list[tuple[int, int]]:
        """The characters (first, end) of `readable(text)` that each token of `text_ids(text, goes_on=goes_on)` stands for.

        Raises: RunFailed when the tokenizer cannot tell, as those written in Python alone.
        """
        if not self.tokenizer.is_fast:
            raise RunFailed(f"{type(self.tokenizer).__name__} does not say where its tokens stand; give the model's folder a tokenizer.json")
        return self._pieces(text, goes_on=goes_on).spans

    def count(self, text: str) -> int:
        """Length of a text in tokens, without special tokens."""
        return len(self.text_ids(text))

    def cut(self, text: str, num_tokens: int) -> str:
        """The text of the first `num_tokens` tokens."""
        return self.decode(self.text_ids(text)[:num_tokens])

    def decode(self, ids: list[int]) -> str:
        """The text of which these are the `text_ids`, or what a model wrote by them: decoded behind other text, so that no space is lost."""
        other = self.joint.pieces("a").ids
        before, whole = self._decoded(other), self._decoded([*other, *ids])
        return whole[len(before) :].removeprefix(self.opening) if whole.startswith(before) else self._decoded(ids)

    def _decoded(self, ids: list[int]) -> str:
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def _put_around(tokenizer: Any, encoder_decoder: bool) -> tuple[list[int], list[int]]:
    """Ids that the tokenizer itself puts before and behind a plain text.

    What it puts behind one ends a source; behind a causal model's prompt it would end the text that is to go on.
    """
    bare, framed = tokenizer("a", add_special_tokens=False)["input_ids"], tokenizer("a")["input_ids"]
    start = next(i for i in range(len(framed)) if framed[i : i + len(bare)] == bare)
    return framed[:start], framed[start + len(bare) :] if encoder_decoder else []


def _seam(joint: GuardedTokenizer, before: str) -> tuple[str, ...]:
    """In place of an added token at the end of what comes before, which would take the white space behind it away."""
    last = joint.pieces(before).ids[-1:]
    return (joint.seam,) if last and last[0] in joint.tokenizer.added_tokens_decoder else ()


def _lead(tokenizer: Any, joint: GuardedTokenizer, before: str) -> str:
    """White space that the chat template puts before an answer, where tokens hold it."""
    lead = opening_of_answers(tokenizer) if tokenizer.chat_template else ""
    return lead if joint.pieces(before + lead + "a").ids != joint.pieces(before + "a").ids else ""
