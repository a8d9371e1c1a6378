"""The numbers behind each chart of a comparison, and the table that says the same."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from rnnctl.errors import word
from rnnctl.reports import numbers
from rnnctl.reports.blocks import Table, table
from rnnctl.results.base import Curve
from rnnctl.results.comparison import (
    BenchRow,
    Comparison,
    Member,
    PairRow,
    Row,
    SeedSummary,
)
from rnnctl.results.diagnostics import NEAR_WORDS, DiagnosticsResult, ReachRecord
from rnnctl.wording import plural

# What a chart is made of: numbers, titles, and the table that says the same.

_T = TypeVar("_T")
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


SMALLEST = 0.1
"""What a horizon of nothing is drawn as, on a logarithmic axis."""
NAMES = (
    "learning", "context", "effect", "recall", "pairs", "attractors", "gradient", "speed", "forest",
)  # fmt: skip


def charts(result: Comparison) -> list[ChartData]:
    """Every chart that there is data for, in the order of `NAMES`; one for each bench task."""
    styles = _styles(result)
    made: dict[str, list[ChartData | None]] = {
        **{name: [curves(list(result.rows), name, styles, _without_curve(result, name))]
           for name in CURVES},
        "recall": [_task(result, *task) for task in bench_tasks(result.bench).items()],
        "pairs": [_pairs(result)],
        "speed": [_speed(result)],
        "forest": [_forest(result)],
    }  # fmt: skip
    return [chart for name in NAMES for chart in made[name] if chart is not None]


MOST_COMMANDS = 3  # in a caption


def _without_curve(result: Comparison, name: str) -> str:
    """Of a chart of what is measured after training, which runs it leaves out; else ""."""
    chart = CURVES[name]
    if name == "attractors":
        return _without_pairs(result, lambda one: chart.curve in one.curves)
    if name not in DIAGNOSED:
        return ""
    meant = [one for one in result.members if chart.untrained or not one.untrained]
    return _left_out(result, meant, lambda one: chart.curve in one.curves)


def _left_out(result: Comparison, members: Sequence[Member], has: Callable[[Member], bool]) -> str:
    """Sentences that name the runs that lack a measurement, and the commands that make it."""
    # Runs on bench tasks have charts of their own, unless there are no others.
    members = [one for one in members if not one.bench] or list(members)
    missing = [one for one in members if not has(one)]
    said = []
    if never := [one for one in missing if one.diagnosed is None]:
        commands = [f"`rnnctl diagnose {word(one.path)}`" for one in never[:MOST_COMMANDS]]
        more = len(never) - len(commands)
        commands += [plural(more, "more run")] * (more > 0)
        said.append(f" Not measured for {_rows_of(result, never)}: {', '.join(commands)}.")
    if without := [one for one in missing if one.diagnosed is not None]:
        said.append(f" The diagnosis of {_rows_of(result, without)} has no values for it.")
    return "".join(said)


def _rows_of(result: Comparison, members: Sequence[Member]) -> str:
    """The rows that these runs belong to, as the comparison calls them."""

    # Rows hold no paths: a member belongs to the one row that is like it, if there is only one.
    def name(member: Member) -> str:
        of = ("cell", "init", "hidden_size", "recurrent_parameters", "parameters")
        alike = [
            row.name
            for row in result.rows
            if row.kind == ("untrained" if member.untrained else "trained")
            and all(getattr(row, key) == getattr(member, key) for key in of)
        ]
        return alike[0] if len(alike) == 1 else Path(member.path).name

    return ", ".join(dict.fromkeys(map(name, members)))


def _styles(result: Comparison) -> dict[str, tuple[str, str]]:
    """Cell and initialisation by row; a row that is not trained belongs to none."""
    rows = {row.name: (row.cell or "", row.init or "") for row in result.rows}
    others = {row.name: ("", "") for row in result.rows if row.kind != "trained"}
    return {**{row.name: (row.cell, row.init) for row in result.bench}, **rows, **others}


def _ends(value: SeedSummary) -> tuple[float, float]:
    """The interval as it is drawn: an end that is not known is drawn at the mean."""
    estimate = value.estimate if value.estimate is not None else 0.0
    lo, hi = value.ci95
    return (estimate if lo is None else lo), (estimate if hi is None else hi)


def bench_tasks(rows: Sequence[BenchRow]) -> dict[str, list[BenchRow]]:
    """Rows by task, whatever the lag: ``recall``, or ``recall symbols=4`` where there are two."""
    found: dict[tuple[str, str], list[BenchRow]] = {}
    for row in rows:
        kind, *options = row.task.removeprefix("task:").replace(",", ":").split(":")
        others = " ".join(one for one in options if not one.startswith("lag="))
        found.setdefault((kind, others), []).append(row)
    kinds = [kind for kind, _ in found]
    return {
        f"{kind} {others}".strip() if kinds.count(kind) > 1 else kind: alike
        for (kind, others), alike in found.items()
    }


def bench_title(task: str) -> str:
    """``Temporal order`` for ``temporal-order``."""
    kind, _, options = task.partition(" ")
    said = kind.replace("-", " ").capitalize()
    return f"{said} ({options})" if options else said


def _task(result: Comparison, task: str, rows: Sequence[BenchRow]) -> ChartData | None:
    """Accuracy on one bench task: by lag, or of each row where all have one lag."""
    known = [row for row in rows if row.accuracy.estimate is not None and row.lag is not None]
    if not known:
        return None
    names = tuple(dict.fromkeys(row.name for row in rows))
    guess, title = rows[0].chance, bench_title(task)
    text = table(
        ("", "lag", "accuracy", "solved"),
        [
            (row.name, numbers.number(row.lag), numbers.over_seeds(row.accuracy, 3),
             f"{row.solved} of {len(row.accuracy.seeds)}")
            for row in rows
        ],
    )  # fmt: skip
    what = "recalling a symbol after other, random symbols" if task == "recall" else f"task:{task}"
    caption = f"Accuracy of {what}; chance is {numbers.number(guess)}."
    # With a single lag there is no line to draw, and the seeds are shown instead.
    accuracy, name = Axis("accuracy", domain=(0.0, 1.0)), re.sub(r"[^\w-]+", "-", task)
    if len({row.lag for row in rows}) == 1:
        one = tuple(datum for row in known for datum in _interval(row.name, row.accuracy))
        title = f"{title} {plural(rows[0].lag or 0, 'token')} back"
        limits = (Limit("x", guess, "chance"),) if guess is not None else ()
        return ChartData(name, "interval", title, caption, accuracy, Axis(""), names, one,
                         text, _styles(result), limits)  # fmt: skip
    means = tuple(_mean(row) for row in known)
    limits = (Limit("y", guess, "chance"),) if guess is not None else ()
    return ChartData(name, "line", f"{title} by distance", caption,
                     Axis("tokens back", log=True), accuracy, names, means, text,
                     _styles(result), limits)  # fmt: skip


def _mean(row: BenchRow) -> Datum:
    """A point of a line by lag, with its band."""
    lo, hi = _ends(row.accuracy)
    datum: Datum = {"row": row.name, "x": row.lag, "y": row.accuracy.estimate, "lo": lo, "hi": hi}
    return datum | {"low": lo, "high": hi, "mark": 1}


def phenomena(pairs: Sequence[PairRow]) -> dict[str, list[PairRow]]:
    """Rows by phenomenon, in their order."""
    found: dict[str, list[PairRow]] = {}
    for row in pairs:
        if row.phenomenon:
            found.setdefault(row.phenomenon, []).append(row)
    return found


def pairs_table(pairs: Sequence[PairRow], caption: str = "") -> Table:
    """How many of all pairs each row has right."""
    shares = [
        (row.name, numbers.count(row.pairs), numbers.over_seeds(row.accuracy, 3))
        for row in pairs
        if not row.phenomenon
    ]
    return table(("", "pairs", "right"), shares, caption=caption)


def phenomena_table(pairs: Sequence[PairRow], shown: Sequence[str], caption: str = "") -> Table:
    """Phenomena against rows of the comparison."""
    names = list(dict.fromkeys(row.name for row in pairs))
    by_phenomenon = phenomena(pairs)
    cells = []
    for phenomenon in shown:
        of = {row.name: row for row in by_phenomenon[phenomenon]}
        count = max(row.pairs for row in of.values())
        shares = (numbers.over_seeds(of[n].accuracy if n in of else None, 3) for n in names)
        cells.append((phenomenon, numbers.count(count), *shares))
    return table(("phenomenon", "pairs", *names), cells, caption=caption)


def _without_pairs(result: Comparison, has: Callable[[Member], bool]) -> str:
    missing = [one for one in result.members if not one.bench and not has(one)]
    names = _rows_of(result, missing)
    return f" Not measured for {names}: `rnnctl compare RUN… --pairs FILE`." if missing else ""


def _pairs(result: Comparison) -> ChartData | None:
    """Right minimal pairs of every row; by phenomenon in the table."""
    every = [row for row in result.pairs if not row.phenomenon]
    known = [row for row in every if row.accuracy.estimate is not None]
    values = [datum for row in known for datum in _interval(row.name, row.accuracy)]
    if not values:
        return None
    names = tuple(dict.fromkeys(row.name for row in every))
    by_phenomenon = list(phenomena(result.pairs))
    several = len(by_phenomenon) > 1
    text = phenomena_table(result.pairs, by_phenomenon) if several else pairs_table(every)
    caption = (
        "Share of pairs whose right sentence is likelier: each seed, their mean and its 95 % "
        "t-interval. A tie counts half."
    )
    caption += _without_pairs(result, lambda one: one.pairs is not None)
    return ChartData("pairs", "interval", "Minimal pairs", caption,
                     Axis("share of right pairs", domain=(0.0, 1.0)), Axis(""), names,
                     tuple(values), text, _styles(result),
                     (Limit("x", 0.5, "chance"),))  # fmt: skip


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
        "Measured in turns on this machine; the verdict says if it was busy. Further right is "
        f"faster, {better} is better. Intervals of quality from three seeds on."
    )
    missing = [row.name for row in result.rows if row.kind == "trained" and row.name not in names]
    if missing:
        caption += f" Not measured for {', '.join(missing)}: `rnnctl compare RUN… --measure`."
    return ChartData("speed", "scatter", "Speed against quality", caption,
                     Axis("training, tokens per second"), Axis(result.quality.replace("_", " ")),
                     names, tuple(values), text, _styles(result))  # fmt: skip


def _seeds(value: SeedSummary) -> list[tuple[float, bool]]:
    """The seeds' values, and which are lower bounds (unknown in records of older versions)."""
    bounds = value.lower_bounds or (bool(value.censored),) * len(value.seeds)
    return list(zip(value.seeds, bounds, strict=True))


