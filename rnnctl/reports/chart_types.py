"""What a chart is made of: numbers, titles, and the table that says the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from rnnctl.reports.blocks import Table

Value = str | float | int | None
Datum = dict[str, Value]


@dataclass(frozen=True)
class Axis:
    """A title, whether the scale is logarithmic, and its ends where they are fixed."""

    title: str
    log: bool = False
    domain: tuple[float, float] | None = None


@dataclass(frozen=True)
class Limit:
    """A line across a chart: what a value must reach, or what chance reaches."""

    axis: Literal["x", "y"]
    at: float
    label: str


@dataclass(frozen=True)
class ChartData:
    """One chart: `kind` is line, interval (points with intervals by row) or scatter.

    A datum has `row`, `x`, `y`, the 95 % interval `lo` to `hi`; of lines also `low` and `high`,
    the ends of the band that is drawn, and `mark` where a marker stands. Of intervals, one with
    `open` is a lower bound: an arrow points to where it may be.
    """

    name: str
    kind: str
    title: str
    caption: str
    x: Axis
    y: Axis
    rows: tuple[str, ...]
    values: tuple[Datum, ...]
    text: Table
    styles: dict[str, tuple[str, str]] = field(default_factory=dict)  # row -> cell, init
    limits: tuple[Limit, ...] = ()
