"""From tables by split to their rows as documents: which columns they are, and what to say of them.

The training table decides on the columns, and the others must have the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rnnctl import catalog
from rnnctl.data.columns import FIRST_WORD, Columns, find_column, looks_labelled, pick_columns
from rnnctl.data.documents import Reading
from rnnctl.data.labels import SEVERAL, NoLabelError, NoLabelsError, single_labels
from rnnctl.data.request import Found, Request, trained_on
from rnnctl.data.tables import Rows, Table
from rnnctl.errors import DataError, UsageError, word
from rnnctl.results.base import Warning_
from rnnctl.wording import first_few, plural

_SHOWN_LINES = 3
_SHOWN_TABLES = 4
_NO_LABELS = ("", "-1", "?")  # what test files hold whose labels are kept back


def read_tables(asked: Request, tables: Mapping[str, Sequence[Table]]) -> Found:
    """Every row with a text as a document.

    Raises: DataError, UsageError or StorageError, each saying what and where.
    """
    first = (tables.get("all") or tables["train"])[0]
    columns = _pick(asked, first, labelled=asked.labelled)
    given: dict[str, list[Rows]] = {}
    described: list[str] = []
    warnings: list[Warning_] = []
    # Training first: of two tables that do not go together the other one is to be complained of.
    for split in sorted(tables, key=lambda name: not trained_on(name)):
        for table in tables[split]:
            own = columns if table is first else _like(asked, table, split, first, columns)
            if own is None:
                text = f"{table.name} has no labels and was left out"
                warnings.append(Warning_(code="no_labels", text=text))
                continue
            rows = _rows(asked, table, own)
            given.setdefault(split, []).append(rows)
            described.append(_described(table, own, rows, labelled=asked.labelled))
    without = [rows for split, group in given.items() if trained_on(split) for rows in group]
    format = first.format
    return Found(
        given=given,
        reading=Reading(
            format.kind if format else "file",
            "record",
            asked.config.encoding,
            header=format.header if format else True,
            columns=len(first.columns),
            text=columns.text,
            label=columns.label,
            place=list(first.columns).index(columns.text),
        ),
        unlabelled=tuple(
            rows.unlabelled for rows in without if asked.texts_alone and rows.unlabelled_lines
        ),
        notes=(*_notes(asked, described, first, columns), *_of_unlabelled(asked, given)),
        warnings=(*warnings, *_of_blanks([rows for group in given.values() for rows in group])),
    )


# -- columns ---------------------------------------------------------------------------------


def _pick(asked: Request, table: Table, *, labelled: bool) -> Columns:
    """The columns that were asked for, else those of the run, else what they hold decides."""
    config = asked.config
    text = config.text_field or _trained_column(asked, table, "text")
    label = config.label_field
    if label in (None, FIRST_WORD):
        label = _trained_column(asked, table, "label")

    def pick(records: Sequence[Mapping[str, Any]]) -> Columns:
        return pick_columns(table.columns, records, text, label, table.name, labelled=labelled)

    try:
        found = pick(table.sample)
    except DataError:  # of a table that is sorted by its labels the beginning does not tell
        found = pick(table.spread_sample)
    return _columns(asked, table, found.text, found.label)


def _columns(asked: Request, table: Table, text: str, label: str | None) -> Columns:
    """Those two, and what was asked for beside them."""
    by = None if asked.by is None else _column_to_sort_by(table, asked.by)
    # A row without a label is no mistake only where a language model is trained on it.
    may_lack_labels = asked.labelled and asked.config.unlabelled == "leave_out"
    return Columns(text, label, by, asked.config.label_separator, may_lack_labels)


def _column_to_sort_by(table: Table, wanted: str) -> str:
    found = find_column(table.columns, wanted)
    if found is None:
        near = catalog.suggestion(wanted, table.columns)
        raise UsageError(
            f"--by {wanted:.80}: {table.name} has no such column",
            hint=f"{near.rstrip('.')} (`--by length` sorts by the number of words)",
        )
    return found


def _trained_column(asked: Request, table: Table, which: Literal["text", "label"]) -> str | None:
    """The column on which the run was trained. DataError for a table without it."""
    before = asked.trained
    name = None if before is None else before.text if which == "text" else before.label
    if before is None or name is None or before.kind == "lines":
        return None
    if which == "label" and not asked.labelled:
        return None
    format = table.format
    if format is not None and format.kind == "lines":
        return None  # whose columns are "label" and "text" whatever the run's were called
    found = find_column(table.columns, name)
    if found is None and format is not None and not format.header:
        return None  # found by what the columns hold
    if found is None and len(table.columns) > 1:
        raise DataError(
            f"{table.name} has no column {name!r:.80}, on which the run was trained; it has "
            f"{first_few(table.columns)}",
            hint=f"name the column, or give its number: --{which}-field NAME",
        )
    return found


def _like(
    asked: Request, table: Table, split: str, first: Table, columns: Columns
) -> Columns | None:
    """The columns of another table than the `first`; None if it lacks labels and may."""
    trained = trained_on(split)
    text = _same_column(table, first, columns.text)
    label = None if columns.label is None else _same_column(table, first, columns.label)
    if asked.labelled and label is None and trained:
        return _pick(asked, table, labelled=True)
    if asked.labelled and not trained and (label is None or not _has_labels(table, label)):
        return None
    return _columns(asked, table, text or _pick(asked, table, labelled=False).text, label)


def _same_column(table: Table, first: Table, wanted: str) -> str | None:
    """The column that is called as in the `first` table, or stands in its place."""
    found = find_column(table.columns, wanted)
    headless = any(t.format is not None and not t.format.header for t in (table, first))
    if found is None and headless and len(table.columns) == len(first.columns):
        return table.columns[first.columns.index(wanted)]
    return found


def _has_labels(table: Table, label: str) -> bool:
    """Whether the sampled rows have labels in that column, and not what stands for none."""
    values = (cells.get(label) for cells in table.sample)
    return any(value is not None and str(value).strip() not in _NO_LABELS for value in values)


def _rows(asked: Request, table: Table, columns: Columns) -> Rows:
    """The records of a table. NoLabelError says what to do with one that lacks its label."""
    try:
        return table.rows(columns)
    except NoLabelError as problem:
        if asked.known_labels:  # of a run, which is no longer trained
            raise
        hint = f"{problem.hint}, or train on such texts too: --pretrain 20m reads them first"
        raise NoLabelError(problem.message, hint=hint) from None


# -- what to say -----------------------------------------------------------------------------


def _described(table: Table, columns: Columns, rows: Rows, *, labelled: bool) -> str:
    """One line: ``reviews.csv: csv, comma, header; text = review, label = stars (5 labels); …``."""
    how = str(table.format) if table.format else "table"
    which = f"text = {columns.text}"
    if labelled and columns.label is not None:
        which += f", label = {columns.label} ({_number_of_labels(rows.label_names)})"
    count = plural(len(rows.digests), "row")
    if rows.blank_lines:
        blank = len(rows.blank_lines)
        count += f", {blank:,} without text left out ({_lines(rows.blank_lines)})"
    return f"{table.name}: {how}; {which}; {count}"


def _number_of_labels(names: Sequence[str]) -> str:
    """How many different labels there are, and that a row may have several of them."""
    if not any(SEVERAL in name for name in names):
        return plural(len(names), "label")
    return f"{plural(len(single_labels(names)), 'label')}, several a row"


def _lines(where: Sequence[int]) -> str:
    shown = ", ".join(map(str, where[:_SHOWN_LINES]))
    more = f" and {len(where) - _SHOWN_LINES:,} more" if len(where) > _SHOWN_LINES else ""
    return f"{'line' if len(where) == 1 else 'lines'} {shown}{more}"


def _notes(asked: Request, described: Sequence[str], first: Table, columns: Columns) -> list[str]:
    """How the tables are read, and that a language model ignores labels."""
    notes = [*described[:_SHOWN_TABLES]]
    if len(described) > _SHOWN_TABLES:
        notes.append(f"and {plural(len(described) - _SHOWN_TABLES, 'table')} more of this kind")
    if not asked.labelled and looks_labelled(first.columns, first.sample, columns.text):
        named = " ".join(word(source) for source in asked.config.sources)
        notes.append(
            f"{first.name} has labels, which a language model ignores: "
            f"`rnnctl train {named} --task classify` trains a classifier on them"
        )
    return notes


def _of_blanks(every: Sequence[Rows]) -> list[Warning_]:
    """How many rows have no text, if any."""
    where = [line for rows in every for line in rows.blank_lines]
    if not where:
        return []
    each = "record has no text and was left out"
    text = plural(len(where), each, "records have no text and were left out")
    return [Warning_(code="blank_texts", text=f"{text} ({_lines(where)})")]


def _of_unlabelled(asked: Request, given: Mapping[str, Sequence[Rows]]) -> list[str]:
    """How many rows have no label, if any. DataError where no row that is trained on has one."""
    rows = [(trained_on(name), one) for name, group in given.items() for one in group]
    where = [line for _, one in rows for line in one.unlabelled_lines]
    if not where:
        return []
    if not any(len(one.digests) for trained, one in rows if trained):
        raise NoLabelsError(
            f"{first_few(asked.config.sources)}: no row has a label, and a classifier needs them",
            hint="check --label-field, or train a language model with --task lm",
        )
    read = sum(len(one.unlabelled_lines) for trained, one in rows if trained)
    uses = {
        "for the language model only": read,
        "of validation and test left out": len(where) - read,
    }
    said = ", ".join(f"{number:,} {use}" for use, number in uses.items() if number)
    return [f"{plural(len(where), 'row')} without a label ({_lines(where)}): {said}"]