def _seed(value: SeedSummary, k: int) -> str:
    """A seed's horizon as it stands in a table."""
    if value.upper_bounds and value.upper_bounds[k]:
        return "none measurable"
    seed, bound = _seeds(value)[k]
    return f"{'> ' if bound else ''}{numbers.number(seed, numbers.DISTANCE_DIGITS)}"


def _interval(row: str, value: SeedSummary, least: float = -math.inf) -> list[Datum]:
    """The mean with its interval, and each seed; what is below `least` is drawn there.

    With lower bounds among the seeds the upper end is open.
    """
    made: list[Datum] = []
    if value.estimate is not None:
        ends = _ends(value)
        lo, mean, hi = (max(x, least) for x in (ends[0], value.estimate, ends[1]))
        made.append({"row": row, "x": mean, "lo": lo, "hi": hi})
        if value.censored:
            made[0] |= {"hi": max(mean, *value.seeds), "open": 1}
    return made + [
        {"row": row, "seed": max(seed, least), **({"open": 1} if bound else {})}
        for seed, bound in _seeds(value)
    ]


def _forest(result: Comparison) -> ChartData | None:
    values: list[Datum] = []
    for row in result.rows:
        value = row.numbers.get("horizon")
        if value is not None and value.seeds:
            values += _interval(row.name, value, SMALLEST)
    if not values:
        return None
    shown = [row for row in result.rows if any(value["row"] == row.name for value in values)]
    digits = numbers.DISTANCE_DIGITS
    text = table(
        ("", f"memory horizon ({result.distance_unit})", "each seed"),
        [
            (row.name, numbers.over_seeds(row.numbers["horizon"], digits), ", ".join(
                _seed(row.numbers["horizon"], k) for k in range(len(row.numbers["horizon"].seeds))
            ))
            for row in shown
        ],
    )  # fmt: skip
    caption = (
        "Memory horizon: each seed, their geometric mean and its 95 % t-interval. Values below "
        f"{SMALLEST:g} are drawn at {SMALLEST:g}."
    )
    if any(any(row.numbers["horizon"].upper_bounds) for row in shown):
        caption += " Where none is measurable the shortest distance measured stands for it."
    if any("open" in value for value in values):
        caption += (
            " A triangle that points to the right is a lower bound: the horizon lies beyond the "
            "longest distance measured."
        )
    caption += _left_out(result, result.members, lambda one: "horizon" in one.values)
    return ChartData("forest", "interval", "Memory horizon over seeds", caption,
                     Axis(f"memory horizon ({result.distance_unit})", log=True), Axis(""),
                     tuple(row.name for row in shown), tuple(values), text,
                     _styles(result))  # fmt: skip


