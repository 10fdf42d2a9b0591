"""Whether an extracted answer equals the gold answer."""

from __future__ import annotations

from cotexp.tasks.answers import number_of


def numbers_equal(extracted: str | None, gold: str) -> bool:
    """Exact for integers, within a relative 1e-6 for decimals; no answer never equals anything."""
    ours, theirs = number_of(extracted) if extracted is not None else None, number_of(gold)
    if ours is None or theirs is None:
        return False
    if theirs == theirs.to_integral_value():
        return ours == theirs
    return abs(ours - theirs) <= abs(theirs) * type(theirs)("1e-6")
