"""What a source is: text, labelled lines, a table or JSON, decided on a sample of what it holds."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from rnnctl.config import SourceKind
from rnnctl.data.columns import find_column, is_number, names_a_text, usual_names

Kind = SourceKind
TABLE_SUFFIXES: Final[Mapping[str, Kind]] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
}
FASTTEXT: Final = "__label__"  # how fastText marks the label that begins a line
MAX_CELL = 64 << 20
_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_COMPARED_LINES = 500
_FEWEST = 10  # records from which on columns without a header or a quote are believed
_PLAIN_LABEL = re.compile(
    r"[+-]?\d{1,2}|pos|neg|neu|positive|negative|neutral|mixed|good|bad|true|false|yes|no|ham|spam"
)
_WRAPPED = re.compile(r'"[^"]*(?:""[^"]*)*"')
_NAME = re.compile(r"[^\W\d][\w-]*( [\w-]+)?")


@dataclass(frozen=True, slots=True)
class Format:
    """How the records of a source are written.

    kind: "text" has none, "lines" are a label and a text each. columns: the names in the header, or
    numbers where there is none; of JSON, whose records have fields of their own, none.
    """

    kind: Kind
    separator: str = ","
    quoted: bool = True
    header: bool = True
    columns: tuple[str, ...] = ()

    @property
    def is_table(self) -> bool:
        """Whether there are records with fields."""
        return self.kind != "text"

    def __str__(self) -> str:
        """In words: "csv, comma, header"."""
        if self.kind in ("csv", "tsv"):
            head = "header" if self.header else "no header"
            return f"{self.kind}, {_SEPARATORS[self.separator]}, {head}"
        words = {"jsonl": "JSON lines", "json": "JSON", "lines": "labelled lines"}
        return words.get(self.kind, "text")


def recognise(
    sample: Sequence[str],
    *,
    whole: bool,
    suffix: str = "",
    given: Kind | None = None,
    fields: Collection[str] = (),
    labelled: bool = False,
) -> Format:
    """What a source is whose first lines are `sample`.

    whole: the sample is all of it. suffix: how its name ends (".csv"), which counts where the
    content fits. given: what the user says that it is. fields: columns that are asked for.
    labelled: labels are wanted, so that lines may begin with one.
    """
    said = given or TABLE_SUFFIXES.get(suffix)
    filled = [text for text in sample if text.strip()]
    if given not in ("text", "lines", "csv", "tsv"):
        kind = _json_kind(sample, filled, said, whole=whole)
        if kind is not None:
            return Format(kind)
    if said in ("csv", "tsv"):
        return _separated(sample, said, fields, whole=whole)
    if given == "lines" or (given is None and labels_lines(filled, weak=labelled)):
        return Format("lines", columns=("label", "text"))
    if given is None and filled:
        table = _unnamed_table(sample, fields, whole=whole)
        if table is not None:
            return table
    return Format("text")


# -- JSON ------------------------------------------------------------------------------------


def _json_kind(
    sample: Sequence[str], filled: Sequence[str], said: Kind | None, *, whole: bool
) -> Literal["json", "jsonl"] | None:
    """JSON lines where half of the lines are objects; JSON where the whole is an array."""
    first = filled[0].lstrip() if filled else ""
    if first.startswith("[") and _is_array(sample, whole=whole):
        return "json"
    if said == "jsonl":
        return "jsonl"
    if said == "json" and len(filled) == 1 and _holds_a_list(first):
        return "json"
    begun = filled[:_COMPARED_LINES]
    objects = sum(_is_object(text) for text in begun)
    # Half of them will do: a file with broken lines is to be told so, not to be read as prose.
    if objects and objects * 2 >= len(begun):
        return "jsonl"
    if said != "json":
        return None
    return "jsonl" if objects or not first.startswith(("[", "{")) else "json"


def _is_array(sample: Sequence[str], *, whole: bool) -> bool:
    text = "\n".join(sample).lstrip()
    found = _loaded(text) if whole and len(text) <= 1 << 16 else None
    if found is None:  # too long to be read for this, or cut off or malformed somewhere
        return re.match(r"\[\s*\{\s*\"", text) is not None
    return isinstance(found, list) and all(isinstance(one, dict | str) for one in found)


def _holds_a_list(text: str) -> bool:
    """Whether an object is no record but holds one list of them: {"data": [{…}, …]}."""
    found = _loaded(text)
    values = found.values() if isinstance(found, dict) else ()
    lists = [one for one in values if isinstance(one, list)]
    return len(lists) == 1 and bool(lists[0]) and all(isinstance(one, dict) for one in lists[0])


def _is_object(text: str) -> bool:
    return text.lstrip().startswith("{") and isinstance(_loaded(text), dict)


def _loaded(text: str) -> Any:
    """What a text holds as JSON; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


