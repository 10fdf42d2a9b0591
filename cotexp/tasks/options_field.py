"""The field of a row that holds the options of multiple choice, in every usual form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cotexp.tasks.cells import decoded_cell
from cotexp.tasks.options import LETTERS, label_and_text
from cotexp.tasks.rows import Row, short

LABELS = LETTERS[:10]
"""Letters that are taken over as they are from labels in another order or with gaps; others become A, B, ..."""
BRACKETED = re.compile(r"\s*\(?[A-Za-z]\)")


def options_of(row: Row, name: str) -> dict[str, str]:
    """Options under the letters A, B, ...: from a list of texts ("A) cat" loses its label), an object of label and text, a list of objects
    with fields label and text or an object with two such lists, or any of these as JSON (or as Python prints it) in a text.

    Raises: ConfigError if the field is none of these, or has fewer than two options or more options than letters.
    """
    labels, texts = _labelled(row, name)
    plain = [str(text).strip() if isinstance(text, str | int | float) and not isinstance(text, bool) else "" for text in texts]
    if "" in plain:
        raise row.refusal(name, f"must hold texts that are not empty; got {short(texts[plain.index('')])}")
    if not 2 <= len(plain) <= len(LETTERS):
        raise row.refusal(name, f"must hold 2 to {len(LETTERS)} options; got {len(plain)}")
    letters = [label.upper() for label in labels]
    is_lettered = len(set(letters)) == len(plain) and {*letters} <= {*LABELS}
    return dict(zip(letters if is_lettered else LETTERS, plain, strict=False))


def labels_of(row: Row, name: str) -> list[str]:
    """The labels of the options that have some, in order; empty for a list of texts without labels."""
    return _labelled(row, name)[0]


def _labelled(row: Row, name: str) -> tuple[list[str], list[Any]]:
    """(labels, texts) of the options. An object may hold null for labels that a question lacks, as those of Parquet files do.

    Texts of a list such as "A) cat" are labelled if they have the first letters, in any order, or if all have others in brackets.
    """
    value = _unpacked(row, name)
    if isinstance(value, Mapping):
        value = {label: text for label, text in value.items() if text is not None}
        if not all(isinstance(text, str) for text in value.values()):
            raise row.refusal(name, f"must be an object of label and text; got {short(value)}")
    elif not isinstance(value, list):
        raise row.refusal(name, f"must be a list of texts or an object of label and text; got {short(value)}")
    labels, texts = ([str(each).strip() for each in value], list(value.values())) if isinstance(value, Mapping) else ([], value)
    if not all(isinstance(text, str) for text in texts):
        return labels, texts
    own, without = [list(each) for each in zip(*map(label_and_text, texts), strict=True)] if texts else ([], [])
    is_ordered, is_bracketed = sorted(own) == list(LETTERS[: len(texts)]), all(map(BRACKETED.match, texts)) and len(set(own)) == len(texts)
    if isinstance(value, Mapping):
        return labels, without if own == [each.upper() for each in labels] or own == list(LETTERS[: len(texts)]) else texts
    return (own, without) if is_ordered or (is_bracketed and {*own} <= {*LABELS}) else ([], texts)


def _unpacked(row: Row, name: str) -> Any:
    """The field, read as JSON if it is a text (a cell of a CSV file); separate lists of labels and texts become one object."""
    value = row.value(name)
    if isinstance(value, list) and value and all(isinstance(option, Mapping) and {"label", "text"} <= option.keys() for option in value):
        return _object(row, name, [option["label"] for option in value], [option["text"] for option in value])
    if isinstance(value, Mapping) and value.keys() == {"label", "text"} and all(isinstance(column, list) for column in value.values()):
        return _object(row, name, value["label"], value["text"])
    if not isinstance(value, str):
        return value
    decoded = decoded_cell(value)
    if decoded is None:
        raise row.refusal(name, f"must be a list of texts or an object of label and text; got the text {short(value)}")
    return _unpacked(Row({name: decoded}, row.place), name)


def _object(row: Row, name: str, labels: list[Any], texts: list[Any]) -> dict[str, Any]:
    """Label -> text. Raises: ConfigError if an option would be lost."""
    if len({*map(str, labels)}) < len(labels) or len(labels) != len(texts):
        raise row.refusal(name, f"must have a label of its own for each text; got the labels {short(labels)} of {len(texts)} texts")
    return dict(zip(map(str, labels), texts, strict=True))
