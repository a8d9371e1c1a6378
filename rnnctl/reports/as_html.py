"""Blocks as HTML fragments; every text is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

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

_LABELS = {"warning": "<b>Warning:</b> ", "note": "<b>Note:</b> ", "hint": "<b>Hint:</b> "}
_ALIGN = {"l": "left", "r": "right", "c": "center"}


def as_html(blocks: Iterable[Block]) -> str:
    """`blocks` as HTML, one after another."""
    return "\n".join(_one(block) for block in blocks)


def text(value: str) -> str:
    """`value` for HTML: escaped, control characters made visible."""
    return escape(visible(value))


_COMMAND = re.compile(r"`([^`\n]+)`")
_POWER = re.compile(r"·10\^(-?)(\d+)")


def inline(value: str) -> str:
    """Running text for HTML: commands in backticks are code, the exponent of 2·10^-5 is raised."""
    return _COMMAND.sub(r"<code>\1</code>", _raised(value))


def _raised(value: str) -> str:
    """`value` for HTML, with raised exponents."""
    return _POWER.sub(lambda p: f"·10<sup>{'−' * bool(p[1])}{p[2]}</sup>", text(value))


def _one(block: Block) -> str:
    match block:
        case Heading(title, level):
            return f"<h{level}>{text(title)}</h{level}>"
        case Paragraph(body, kind):
            inner = f"<strong>{inline(body)}</strong>" if kind == "strong" else inline(body)
            return f'<p class="{kind}">{_LABELS.get(kind, "")}{inner}</p>'
        case Bullets(items):
            return "<ul>" + "".join(f"<li>{inline(item)}</li>" for item in items) + "</ul>"
        case KeyValues(pairs, caption):
            inner = "".join(f"<dt>{inline(k)}</dt><dd>{inline(v)}</dd>" for k, v in pairs)
            return f"<dl>{inner}</dl>" + (f"<p class=note>{text(caption)}</p>" if caption else "")
        case Table():
            return table_html(block)
        case Chart(lines, caption):
            drawn = f'<pre tabindex="0">{text(chr(10).join(lines))}</pre>'
            return drawn + (f"<p class=note>{inline(caption)}</p>" if caption else "")
        case Verbatim(body):
            return f"<pre>\n{text(body)}</pre>"  # the first line end after the tag does not count


def table_html(block: Table) -> str:
    """A table with row headers; it scrolls inside its own frame on narrow screens."""
    aligned = [f' style="text-align:{_ALIGN[one]}"' for one in block.alignment()]
    head = "".join(
        f'<th scope="col"{style}>{text(name)}</th>'
        for name, style in zip(block.columns, aligned, strict=True)
    )
    body = "".join(_row(row, aligned) for row in block.rows)
    caption = f"<caption>{text(block.caption)}</caption>" if block.caption else ""
    return (
        f'<div class="scroll" tabindex="0"><table>{caption}<thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(cells: Sequence[str], aligned: Sequence[str]) -> str:
    first = f'<th scope="row"{aligned[0]}>{text(cells[0])}</th>'
    rest = "".join(
        f"<td{style}>{_raised(cell)}</td>"
        for cell, style in zip(cells[1:], aligned[1:], strict=True)
    )
    return f"<tr>{first}{rest}</tr>"