# -- lines that begin with a label -----------------------------------------------------------


def labels_lines(filled: Sequence[str], *, weak: bool = True) -> bool:
    """Whether lines read "label text" beyond doubt.

    So it is with ``__label__x …``; and, if `weak`, where every line begins with a number or with
    one of the usual names of labels in small letters, and there are few of them.
    """
    marked = sum(text.lstrip().startswith(FASTTEXT) for text in filled)
    if marked and marked * 10 >= len(filled) * 9:
        return True
    first = _first_words(filled)
    return weak and all(map(_PLAIN_LABEL.fullmatch, first)) and _few(first)


def few_first_words(filled: Sequence[str]) -> list[str]:
    """The words that the lines begin with, most frequent first; none if there are many."""
    first = _first_words(filled)
    return [word for word, _ in first.most_common()] if _few(first) else []


def _first_words(filled: Sequence[str]) -> Counter[str]:
    """How often each word begins a line; empty if most lines have but one word."""
    parts = [text.split(maxsplit=1) for text in filled]
    if sum(len(part) > 1 for part in parts) * 10 < len(parts) * 9:
        return Counter()
    return Counter(part[0] for part in parts if part)


def _few(first: Counter[str]) -> bool:
    # As labels do: they come again, five times in the mean.
    return 2 <= len(first) <= min(20, first.total() // 5)


# -- separated values ------------------------------------------------------------------------


def _separated(
    sample: Sequence[str],
    kind: Literal["csv", "tsv"],
    fields: Collection[str],
    *,
    whole: bool,
) -> Format:
    """A csv or tsv file: which character separates, whether cells are quoted, whether it has a
    header."""
    separator = "\t" if kind == "tsv" else _separator(sample, whole=whole)
    quoted = separator != "\t" or _quotes(sample)
    records = sampled_records(sample, separator, quoted=quoted, whole=whole)
    if not records:
        return Format(kind, separator, quoted)
    header = _has_header(records, fields)
    return Format(kind, separator, quoted, header, _columns(records[0], header))


def _columns(first: Sequence[str], header: bool) -> tuple[str, ...]:
    return tuple(
        (cell.strip() if header else "") or str(number) for number, cell in enumerate(first, 1)
    )


def _unnamed_table(sample: Sequence[str], fields: Collection[str], *, whole: bool) -> Format | None:
    """The table that a source of no such name is beyond doubt, as it may come through a pipe.

    Its records are equally wide, and its first names a text, or a column asked for; or they are
    many, and one of their columns holds few values.
    """
    for separator in _SEPARATORS:
        if separator not in sample[0] and separator not in "".join(sample[:2]):
            continue
        quoted = separator != "\t" or _quotes(sample)
        records = sampled_records(sample, separator, quoted=quoted, whole=whole)
        width = len(records[0]) if records else 0
        # One record in fifty may be malformed: what is wrong with it is said when it is read.
        if width < 2 or sum(len(record) == width for record in records) * 50 < len(records) * 49:
            continue
        first = [cell.strip() for cell in records[0]]
        asked = any(first.count(field) == 1 for field in fields)
        alone = len(records) == 1 and not all(map(_NAME.fullmatch, records[0]))
        named = usual_names(first) == width or (names_a_text(first) and not alone)
        if not (asked or named or _classified(records)):
            continue
        header = _has_header(records, fields)
        kind: Literal["csv", "tsv"] = "tsv" if separator == "\t" else "csv"
        return Format(kind, separator, quoted, header, _columns(records[0], header))
    return None


def _classified(records: Sequence[Sequence[str]]) -> bool:
    """Whether many records have a column of few short values beside one of many."""
    later = [cell for record in records for cell in record[1:]]
    if len(records) < _FEWEST or sum(cell.startswith(" ") for cell in later) * 10 > len(later):
        return False  # in prose, a space comes after a comma
    distinct = [set(column) for column in zip(*_even(records), strict=True)]
    few = any(
        2 <= len(values) <= len(records) // 5 and all(0 < len(v) <= 20 for v in values)
        for values in distinct
    )
    return few and any(len(values) * 2 > len(records) for values in distinct)


def _separator(sample: Sequence[str], *, whole: bool) -> str:
    """The character that makes records of one width, and of the most columns."""

    def fit(separator: str) -> tuple[float, int, bool]:
        records = sampled_records(sample, separator, quoted=separator != "\t", whole=whole)
        width = len(records[0]) if records else 0
        share = sum(len(record) == width for record in records) / max(1, len(records))
        # Of equals the comma, after which such files are called.
        return (share if width > 1 else 0.0), width, separator == ","

    return max(_SEPARATORS, key=fit)


def sampled_records(
    sample: Sequence[str], separator: str, *, quoted: bool, whole: bool
) -> list[list[str]]:
    """The records among the first lines, without one that the sample cuts off."""
    begun = sample[:_COMPARED_LINES]
    complete = whole and len(begun) == len(sample)
    if not quoted:
        return [text.split(separator) for text in begun if text]
    csv.field_size_limit(MAX_CELL)
    found: list[list[str]] = []
    try:
        found += (
            record
            for record in csv.reader((f"{text}\n" for text in begun), delimiter=separator)
            if record
        )
    except csv.Error:
        return found
    return found if complete or len(found) < 2 else found[:-1]


def _quotes(sample: Sequence[str]) -> bool:
    """Whether a tab-separated file quotes its cells (most do not, and use quotes as they like).

    Where every line is a record as it stands: only if each quote is where a writer of quoted cells
    puts it. Otherwise: if reading it as quoted makes records of one width.
    """
    # A reader of quoted cells would take a stray quote for the beginning of a cell that ends at the
    # next one, records away.
    width, whole, wrapped, stray = 0, True, False, False
    for text in sample:
        cells = text.split("\t")
        width = width or (len(cells) if text else 0)
        whole = whole and (not text or len(cells) == width)
        for cell in cells if '"' in text else ():
            if '"' in cell:
                fits = _WRAPPED.fullmatch(cell) is not None
                wrapped, stray = wrapped or fits, stray or not fits
    return wrapped and not stray if whole else (wrapped or stray) and _even_if_quoted(sample)


def _even_if_quoted(sample: Sequence[str]) -> bool:
    """Whether all records have one width when cells are taken to be quoted."""
    try:
        lines = (f"{text}\n" for text in sample)
        records = csv.reader(lines, delimiter="\t", strict=True)
        return len({len(cells) for cells in records if cells}) == 1
    except csv.Error:
        return False


def _even(records: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    return [record for record in records if len(record) == len(records[0])]


def _has_header(records: Sequence[Sequence[str]], fields: Collection[str]) -> bool:
    """Whether the first record names the columns.

    It does if it holds a name that is asked for, or two usual ones. It does not if one of its cells
    is empty of letters, as no name is, or stands in its column again. Otherwise it does if a column
    differs from it in kind: numbers, or far longer texts, or a few recurring values.
    """
    first = [cell.strip() for cell in records[0]]
    names = [cell for cell in first if cell]
    if any(find_column(first, field) for field in fields if not field.isdecimal()):
        return True
    usual = usual_names(first)
    if usual >= 2 or (usual and len(records) == 1):
        return True
    if len(set(names)) < len(names) or any(map(is_number, names)):
        return False
    columns = [
        [cell.strip() for cell in column] for column in zip(*_even(records[1:]), strict=True)
    ]
    # A header alone, or above rows of another width.
    if len(columns) != len(first):
        return bool(usual)
    # A name does not come again below itself.
    if any(cell and cell in column for cell, column in zip(first, columns, strict=True)):
        return False
    return bool(usual) or any(
        _differs(cell, column) for cell, column in zip(first, columns, strict=True) if cell
    )


def _differs(name: str, column: Sequence[str]) -> bool:
    """Whether a column is of another kind than its first cell, which holds no number."""
    filled = [cell for cell in column if cell]
    if not filled or len(name) > 60:
        return False
    if all(map(is_number, filled)):
        return True
    if len(filled) < _FEWEST:
        return False
    few = len(set(filled)) * 4 <= len(filled)
    return few or sum(map(len, filled)) / len(filled) > max(20, 4 * len(name))
