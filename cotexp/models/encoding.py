"""The only place where prompts and completions become token ids.

What is supervised is decided next to what is written. Plain models: `Q` (full form) or `Q EOS <compress> EOS`. Chat models: the mark
stands at the end of the user's turn, `Q<compress>`, since EOS closes the turn there; `literal` gives the plain form inside the turn.
Pieces of the chat template and texts are encoded apart, so no text can ever turn into a control token.

Source: MACC for the plain form; METHODS for the chat form, which is our choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

_PROBE = "QUESTION_STANDS_HERE"


class Encoded(NamedTuple):
    """Token ids of a whole example and, of equal length, 1 where a token is supervised and 0 where not."""

    ids: list[int]
    loss_mask: list[int]


@dataclass(frozen=True, slots=True)
class Encoder:
    """Encodes for one tokenizer. `compress_id` is None for a model without the mark."""

    tokenizer: Any
    prefix_ids: list[int]
    suffix_ids: list[int]
    eos_id: int
    compress_id: int | None
    plain_marks: bool

    @classmethod
    def of(cls, tokenizer: Any, *, compress_token: str | None, literal: bool = False) -> Encoder:
        prefix, suffix = _template_pieces(tokenizer)
        compress_id = tokenizer.convert_tokens_to_ids(compress_token) if compress_token in tokenizer.get_vocab() else None
        return cls(
            tokenizer=tokenizer,
            prefix_ids=prefix,
            suffix_ids=suffix,
            eos_id=tokenizer.eos_token_id,
            compress_id=compress_id,
            plain_marks=literal or not tokenizer.chat_template,
        )

    def prompt(self, text: str, *, compressed: bool = False) -> list[int]:
        """Ids up to where the model begins to write."""
        mark: list[int] = []
        if compressed:
            assert self.compress_id is not None, "this tokenizer has no <compress> token"
            mark = [self.eos_id, self.compress_id, self.eos_id] if self.plain_marks else [self.compress_id]
        return [*self.prefix_ids, *self.text_ids(text), *mark, *self.suffix_ids]

    def example(self, prompt: str, completion: str, *, compressed: bool) -> Encoded:
        """Ids of prompt, completion and EOS; completion and EOS are supervised."""
        prompt_ids = self.prompt(prompt, compressed=compressed)
        target_ids = [*self.text_ids(completion), self.eos_id]
        return Encoded(prompt_ids + target_ids, [0] * len(prompt_ids) + [1] * len(target_ids))

    def text_ids(self, text: str) -> list[int]:
        """Ids of a text, in which names of special tokens are ordinary characters."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return ids

    def count(self, text: str) -> int:
        """Length of a text in tokens, without special tokens."""
        return len(self.text_ids(text))

    def cut(self, text: str, num_tokens: int) -> str:
        """The text of the first `num_tokens` tokens."""
        return self.decode(self.text_ids(text)[:num_tokens])

    def decode(self, ids: list[int]) -> str:
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def _template_pieces(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Ids before and after the user's text: of the chat template, or what the tokenizer itself puts before a plain text."""
    if tokenizer.chat_template:
        rendered = tokenizer.apply_chat_template([{"role": "user", "content": _PROBE}], tokenize=False, add_generation_prompt=True)
        before, after = rendered.split(_PROBE)
        return tuple(tokenizer(piece, add_special_tokens=False)["input_ids"] if piece else [] for piece in (before, after))  # type: ignore[return-value]
    bare, framed = tokenizer("a", add_special_tokens=False)["input_ids"], tokenizer("a")["input_ids"]
    start = next(i for i in range(len(framed)) if framed[i : i + len(bare)] == bare)
    return framed[:start], []
