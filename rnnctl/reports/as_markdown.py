"""Blocks as GitHub-flavoured Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rnnctl.reports import Page, blocks_of
from rnnctl.reports.blocks import (
    Block,
    Bullets,
    Chart,
    Heading,
    KeyValues,
    Paragraph,
    Table,
    Verbatim,
    visible,
)
from rnnctl.results.base import Result

_RULES = {"l": ":--", "r": "--:", "c": ":-:"}
_LABELS = {"warning": "**Warning:** ", "note": "*Note:* ", "hint": "*Hint:* "}
_SPECIAL = re.compile(r"([\\`*_\[\]<>|#&~])")


def render(result: Result, page: Page) -> str:
    """`result` as Markdown."""
    # In full, whatever the page asks for: a short report is for a terminal.
    return as_markdown(blocks_of(result))


def as_markdown(blocks: Iterable[Block]) -> str:
    """`blocks` as Markdown; ends with a newline. Users' text cannot break out of its place."""
    return "\n\n".join(part for block in blocks if (part := _one(block))) + "\n"


def _one(block: Block) -> str:
    match block:
        case Heading(text, level):
            return "#" * max(1, min(6, level)) + " " + _escape(text)
        case Paragraph(text, kind):
            body = _escape(text)
            return f"**{body}**" if kind == "strong" else _LABELS.get(kind, "") + body
        case Bullets(items):
            return "\n".join(f"- {_escape(item)}" for item in items)
        case KeyValues(pairs, caption):
            return _table(Table(("", ""), pairs, "ll", caption))
        case Table():
            return _table(block)
        case Chart(lines, caption):
            return _fenced("\n".join(lines)) + (f"\n\n*{_escape(caption)}*" if caption else "")
        case Verbatim(text):
            return _fenced(text)


def _escape(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", visible(text)).replace("\n", " ")


def table_head(columns: Sequence[str], align: str) -> str:
    """The header and the rule of a table whose rows come one by one; no newline at the end."""
    return f"{table_row(columns)}\n|{'|'.join(_RULES[one] for one in align)}|"


def table_row(cells: Sequence[str]) -> str:
    """A row of a table; whatever stands in a cell stays in it."""
    return "| " + " | ".join(map(_escape, cells)) + " |"


def _table(block: Table) -> str:
    lines = [table_head(block.columns, block.alignment()), *map(table_row, block.rows)]
    return "\n".join(lines) + (f"\n\n*{_escape(block.caption)}*" if block.caption else "")


def _fenced(text: str) -> str:
    # A fence ends at the first line with as many backticks: longer than any that the text has.
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}text\n{visible(text)}\n{fence}"