# Curves over seeds as charts: learning, context, effect, gradient.

MOST_ROWS = 12  # distances in a chart's table
MARKERS = 12  # of a line, about
BAND_SEEDS = 3
"""Of two seeds a t-interval is so wide that bands would hide the curves; the tables have it."""


@dataclass(frozen=True)
class CurveChart:
    """A curve as a chart. In the axes' titles {x} and {y} stand for the curve's units.

    `log_x`: the distance is logarithmic; `floor`: so is y, and this is the smallest value drawn;
    `between`: what lies beyond is drawn there. `from_near`: only as of `from_near`. `untrained`: an
    untrained network's curve means something.
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
    from_near: bool = False
    untrained: bool = True


BEYOND = "An arrow at the edge: there the curve goes on beyond the frame; the table has its values."
NEARER = f" Nearer than {NEAR_WORDS[0]} {{x}} nothing is drawn; the table has those values."
BAND = "band: 95 % t-interval over seeds, from three seeds on"
CURVES: dict[str, CurveChart] = {
    "learning": CurveChart(
        "learning", "Learning curves", f"On the validation text while training; {BAND}.",
        x="{x}", log_x=False,
    ),
    "context": CurveChart(
        "use", "Loss against context length",
        "How much worse the model is if it sees only this much of the text before. A curve ends "
        "where text from further back changes nothing.",
        x="context, {x}", y="excess loss, {y}", floor=5e-3,
        # A perplexity that is 1 % higher is a loss that is higher by ln 1.01.
        limits=(Limit("y", math.log(1.01), "1 % of perplexity"),), untrained=False,
    ),
    "effect": CurveChart(
        "effect", "What early evidence still counts",
        "Effect of a word or sentence on the answer, by how far back it is; 1 is its effect when "
        "near.",
        y="effect, relative to near", limits=(Limit("y", 0.5, "half"),), between=(-0.5, 2.0),
        from_near=True,
    ),
    "attractors": CurveChart(
        "attractors", "Minimal pairs by attractors",
        "Share of right pairs by how many words in between agree with the wrong one.",
        x="{x}", log_x=False, between=(0.0, 1.0), limits=(Limit("y", 0.5, "chance"),),
    ),
    "gradient": CurveChart(
        "gradient", "Gradient against distance",
        "Size of the gradient by distance, relative to the gradient one token back.",
        y="gradient, relative to 1 token back", floor=1e-6, limits=(Limit("y", 0.01, "1 %"),),
    ),
    "hold": CurveChart(
        "hold", "What can be read from the state",
        "Bits about a word that a linear probe reads from the state, by how far back the word is.",
        y="{y}",
    ),
}  # fmt: skip


DIAGNOSED = ("context", "effect", "gradient", "hold")
"""Of these charts, those whose curves `rnnctl diagnose` measures."""


def diagnosis_charts(result: DiagnosticsResult) -> list[ChartData]:
    """The curves of one run against distance, as far as they were measured."""
    made = (
        _of_diagnosis(result, "context", {"other text": ("use", "foreign"),
                                          "no text": ("use", "zero")}),
        _of_diagnosis(result, "effect", {"evidence": ("effect", "r")}),
        _of_diagnosis(result, "hold", {"state": ("hold", "state")}),
        _of_diagnosis(result, "gradient", {"h": ("reach", "h"), "c": ("reach", "c")}),
    )  # fmt: skip
    return [chart for chart in made if chart is not None]


def _of_diagnosis(
    result: DiagnosticsResult, name: str, wanted: Mapping[str, tuple[str, str]]
) -> ChartData | None:
    """The chart `name` with a row for each curve of a measurement that there is."""
    key, cell = CURVES[name].curve, result.model.cell or ""
    rows = []
    for row, (measurement, which) in wanted.items():
        record = result.records().get(measurement)
        curve = None if record is None else record.curves.get(which)
        if isinstance(record, ReachRecord):
            block = record.blocks.get(which)
            curve = None if block is None else block.geo
        if curve is not None:
            rows.append(Row(name=row, kind="trained", cell=cell, curves={key: curve}))
    styles = {row: (cell, init) for row, init in zip(wanted, ("good", "torch"), strict=False)}
    return curves(rows, name, styles)


def curves(
    rows: list[Row], name: str, styles: dict[str, tuple[str, str]], more: str = ""
) -> ChartData | None:
    """The chart `name` of `CURVES`, None where no row has such a curve; `more` ends its caption."""
    chart = CURVES[name]
    rows = [row for row in rows if _is_drawn(row, chart)]
    values = [datum for row in rows for datum in _points(row.name, _drawn(row, chart), chart)]
    if not values:
        return None
    units = {"x": rows[0].curves[chart.curve].x_unit, "y": rows[0].curves[chart.curve].y_unit}
    beyond = any("beyond" in value for value in values)
    caption = f"{chart.caption} {BEYOND}" if beyond else chart.caption
    if any(_drawn(row, chart).x != row.curves[chart.curve].x for row in rows):
        caption += NEARER.format(**units)
    caption += more
    x = Axis(chart.x.format(**units), chart.log_x)
    y = Axis(chart.y.format(**units), chart.floor is not None)
    names = tuple(dict.fromkeys(str(value["row"]) for value in values))
    return ChartData(name, "line", chart.title, caption, x, y, names, tuple(values),
                     _table(rows, chart.curve), styles, chart.limits)  # fmt: skip


def _is_drawn(row: Row, chart: CurveChart) -> bool:
    curve = row.curves.get(chart.curve)
    meant = chart.untrained or row.kind != "untrained"
    return meant and curve is not None and len(curve.x) > 1


def _drawn(row: Row, chart: CurveChart) -> Curve:
    curve = row.curves[chart.curve]
    return from_near(curve) if chart.from_near else curve


def from_near(curve: Curve) -> Curve:
    """What EFFECT is by distance, from the first one on that belongs to near evidence.

    Of a language model: what is nearer may be many times larger, and would squeeze all else. A
    classifier's curve begins at 0, and is relative to that.
    """
    if not curve.x or curve.x[0] <= 0:
        return curve
    # Steps are whole tokens: what is called 4 words may be 3.6.
    kept = [k for k, x in enumerate(curve.x) if round(x) >= NEAR_WORDS[0]]
    if not kept:
        return curve

    def cut(values: Sequence[_T]) -> tuple[_T, ...]:
        return tuple(values[k] for k in kept) if values else ()

    return Curve(x_unit=curve.x_unit, y_unit=curve.y_unit, x=cut(curve.x), y=cut(curve.y),
                 lo=cut(curve.lo), hi=cut(curve.hi), n=cut(curve.n))  # fmt: skip


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
        if not least <= y <= most:
            datum["beyond"] = "above" if y > most else "below"
        if lo is not None and hi is not None and (n or 0) >= BAND_SEEDS:
            datum |= {"low": min(max(lo, least), most), "high": min(max(hi, least), most)}
        made.append(datum)
    if chart.floor is not None:
        above = [k for k, datum in enumerate(made) if _number(datum["y"]) > least]
        # And one point more, at the floor: the line is seen to come down to it.
        made = made[: above[-1] + 2] if above else []
    for k in _markers([_number(datum["x"]) for datum in made], log=chart.log_x):
        made[k]["mark"] = 1
    return made


def _number(value: object) -> float:
    assert isinstance(value, (int, float))
    return float(value)


def _markers(xs: list[float], *, log: bool) -> list[int]:
    """Points about evenly spaced on the axis, the first and the last among them."""
    # A marker at each of a hundred points would be a thick line, in which no shape is seen.
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
