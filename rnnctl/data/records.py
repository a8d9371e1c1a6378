"""Records as they are written in lines: of csv, tsv, JSON and labelled lines, one after the other.

A parser is fed with lines as they come and gives every record as soon as it is whole, so that the
same one serves a file of any size and a pipe that stays open. A record that cannot be read has a
problem, and those after it are read all the same. Lines end at ``\\n``: not at U+0085 or U+2028.
"""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, Protocol

from rnnctl.data.columns import Columns
from rnnctl.data.labels import NoLabelError, label_text, short
from rnnctl.data.recognition import FASTTEXT, MAX_CELL, Format
from rnnctl.data.text import TextFile, lines
from rnnctl.errors import DataError
from rnnctl.wording import plural

Line = tuple[int, str]
MAX_RECORD: Final = 16_000_000  # characters of one record in a filter; of an element of an array
_MOST_LINES = 10_000  # of a record whose quote is not closed
_BLANK = " \t\r\n"
_QUOTES_HINT = "quotes inside a quoted cell are doubled; line ends inside a cell need quotes"


class Entry(NamedTuple):
    """One record: its `cells` by column, or None and the `problem`; both empty for a blank line.

    line: where it begins; of a JSON array, which element it is. source: a JSON object as it stands.
    """

    line: int
    cells: Mapping[str, Any] | None = None
    problem: str = ""
    hint: str = ""
    source: str | None = None


class Parser(Protocol):
    """Makes records of lines."""

    def feed(self, lines: Iterable[Line]) -> Iterator[Entry]:
        """The records that are complete with these lines."""
        ...

    def finish(self) -> Iterator[Entry]:
        """What is left at the end."""
        ...


def parser(format: Format) -> Parser:
    """What reads records that are written so."""
    if format.kind in ("csv", "tsv"):
        return _SeparatedParser(format)
    if format.kind == "json":
        return _JsonParser()
    return _LineParser(_json_line if format.kind == "jsonl" else _labelled_line)


class _LineParser:
    """Every line is a record."""

    def __init__(self, parse: Any) -> None:
        self._parse = parse

    def feed(self, lines: Iterable[Line]) -> Iterator[Entry]:
        for number, text in lines:
            yield self._parse(number, text) if text.strip() else Entry(number)

    def finish(self) -> Iterator[Entry]:
        return iter(())


def _labelled_line(number: int, text: str) -> Entry:
    label, _, rest = text.strip().partition(" ") if FASTTEXT in text else ("", "", "")
    if not label.startswith(FASTTEXT):
        word, *more = text.split(maxsplit=1)
        return Entry(number, {"label": word, "text": "".join(more).strip()})
    label = text.split(maxsplit=1)[0]
    rest = text.strip()[len(label) :].strip()
    # Some files put commas between several marked labels.
    several = [label.rstrip(",;|")]
    while rest.startswith(FASTTEXT):
        several.append(rest.split(maxsplit=1)[0].rstrip(",;|"))
        rest = rest[len(rest.split(maxsplit=1)[0]) :].strip()
    names = [name.removeprefix(FASTTEXT) for name in several]
    return Entry(number, {"label": names if len(names) > 1 else names[0], "text": rest})


def _json_line(number: int, text: str) -> Entry:
    try:
        value, source = parse_json(text)
    except (ValueError, RecursionError) as error:
        return Entry(
            number, None, f"not JSON ({_reason(error)})", "a .jsonl file has one object per line"
        )
    return _object(number, value, source)


def _object(number: int, value: Any, source: str) -> Entry:
    if isinstance(value, str):
        return Entry(number, {"text": value})
    if not isinstance(value, dict):
        return Entry(
            number,
            None,
            f"{_shown(source)} is not an object",
            'records look like {"text": "…", "label": "…"}',
        )
    return Entry(number, value, source=source)


def parse_json(text: str) -> tuple[Any, str]:
    """A value, and its text as JSON proper: NaN and Infinity, which are none, become null.

    Raises: ValueError, RecursionError.
    """
    if "NaN" not in text and "Infinity" not in text:
        return json.loads(text), text
    strange: list[str] = []
    value = json.loads(text, parse_constant=strange.append)
    return value, json.dumps(value, ensure_ascii=False) if strange else text


