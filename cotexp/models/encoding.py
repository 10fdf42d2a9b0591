"""The only place where prompts and completions become token ids.

What is supervised is decided next to what is written. Plain models: `Q` (full form) or `Q EOS <compress> EOS`. Chat models: the mark
stands at the end of the user's turn, `Q<compress>`, since EOS closes the turn there; `literal` gives the plain form inside the turn.
An encoder-decoder model reads the prompt as its source and writes the completion; where its tokenizer ends a source with EOS, as T5's
does, that EOS is the mark's last: `Q EOS` and `Q EOS <compress> EOS`. A ratio stands in place of the mark as TokenSkip has it, `Q EOS 0.5
EOS`, inside a user's turn too, where an EOS that ends the turn is the second one.
Pieces of the chat template and texts are encoded apart, so no text can ever turn into a control token.

Not every tokenizer can say everything. T5's reads any run of white space as one space, so a T5 neither sees nor writes line breaks, and
what its vocabulary lacks (braces, backslashes, "<") is left out of decoded texts: LaTeX is lost on it. Where there are no braces, a
`\\boxed{19}` in a text is read as "#### 19", the other mark of a final answer, so that such a model too can state one that counts.

Source: MACC and TokenSkip for the plain forms; METHODS for the chat form, which is our choice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from cotexp.models.tokenizer import frame
from cotexp.sections import RunFailed

_BOX = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}")


class Encoded(NamedTuple):
    """Token ids of a whole example and, of equal length, 1 where a token is supervised and 0 where not.

    The zeros come first: for an encoder-decoder model they are the source and the ones are the target.
    """

    ids: list[int]
    loss_mask: list[int]


@dataclass(frozen=True, slots=True)
class Encoder:
    """Encodes for one tokenizer. `compress_id` is None for a model without the mark; `mark_ids` follow the text of a compressed prompt."""

    tokenizer: Any
    prefix_ids: list[int]
    suffix_ids: list[int]
    eos_id: int
    compress_id: int | None
    mark_ids: list[int]
    control_ids: frozenset[int]
    has_braces: bool

    @classmethod
    def of(cls, tokenizer: Any, *, compress_token: str | None, literal: bool = False, encoder_decoder: bool = False) -> Encoder:
        prefix, suffix = _template_pieces(tokenizer, encoder_decoder)
        compress_id = tokenizer.convert_tokens_to_ids(compress_token) if compress_token in tokenizer.get_vocab() else None
        eos_id, mark = tokenizer.eos_token_id, [] if compress_id is None else [compress_id]
        if mark and (literal or not tokenizer.chat_template):
            closing = [] if not tokenizer.chat_template and suffix[:1] == [eos_id] else [eos_id]
            mark = [eos_id, *mark, *closing]
        return cls(
            tokenizer=tokenizer,
            prefix_ids=prefix,
            suffix_ids=suffix,
            eos_id=eos_id,
            compress_id=compress_id,
            mark_ids=mark,
            control_ids=frozenset(tokenizer.all_special_ids) - {tokenizer.unk_token_id},
            has_braces=tokenizer.unk_token_id not in tokenizer("{}", add_special_tokens=False)["input_ids"],
        )

    def prompt(self, text: str, *, compressed: bool = False, ratio: float | None = None) -> list[int]:
        """Ids up to where the model begins to write; the whole source of an encoder-decoder model. A `ratio` asks by itself, without the mark."""
        assert self.mark_ids or not compressed, "this tokenizer has no <compress> token"
        asked = (self.mark_ids if compressed else []) if ratio is None else self.ratio_ids(ratio)
        return [*self.prefix_ids, *self.text_ids(text), *asked, *self.suffix_ids]

    def ratio_ids(self, ratio: float) -> list[int]:
        """What asks for a ratio, behind the text of the prompt."""
        closing = [] if self.suffix_ids[:1] == [self.eos_id] else [self.eos_id]
        return [self.eos_id, *self.text_ids(f"{ratio:g}"), *closing]

    def example(self, prompt: str, completion: str, *, compressed: bool = False, ratio: float | None = None) -> Encoded:
        """Ids of prompt, completion and EOS; completion and EOS are supervised."""
        prompt_ids = self.prompt(prompt, compressed=compressed, ratio=ratio)
        target_ids = [*self.text_ids(completion), self.eos_id]
        return Encoded(prompt_ids + target_ids, [0] * len(prompt_ids) + [1] * len(target_ids))

    def text_ids(self, text: str) -> list[int]:
        """Ids of a text, in which names of special tokens are ordinary characters.

        Vocabularies like T5's hold some of these names as pieces of text too; such pieces are left out.
        """
        ids: list[int] = self.tokenizer(self.readable(text), add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return ids if self.control_ids.isdisjoint(ids) else [each for each in ids if each not in self.control_ids]

    def readable(self, text: str) -> str:
        """The text with its final answer in a form that the tokenizer can write."""
        return text if self.has_braces else _BOX.sub(r"#### \1", text)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """The characters (first, end) of `readable(text)` that each token of `text_ids(text)` stands for.

        Raises: RunFailed when the tokenizer cannot tell, as those written in Python alone.
        """
        if not self.tokenizer.is_fast:
            raise RunFailed(f"{type(self.tokenizer).__name__} does not say where its tokens stand; give the model's folder a tokenizer.json")
        found = self.tokenizer(self.readable(text), add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True)
        return [span for each, span in zip(found["input_ids"], found["offset_mapping"], strict=True) if each not in self.control_ids]

    def count(self, text: str) -> int:
        """Length of a text in tokens, without special tokens."""
        return len(self.text_ids(text))

    def cut(self, text: str, num_tokens: int) -> str:
        """The text of the first `num_tokens` tokens."""
        return self.decode(self.text_ids(text)[:num_tokens])

    def decode(self, ids: list[int]) -> str:
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def _template_pieces(tokenizer: Any, encoder_decoder: bool) -> tuple[list[int], list[int]]:
    """Ids before and after the user's text: of the chat template, or what the tokenizer itself puts around a plain text.

    What it puts behind one ends a source; behind a causal model's prompt it would end the text that is to go on.
    """
    if tokenizer.chat_template:
        before, after = ([] if not piece else tokenizer(piece, add_special_tokens=False)["input_ids"] for piece in frame(tokenizer))
        return before, after
    bare, framed = tokenizer("a", add_special_tokens=False)["input_ids"], tokenizer("a")["input_ids"]
    start = next(i for i in range(len(framed)) if framed[i : i + len(bare)] == bare)
    return framed[:start], framed[start + len(bare) :] if encoder_decoder else []
