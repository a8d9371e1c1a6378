"""From a line to a text: plain or JSON, and back to a line with the answer added.

A line that holds no text (malformed UTF-8, bad JSON, a lone surrogate) becomes a record with an
`error`, so that its neighbours still get their answers. An object's own fields come out byte for
byte as they went in: the answer is written in before the closing brace, under another name where
the object has a field of the answer's.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rnnctl.errors import DataError
from rnnctl.inference.lines import Line

TEXT_FIELDS = ("text", "sentence", "review", "content", "document", "body", "comment", "message")
LineFormat = Literal["auto", "text", "jsonl"]
_BOM = b"\xef\xbb\xbf"
OURS = "rnnctl_"  # before the name of an answer's field, where the input has one of that name
_MAX_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Record:
    """One input: its text, or why there is none. `source` is the JSON object as it was written."""

    line: int
    text: str = ""
    error: str = ""
    source: str | None = None
    fields: Mapping[str, Any] | None = None

    @property
    def is_unread(self) -> bool:
        """Whether it holds an error because the line is no text and no object at all."""
        return bool(self.error) and self.source is None

    def renamed(self, answer: Iterable[str]) -> dict[str, str]:
        """Names of the answer's fields that the input has taken, and what they become."""
        own = self.fields or {}
        return {name: _free(name, own) for name in answer if name in own}

    def with_answer(self, answer: Mapping[str, Any]) -> str:
        """The record as a line of JSON, without a newline; the input's own fields come first."""
        if self.source is None or self.fields is None:
            return as_json({"line": self.line, **answer})
        names = self.renamed(answer)
        added = as_json({names.get(name, name): value for name, value in answer.items()})[1:]
        return self.source.rstrip()[:-1].rstrip() + (", " if self.fields else "") + added


class RecordReader:
    """Turns lines into records. In `auto`, the first line decides: a JSON object means JSONL."""

    def __init__(self, format: LineFormat = "auto", text_field: str | None = None) -> None:
        self.format = self._wanted = format
        self._text_field = text_field

    def fresh(self) -> RecordReader:
        """A reader for the next file, as this one was at first."""
        return RecordReader(self._wanted, self._text_field)

    def read(self, lines: Iterable[Line]) -> Iterator[Record]:
        """One record for each line, in order."""
        for line in lines:
            yield self._record(line)

    def _record(self, line: Line) -> Record:
        if line.problem:
            return Record(line.number, error=line.problem)
        data = line.data.removesuffix(b"\r")
        if line.number == 1:
            data = data.removeprefix(_BOM)
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as problem:
            found = f"malformed UTF-8: byte {problem.start + 1} is 0x{data[problem.start]:02x}"
            return Record(line.number, error=f"{found} ({problem.reason})")
        if self.format == "auto":
            self.format = "jsonl" if _is_object(text) else "text"
        return (
            self._parse(line.number, text) if self.format == "jsonl" else Record(line.number, text)
        )

    def _parse(self, number: int, source: str) -> Record:
        try:
            value = parse_json(source)
        except (ValueError, RecursionError) as failure:
            return Record(number, error=f"bad JSON: {_reason(failure)}")
        if not isinstance(value, dict):
            return Record(number, error=f"bad JSON: an object was expected, not {_kind(value)}")
        name = self._field(value)
        if name is None:
            return Record(number, error=self._no_text(value), source=source, fields=value)
        text = value[name]
        if not isinstance(text, str):
            problem = f"field {name!r} holds {_kind(text)}, not text"
        else:
            problem = _surrogate(text)
        if problem:
            return Record(number, error=problem, source=source, fields=value)
        return Record(number, text, source=source, fields=value)

    def _field(self, value: Mapping[str, Any]) -> str | None:
        if self._text_field is not None:
            return self._text_field if self._text_field in value else None
        return next((name for name in TEXT_FIELDS if name in value), None)

    def _no_text(self, value: Mapping[str, Any]) -> str:
        there = shorten(", ".join(value) or "none")
        wanted = repr(self._text_field) if self._text_field else "of text (name it by --text-field)"
        return f"no field {wanted}; fields: {there}"


def failure(record: Record, source: str) -> DataError:
    """The error that ends the work with --fail-fast."""
    return DataError(
        f"{source}:{record.line}: {record.error}",
        hint="without --fail-fast such a line gets an error record and the others their answers",
    )


def parse_json(source: str) -> Any:
    """JSON, strictly: no NaN, no Infinity. Raises ValueError and RecursionError."""
    return json.loads(source, parse_constant=_refuse)


def as_json(value: Mapping[str, Any]) -> str:
    """One line of JSON in UTF-8; lone surrogates of passed-through fields stay escaped."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return json.dumps(value) if _surrogate(text) else text


def shorten(text: str) -> str:
    """At most _MAX_SHOWN characters of something that a stranger wrote."""
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _free(name: str, taken: Container[str]) -> str:
    while name in taken:
        name = f"{OURS}{name}"
    return name


def _is_object(text: str) -> bool:
    if not text.lstrip().startswith("{"):
        return False
    try:
        return isinstance(parse_json(text), dict)
    except (ValueError, RecursionError):
        return False


def _reason(problem: Exception) -> str:
    return "nested too deep" if isinstance(problem, RecursionError) else shorten(str(problem))


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a truth value"}
    return "null" if value is None else names.get(type(value), "a number")


def _surrogate(text: str) -> str:
    if text.isascii():
        return ""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as problem:
        code = ord(text[problem.start])
        return f"lone surrogate U+{code:04X} at character {problem.start}"
    return ""