def _shown(source: str) -> str:
    """A value as JSON, for a message."""
    source = source.strip()
    return source if len(source) <= 60 else f"{source[:60]}…"


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg.removesuffix(' at')} at column {error.colno}"
    return str(error)


class _JsonParser:
    """The elements of an array, one by one; or one object, which is a record or holds a list."""

    def __init__(self) -> None:
        self._text = ""
        self._strange: list[str] = []
        self._decode = json.JSONDecoder(parse_constant=self._strange.append).raw_decode
        self._begun = self._ended = False
        self._is_array = True
        self._count = 0

    def feed(self, lines: Iterable[Line]) -> Iterator[Entry]:
        if not self._ended:
            self._text += "".join(f"{text}\n" for _, text in lines)
        yield from self._take(last=False)
        if not self._is_array and not self._ended and len(self._text) > MAX_CELL:
            yield self._failed("an object of over 64 million characters")
            self._text = ""

    def finish(self) -> Iterator[Entry]:
        yield from self._take(last=True)
        if self._is_array and not self._ended and self._begun:
            yield Entry(self._count + 1, None, "the JSON array is cut off", "fetch the file again")

    def _take(self, *, last: bool) -> Iterator[Entry]:
        if self._ended:
            return
        if not self._begun:
            self._text = self._text.lstrip(_BLANK)
            if not self._text:
                return
            self._begun = True
            self._is_array = self._text.startswith("[")
            self._text = self._text[self._is_array :]
        yield from self._elements() if self._is_array else self._whole() if last else ()

    def _elements(self) -> Iterator[Entry]:
        at = 0
        while True:
            rest = re.compile(r"[\s,]*").match(self._text, at)
            at = rest.end() if rest else at
            if at >= len(self._text):
                break
            if self._text[at] == "]":
                self._ended = True
                break
            self._strange.clear()
            try:
                value, end = self._decode(self._text, at)
            except RecursionError:
                yield self._failed("nested too deeply")
                break
            except ValueError as error:
                if len(self._text) - at > MAX_RECORD or _is_broken(self._text, error):
                    yield self._failed(_reason(error))
                break
            if end == len(self._text) and not isinstance(value, dict | list | str):
                break  # a number may go on
            self._count += 1
            source = self._text[at:end] if not self._strange else json.dumps(value)
            if "\n" in source:  # a record is written on one line
                source = json.dumps(value, ensure_ascii=False)
            yield _object(self._count, value, source)
            at = end
        self._text = self._text[at:]

    def _failed(self, reason: str) -> Entry:
        self._ended = True
        return Entry(self._count + 1, None, f"not JSON ({reason}); what follows is not read")

    def _whole(self) -> Iterator[Entry]:
        try:
            value, source = parse_json(self._text)
        except (ValueError, RecursionError) as error:
            yield Entry(1, None, f"not JSON ({_reason(error)})")
            return
        values = value.values() if isinstance(value, dict) else ()
        # Many services export {"data": [{…}, …]}: the list is the table.
        held = [one for one in values if isinstance(one, list)]
        if len(held) == 1 and held[0] and all(isinstance(one, dict) for one in held[0]):
            for number, one in enumerate(held[0], 1):
                yield _object(number, one, json.dumps(one, ensure_ascii=False))
            return
        yield _object(1, value, json.dumps(value, ensure_ascii=False) if "\n" in source else source)


def _is_broken(text: str, error: ValueError) -> bool:
    """Whether the JSON is wrong before its end, so that more of it would not help."""
    return (
        isinstance(error, json.JSONDecodeError)
        # Near the end it may be a word or an escape such as \u00e9 that is cut off.
        and error.pos < len(text.rstrip()) - 16
        and (not error.msg.startswith("Unterminated string"))
    )


