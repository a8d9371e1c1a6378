"""Counts and lists in sentences: ``1 word``, ``1,200 words``, ``a, b or c``."""

from __future__ import annotations

from collections.abc import Sequence


def plural(count: int, thing: str, things: str = "") -> str:
    """``1 step``, ``1,200 steps``; `things` where an s at the end does not make the plural."""
    return f"{count:,} " + (thing if count == 1 else things or f"{thing}s")


def with_unit(shown: str, unit: str) -> str:
    """A number as it is shown and its unit, a plural: ``1 word``, ``> 1 word``, ``0.5 words``."""
    one = shown.removeprefix("> ") == "1" and unit.isalpha()
    return f"{shown} {unit.removesuffix('s') if one else unit}".strip()


def either(names: Sequence[str]) -> str:
    """``a``, ``a or b``, ``a, b or c``."""
    return _joined(names, "or")


def together(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return _joined(names, "and")


def _joined(names: Sequence[str], last: str) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {last} {names[-1]}"


def first_few(names: Sequence[str], most: int = 5) -> str:
    """``a, b and 7 more``: at most so many of them, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def as_sentence(text: str) -> str:
    """With a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:]}."


def diagnostic(name: str) -> str:
    """What readers see of a diagnostic's name: ``USE``, ``FIRST→LAST``."""
    return name.upper().replace("_", "→")
