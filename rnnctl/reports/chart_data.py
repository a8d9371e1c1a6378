"""The numbers behind each chart of a comparison, and the table that says the same."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from rnnctl.reports import numbers
from rnnctl.reports.blocks import Table, table
from rnnctl.results.base import Curve
from rnnctl.results.comparison import Comparison, Row, SeedSummary

Value = str | float | int | None
Datum = dict[str, Value]
MOST_ROWS = 12  # distances in a chart's table


@dataclass(frozen=True)
class Axis:
    """A title, whether the scale is logarithmic, and its ends where they are fixed."""

    title: str
    log: bool = False
    domain: tuple[float, float] | None = None


@dataclass(frozen=True)
class ChartData:
    """One chart: `kind` is line, interval (points with intervals by row) or scatter."""

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


@dataclass(frozen=True)
class CurveChart:
    """A curve as a chart. In the axes' titles {x} and {y} stand for the curve's units.

    `log_x`: the distance is logarithmic; `floor`: so is y, and this is the smallest value drawn.
    """

    curve: str
    title: str
    caption: str
    x: str = "distance, {x}"
    y: str = "{y}"
    log_x: bool = True
    floor: float | None = None


CURVES: dict[str, CurveChart] = {
    "learning": CurveChart(
        "learning", "Learning curves",
        "On the validation text while training; band: 95 % t-interval over seeds.",
        x="{x}", log_x=False,
    ),
    "context": CurveChart(
        "use", "Loss against context length",
        "How much worse the model is with only so much of the text before; where a curve reaches "
        "the axis, text from further back changes nothing.",
        x="context, {x}", y="excess loss, {y}", floor=1e-3,
    ),
    "effect": CurveChart(
        "effect", "What early evidence still counts",
        "Push of a word or sentence on the answer, by how far back it stands; 1 is its push when "
        "near.",
        y="push, relative to near",
    ),
    "gradient": CurveChart(
        "gradient", "Gradient against distance",
        "Size of the gradient that arrives from so many tokens back, relative to one token back.",
        y="gradient, relative to one token back", floor=1e-6,
    ),
}  # fmt: skip
NAMES = ("learning", "context", "effect", "recall", "gradient", "speed", "forest")


def charts(result: Comparison) -> list[ChartData]:
    """Every chart that there is data for, in the order of `NAMES`."""
    made = {
        **{name: _curves(result, name) for name in CURVES},
        "recall": _recall(result),
        "speed": _speed(result),
        "forest": _forest(result),
    }
    return [chart for name in NAMES if (chart := made[name]) is not None]


def _styles(result: Comparison) -> dict[str, tuple[str, str]]:
    rows = {row.name: (row.cell or "", row.init or "") for row in result.rows}
    untrained = {row.name: (row.cell or "", "") for row in result.rows if row.kind != "trained"}
    return {**{row.name: (row.cell, row.init) for row in result.bench}, **rows, **untrained}


def _curves(result: Comparison, name: str) -> ChartData | None:
    chart = CURVES[name]
    rows = [
        row
        for row in result.rows
        if chart.curve in row.curves and len(row.curves[chart.curve].x) > 1
    ]
    values = [datum for row in rows for datum in _points(row.name, row.curves[chart.curve], chart)]
    if not values:
        return None
    units = {"x": rows[0].curves[chart.curve].x_unit, "y": rows[0].curves[chart.curve].y_unit}
    x = Axis(chart.x.format(**units), chart.log_x)
    y = Axis(chart.y.format(**units), chart.floor is not None)
    names = tuple(dict.fromkeys(str(value["row"]) for value in values))
    return ChartData(name, "line", chart.title, chart.caption, x, y, names, tuple(values),
                     _curve_table(rows, chart.curve), _styles(result))  # fmt: skip


def _points(name: str, curve: Curve, chart: CurveChart) -> list[Datum]:
    """What is drawn of a curve; on a logarithmic axis everything below its floor lies on it."""
    least = -math.inf if chart.floor is None else chart.floor
    made: list[Datum] = []
    ends = zip(curve.lo or curve.y, curve.hi or curve.y, strict=True)
    for x, y, (lo, hi) in zip(curve.x, curve.y, ends, strict=True):
        if y is None or (chart.log_x and x <= 0):
            continue
        low, high = (y if lo is None else lo), (y if hi is None else hi)
        shown = {"y": max(y, least), "lo": max(low, least), "hi": max(high, least)}
        made.append({"row": name, "x": x, **shown})
    return made


def _curve_table(rows: list[Row], key: str) -> Table:
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


def _ends(value: SeedSummary) -> tuple[float, float]:
    estimate = value.estimate if value.estimate is not None else 0.0
    lo, hi = value.ci95
    return (estimate if lo is None else lo), (estimate if hi is None else hi)


def _recall(result: Comparison) -> ChartData | None:
    values: list[Datum] = []
    for row in result.bench:
        if row.accuracy.estimate is None or row.lag is None:
            continue
        lo, hi = _ends(row.accuracy)
        values.append(
            {"row": row.name, "x": row.lag, "y": row.accuracy.estimate, "lo": max(lo, 0.0),
             "hi": min(hi, 1.0)}
        )  # fmt: skip
        values += [{"row": row.name, "x": row.lag, "seed": seed} for seed in row.accuracy.seeds]
    if not values:
        return None
    names = tuple(dict.fromkeys(row.name for row in result.bench))
    lags = len({row.lag for row in result.bench})
    chance = numbers.number(result.bench[0].chance)
    text = table(
        ("", "lag", "accuracy", "solved"),
        [
            (row.name, numbers.number(row.lag), numbers.estimate(row.accuracy),
             f"{row.solved} of {len(row.accuracy.seeds)}")
            for row in result.bench
        ],
    )  # fmt: skip
    caption = f"Accuracy of recalling a symbol after so many random ones; chance is {chance}."
    accuracy = Axis("accuracy", domain=(0.0, 1.0))
    if lags == 1:
        one = tuple({**value, "x": value.get("y")} for value in values)
        title = f"Recall {result.bench[0].lag} tokens back"
        return ChartData("recall", "interval", title, caption, accuracy, Axis(""), names, one,
                         text, _styles(result))  # fmt: skip
    means = tuple(value for value in values if "y" in value)
    return ChartData("recall", "line", "Recall by distance", caption,
                     Axis("tokens back", log=True), accuracy, names, means, text,
                     _styles(result))  # fmt: skip


def _speed(result: Comparison) -> ChartData | None:
    values: list[Datum] = []
    for row in result.rows:
        speed, quality = row.numbers.get("train_tokens_per_s"), row.numbers.get(result.quality)
        if speed and quality and speed.estimate and quality.estimate is not None:
            lo, hi = _ends(quality)
            left, right = _ends(speed)
            values.append(
                {"row": row.name, "x": speed.estimate, "y": quality.estimate, "lo": lo, "hi": hi,
                 "left": left, "right": right}
            )  # fmt: skip
    if not values:
        return None
    names = tuple(str(value["row"]) for value in values)
    rows = {row.name: row for row in result.rows}
    text = table(
        ("", "training (tokens/s)", result.quality.replace("_", " ")),
        [
            (name, numbers.estimate(rows[name].numbers["train_tokens_per_s"]),
             numbers.estimate(rows[name].numbers[result.quality], 4))
            for name in names
        ],
    )  # fmt: skip
    better = "lower" if result.quality == "bits_per_byte" else "higher"
    caption = (
        "Measured alone on this machine, one after another; further right is faster, "
        f"{better} is better."
    )
    return ChartData("speed", "scatter", "Speed against quality", caption,
                     Axis("training, tokens per second"), Axis(result.quality.replace("_", " ")),
                     names, tuple(values), text, _styles(result))  # fmt: skip


def _forest(result: Comparison) -> ChartData | None:
    values: list[Datum] = []
    for row in result.rows:
        value = row.numbers.get("horizon")
        if value is None or not value.seeds:
            continue
        if value.estimate is not None:
            lo, hi = _ends(value)
            values.append({"row": row.name, "x": value.estimate, "lo": lo, "hi": hi})
        values += [{"row": row.name, "seed": seed} for seed in value.seeds]
    if not values:
        return None
    shown = [row for row in result.rows if any(value["row"] == row.name for value in values)]
    text = table(
        ("", f"memory horizon ({result.distance_unit})", "each seed"),
        [
            (row.name, numbers.estimate(row.numbers["horizon"]),
             ", ".join(numbers.number(seed) for seed in row.numbers["horizon"].seeds))
            for row in shown
        ],
    )  # fmt: skip
    caption = "Memory horizon: each seed, their geometric mean and its 95 % t-interval."
    return ChartData("forest", "interval", "Memory horizon over seeds", caption,
                     Axis(f"memory horizon ({result.distance_unit})", log=True), Axis(""),
                     tuple(row.name for row in shown), tuple(values), text,
                     _styles(result))  # fmt: skip
