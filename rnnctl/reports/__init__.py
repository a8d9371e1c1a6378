"""Results as tables, JSON, Markdown, pictures and pages. Reports know results and nothing else.

Why: commands return records; what a record looks like on paper is decided here, once, so that
every command has every format and the library never prints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast

from rnnctl import catalog
from rnnctl.reports.as_json import as_json
from rnnctl.reports.as_markdown import as_markdown
from rnnctl.reports.as_table import as_table
from rnnctl.reports.blocks import Block
from rnnctl.results.base import Result

Format = Literal["table", "json", "markdown"]


def blocks_of(result: Result) -> list[Block]:
    """The blocks of a result, by its ``schema_id``. A result without an entry is a mistake."""
    schema = str(getattr(result, "schema_id", ""))
    make = cast(Callable[[Result], list[Block]], catalog.load("report", schema))
    return make(result)


def render(
    result: Result,
    format: Format = "table",
    width: int = 80,
    color: bool = False,
    *,
    ascii: bool = False,
) -> str:
    """`result` as text that ends with a newline.

    `width` is in terminal columns; `color` allows escape sequences (the caller obeys NO_COLOR and
    knows whether a terminal listens); `ascii` spells symbols out for terminals without UTF-8.
    Only tables look at the last three.
    """
    if format == "json":
        return as_json(result)
    made = blocks_of(result)
    if format == "markdown":
        return as_markdown(made)
    return as_table(made, width=width, color=color, ascii=ascii)
