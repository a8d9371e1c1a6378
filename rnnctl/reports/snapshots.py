"""When memory arose, on paper: a table for each run, bars over the tokens, and charts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rnnctl.reports import numbers
from rnnctl.reports.as_table import SCREEN_LINES, first_that_fits
from rnnctl.reports.blocks import Block, Chart, Heading, Paragraph, Table, table
from rnnctl.reports.cells import display_name
from rnnctl.reports.chart_data import SMALLEST, Axis, ChartData, Datum
from rnnctl.results.base import Estimate, Result
from rnnctl.results.diagnostics import SnapshotCourse, SnapshotPoint, SnapshotsResult
from rnnctl.wording import plural, with_unit


@dataclass(frozen=True, slots=True)
class _Shown:
    """A number: its column, its title in charts, and how it is drawn ({unit}: of distance)."""

    column: str
    title: str
    axis: str
    log: bool = False
    decimals: int | None = None


SHOWN = {
    "loss": _Shown("nats/token", "Loss while training", "nats per token", decimals=3),
    "horizon": _Shown("horizon", "Memory horizon while training", "{unit}", log=True),
    "first_last": _Shown("FIRST→LAST", "FIRST→LAST while training", "% of perplexity", decimals=1),
    "hold_bits": _Shown(
        "HOLD bits", "HOLD while training: bits right after the word", "bits", decimals=2
    ),
    "hold": _Shown("HOLD half", "HOLD while training: until half of it is left", "{unit}"),
    "reach": _Shown(
        "REACH 1 %", "REACH while training: 1 % of the gradient", "tokens back", log=True
    ),
    "retention": _Shown("at start", "What early evidence counts, while training", "ratio"),
}
LEGEND = {
    "horizon": "horizon: {unit} back that text still improves the prediction",
    "first_last": "FIRST→LAST: rise of the last sentence's perplexity with another first sentence, "
    "in %",
    "hold_bits": "HOLD bits: about a planted word, read from the state right after it",
    "hold": "HOLD half: {unit} after which half of these bits are left",
    "reach": "REACH 1 %: tokens back where 1 % of the gradient is left",
    "retention": "at start: weight of evidence at the start of a text, relative to its end",
}
BARS = "a bar for each snapshot; ▁ smallest value of all runs, █ largest"


def blocks(result: Result) -> Iterator[Block]:
    """The report of one run's snapshots, or of several runs side by side."""
    assert isinstance(result, SnapshotsResult)
    yield _title(result)
    names = _names(result)
    for course in result.courses:
        if len(result.courses) > 1:
            yield Heading(f"{course.label} ({display_name(course.cell)})")
        yield _table(course, names)
    drawn = tuple(_bars(result.courses, names))
    if drawn:
        yield Heading("During the training")
        yield Chart(drawn, BARS)
    units = " or ".join(dict.fromkeys(course.distance_unit for course in result.courses))
    said = [LEGEND[name].format(unit=units) for name in names if name in LEGEND]
    yield Paragraph("; ".join([*said, "0 tokens: the initial weights"]), "note")
    yield Paragraph(f"preset {result.preset}, seed {result.seed}; intervals: --format json", "note")


def brief(result: Result) -> list[Block]:
    """The same in at most 24 lines of 80 columns, the headline first and last.

    Of one run a table, of several the bars: as much of them as there is room for.
    """
    assert isinstance(result, SnapshotsResult)
    return first_that_fits(_brief(result, room) for room in range(SCREEN_LINES, 0, -1))


