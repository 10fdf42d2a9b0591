"""Values in the cells of CSV files and in JSON texts: lists as JSON or as Python prints them, and exact integers."""

from __future__ import annotations

import ast
import io
import itertools
import json
import re
import tokenize
from collections.abc import Iterator
from typing import Any

import orjson

LIST_OF_TEXTS = re.compile(r"""\s*(?:array\(\s*)?\[\s*["'].*\]\s*(?:,\s*dtype=\w+\s*)?\)?\s*""", re.DOTALL)
"""A cell that is meant as a list of texts."""
LONG_INTEGER = re.compile(rb"\d{19}")
_ARRAY = re.compile(r"\barray\(\s*(\[.*?\])\s*(?:,\s*dtype=[^()]*)?\)", re.DOTALL)
"""The form of an array of a Parquet file in a CSV file written by pandas."""


def exact_json(content: bytes) -> Any:
    """The value of a JSON text with exact integers: orjson makes floats of those that do not fit into 64 bits.

    Raises: orjson.JSONDecodeError.
    """
    value = orjson.loads(content)
    if not LONG_INTEGER.search(content):
        return value
    try:
        return json.loads(content)
    except RecursionError as error:
        raise orjson.JSONDecodeError(str(error), "", 0) from None


def decoded_cell(cell: str) -> Any:
    """The value of a cell that is JSON, or a list or object as Python prints it; None for neither."""
    try:
        return exact_json(cell.encode(errors="surrogatepass"))
    except orjson.JSONDecodeError:
        pass
    printed = _ARRAY.sub(r"\1", cell.strip())
    try:
        value = ast.literal_eval(printed)
        joins = any(each.type == next_one.type == tokenize.STRING for each, next_one in itertools.pairwise(_tokens(printed)))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError, tokenize.TokenError):
        return None
    return value if isinstance(value, list | dict) and not joins else None


def _tokens(printed: str) -> Iterator[tokenize.TokenInfo]:
    """Without line breaks. NumPy prints texts of an array without commas, and Python would join them."""
    return (each for each in tokenize.generate_tokens(io.StringIO(printed).readline) if each.type not in (tokenize.NL, tokenize.NEWLINE))
