"""The few things that a report is made of, whatever it is rendered as.

A module ``reports/<what>.py`` turns one kind of result into a list of blocks; `as_table` and
`as_markdown` turn blocks into text. Blocks hold plain strings: no markup, no colour, no width.
What a block means is said by its kind, so that nothing is ever carried by colour alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["plain", "strong", "note", "warning", "hint"]
"""plain text; the one sentence to read; an aside; something wrong; what to do next."""


@dataclass(frozen=True, slots=True)
class Heading:
    """A title. Level 1 names the report, 2 a section, 3 a part of one."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text, wrapped to the width. Warnings and hints are also named in words."""

    text: str
    kind: Kind = "plain"


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list, one string per item."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyValues:
    """Names and values, one pair per line, aligned."""

    pairs: tuple[tuple[str, str], ...]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of strings. `align` has one of ``l``, ``r``, ``c`` per column.

    A cell is never cut. Text wraps at spaces; a table that does not fit is continued below with
    its first column repeated. Without `align`, the first column is left and the others right.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    align: str = ""
    caption: str = ""
    strong_rows: frozenset[int] = field(default_factory=frozenset)

    def alignment(self) -> str:
        """`align`, filled in where it was left out or is too short."""
        default = "l" + "r" * len(self.columns)
        return self.align + default[len(self.align) : len(self.columns)]


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing in characters, line by line; shown as it is, never wrapped."""

    lines: tuple[str, ...]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Text that must come out unchanged but for control characters: commands, samples."""

    text: str


Block = Heading | Paragraph | Bullets | KeyValues | Table | Chart | Verbatim


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    align: str = "",
    caption: str = "",
    strong_rows: Iterable[int] = (),
) -> Table:
    """A `Table` from any sequences; every row must have one cell per column."""
    cells = tuple(tuple(row) for row in rows)
    for row in cells:
        assert len(row) == len(columns), f"{len(row)} cells for {len(columns)} columns: {row}"
    return Table(tuple(columns), cells, align, caption, frozenset(strong_rows))


# Text that any terminal can show: control characters made visible.

_CONTROLS = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code not in (9, 10)
}
# They turn the direction of what follows, or break a line: a path may look like another one.
_TURNING = (0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
_CONTROLS |= {code: f"\\u{code:04x}" for code in _TURNING}


def visible(text: str) -> str:
    """`text` with control characters other than newline and tab written as ``\\x1b``.

    Those that turn the direction of writing, too: ``\\u202e``.
    Texts, labels and paths come from users; none of them may steer the terminal.
    """
    return text.translate(_CONTROLS)
