"""A tokenizer that encodes a whole prompt at once, like its chat template, and reads no text as a control token.

Merges, and the space that SentencePiece adds before a text, depend on the neighbouring text, so the parts of a prompt cannot be encoded separately.
Therefore a copy of the tokenizer has secret names for its special tokens. A prompt contains the secret names of its special tokens.
Everything else is ordinary text, including `<compress>` in a question. The other rules are those of the tokenizer.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import orjson
from tokenizers import Encoding, Tokenizer

_ANCHORS = ("\n", ".", ")", "]", ":", "a")
"""Texts to encode before a continuation, tried in turn: after one of them a tokenizer adds no space and merges no token.

A line break would merge with white space after it, so it is tried last for a text that begins with white space.
"""


class Pieces(NamedTuple):
    """Token ids and, of equal length, the characters (first, end) that each covers; no spans if the tokenizer has no offsets."""

    ids: list[int]
    spans: list[tuple[int, int]]


@dataclass(frozen=True, slots=True, eq=False)
class GuardedTokenizer:
    """Encodes for one tokenizer. `secrets` are the secret names of its special tokens. `backend` is the copy that knows only these names.

    `control_ids` are their ids, the same as in the tokenizer. `starts_plainly`: a text alone has the same ids as after another text, which
    is false if SentencePiece adds a space before it. A tokenizer written in Python has no such copy: it splits texts at special tokens, and
    encodes the parts between them separately.
    """

    tokenizer: Any
    key: str
    secrets: dict[str, str]
    names: re.Pattern[str]
    backend: Tokenizer | None
    control_ids: dict[str, int]
    starts_plainly: bool = False
    anchors: dict[str, Pieces] = field(default_factory=dict)
    """Cache of the texts before continuations, encoded."""

    @classmethod
    def of(cls, tokenizer: Any, special: Iterable[str | None] = ()) -> GuardedTokenizer:
        """The guarded form of a tokenizer. Those of `special` that its vocabulary has count as special tokens too."""
        own = {str(each) for each in tokenizer.added_tokens_decoder.values() if each.special} | set(tokenizer.all_special_tokens)
        own |= {each for each in special if each and each in tokenizer.get_vocab()}
        key = uuid.uuid4().hex  # no text can contain it
        secrets = {name: f"<{key}{number}s>" for number, name in enumerate(sorted(own))}
        longest_first = sorted(own, key=len, reverse=True)
        names = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
        control_ids = {secret: tokenizer.convert_tokens_to_ids(name) for name, secret in secrets.items()}
        backend = _renamed(tokenizer.backend_tokenizer, secrets, f"<{key}>") if tokenizer.is_fast else None
        joint = cls(tokenizer, key, secrets, names, backend, control_ids)
        return replace(joint, starts_plainly=tokenizer.decode(joint.pieces("a").ids * 2) == "aa")

    @property
    def seam(self) -> str:
        """A special token without a meaning. After it, a text is encoded as after any other text, and keeps its white space."""
        return f"<{self.key}>" if self.backend else ""

    def hide(self, text: str) -> str:
        """A text for a chat template. Names of special tokens in it are changed, so that they differ from those of the template."""
        return self.names.sub(lambda found: self.secrets[found[0]].replace("s>", "t>"), text)

    def control(self, rendered: str) -> str:
        """A rendered template for `pieces`: its special tokens have their secret names, and names that `hide` changed are restored."""
        own, hidden = list(self.secrets), re.compile(f"<{self.key}(\\d+)t>|{self.names.pattern}")
        return hidden.sub(lambda found: own[int(found[1])] if found[1] else self.secrets[found[0]], rendered)

    def pieces(self, text: str) -> Pieces:
        """The encoded text. Secret names are special tokens; names of special tokens are ordinary characters."""
        if self.backend is None:
            return self._pieces_apart(text)
        found = self.backend.encode(text, add_special_tokens=False)
        if self.key in text and (other := self._as_read(text, found)) != text:
            return self.pieces(other)
        return Pieces(found.ids, found.offsets)

    def _as_read(self, text: str, found: Encoding) -> str:
        """The text with ordinary names for special tokens that the tokenizer reads as text: single words next to a letter, or normalized ones."""
        own = set(self.control_ids.values())
        read = [span for each, span in zip(found.ids, found.offsets, strict=True) if each in own]
        if len(read) == text.count(self.key):
            return text
        names = {secret: name for name, secret in self.secrets.items()}

        def name(secret: re.Match[str]) -> str:
            is_read = any(first <= secret.start() and secret.end() <= end for first, end in read)
            return secret[0] if is_read else names[secret[0]]

        return re.sub(f"<{self.key}\\d+s>", name, text)

    def continuation(self, before: Iterable[str], text: str) -> Pieces:
        """The encoded text as a continuation of the first of `before` with which it merges no token, or otherwise of other texts.

        So it has the ids that the model writes after that text.
        """
        if not text:
            return Pieces([], [])
        anchors = () if self.starts_plainly else (*_ANCHORS[1:], _ANCHORS[0]) if text[0].isspace() else _ANCHORS
        for each in (*before, *anchors):
            if each not in self.anchors:
                self.anchors[each] = self.pieces(each)
            alone, both = self.anchors[each], self.pieces(each + text)
            ends = both.spans[len(alone.ids) - 1][1] if both.spans and alone.ids else len(each)
            if both.ids[: len(alone.ids)] == alone.ids and ends <= len(each):
                spans = [(max(0, first - len(each)), end - len(each)) for first, end in both.spans[len(alone.ids) :]]
                return Pieces(both.ids[len(alone.ids) :], spans)
        return self.pieces(text)

    def _pieces_apart(self, text: str) -> Pieces:
        control, own = self.control_ids, set(self.control_ids.values()) - {self.tokenizer.unk_token_id}
        ids: list[int] = []
        for each in re.split(f"(<{self.key}\\d+s>)", text):
            if each in control:
                ids.append(control[each])
            elif each:
                found = self.tokenizer(each, add_special_tokens=False, split_special_tokens=True)["input_ids"]
                ids += [one for one in found if one not in own]
        return Pieces(ids, [])


def _renamed(backend: Tokenizer, secrets: dict[str, str], seam: str) -> Tokenizer:
    """A copy in which special tokens have their secret names, in the vocabulary too, so that no text contains one."""
    rules = orjson.loads(backend.to_str())
    model, added = rules["model"], rules["added_tokens"]
    for each in added:
        each["content"] = secrets.get(each["content"], each["content"])
    if isinstance(model["vocab"], dict):
        model["vocab"] = {secrets.get(piece, piece): number for piece, number in model["vocab"].items()}
    else:
        model["vocab"] = [[secrets.get(piece, piece), score] for piece, score in model["vocab"]]
    if "merges" in model:
        model["merges"] = [pair for pair in model["merges"] if secrets.keys().isdisjoint((*_pair(pair), "".join(_pair(pair))))]
    if model.get("unk_token"):
        model["unk_token"] = secrets.get(model["unk_token"], model["unk_token"])
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    known = {each["content"] for each in added}
    added += [{"id": backend.token_to_id(name), "content": secret, **plain} for name, secret in secrets.items() if secret not in known]
    added.append({"id": backend.get_vocab_size(), "content": seam, **plain})
    copy = Tokenizer.from_str(orjson.dumps({**rules, "truncation": None, "padding": None}).decode())
    assert all(copy.token_to_id(secret) == backend.token_to_id(name) for name, secret in secrets.items()), "the copy has other ids"
    return copy


def _pair(merge: str | list[str]) -> list[str]:
    return merge.split(" ") if isinstance(merge, str) else merge
