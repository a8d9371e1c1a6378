"""Rows for R, pandas or a spreadsheet: csv, tsv and parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def separated(rows: Iterable[Sequence[Any]], separator: str = ",") -> str:
    """Rows as csv, or with a tab as tsv. Lists and objects in a cell are JSON."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as a parquet file, a column for each key that any of them has.

    A column of values of several types is text.
    """
    import pyarrow
    import pyarrow.parquet

    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: _column([_cell(row.get(name)) for row in rows]) for name in names}
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), sink)
    return sink.getvalue()


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _column(values: list[Any]) -> Any:
    import pyarrow

    # A column of parquet has one type; what is of several, such as numbers and "n/a", is text.
    try:
        return pyarrow.array(values)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError):
        return pyarrow.array([None if value is None else str(value) for value in values])