def _brief(result: SnapshotsResult, room: int) -> list[Block]:
    """The short report with so many rows of a table or lines of bars."""
    names = _names(result)
    several = len(result.courses) > 1
    told = [_headline(course, cell=several) for course in result.courses]
    # A third of the screen at most: what is left is for the bars, which show when it happened.
    most = max(1, min(len(told), SCREEN_LINES // 3, room))
    more = len(told) - most
    lines = [*told[:most], *([f"and {plural(more, 'run')} more"] if more else [])]
    made: list[Block] = [_title(result), *(Paragraph(one, "strong") for one in lines)]
    if len(result.courses) == 1:
        made.append(_table(thinned(result.courses[0], room), names))
    else:
        bars = list(_bars(result.courses[:most], names))[:room]
        made.append(Chart(tuple(bars), BARS))
    last = f"{told[0]}. " if len(told) == 1 else ""
    closing = f"{last}What it means: rnnctl explain snapshots. All of it: --verbose"
    return [*made, Paragraph(closing, "strong")]


def thinned(course: SnapshotCourse, most: int) -> SnapshotCourse:
    """At most so many of its snapshots, from the first to the last, evenly chosen."""
    count = len(course.points)
    if count <= most:
        return course
    chosen = [round(k * (count - 1) / max(1, most - 1)) for k in range(most)]
    return course.model_copy(update={"points": tuple(course.points[k] for k in chosen)})


def _headline(course: SnapshotCourse, *, cell: bool) -> str:
    """When half of what the run remembers in the end was there; `cell`: beside its name."""
    run = f"{course.label} ({display_name(course.cell)})" if cell else course.label
    name, what, unit = "horizon", "memory horizon", course.distance_unit
    if not any(name in point.numbers for point in course.points):
        name, what, unit = "retention", "what counts at the start", ""
    known = [
        (point.tokens, size) for point in course.points if (size := _value(point, name)) is not None
    ]
    if not known:
        return f"{run}: no {what} measured"
    last = known[-1][1]
    shown = with_unit(_cell(name, course.points[-1].numbers.get(name)), unit)
    if last <= 0:
        return f"{run}: {what} {shown} at the end"
    # Since when it stayed above half: on the way up it may fall back again.
    half = next(k for k in range(len(known)) if all(size >= last / 2 for _, size in known[k:]))
    since = plural(known[half][0], "token") if half else "the beginning"
    return f"{run}: {what} {shown} at the end, half of that since {since}"


def _names(result: SnapshotsResult) -> list[str]:
    """The numbers that some snapshot has."""
    return [n for n in SHOWN if any(n in p.numbers for c in result.courses for p in c.points)]


def _title(result: SnapshotsResult) -> Heading:
    if len(result.courses) == 1:
        return Heading(f"When {result.courses[0].label} began to remember", 1)
    return Heading("When each run began to remember", 1)


def _table(course: SnapshotCourse, names: Sequence[str]) -> Table:
    columns = ("tokens", *(SHOWN[name].column for name in names))
    rows = [
        (f"{point.tokens:,}", *(_cell(name, point.numbers.get(name)) for name in names))
        for point in course.points
    ]
    return table(columns, rows, align="r")


def _cell(name: str, value: Estimate | None) -> str:
    if value is None:
        return numbers.NOTHING
    decimals = SHOWN[name].decimals
    if decimals is not None and value.estimate is not None:
        return numbers.fixed(value.estimate, decimals)
    return numbers.estimate(value.without_interval()) if value.is_known else numbers.NOTHING


def _bars(courses: Sequence[SnapshotCourse], names: Sequence[str]) -> Iterator[str]:
    """A line of bars for each number and run, all runs on one scale."""
    width = max(len(course.label) for course in courses) if len(courses) > 1 else 0
    for name in names:
        seen = [_value(point, name) for course in courses for point in course.points]
        known = [value for value in seen if value is not None]
        if len(set(known)) < 2:
            continue
        low, high = min(known), max(known)  # of all runs, so that bars of one height are one size
        for course in courses:
            values = [_value(point, name) for point in course.points]
            bars = numbers.sparkline(values, low=low, high=high)
            ends = [value for value in values if value is not None]
            said = f"{numbers.number(ends[0])} → {numbers.number(ends[-1])}" if ends else ""
            label = f"{course.label:<{width}}  " if width else ""
            yield f"{SHOWN[name].column:<11}{label}{bars}  {said}"


def _value(point: SnapshotPoint, name: str) -> float | None:
    """A number; of one that lies beyond what was measured, where that ends."""
    found = point.numbers.get(name)
    return None if found is None else found.number_or_bound


def snapshot_charts(result: SnapshotsResult) -> list[ChartData]:
    """A chart for each number against the tokens of the training, a line for each run.

    The axis is logarithmic; the initial weights are drawn at half of the first snapshot after them.
    """
    made = []
    styles = dict(_styles(result.courses))
    firsts = [p.tokens for course in result.courses for p in course.points if p.tokens]
    start = min(firsts, default=2) / 2  # 0 tokens are not on a logarithmic axis
    for name, shown in SHOWN.items():
        values = [
            datum
            for course in result.courses
            for point in course.points
            if (datum := _datum(course, point, name, start)) is not None
        ]
        if len(values) < 2:
            continue
        unit = result.courses[0].distance_unit
        rows = tuple(dict.fromkeys(str(value["row"]) for value in values))
        caption = "The initial weights are drawn at the left edge; band: 95 % interval."
        x, y = Axis("tokens trained on", log=True), Axis(shown.axis.format(unit=unit), shown.log)
        text = _chart_table(result.courses, name)
        made.append(
            ChartData(name, "line", shown.title, caption, x, y, rows, tuple(values), text, styles)
        )
    return made


def _styles(courses: Sequence[SnapshotCourse]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Cell and initial weights of each row, which give its look; of runs of one cell, other looks
    for the second and the third."""
    seen: dict[str, int] = {}
    for course in courses:
        number = seen[course.cell] = seen.get(course.cell, -1) + 1
        others = [init for init in ("good", "torch", "chrono") if init != course.init]
        looks = (course.init, *others)
        yield course.label, (course.cell, looks[number % len(looks)])


def _datum(course: SnapshotCourse, point: SnapshotPoint, name: str, start: float) -> Datum | None:
    y = _value(point, name)
    if y is None:
        return None
    least = SMALLEST if SHOWN[name].log else -math.inf
    lo, hi = point.numbers[name].ci95
    datum: Datum = {"row": course.label, "x": point.tokens or start, "y": max(y, least), "mark": 1}
    if lo is not None and hi is not None:
        low, high = max(lo, least), max(hi, least)
        datum |= {"lo": low, "hi": high, "low": low, "high": high}
    return datum


def _chart_table(courses: Sequence[SnapshotCourse], name: str) -> Table:
    rows = [
        (course.label, f"{point.tokens:,}", _cell(name, point.numbers.get(name)))
        for course in courses
        for point in course.points
    ]
    return table(("", "tokens", SHOWN[name].column), rows, align="lrr")
