"""A report format that another package adds: every value of a result on a line of its own.

The entry point in the group ``rnnctl.format`` is all that makes ``--format pairs`` work.
"""

from __future__ import annotations

from collections.abc import Iterator

from rnnctl.reports import Page
from rnnctl.results.base import Result


def render(result: Result, page: Page) -> str:
    """``training.steps=2``, one line for each value."""
    return "\n".join(_pairs(result.model_dump(mode="json"), ""))


def _pairs(value: object, name: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _pairs(inner, f"{name}.{key}" if name else str(key))
    else:
        yield f"{name}={value}"
