"""Rows of csv, tsv and JSON-lines files and of labelled lines, read strictly.

Every fault names its line. A record never ends at U+0085 or U+2028: lines end at ``\\n``.
"""

from __future__ import annotations

import itertools
import json
import math
import unicodedata
from collections.abc import Iterator
from typing import Any

from rnnctl.data.fields import pick_fields
from rnnctl.data.lines import lines
from rnnctl.data.separated import separated
from rnnctl.data.textfile import TextFile
from rnnctl.errors import DataError

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
        columns, records = separated(file, kind, {text_field, label_field})
    else:
        columns, records = _json_columns(_json_records(file, kind), file.name)
    if not columns:
        return
    text, label = pick_fields(columns, text_field, label_field, file.name, labelled=labelled)
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
    number = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    if number or (isinstance(value, str) and value.strip()):
        label = str(value).strip()
        _check_label(label, where, field)
        return label
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
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


def _json_records(file: TextFile, kind: str) -> Iterator[tuple[int, Any]]:
    head = next((text.strip() for _, text in lines(file) if text.strip()), "")
    if kind == ".json" and head.startswith("["):
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


def _labelled_lines(file: TextFile) -> Iterator[Row]:
    for number, text in lines(file):
        if text.strip():
            label, rest = first_word(text)
            where = f"{file.name}:{number}"
            label = label_text(label.removeprefix(FASTTEXT), where, "label")
            yield {"text": rest, "label": label, "line": number}


def first_word(text: str) -> tuple[str, str]:
    """A line's first word, and what comes after the space or tab behind it."""
    word, *rest = text.split(maxsplit=1)
    return word, "".join(rest).strip()
