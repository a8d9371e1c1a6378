"""Blocks as text for a terminal, made with rich, at a given width."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterable, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table as RichTable
from rich.text import Text

from rnnctl.reports import Page
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

SCREEN_LINES, SCREEN_COLUMNS = 24, 80
"""Of a terminal of the usual size: a short report fits there."""
_GAP = 2  # columns between two columns of a table
_NAME = 16  # names of rows up to this width are not wrapped
_LONG = 24  # a longer word in a column of text, such as a path, may be cut
_JUSTIFY: dict[str, JustifyMethod] = {"l": "left", "r": "right", "c": "center"}
_PREFIX = {"warning": "warning: ", "note": "note: ", "hint": "hint: "}
_STYLE = {"warning": "yellow", "note": "dim", "hint": "cyan", "strong": "bold", "plain": ""}


def render(result: Result, page: Page) -> str:
    """`result` as text for a terminal."""
    return as_table(page.blocks_of(result), width=page.width, color=page.color)


def as_table(blocks: Iterable[Block], *, width: int = 80, color: bool = False) -> str:
    """`blocks` as text of at most `width` columns where words allow it; ends with a newline.

    Drawings and verbatim text are never wrapped. Without `color` there is no escape sequence.
    """
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=max(20, width),  # narrower, every word would be cut
        # Whatever rich finds out for itself about where it writes is wrong: it writes into memory.
        force_terminal=color,
        force_jupyter=False,
        force_interactive=False,
        color_system="standard" if color else None,
        no_color=not color,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
    )
    parts = []
    before: Block | None = None
    for block in blocks:
        if before is not None and _wants_space(before, block):
            console.print()
        _print(console, block)
        before = block
        # Block by block, because verbatim text goes past rich, which knows no tabs.
        parts.append(_trimmed(buffer.getvalue()))
        buffer.seek(0)
        buffer.truncate()
        if isinstance(block, Verbatim):
            parts.append(visible(block.text).removesuffix("\n") + "\n")
    text = "".join(parts)
    if not isinstance(before, Verbatim):
        text = text.rstrip("\n") + "\n"
    return text


def fits_screen(blocks: Sequence[Block]) -> bool:
    """Whether a terminal of the usual size shows them whole."""
    return as_table(blocks, width=SCREEN_COLUMNS).count("\n") <= SCREEN_LINES


def first_that_fits(reports: Iterable[Iterable[Block]]) -> list[Block]:
    """A short report: of several, each shorter than the one before, the first that fits a terminal
    of the usual size; the last where none does.
    """
    made: list[Block] = []
    for report in reports:
        made = list(report)
        if fits_screen(made):
            break
    return made


def _trimmed(written: str) -> str:
    """What rich has written, without spaces at the ends of lines."""
    return "\n".join(line.rstrip() for line in written.replace(_GLUE, " ").split("\n"))


def _wants_space(before: Block, block: Block) -> bool:
    if isinstance(before, Heading):
        return False
    if isinstance(before, Paragraph) and isinstance(block, Paragraph):
        return not (block.kind == before.kind and block.kind in _PREFIX)
    return True


def _print(console: Console, block: Block) -> None:
    match block:
        case Heading(text, level):
            _flow(console, text, "bold" if level > 1 else "bold underline")
        case Paragraph(text, kind):
            _flow(console, _PREFIX.get(kind, "") + text, _STYLE[kind])
        case Bullets(items):
            _print_pairs(console, [("-", item) for item in items], gap=1)
        case KeyValues(pairs, caption):
            _print_pairs(console, pairs)
            _print_caption(console, caption)
        case Table():
            _print_table(console, block)
        case Chart(lines, caption):
            for line in lines:
                _raw(console, visible(line))
            _print_caption(console, caption)
        case Verbatim():
            pass  # see `as_table`


def _raw(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True)


def _flow(console: Console, text: str, style: str) -> None:
    for piece, is_path in _around_paths(text, console.width):
        console.print(Text(_glued(piece), style=style), soft_wrap=is_path)


def _around_paths(text: str, width: int) -> list[tuple[str, bool]]:
    """`text` in pieces: a path that is longer than a line is one, and is never cut."""
    long = [found for found in _PATH.finditer(text) if cell_len(found.group()) > width]
    ends = [0, *(end for found in long for end in found.span()), len(text)]
    pieces = [(text[a:b], k % 2 == 1) for k, (a, b) in enumerate(itertools.pairwise(ends))]
    return (
        [(piece.strip(), is_path) for piece, is_path in pieces if piece.strip()] if long else pieces
    )


def _print_caption(console: Console, caption: str) -> None:
    if caption:
        _flow(console, caption, "dim italic")


def _print_pairs(console: Console, pairs: Sequence[tuple[str, str]], gap: int = _GAP) -> None:
    """Names, and beside them what belongs to each."""
    names = max((cell_len(visible(name)) for name, _ in pairs), default=0)
    room = max(1, console.width - names - gap)
    for name, value in pairs:
        for number, (piece, is_path) in enumerate(_around_paths(value, room)):
            if is_path and number == 0:
                _raw(console, visible(name))
            if is_path:
                _raw(console, _glued(piece))
                continue
            grid = RichTable.grid(padding=(0, gap, 0, 0), pad_edge=False)
            grid.add_column(no_wrap=True, width=names)
            grid.add_column(overflow="fold")
            grid.add_row(Text(visible(name) if number == 0 else ""), Text(_glued(piece)))
            console.print(grid)


def _print_table(console: Console, block: Table) -> None:
    for index, part in enumerate(split_columns(block, console.width)):
        if index:
            console.print()
        console.print(_rich_table(part, console.width))
    _print_caption(console, block.caption)


def _rich_table(block: Table, width: int) -> RichTable:
    made = RichTable(box=_RULE, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    widths = column_widths(block, width)
    for name, align, columns in zip(block.columns, block.alignment(), widths, strict=True):
        made.add_column(
            Text(_glued(name)),
            justify=_JUSTIFY[align],
            overflow="fold",
            width=columns,
            vertical="top",
        )
    for index, row in enumerate(block.rows):
        style = "bold" if index in block.strong_rows else ""
        cells = zip(row, widths, strict=True)
        made.add_row(*(Text(_folded(_glued(cell), at), style=style) for cell, at in cells))
    return made


def _folded(text: str, width: int) -> str:
    """Text whose words fit `width`; longer ones are cut, after a mark such as / or -."""
    return " ".join(_folded_word(word, width) for word in text.split(" "))


def _folded_word(word: str, width: int) -> str:
    lines = [""]
    for part in _BREAKS.findall(word) if cell_len(word) > width else [word]:
        if lines[-1] and cell_len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def column_widths(block: Table, width: int) -> list[int]:
    """Columns for each column: numbers are never cut, cells wrap before words, headings first.

    Every column gets its longest word; what room is left goes, one by one, to the column whose
    widest cell needs most lines, and then to the headings in the same way.
    """
    made = _least_widths(block, width)
    room = width - _GAP * (len(made) - 1) - sum(made)
    if room < 0:  # one part of a split table, whose widest number stands in another
        made[0] = max(_least_width([block.columns[0]]), made[0] + room)
    for wanted in (_widest_cells(block), [cell_len(_glued(name)) for name in block.columns]):
        # One character at a time: what one column is given may make another one the tightest.
        while room > 0:
            tightest = max(range(len(made)), key=lambda at: wanted[at] / made[at])
            if wanted[tightest] <= made[tightest]:
                break
            made[tightest] += 1
            room -= 1
    return made


def _least_widths(block: Table, width: int) -> list[int]:
    """The longest word of each column; of the first, its widest name where that is short.

    In columns of text, words over _LONG may be cut, and in the first one shorter ones too where
    nothing else makes a number beside it fit. Headings and numbers are whole.
    """
    # Wrapped text can still be read, a number in two lines cannot.
    made = []
    for name, align, cells in zip(block.columns, block.alignment(), _columns(block), strict=True):
        longest = _least_width(cells)
        made.append(max(_least_width([name]), min(longest, _LONG) if align == "l" else longest))
    made[0] = max(made[0], min(_NAME, _widest_cells(block)[0]))
    beside = max(made[1:], default=0)
    made[0] = max(_least_width([block.columns[0]]), min(made[0], width - _GAP - beside))
    return made


def _columns(block: Table) -> list[list[str]]:
    """The cells below each heading."""
    return [[row[at] for row in block.rows] for at in range(len(block.columns))]


def _widest_cells(block: Table) -> list[int]:
    return [max((cell_len(_glued(cell)) for cell in cells), default=0) for cells in _columns(block)]


# One rule under the header, in characters that every font and every pipe has.
_RULE = box.Box("    \n    \n -  \n    \n    \n    \n    \n    \n", ascii=True)

# Where a word that is too long may be cut: behind the marks that paths and options are made of.
_BREAKS = re.compile(r"[^/_.:=-]*[/_.:=-]+|[^/_.:=-]+")

# A line may not break inside "[31, 47]" or between a number and its sign: rich breaks at every
# kind of space, so these are set with a private character that becomes a space at the very end.
_GLUE = "\ue000"
# A path is there to be copied; cut in two it is none.
_PATH = re.compile(r"\S*[/\\]\S*")
_FIRST_OR_NEXT = re.compile(r"^ *\S+|\S+")
_UNBROKEN = re.compile(r"\[[^\[\]]{1,24}\]|(?<=\d) %|(?<=^[<>≤≥]) (?=\d)")


def _glued(text: str) -> str:
    return _UNBROKEN.sub(lambda match: match.group().replace(" ", _GLUE), visible(text))


def _least_width(cells: Sequence[str]) -> int:
    """The longest word; the first of a cell takes the spaces before it along."""
    words = (word for cell in cells for word in _FIRST_OR_NEXT.findall(_glued(cell)))
    return max((cell_len(word) for word in words), default=1)


def split_columns(block: Table, width: int) -> list[Table]:
    """`block` as one table, or as several that each fit `width`, the first column repeated.

    A column needs the width of its longest word, see `_least_widths`; wrapping between words is
    allowed, cutting a number is not. A single column wider than `width` gets a table of its own.
    """
    least = _least_widths(block, width)
    groups: list[list[int]] = [[]]
    for at in range(1, len(block.columns)):
        needed = least[0] + sum(least[i] + _GAP for i in (*groups[-1], at))
        if needed > width and groups[-1]:
            groups.append([])
        groups[-1].append(at)
    if len(groups) == 1:
        return [block]
    return [_take(block, [0, *group]) for group in groups]


def _take(block: Table, chosen: list[int]) -> Table:
    align = block.alignment()
    return Table(
        tuple(block.columns[i] for i in chosen),
        tuple(tuple(row[i] for i in chosen) for row in block.rows),
        "".join(align[i] for i in chosen),
        strong_rows=block.strong_rows,
    )
