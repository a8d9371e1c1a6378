"""Records of csv and tsv files: which character separates, whether cells are quoted, what heads."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator
from typing import Any

from rnnctl.data.fields import usual_names
from rnnctl.data.lines import MAX_LINE, lines, raw_lines
from rnnctl.data.textfile import TextFile
from rnnctl.errors import DataError
from rnnctl.wording import plural

_SAMPLED_RECORDS = 100_000
_WRAPPED = re.compile(r'"[^"]*(?:""[^"]*)*"')


def separated(
    file: TextFile, kind: str, chosen: set[str | None]
) -> tuple[list[str], Iterator[tuple[int, dict[str, Any]]]]:
    """The columns' names, and line and fields of every record. `chosen`: names that were asked for.

    Raises: DataError with path and line.
    """
    head = next((text for _, text in lines(file) if text.strip()), "")
    separator = "\t" if kind == ".tsv" else max(",;\t", key=lambda c: (head.count(c), c == ","))
    quoted = separator != "\t" or _quotes(file)
    records = _records(file, separator, quoted=quoted)
    first = next(records, None)
    if first is None:
        return [], iter(())
    columns = [cell.strip() for cell in first[1]]
    if chosen.isdisjoint(columns) and usual_names(columns) < 2:
        sample = itertools.islice(_records(file, separator, quoted=quoted), _SAMPLED_RECORDS)
        hashes = [[hash(cell.strip()) for cell in cells] for _, cells in sample]
        if not usual_names(columns) or _recurs(hashes):
            records = itertools.chain([first], records)
            columns = _guess_columns(hashes, file.name)
    return columns, _by_name(records, columns, file.name)


def _quotes(file: TextFile) -> bool:
    """Whether a tab-separated file quotes its cells (most do not, and use quotes as they like).

    Where every line is a record as it stands: only if each quote is where a writer of quoted cells
    puts it. Otherwise: if reading it as quoted makes records of one width.
    """
    width, whole, wrapped, stray = 0, True, False, False
    for _, text in lines(file):
        cells = text.split("\t")
        width = width or (len(cells) if text else 0)
        whole = whole and (not text or len(cells) == width)
        for cell in cells if '"' in text else ():
            if '"' in cell:
                fits = _WRAPPED.fullmatch(cell) is not None
                wrapped, stray = wrapped or fits, stray or not fits
    return wrapped and not stray if whole else (wrapped or stray) and _even_if_quoted(file)


def _even_if_quoted(file: TextFile) -> bool:
    """Whether all records have one width when cells are taken to be quoted."""
    try:
        return len({len(cells) for _, cells in _records(file, "\t", quoted=True)}) == 1
    except DataError:
        return False


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


def _recurs(records: list[list[int]]) -> bool:
    """Whether a cell of the first record stands in its column again, as no column's name would."""
    columns = itertools.zip_longest(*records)
    return any(cell and cell in others for cell, *others in columns)


def _guess_columns(records: list[list[int]], name: str) -> list[str]:
    """Names for a table without a header: of two columns, the one with fewer values is the label.

    records: the cells' hashes.

    Raises: DataError for any other width, or if neither has fewer.
    """
    width = len(records[0])
    if width == 1:
        return ["text"]
    hint = "add a first line that names the columns, such as text,label"
    if width != 2:
        raise DataError(
            f"{name} has {width} columns and no header that names the text",
            hint=f"{hint}, or name the text's column as the first line does: --text-field FIELD",
        )
    pairs = [record for record in records if len(record) == 2]
    left, right = (len(set(column)) for column in zip(*pairs, strict=True))
    if left == right:
        raise DataError(
            f"{name} has no header, and which of its two columns is the text cannot be told: "
            f"both have {plural(left, 'different value')}",
            hint=hint,
        )
    return ["label", "text"] if left < right else ["text", "label"]


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
