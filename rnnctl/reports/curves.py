"""Every curve of a result as rows, for R, pandas or a spreadsheet.

A row is a point of a curve: `model` (the row of a report), `curve` (``use.foreign``), x and y with
their units, the 95 % interval `lo` to `hi`, and `n`, what the interval rests on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

from rnnctl import storage
from rnnctl.errors import UsageError
from rnnctl.reports.chart_data import phenomena
from rnnctl.reports.rows import parquet, separated
from rnnctl.reports.snapshots import SHOWN
from rnnctl.results.base import Curve
from rnnctl.results.comparison import Comparison
from rnnctl.results.diagnostics import DiagnosticsResult, ReachRecord, SnapshotsResult

ENDINGS = {".csv", ".tsv", ".parquet"}
COLUMNS = ("model", "curve", "x", "x_unit", "y", "y_unit", "lo", "hi", "n")
Measured = DiagnosticsResult | Comparison | SnapshotsResult
Row = dict[str, Any]


def save_curves(result: Measured, place: Path) -> list[str]:
    """Write every curve: into one table where `place` ends in .csv, .tsv or .parquet, else into a
    folder, one ``CURVE.csv`` each. Returns the names of the curves.

    Raises UsageError for a result without curves, StorageError.
    """
    rows = list(curve_rows(result))
    names = list(dict.fromkeys(row["curve"] for row in rows))
    if not rows:
        raise UsageError(
            f"--curves {place}: no curve was measured",
            hint="measure use, effect, hold or reach",
        )
    if place.suffix in ENDINGS:
        storage.write_atomic(place, _as(place.suffix, rows))
        return names
    # One file for each curve: their x and y are of different kinds, and so are plotted apart.
    with storage.storing(place):
        place.mkdir(parents=True, exist_ok=True)
    for name in names:
        own = [row for row in rows if row["curve"] == name]
        storage.write_atomic(place / f"{name}.csv", _as(".csv", own))
    return names


def curve_rows(result: Measured) -> Iterator[Row]:
    """The points of every curve of a result, in the order of `COLUMNS`."""
    if isinstance(result, SnapshotsResult):
        yield from _of_snapshots(result)
        return
    if isinstance(result, Comparison):
        yield from _of_pairs(result)
    for model, name, curve in _curves(result):
        nothing = repeat(None)
        columns = (curve.x, curve.y, curve.lo or nothing, curve.hi or nothing, curve.n or nothing)
        for x, y, *rest in zip(*columns, strict=False):
            yield _point(model, name, x, curve.x_unit, y, curve.y_unit, *rest)


def _point(*values: Any) -> Row:
    """A row from its values in the order of `COLUMNS`."""
    return dict(zip(COLUMNS, values, strict=True))


def _curves(result: DiagnosticsResult | Comparison) -> Iterator[tuple[str, str, Curve]]:
    if isinstance(result, Comparison):
        for row in result.rows:
            yield from ((row.name, name, curve) for name, curve in row.curves.items())
        return
    for name, record in result.records().items():
        found = dict(record.curves)
        if isinstance(record, ReachRecord):
            for block, values in record.blocks.items():
                found |= {block: values.geo, f"{block}.rms": values.rms}
                found |= {f"{block}.{band}": curve for band, curve in values.bands.items()}
        yield from ((result.model.id, f"{name}.{key}", curve) for key, curve in found.items())


def _of_pairs(result: Comparison) -> Iterator[Row]:
    """Minimal pairs, a point a phenomenon: x is its number, and its unit says which it is."""
    numbers = {name: at for at, name in enumerate(phenomena(result.pairs), 1)}
    for row in result.pairs:
        x, x_unit, share = (
            numbers.get(row.phenomenon, 0),
            row.phenomenon or "all pairs",
            row.accuracy,
        )
        y_unit = "share of right pairs"
        yield _point(row.name, "pairs", x, x_unit, share.estimate, y_unit, *share.ci95, share.n)


def _of_snapshots(result: SnapshotsResult) -> Iterator[Row]:
    """Each number against the tokens of the training."""
    for name in SHOWN:
        for course in result.courses:
            for point in course.points:
                if value := point.numbers.get(name):
                    x = point.tokens, "tokens trained on"
                    y = value.estimate, value.unit, *value.ci95, value.n
                    yield _point(course.label, name, *x, *y)


def _as(suffix: str, rows: Sequence[Row]) -> bytes:
    if suffix == ".parquet":  # x is of one type in all curves
        return parquet([{**row, "x": float(row["x"])} for row in rows])
    cells = ([row[name] for name in COLUMNS] for row in rows)
    return separated([COLUMNS, *cells], "\t" if suffix == ".tsv" else ",").encode()
