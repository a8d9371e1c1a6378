"""From a source to its records, as they come, and back to lines with the answers added.

`RecordReader` reads what `rnnctl.data` reads for a corpus, in the same way: plain text by lines,
paragraphs or files, csv and tsv, JSON lines and arrays, labelled lines. Which of them a source is,
is decided on what of it can be read at first. A record that holds no text (malformed UTF-8, bad
JSON, no such column) has an `error`, so that its neighbours still get their answers. The fields of
a JSON object come out byte for byte as they went in: the answer is written in before the closing
brace, under another name where the object has a field of the answer's.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal, NamedTuple, Protocol, TypeVar

from rnnctl.config import SourceKind
from rnnctl.data.columns import find_column, pick_columns
from rnnctl.data.documents import Reading
from rnnctl.data.packing import Reads
from rnnctl.data.readers import file_readers
from rnnctl.data.recognition import Format, labels_lines, recognise
from rnnctl.data.records import Entry, Parser, parser
from rnnctl.data.text import utf8_length
from rnnctl.errors import DataError, UsageError
from rnnctl.inference.lines import MAX_LINE, UTF_8, Encoding, Line, Lines
from rnnctl.wording import plural

Unit = Literal["file", "paragraph", "line"]
OURS = "rnnctl_"  # before the name of an answer's field, where the input has one of that name
_MAX_SHOWN = 120  # characters of what came in: a message is one line
_FEWEST_LABELLED = 5  # lines: fewer may begin with a label's word by chance


class Record(NamedTuple):
    """One input: its text, or why there is none.

    line: where it begins, of a JSON array which element it is. file: the source, where answers say
    it. source: the JSON object as it was written; fields: what it holds, or a row of a table.
    """

    line: int
    text: str = ""
    error: str = ""
    source: str | None = None
    fields: Mapping[str, Any] | None = None
    file: str = ""

    @property
    def is_unread(self) -> bool:
        """Whether it holds an error because the line is no text and no record at all."""
        return bool(self.error) and self.fields is None

    @property
    def where(self) -> str:
        """Its place for a person: the file, or the line."""
        return self.file or f"line {self.line}"

    def renamed(self, answer: Iterable[str]) -> dict[str, str]:
        """Names of the answer's fields that the input has taken, and what they become."""
        own = self.fields or {}
        return {name: _free(name, own) for name in answer if name in own}

    def with_answer(self, answer: Mapping[str, Any]) -> str:
        """The record as a line of JSON, without a newline; the input's own fields come first."""
        if self.file:
            answer = {"file": self.file, **answer}
        if self.fields is None:
            return as_json({**({} if self.file else {"line": self.line}), **answer})
        names = self.renamed(answer)
        added = as_json({names.get(name, name): value for name, value in answer.items()})[1:]
        # As it was written, for 1.50 and the order of the keys mean something to somebody.
        source = self.source or as_json(self.fields)
        return source.rstrip()[:-1].rstrip() + (", " if self.fields else "") + added


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the options of a filter say of its input. kind None: decided by the content.

    trained: how the corpus of the run was read; labels: those of the run, () for language models.
    """

    kind: SourceKind | None = None
    text_field: str | None = None
    unit: Unit = "line"
    max_line: int = MAX_LINE
    encoding: Encoding = UTF_8
    trained: Reading = field(default_factory=Reading)
    labels: tuple[str, ...] = ()


class RecordReader:
    """Reads one source. `note` says what it was found to be, once that is decided."""

    def __init__(
        self,
        wanted: Wanted | None = None,
        name: str = "the input",
        suffix: str = "",
        file: str = "",
    ) -> None:
        """suffix: how the name ends (".csv"). file: a name that the answers carry."""
        self._wanted = wanted or Wanted()
        self._name = name
        self._suffix = suffix
        self._file = file
        self._parser: Parser | None = None
        self._column: str | None = None
        self.note = ""

    def windows(self, stream: BinaryIO | Reads) -> Iterator[list[Record]]:
        """The records that can be read without waiting, in order, one window at a time.

        Raises: DataError for a table without the column of the training, UsageError for an option
        that has no effect on such a source, OSError.
        """
        lines = Lines(stream, max_line=self._wanted.max_line, encoding=self._wanted.encoding)
        windows = iter(lines)
        begun: list[list[Line]] = []
        for window in windows:
            begun.append(window)
            if any(line.text.strip() for line in window):
                self._decide([line for one in begun for line in one])
                break
            if self._wanted.unit == "line" and self._wanted.kind is None:
                # Blank lines decide nothing, and get their answers at once.
                yield [self._record(line) for line in begun.pop()]
        rest = itertools.chain(begun, windows)
        if self._parser is not None:
            yield from self._parsed(self._parser, rest)
        elif self._wanted.unit == "file":
            yield [self._whole(rest, lines)]
        else:
            units: Iterable[Sequence[Line]] = rest
            if self._wanted.unit == "paragraph":
                units = paragraphs(rest, self._wanted.max_line)
            file = self._file
            for some in units:
                # By place: what a million lines go through.
                yield [Record(at, text, error, None, None, file) for at, text, error in some]

    def _decide(self, window: Sequence[Line]) -> None:
        wanted, trained = self._wanted, self._wanted.trained
        sample = [line.text for line in window if not line.problem]
        fields = [name for name in (wanted.text_field, trained.text) if name]
        given = None if wanted.kind == "lines" else wanted.kind
        found = recognise(sample, whole=False, suffix=self._suffix, given=given, fields=fields)
        if not found.is_table and self._begin_with_labels(sample):
            found = Format("lines", columns=("label", "text"))
        if not found.is_table:
            if wanted.text_field is not None:
                raise UsageError(
                    f"--text-field has no effect here: {self._name} is plain text",
                    hint="leave it out, or give the format: --as csv, tsv, jsonl or json",
                )
            return
        # Another than the one that parses the sample below: this one begins with the first line.
        self._parser = parser(found)
        entries = list(parser(found).feed((line.number, line.text) for line in window))
        cells = [entry.cells for entry in entries if entry.cells is not None]
        self._column = self._pick(found, cells)
        how = "table" if self._suffix in file_readers() else str(found)
        self.note = f"{self._name}: {how}" + (f"; text = {self._column}" if self._column else "")

    def _begin_with_labels(self, sample: Sequence[str]) -> bool:
        """Whether the lines of a plain text begin with labels, as those of the training did."""
        trained, kind = self._wanted.trained, self._wanted.kind
        filled = [text for text in sample if text.strip()]
        if kind == "text" or not filled:
            return False
        first = {text.split(maxsplit=1)[0] for text in filled}
        fit = trained.kind == "lines" and first <= set(self._wanted.labels)
        enough = len(filled) >= _FEWEST_LABELLED or kind == "lines"
        return (fit and enough) or labels_lines(filled, weak=False)

    def _pick(self, format: Format, cells: Sequence[Mapping[str, Any]]) -> str | None:
        """The column of the text: the one asked for, that of the training, or an evident one."""
        wanted, trained = self._wanted, self._wanted.trained
        if format.kind == "lines":
            return "text"
        is_json = format.kind in ("json", "jsonl")
        columns = list(dict.fromkeys(key for one in cells for key in one))
        columns = columns if is_json else list(format.columns)
        name = wanted.text_field or (None if trained.kind == "lines" else trained.text)
        if name is not None:
            found = find_column(columns, name)
            # A record of JSON may lack a field that others have: that is an error of its own line.
            if found is not None or is_json:
                return found or name
            # What a table has but one of, or in the same place as that of the training, is the text
            # under another name.
            if wanted.text_field is None and len(columns) == 1:
                return columns[0]
            if wanted.text_field is None and not format.header and len(columns) == trained.columns:
                return columns[trained.place]
            raise self._missing(name, columns)
        try:
            return pick_columns(columns, cells, None, None, self._name, labelled=False).text
        except DataError:
            if is_json:
                return None
            raise

    def _missing(self, name: str, columns: Sequence[str]) -> DataError | UsageError:
        has = f"it has {shorten(', '.join(columns))}"
        if self._wanted.text_field is not None:
            return UsageError(
                f"--text-field {name!r:.80}: {self._name} has no such field", hint=has
            )
        return DataError(
            f"{self._name} has no column {name!r:.80}, on which the run was trained; {has}",
            hint="give the name or the number of the text column: --text-field NAME",
        )

    def _parsed(self, found: Parser, windows: Iterable[Sequence[Line]]) -> Iterator[list[Record]]:
        for window in windows:
            if not any(problem for _, _, problem in window):
                whole = list(map(self._of_entry, found.feed([line[:2] for line in window])))
                if whole:
                    yield whole
                continue
            records: list[Record] = []
            for bad, some in itertools.groupby(window, key=lambda line: bool(line.problem)):
                if bad:
                    records += map(self._record, some)
                else:
                    read = ((line.number, line.text) for line in some)
                    records += map(self._of_entry, found.feed(read))
            if records:
                yield records
        # A quoted field or an array may end with the input only.
        last = list(map(self._of_entry, found.finish()))
        if last:
            yield last

    def _record(self, line: Line) -> Record:
        return Record(line.number, line.text, line.problem, file=self._file)

    def _of_entry(self, entry: Entry) -> Record:
        line, cells, problem, _, source = entry
        if cells is None:
            return Record(line, error=problem, file=self._file)
        name = self._column
        if name is not None and name not in cells:
            name = find_column(list(cells), name) if not name.isdecimal() else None
        if name is None:
            return Record(line, "", self._no_text(cells), source, cells, self._file)
        text = cells[name]
        if not isinstance(text, str):
            problem = f"field {name!r} holds {_kind(text)}, not text"
        elif not text.isascii():
            problem = _surrogate(text)
        return Record(line, "" if problem else text, problem, source, cells, self._file)

    def _no_text(self, cells: Mapping[str, Any]) -> str:
        there = shorten(", ".join(cells) or "none")
        if self._column is None:
            return f"no text field was found (name it with --text-field); fields: {there}"
        trained = self._wanted.text_field is None and self._wanted.trained.text is not None
        why = ", on which the run was trained (name another by --text-field)" if trained else ""
        return f"no field {self._column!r}{why}; fields: {there}"

    def _whole(self, windows: Iterable[Sequence[Line]], lines: Lines) -> Record:
        """All of the source as one text."""
        most = self._wanted.max_line
        texts: list[str] = []
        size, problem = 0, ""
        for line in itertools.chain.from_iterable(windows):
            problem = problem or (line.problem and f"line {line.number}: {line.problem}")
            size += len(line.text) + 1
            if size <= most:
                texts.append(line.text)
        if size > most + 1 and not problem:
            problem = f"file of more than {plural(most, 'byte')}; --max-line allows no more"
        text = "" if problem else "\n".join(texts) + ("" if lines.open_end or not texts else "\n")
        return Record(1, text, problem, file=self._file)


def paragraphs(windows: Iterable[Sequence[Line]], max_bytes: int) -> Iterator[list[Line]]:
    """Lines between blank lines, joined; a paragraph has the number of its first line.

    One that is longer than `max_bytes`, or holds a line with a problem, has a problem.
    """
    held, size = list[Line](), 0
    for window in windows:
        whole = []
        for line in window:
            if line.problem or line.text.strip():
                held.append(line)
                size += utf8_length(line.text) + 1
                if size > max_bytes + 1:  # keep that it is too long, not what it holds
                    held = [_joined(held, max_bytes)]
            elif held:
                whole.append(_joined(held, max_bytes))
                held, size = [], 0
        if whole:
            yield whole
    if held:
        yield [_joined(held, max_bytes)]


def _joined(lines: Sequence[Line], max_bytes: int) -> Line:
    problem = next((line.problem for line in lines if line.problem), "")
    size = sum(utf8_length(line.text) + 1 for line in lines) - 1
    if size > max_bytes and not problem:
        problem = f"paragraph of more than {plural(max_bytes, 'byte')}"
    text = "" if problem else "\n".join(line.text for line in lines)
    return Line(lines[0].number, text, problem)


# Columns that name texts where nobody says which.
IDS = ("id", "item", "item_id", "sentence_id", "uid", "pair_id")


def item_of(record: Record, id: str | None = None) -> Any:
    """What a text is called: by the column `id` or one of `IDS`, else by its place.

    Raises DataError for a column that does not exist.
    """
    fields = record.fields or {}
    if id is not None:
        return column(fields, id, "--id")
    known = next((c for name in IDS if (c := find_column(tuple(fields), name))), None)
    return fields[known] if known is not None else record.file or record.line


def column(fields: Mapping[str, Any], name: str, option: str) -> Any:
    """The value of the column that `option` names, by name or number. DataError for no such one."""
    found = find_column(tuple(fields), name)
    if found is None:
        there = ", ".join(map(repr, fields)) or "none"
        raise DataError(f"{option}: no column {name!r}; there are: {there}", hint="check its name")
    return fields[found]


class AnswerTo(Protocol):
    """What was found out about a record."""

    @property
    def record(self) -> Record: ...


_Answer = TypeVar("_Answer", bound=AnswerTo)


def until_failure(
    windows: Iterable[list[_Answer]], source: str, *, fail_fast: bool
) -> Iterator[list[_Answer]]:
    """The same windows of answers; with `fail_fast` up to the first record that holds an error.

    Raises: DataError for that record, after the answers before it were handed out.
    """
    for window in windows:
        bad = next((i for i, one in enumerate(window) if one.record.error), len(window))
        good = window[:bad] if fail_fast else window
        yield good
        if len(good) < len(window):
            raise failure(window[bad].record, source)


def failure(record: Record, source: str) -> DataError:
    """The error that ends the work with --fail-fast."""
    return DataError(
        f"{source}:{record.line}: {record.error}",
        hint="without --fail-fast such a line gets an error record and the others their answers",
    )


def as_json(value: Mapping[str, Any]) -> str:
    """One line of JSON in UTF-8; lone surrogates of passed-through fields stay escaped."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    # No encoding can write half of a pair, and JSON can as an escape.
    return json.dumps(value) if _surrogate(text) else text


def shorten(text: str) -> str:
    """At most _MAX_SHOWN characters of something that a stranger wrote."""
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"


def _free(name: str, taken: Container[str]) -> str:
    while name in taken:
        name = f"{OURS}{name}"
    return name


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
