"""Results as tables, JSON, Markdown, pictures and pages. Reports know results and nothing else.

Why: commands return records; what a record looks like on paper is decided here, once, so that
every command has every format and the library never prints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from rnnctl import catalog
from rnnctl.reports.blocks import Block
from rnnctl.results.base import Result

if TYPE_CHECKING:
    from rnnctl.results.pictures import Pictures

Blocks = Callable[[Result], list[Block]]


@dataclass(frozen=True, slots=True)
class Page:
    """What a report is written on.

    `blocks` makes blocks of a result in another way than its report in the catalog does. `width`
    is in terminal columns. `color` allows escape sequences (the caller obeys NO_COLOR and knows
    whether it is a terminal). `pictures` are what a page for a browser shows beside the result.
    """

    width: int = 80
    color: bool = False
    blocks: Blocks | None = None
    pictures: Pictures | None = None

    def blocks_of(self, result: Result) -> list[Block]:
        """The blocks of a result: those asked for, or those of its report."""
        return blocks_of(result) if self.blocks is None else self.blocks(result)


def blocks_of(result: Result) -> list[Block]:
    """The blocks of a result, by its ``schema_id``. A result without an entry is a mistake."""
    schema = str(getattr(result, "schema_id", ""))
    make = cast(Callable[[Result], Iterable[Block]], catalog.load("report", schema))
    return list(make(result))


def render(
    result: Result,
    format: str = "table",
    width: int = 80,
    color: bool = False,
    *,
    blocks: Blocks | None = None,
    pictures: Pictures | None = None,
) -> str:
    """`result` in a format that the catalog lists, as text that ends with a newline.

    A format is a function of the result and the `Page`; most of them write `blocks_of(result)`.
    """
    write = cast(Callable[[Result, Page], str], catalog.load("format", format))
    text = write(result, Page(width, color, blocks, pictures))
    return text if text.endswith("\n") else text + "\n"


def as_json(result: Result, page: Page) -> str:
    """The record itself as indented JSON: nothing added, nothing rounded."""
    return result.model_dump_json(indent=2) + "\n"
