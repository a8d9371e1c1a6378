"""Rows of csv, tsv and JSON-lines files and of labelled lines, read strictly.

Every fault names its line. A record never ends at U+0085 or U+2028: lines end at ``\\n``.
"""

from __future__ import annotations

import csv
import itertools
import json
import unicodedata
from collections.abc import Iterator
from typing import Any

from rnnctl.data.fields import has_usual_name, pick_label, pick_text
from rnnctl.data.textfile import TextFile
from rnnctl.errors import DataError
from rnnctl.wording import plural

MAX_LINE = 64 << 20
_MAX_ARRAY = 64 << 20
FASTTEXT = "__label__"
_FIELDS_WITHIN = 20

# Kinds of characters that no label holds, by Unicode's names for them.
_UNFIT = {
    "Cc": "a control character",
    "Cs": "a lone surrogate",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
}
_NAMES = {"\t": "a tab", "\n": "a line break", "\r": "a carriage return", "\x1b": "an escape"}

Row = dict[str, Any]  # text: str, label: str, line: int


def rows(
    file: TextFile,
    kind: str,
    *,
    text_field: str | None,
    label_field: str | None,
    labelled: bool,
) -> Iterator[Row]:
    """``{"text", "label", "line"}`` of every record; "" for no label.

    kind: ".csv", ".tsv", ".jsonl" (".ndjson"), ".json" or "lines" ("label text").

    Raises: DataError with path and line; UsageError for a field that is not there.
    """
    if kind == "lines":
        yield from _labelled_lines(file)
        return
    if kind in (".csv", ".tsv"):
        columns, records = _separated(file, kind, {text_field, label_field})
    else:
        columns, records = _json_columns(_json_records(file, kind), file.name)
    if not columns:
        return
    text = pick_text(columns, text_field, file.name)
    label = pick_label(columns, label_field, file.name, text=text, needed=labelled)
    for line, record in records:
        where = f"{file.name}:{line}"
        yield {
            "text": _text(record.get(text), where, text),
            "label": label_text(record.get(label), where, label) if label and labelled else "",
            "line": line,
        }


def _text(value: object, where: str, field: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(
            f"{where}: the field {field!r} is no text but {_short(value)}",
            hint="name the right one: --text-field FIELD",
        )
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(
            f"{where}: the text holds a lone surrogate", hint="remove or repair that record"
        ) from None
    return value


def label_text(value: object, where: str, field: str) -> str:
    """A label as text. Raises: DataError if there is none, or it is no single line of text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str | int | float) and str(value).strip():
        label = str(value).strip()
        _check_label(label, where, field)
        return label
    if value is None or value == "":
        raise DataError(f"{where}: the label field {field!r} is empty", hint="label or remove it")
    raise DataError(
        f"{where}: {_short(value)} in the field {field!r} is no label",
        hint="name the right one: --label-field FIELD",
    )


def _check_label(label: str, where: str, field: str) -> None:
    """Raises: DataError for a character that would break the lines that labels are written in.

    Everything else may be part of how a language or an emoji is written: U+200C, U+200D, U+00A0.
    """
    bad = next((char for char in label if unicodedata.category(char) in _UNFIT), None)
    if bad is None:
        return
    name = _NAMES.get(bad) or _UNFIT[unicodedata.category(bad)]
    raise DataError(
        f"{where}: the label {_short(label)} in the field {field!r} holds {name} "
        f"(U+{ord(bad):04X})",
        hint="write a space or nothing in its place; or is another field the label? "
        "--label-field FIELD",
    )


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}…"


def lines(file: TextFile) -> Iterator[tuple[int, str]]:
    """Number and text of every line, ended by newline only, without a carriage return.

    Raises: DataError for a line over 64 MB.
    """
    with file.path.open("rb") as raw:
        raw.seek(file.start)
        for number in itertools.count(1):
            data = raw.readline(MAX_LINE)
            if not data:
                return
            if len(data) == MAX_LINE:
                raise DataError(
                    f"{file.name}:{number}: the line is longer than {MAX_LINE >> 20} MB",
                    hint="is it really one record per line?",
                )
            yield number, data.decode("utf-8").rstrip("\n").removesuffix("\r")


def _json_records(file: TextFile, kind: str) -> Iterator[tuple[int, Any]]:
    if kind == ".json" and next((t for _, t in lines(file) if t.strip()), "").startswith("["):
        if file.end - file.start > _MAX_ARRAY:
            raise DataError(
                f"{file.name} is one JSON array of over {_MAX_ARRAY >> 20} MB",
                hint="write one object per line (.jsonl): `jq -c '.[]'` does it",
            )
        whole = _parse("".join(file.chunks()), file.name)
        yield from enumerate(whole, 1)
        return
    for number, text in lines(file):
        if text.strip():
            yield number, _parse(text, f"{file.name}:{number}")


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise DataError(f"{where}: the JSON is nested too deeply") from None
    except ValueError as error:
        raise DataError(
            f"{where}: not JSON ({_reason(error)})", hint="a .jsonl file has one object per line"
        ) from None


def _reason(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return str(error)


def _json_columns(
    records: Iterator[tuple[int, Any]], name: str
) -> tuple[list[str], Iterator[tuple[int, dict[str, Any]]]]:
    """The fields of the first records, and all records."""
    checked = _objects(records, name)
    first = list(itertools.islice(checked, _FIELDS_WITHIN))
    columns = dict.fromkeys(key for _, record in first for key in record)
    return list(columns), itertools.chain(first, checked)


def _objects(records: Iterator[tuple[int, Any]], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, record in records:
        if isinstance(record, str):
            record = {"text": record}
        if not isinstance(record, dict):
            raise DataError(
                f"{name}:{line}: {_short(record)} is not an object",
                hint='records look like {"text": "…", "label": "…"}',
            )
        yield line, record


def _separated(
    file: TextFile, kind: str, chosen: set[str | None]
) -> tuple[list[str], Iterator[tuple[int, dict[str, Any]]]]:
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
    csv.field_size_limit(MAX_LINE)
    with file.path.open("rb") as raw:
        raw.seek(file.start)
        decoded = (line.decode("utf-8") for line in raw)
        if not quoted:
            # Only newlines end a line here; the csv module would also end it at a lone "\r".
            for number, text in enumerate(decoded, 1):
                bare = text.rstrip("\n").removesuffix("\r")
                if bare:
                    yield number, bare.split(separator)
            return
        reader = csv.reader(decoded, delimiter=separator, strict=True)
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


def _labelled_lines(file: TextFile) -> Iterator[Row]:
    for number, text in lines(file):
        if text.strip():
            label, _, rest = text.strip().partition(" ")
            where = f"{file.name}:{number}"
            label = label_text(label.removeprefix(FASTTEXT), where, "label")
            yield {"text": rest.strip(), "label": label, "line": number}
