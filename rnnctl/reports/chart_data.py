"""The numbers behind each chart of a comparison, and the table that says the same."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rnnctl.reports import bench, numbers
from rnnctl.reports.blocks import table
from rnnctl.reports.chart_curves import BAND_SEEDS, CURVES, curves
from rnnctl.reports.chart_types import Axis, ChartData, Datum, Limit
from rnnctl.results.comparison import BenchRow, Comparison, SeedSummary
from rnnctl.wording import plural

SMALLEST = 0.1
"""What a horizon of nothing is drawn as, on a logarithmic axis."""
NAMES = ("learning", "context", "effect", "recall", "gradient", "speed", "forest")


def charts(result: Comparison) -> list[ChartData]:
    """Every chart that there is data for, in the order of `NAMES`; one for each bench task."""
    made: dict[str, list[ChartData | None]] = {
        **{name: [curves(list(result.rows), name, _styles(result))] for name in CURVES},
        "recall": [*_recall(result)],
        "speed": [_speed(result)],
        "forest": [_forest(result)],
    }
    return [chart for name in NAMES for chart in made[name] if chart is not None]


def _styles(result: Comparison) -> dict[str, tuple[str, str]]:
    """Cell and initialisation by row; a row that is not trained belongs to none."""
    rows = {row.name: (row.cell or "", row.init or "") for row in result.rows}
    others = {row.name: ("", "") for row in result.rows if row.kind != "trained"}
    return {**{row.name: (row.cell, row.init) for row in result.bench}, **rows, **others}


def _ends(value: SeedSummary) -> tuple[float, float]:
    estimate = value.estimate if value.estimate is not None else 0.0
    lo, hi = value.ci95
    return (estimate if lo is None else lo), (estimate if hi is None else hi)


def _recall(result: Comparison) -> list[ChartData]:
    """A chart for each bench task."""
    made = (_task(result, task, rows) for task, rows in bench.tasks(result.bench).items())
    return [chart for chart in made if chart is not None]


def _task(result: Comparison, task: str, rows: Sequence[BenchRow]) -> ChartData | None:
    values: list[Datum] = []
    for row in rows:
        if row.accuracy.estimate is None or row.lag is None:
            continue
        lo, hi = _ends(row.accuracy)
        values.append(
            {"row": row.name, "x": row.lag, "y": row.accuracy.estimate, "lo": lo, "hi": hi,
             "low": lo, "high": hi}
        )  # fmt: skip
        values += [{"row": row.name, "x": row.lag, "seed": seed} for seed in row.accuracy.seeds]
    if not values:
        return None
    names = tuple(dict.fromkeys(row.name for row in rows))
    guess, title = rows[0].chance, bench.title(task)
    text = table(
        ("", "lag", "accuracy", "solved"),
        [
            (row.name, numbers.number(row.lag), numbers.over_seeds(row.accuracy, 3),
             f"{row.solved} of {len(row.accuracy.seeds)}")
            for row in rows
        ],
    )  # fmt: skip
    what = "recalling a symbol after so many random ones" if task == "recall" else f"task:{task}"
    caption = f"Accuracy of {what}; chance is {numbers.number(guess)}."
    accuracy, name = Axis("accuracy", domain=(0.0, 1.0)), re.sub(r"[^\w-]+", "-", task)
    if len({row.lag for row in rows}) == 1:
        one = tuple(
            {"row": value["row"], "seed": value["seed"]} if "seed" in value
            else {**value, "x": value["y"]}
            for value in values
        )  # fmt: skip
        title = f"{title} {plural(rows[0].lag or 0, 'token')} back"
        limits = (Limit("x", guess, "chance"),) if guess is not None else ()
        return ChartData(name, "interval", title, caption, accuracy, Axis(""), names, one,
                         text, _styles(result), limits)  # fmt: skip
    means = tuple({**value, "mark": 1} for value in values if "y" in value)
    limits = (Limit("y", guess, "chance"),) if guess is not None else ()
    return ChartData(name, "line", f"{title} by distance", caption,
                     Axis("tokens back", log=True), accuracy, names, means, text,
                     _styles(result), limits)  # fmt: skip


def _speed(result: Comparison) -> ChartData | None:
    values: list[Datum] = []
    for row in result.rows:
        speed, quality = row.numbers.get("train_tokens_per_s"), row.numbers.get(result.quality)
        if speed and quality and speed.estimate and quality.estimate is not None:
            lo, hi = _ends(quality)
            left, right = _ends(speed)
            datum: Datum = {"row": row.name, "x": speed.estimate, "y": quality.estimate}
            datum |= {"lo": lo, "hi": hi, "left": left, "right": right}
            drawn = quality.n >= BAND_SEEDS
            values.append(datum | ({"low": lo, "high": hi} if drawn else {}))
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
        f"{better} is better. Intervals of quality from three seeds on."
    )
    return ChartData("speed", "scatter", "Speed against quality", caption,
                     Axis("training, tokens per second"), Axis(result.quality.replace("_", " ")),
                     names, tuple(values), text, _styles(result))  # fmt: skip


def _seeds(value: SeedSummary) -> list[tuple[float, bool]]:
    """The seeds' values, and which are lower bounds (unknown in records of older versions)."""
    bounds = value.lower_bounds or (bool(value.censored),) * len(value.seeds)
    return list(zip(value.seeds, bounds, strict=True))


def _interval(row: str, value: SeedSummary) -> list[Datum]:
    """The mean and its interval; of one with lower bounds the upper end is open."""
    if value.estimate is None:
        return []
    lo, mean, hi = (max(x, SMALLEST) for x in (_ends(value)[0], value.estimate, _ends(value)[1]))
    made: Datum = {"row": row, "x": mean, "lo": lo, "hi": hi}
    if value.censored:
        made |= {"hi": max(mean, *value.seeds), "open": 1}
    return [made]


def _forest(result: Comparison) -> ChartData | None:
    values: list[Datum] = []
    for row in result.rows:
        value = row.numbers.get("horizon")
        if value is None or not value.seeds:
            continue
        values += _interval(row.name, value)
        values += [
            {"row": row.name, "seed": max(seed, SMALLEST), **({"open": 1} if bound else {})}
            for seed, bound in _seeds(value)
        ]
    if not values:
        return None
    shown = [row for row in result.rows if any(value["row"] == row.name for value in values)]
    digits = numbers.DISTANCE_DIGITS
    text = table(
        ("", f"memory horizon ({result.distance_unit})", "each seed"),
        [
            (row.name, numbers.over_seeds(row.numbers["horizon"], digits), ", ".join(
                f"> {numbers.number(seed, digits)}" if bound else numbers.number(seed, digits)
                for seed, bound in _seeds(row.numbers["horizon"])
            ))
            for row in shown
        ],
    )  # fmt: skip
    caption = (
        "Memory horizon: each seed, their geometric mean and its 95 % t-interval; what is below "
        f"{SMALLEST:g} is drawn there."
    )
    if any("open" in value for value in values):
        caption += (
            " A triangle that points to the right is a lower bound: the horizon lies beyond the "
            "longest distance measured, nobody knows how far."
        )
    return ChartData("forest", "interval", "Memory horizon over seeds", caption,
                     Axis(f"memory horizon ({result.distance_unit})", log=True), Axis(""),
                     tuple(row.name for row in shown), tuple(values), text,
                     _styles(result))  # fmt: skip