class _SeparatedParser:
    """Records of csv and tsv, whose quoted cells may hold line ends."""

    def __init__(self, format: Format) -> None:
        # Python's own limit, of the whole process, is 128 KB.
        csv.field_size_limit(MAX_CELL)
        self._separator = format.separator
        self._quoted = format.quoted
        self._columns = format.columns
        self._head_is_next = format.header
        self._held: list[Line] = []
        self._size = 0

    def feed(self, lines: Iterable[Line]) -> Iterator[Entry]:
        for number, text in lines:
            if self._held:
                yield from self._go_on(number, text)
            else:
                yield from self._begin(number, text)

    def finish(self) -> Iterator[Entry]:
        while self._held:
            yield from self._give_up("a quote is not closed")

    def _begin(self, number: int, text: str) -> Iterator[Entry]:
        if not text:
            return
        if not self._quoted or '"' not in text:
            yield from self._record(number, text.split(self._separator))
            return
        self._held, self._size = [(number, text)], len(text)
        yield from self._close()

    def _go_on(self, number: int, text: str) -> Iterator[Entry]:
        self._held.append((number, text))
        self._size += len(text) + 1
        if '"' in text:
            yield from self._close()
        elif len(self._held) > _MOST_LINES or self._size > MAX_CELL:
            yield from self._give_up("a quote is not closed")

    def _close(self) -> Iterator[Entry]:
        """The record that is held, if it is whole now."""
        last = len(self._held) - 1
        texts = [f"{text}\n" if k < last else text for k, (_, text) in enumerate(self._held)]
        try:
            cells = next(csv.reader(texts, delimiter=self._separator, strict=True))
        except csv.Error as error:
            # What Python's csv says of an open quote: the record goes on in the next line.
            if "unexpected end of data" not in str(error):
                yield from self._give_up(str(error))
            return
        number = self._held[0][0]
        self._held = []
        yield from self._record(number, cells)

    def _give_up(self, reason: str) -> Iterator[Entry]:
        """The first line that is held is no record; those after it may be."""
        (number, _), *others = self._held
        self._held = []
        # What follows a damaged header is not taken for one.
        self._head_is_next = False
        yield Entry(number, None, f"not a well-formed table ({reason})", _QUOTES_HINT)
        yield from self.feed(others)

    def _record(self, number: int, cells: list[str]) -> Iterator[Entry]:
        if self._head_is_next:
            self._head_is_next = False
            return
        width = len(self._columns)
        # Spreadsheets write empty cells to the right of the table.
        if len(cells) > width and not any(map(str.strip, cells[width:])):
            cells = cells[:width]
        if len(cells) != width:
            yield Entry(
                number,
                None,
                f"{plural(len(cells), 'cell')}, but the table has {plural(width, 'column')}",
                "cells that hold the separator or a line end must be in quotes",
            )
            return
        yield Entry(number, dict(zip(self._columns, cells, strict=True)))


# -- the records of a file -------------------------------------------------------------------


def entries(file: TextFile, format: Format) -> Iterator[Entry]:
    """The records of a file, blank lines left out."""
    found = parser(format)
    for entry in itertools.chain(found.feed(lines(file)), found.finish()):
        if entry.cells is not None or entry.problem:
            yield entry


Row = dict[str, Any]  # text: str, label: str, line: int


def rows(file: TextFile, format: Format, columns: Columns) -> Iterator[Row]:
    """``{"text", "label", "line"}`` of every record; "" for no label, or that of no text, or
    where records may lack one.

    And ``"by"``, where a column is asked for.

    Raises: DataError with path and line.
    """
    for entry in entries(file, format):
        where = f"{file.name}:{entry.line}"
        if entry.cells is None:
            raise DataError(f"{where}: {entry.problem}", hint=entry.hint)
        text = cell_text(entry.cells.get(columns.text), where, columns.text)
        label = ""
        if columns.label is not None:
            try:
                label = label_text(
                    entry.cells.get(columns.label), where, columns.label, columns.separator
                )
            except NoLabelError:
                if text.strip() and not columns.unlabelled:
                    raise
        row = {"text": text, "label": label, "line": entry.line}
        if columns.by is not None:
            row["by"] = value_text(entry.cells.get(columns.by))
        yield row


def value_text(value: object) -> str:
    """What a cell says, as a word to sort documents by; "" for an empty one."""
    if value is None or isinstance(value, str):
        return " ".join((value or "").split())
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False)


def cell_text(value: object, where: str, field: str) -> str:
    """The text of a cell, "" for none. Raises: DataError for what is no text."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(
            f"{where}: the field {field!r} is not text but {short(value)}",
            hint="name the right one: --text-field FIELD",
        )
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(
            f"{where}: the text holds a lone surrogate", hint="remove or repair that record"
        ) from None
    return value
