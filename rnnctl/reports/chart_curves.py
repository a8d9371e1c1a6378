"""Curves over seeds as charts: learning, context, effect, gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rnnctl.reports import numbers
from rnnctl.reports.blocks import Table, table
from rnnctl.reports.chart_types import Axis, ChartData, Datum, Limit
from rnnctl.results.base import Curve
from rnnctl.results.comparison import Row

MOST_ROWS = 12  # distances in a chart's table
MARKERS = 12  # of a line, about
BAND_SEEDS = 3
"""Of two seeds a t-interval is so wide that bands would hide the curves; the tables have it."""


@dataclass(frozen=True)
class CurveChart:
    """A curve as a chart. In the axes' titles {x} and {y} stand for the curve's units.

    `log_x`: the distance is logarithmic; `floor`: so is y, and this is the smallest value drawn;
    `between`: what lies beyond is drawn there. `untrained`: an untrained network's curve means
    something.
    """

    curve: str
    title: str
    caption: str
    x: str = "distance, {x}"
    y: str = "{y}"
    log_x: bool = True
    floor: float | None = None
    limits: tuple[Limit, ...] = ()
    between: tuple[float, float] = (-math.inf, math.inf)
    untrained: bool = True


BAND = "band: 95 % t-interval over seeds, from three seeds on"
CURVES: dict[str, CurveChart] = {
    "learning": CurveChart(
        "learning", "Learning curves", f"On the validation text while training; {BAND}.",
        x="{x}", log_x=False,
    ),
    "context": CurveChart(
        "use", "Loss against context length",
        "How much worse the model is with only so much of the text before. A curve ends where "
        "text from further back changes nothing.",
        x="context, {x}", y="excess loss, {y}", floor=5e-3,
        limits=(Limit("y", math.log(1.01), "1 % of perplexity"),), untrained=False,
    ),
    "effect": CurveChart(
        "effect", "What early evidence still counts",
        "Push of a word or sentence on the answer, by how far back it stands; 1 is its push when "
        "near. What is beyond -0.5 or 2 is drawn there.",
        y="push, relative to near", limits=(Limit("y", 0.5, "half"),), between=(-0.5, 2.0),
    ),
    "gradient": CurveChart(
        "gradient", "Gradient against distance",
        "Size of the gradient that arrives from so many tokens back, relative to one token back.",
        y="gradient, relative to 1 token back", floor=1e-6, limits=(Limit("y", 0.01, "1 %"),),
    ),
}  # fmt: skip


def curves(rows: list[Row], name: str, styles: dict[str, tuple[str, str]]) -> ChartData | None:
    """The chart `name` of `CURVES`, None where no row has such a curve."""
    chart = CURVES[name]
    rows = [row for row in rows if _is_drawn(row, chart)]
    values = [datum for row in rows for datum in _points(row.name, row.curves[chart.curve], chart)]
    if not values:
        return None
    units = {"x": rows[0].curves[chart.curve].x_unit, "y": rows[0].curves[chart.curve].y_unit}
    x = Axis(chart.x.format(**units), chart.log_x)
    y = Axis(chart.y.format(**units), chart.floor is not None)
    names = tuple(dict.fromkeys(str(value["row"]) for value in values))
    return ChartData(name, "line", chart.title, chart.caption, x, y, names, tuple(values),
                     _table(rows, chart.curve), styles, chart.limits)  # fmt: skip


def _is_drawn(row: Row, chart: CurveChart) -> bool:
    curve = row.curves.get(chart.curve)
    meant = chart.untrained or row.kind != "untrained"
    return meant and curve is not None and len(curve.x) > 1


def _points(name: str, curve: Curve, chart: CurveChart) -> list[Datum]:
    """What is drawn of a curve; on a logarithmic axis it ends where it reaches the floor."""
    least, most = chart.between if chart.floor is None else (chart.floor, math.inf)
    made: list[Datum] = []
    nothing = (None,) * len(curve.x)
    for x, y, lo, hi, n in zip(curve.x, curve.y, curve.lo or nothing, curve.hi or nothing,
                               curve.n or nothing, strict=True):  # fmt: skip
        if y is None or (chart.log_x and x <= 0):
            continue
        datum: Datum = {"row": name, "x": x, "y": min(max(y, least), most), "lo": lo, "hi": hi}
        if lo is not None and hi is not None and (n or 0) >= BAND_SEEDS:
            datum |= {"low": min(max(lo, least), most), "high": min(max(hi, least), most)}
        made.append(datum)
    if chart.floor is not None:
        above = [k for k, datum in enumerate(made) if _number(datum["y"]) > least]
        made = made[: above[-1] + 2] if above else []
    for k in _markers([_number(datum["x"]) for datum in made], log=chart.log_x):
        made[k]["mark"] = 1
    return made


def _number(value: object) -> float:
    assert isinstance(value, (int, float))
    return float(value)


def _markers(xs: list[float], *, log: bool) -> list[int]:
    """Points about evenly spaced on the axis, the first and the last among them."""
    at = [math.log(x) if log else x for x in xs]
    step = (at[-1] - at[0]) / MARKERS if at else 0.0
    chosen: list[int] = []
    for k, place in enumerate(at):
        if not chosen or place - at[chosen[-1]] >= step or k == len(at) - 1:
            chosen.append(k)
    return chosen


def _table(rows: list[Row], key: str) -> Table:
    xs = sorted({x for row in rows for x in row.curves[key].x})
    thin = xs if len(xs) <= MOST_ROWS else [xs[round(i * (len(xs) - 1) / 11)] for i in range(12)]
    by_row = {
        row.name: dict(zip(row.curves[key].x, row.curves[key].y, strict=True)) for row in rows
    }
    return table(
        (rows[0].curves[key].x_unit, *by_row),
        [
            (numbers.number(x), *(numbers.number(found.get(x)) for found in by_row.values()))
            for x in thin
        ],
        align="r",
    )
