"""Records of csv and tsv files: which character separates, whether cells are quoted, what heads."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from typing import Any

from rnnctl.data.fields import has_usual_name
from rnnctl.data.lines import MAX_LINE, lines, raw_lines
from rnnctl.data.textfile import TextFile
from rnnctl.errors import DataError
from rnnctl.wording import plural


def separated(
    file: TextFile, kind: str, chosen: set[str | None]
) -> tuple[list[str], Iterator[tuple[int, dict[str, Any]]]]:
    """The columns' names, and line and fields of every record. `chosen`: names that were asked for.

    Raises: DataError with path and line.
    """
    head = next((text for _, text in lines(file) if text.strip()), "")
    separator = "\t" if kind == ".tsv" else max(",;\t", key=lambda c: (head.count(c), c == ","))
    plain = separator == "\t" and not _quotes(file, separator)
    records = _records(file, separator, quoted=not plain)
    first = next(records, None)
    if first is None:
        return [], iter(())
    columns = [cell.strip() for cell in first[1]]
    if not has_usual_name(columns) and chosen.isdisjoint(columns):
        records = itertools.chain([first], records)
        columns = _guess_columns(file, separator, len(columns))
    return columns, _by_name(records, columns, file.name)


def _quotes(file: TextFile, separator: str) -> bool:
    """Whether a tab-separated file quotes its cells (most do not, and use quotes as they like)."""
    width = None
    wrapped = False
    for _, text in lines(file):
        cells = text.split(separator)
        width = width or len(cells)
        if text and len(cells) != width:
            return True
        for cell in cells:
            if len(cell) > 1 and cell[0] == cell[-1] == '"':
                if '"' in cell[1:-1].replace('""', ""):
                    return False
                wrapped = True
    return wrapped


def _records(file: TextFile, separator: str, *, quoted: bool) -> Iterator[tuple[int, list[str]]]:
    if not quoted:
        # Only newlines end a line here; the csv module would also end it at a lone "\r".
        yield from ((number, text.split(separator)) for number, text in lines(file) if text)
        return
    csv.field_size_limit(MAX_LINE)
    reader = csv.reader(raw_lines(file), delimiter=separator, strict=True)
    begun = 1
    try:
        for record in reader:
            if record:
                yield begun, record
            begun = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{file.name}:{begun}: not a well-formed table ({error})",
            hint="quotes inside a quoted cell are doubled; line ends inside a cell need quotes",
        ) from None


def _guess_columns(file: TextFile, separator: str, width: int) -> list[str]:
    """Names for a table without a header: of two columns, the one with fewer values is the label.

    Raises: DataError for any other width.
    """
    if width == 1:
        return ["text"]
    if width != 2:
        raise DataError(
            f"{file.name} has {width} columns and no header that names the text",
            hint="add a first line such as text,label or name the column: --text-field FIELD",
        )
    values: tuple[set[str], set[str]] = (set(), set())
    for _, text in itertools.islice(lines(file), 100_000):
        cells = text.split(separator)
        if len(cells) == 2:
            values[0].add(cells[0])
            values[1].add(cells[1])
    return ["label", "text"] if len(values[0]) < len(values[1]) else ["text", "label"]


def _by_name(
    records: Iterator[tuple[int, list[str]]], columns: list[str], name: str
) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, record in records:
        if len(record) != len(columns):
            raise DataError(
                f"{name}:{line}: {plural(len(record), 'cell')}, but the table has "
                f"{plural(len(columns), 'column')}",
                hint="cells that hold the separator or a line end must be in quotes",
            )
        yield line, dict(zip(columns, record, strict=True))
