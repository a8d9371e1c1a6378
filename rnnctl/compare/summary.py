"""Members into rows: every number with a t-interval over the seeds.

The unit of replication is the training seed (DIAGNOSTICS part 4): a percentile bootstrap over few
seeds covers far too little, Student's interval on the seed values (their logarithms for horizons,
half-lives and speeds) covers 95 %.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rnnctl.compare.plan import REFERENCE, deviation
from rnnctl.reports.numbers import DISTANCE_DIGITS, number
from rnnctl.results.base import Curve, Estimate, Status
from rnnctl.results.comparison import (
    BenchRow,
    Member,
    Row,
    Scale,
    SeedSummary,
    SpeedRecord,
)
from rnnctl.statistics import t_interval, wilson
from rnnctl.wording import plural, with_unit

# What is averaged over seeds, and how; `rnnctl.reports.comparison` says what it is called.


@dataclass(frozen=True, slots=True)
class Measure:
    """One number. `scale` says whether seeds are averaged as they are or as logarithms.

    `in_tokens`: it counts in tokens or per token, so that other tokens make another number of it.
    """

    scale: Scale
    unit: str = ""
    most: float | None = None  # largest possible value; the smallest is 0 then
    in_tokens: bool = False


MEASURES: dict[str, Measure] = {
    "bits_per_byte": Measure("linear"),
    "perplexity": Measure("log", in_tokens=True),
    "accuracy": Measure("linear", most=1.0),
    "macro_f1": Measure("linear", most=1.0),
    "horizon": Measure("log"),
    "early_gain_50": Measure("linear", "% perplexity"),
    "first_last": Measure("linear", "% perplexity", in_tokens=True),
    "effect_half": Measure("log", "words"),
    "retention_start": Measure("linear"),
    "hold_half": Measure("log", "words"),
    "gradient_half_life": Measure("log", "tokens", in_tokens=True),
    "reach_1pct": Measure("log", "tokens", in_tokens=True),
    "tau_p50": Measure("log", "tokens", in_tokens=True),
    "first_over_last": Measure("linear"),
    "pairs": Measure("linear", most=1.0),
    "train_tokens_per_s": Measure("log", "tokens/s"),
    "generate_ms_per_token": Measure("log", "ms/token"),
    "train_seconds": Measure("log", "s"),
}
TOKEN_CURVES = ("learning", "gradient")
"""Curves against a number of tokens, or of nats per token."""


STEP = 1.0
"""Word, character or token: the shortest distance measured, where that is not known."""
NOTHING = 1e-12
"""Smallest value of a curve on a log scale."""
SOLVED = 0.95
LOG_CURVES = ("gradient",)


def finite(value: float) -> float | None:
    """`value`, or None where it is not finite: there is no infinity in a result."""
    return value if math.isfinite(value) else None


def summarise(
    values: Sequence[Estimate],
    scale: Scale,
    unit: str = "",
    *,
    most: float | None = None,
    step: float = STEP,
) -> SeedSummary:
    """Mean and t-interval over seeds; a censored value enters as the bound that it is.

    The interval then has no upper end: nothing is known of how far beyond its bound a seed is.
    With `most` the value lies between 0 and that, and so do the interval's ends. A distance of 0
    has no logarithm. It is known to be shorter than `step`, the shortest that was measured, and
    enters as that bound; the interval then begins at 0. Where all seeds are so, the estimate is 0.
    """
    known: list[float] = []
    bounds: list[bool] = []
    # A bound counts as a value: to leave it out would take the longest memories out of the mean.
    for value in values:
        found = _known(value)
        if found is not None:
            known.append(found)
            bounds.append(value.status == "censored")
    censored, missing = sum(bounds), len(values) - len(known)
    unit = unit or next((value.unit for value in values if value.unit), "")
    if not known:
        return _nothing(values, scale, unit)
    nothing = [scale == "log" and value <= 0 for value in known]
    known = [step if none else value for value, none in zip(known, nothing, strict=True)]
    # Distances and speeds of seeds differ by factors: their logarithms are what spreads evenly.
    ends = t_interval(known, log=scale == "log")
    # Where all are bounds there is no mean, but a bound that holds for every seed.
    every = censored == len(known)
    several = len(known) > 1 and not every
    lo, hi = (finite(ends.lo), finite(ends.hi)) if several else (None, None)
    if most is not None and lo is not None and hi is not None:
        # Student's interval knows no bounds; an accuracy does.
        lo, hi = max(lo, 0.0), min(hi, most)
    hi = None if censored else hi
    if any(nothing) and several:
        lo, hi = (None, None) if all(nothing) else (0.0, hi)
    note = _note(len(values), len(known), 0 if every else censored)
    notes = (note, _of_nothing(sum(nothing), step, unit))
    return SeedSummary(
        estimate=None if every else 0.0 if all(nothing) else ends.estimate, ci95=(lo, hi),
        status="censored" if every else "ok", censored_at=min(known) if every else None,
        n=len(known), unit=unit, scale=scale, seeds=tuple(known), lower_bounds=tuple(bounds),
        upper_bounds=() if every else tuple(nothing), censored=censored, missing=missing,
        note="; ".join(filter(None, notes)),
        within=_within(values) if len(known) == 1 else None,
    )  # fmt: skip


def _within(values: Sequence[Estimate]) -> tuple[float | None, float | None] | None:
    """The interval of the one model that has a value, over the text it was measured on."""
    (value,) = (value for value in values if _known(value) is not None)
    return None if value.ci95 == (None, None) else value.ci95


def _of_nothing(count: int, step: float, unit: str) -> str:
    """What seeds count as whose distance is shorter than any that was measured."""
    if not count:
        return ""
    seeds = plural(
        count, "seed has none measurable and counts", "seeds have none measurable and count"
    )
    return f"{seeds} as {with_unit(number(step, DISTANCE_DIGITS), unit)}, the shortest measured"


def _known(value: Estimate) -> float | None:
    if value.status == "censored":
        return value.censored_at
    return value.estimate if value.status in ("ok", "exploding") else None


def below_least(value: SeedSummary, least: float) -> int:
    """How many seeds lie below `least` or have none measurable."""
    return sum(none or one < least for one, none in _with_none(value))


def _with_none(value: SeedSummary) -> list[tuple[float, bool]]:
    """Each seed's value, and whether it stands for none that could be measured."""
    nothing = value.upper_bounds or (False,) * len(value.seeds)
    return list(zip(value.seeds, nothing, strict=True))


def at_least(value: SeedSummary, least: float) -> SeedSummary:
    """The same with every seed that is below `least`, or has none measurable, counted as that."""
    if not below_least(value, least):
        return value
    counted = [least if none else max(one, least) for one, none in _with_none(value)]
    again = [
        Estimate(estimate=None, status="censored", censored_at=one) if bound else
        Estimate(estimate=one)
        for one, bound in zip(counted, value.lower_bounds, strict=True)
    ]  # fmt: skip
    made = summarise(again, value.scale, value.unit)
    return made.model_copy(update={"missing": value.missing})


def _nothing(values: Sequence[Estimate], scale: Scale, unit: str) -> SeedSummary:
    statuses = Counter(value.status for value in values)
    status: Status = statuses.most_common(1)[0][0] if statuses else "not_applicable"
    note = next((value.note for value in values if value.note), "")
    status = "undefined" if status in ("ok", "censored") else status
    return SeedSummary(
        estimate=None, status=status, note=note, scale=scale, unit=unit, missing=len(values)
    )


def _note(members: int, known: int, censored: int) -> str:
    parts = []
    if censored:
        verb = "is a lower bound" if censored == 1 else "are lower bounds"
        parts.append(f"{censored} of {plural(known, 'seed')} {verb}")
    if known < members:
        verb = "has" if members - known == 1 else "have"
        parts.append(f"{members - known} of {plural(members, 'seed')} {verb} no value")
    if known == 1:
        parts.append("one seed: no interval")
    return "; ".join(parts)


def summarise_curves(curves: Sequence[Curve], scale: Scale = "linear") -> Curve | None:
    """The mean curve over seeds with pointwise t-intervals, at the distances all of them have.

    On the log scale the mean is geometric, as for numbers, and what is nothing is `NOTHING`.
    Curves with fewer than two distances in common (trainings of equal time, say) are first
    interpolated at the distances of the one with the fewest points.
    """
    curves = [curve for curve in curves if curve.x]
    if not curves:
        return None
    if scale == "log":
        curves = [_with_nothing(curve) for curve in curves]
    # Only where all seeds have a value: else the mean would jump where one curve ends.
    shared = sorted(set.intersection(*(set(curve.x) for curve in curves)))
    if len(shared) < 2 and len(curves) > 1:
        shared, curves = _interpolated(curves)
    ys: list[float | None] = []
    los: list[float | None] = []
    his: list[float | None] = []
    ns: list[int] = []
    for x in shared:
        found = [y for curve in curves if (y := curve.y[curve.x.index(x)]) is not None]
        ends = t_interval(found, log=scale == "log") if found else None
        ys.append(ends.estimate if ends else None)
        los.append(finite(ends.lo) if ends and len(found) > 1 else None)
        his.append(finite(ends.hi) if ends and len(found) > 1 else None)
        ns.append(len(found))
    first = curves[0]
    return Curve(
        x_unit=first.x_unit, y_unit=first.y_unit, x=tuple(shared), y=tuple(ys), lo=tuple(los),
        hi=tuple(his), n=tuple(ns),
    )  # fmt: skip


def _with_nothing(curve: Curve) -> Curve:
    """A curve whose missing values have sunk to nothing: left out, the others would stand for all.

    `rnnctl.diagnostics` writes None where a gradient is too small to be told from rounding.
    """
    return curve.model_copy(update={"y": tuple(max(y or 0.0, NOTHING) for y in curve.y)})


def _interpolated(curves: Sequence[Curve]) -> tuple[list[float], list[Curve]]:
    """The curves at common distances, linearly, inside the range that all of them cover."""
    import numpy as np

    known = [curve.points for curve in curves if curve.points]
    # Nothing is made up: beyond the end of one curve the others would stand for all.
    low = max((points[0][0] for points in known), default=0.0)
    high = min((points[-1][0] for points in known), default=-1.0)
    fewest = min(known, key=len, default=[])
    at = [x for x, _ in fewest if low <= x <= high]
    units = curves[0]
    made = [
        Curve(
            x_unit=units.x_unit, y_unit=units.y_unit, x=tuple(at),
            y=tuple(np.interp(at, [x for x, _ in points], [y for _, y in points]).tolist()),
        )
        for points in known
    ]  # fmt: skip
    return at, made


def rows_of(groups: dict[str, list[Member]]) -> tuple[Row, ...]:
    """One row per named group; sizes are held against the first LSTM's."""
    every = [member for members in groups.values() for member in members]
    first = next((member for member in every if member.cell == REFERENCE), every[0])
    # Speed depends on cell, size and batch: rows that differ in their weights share it.
    speeds = {_shape(member): member.speed for member in every if member.speed}
    return tuple(
        _row(name, members, first.recurrent_parameters, speeds) for name, members in groups.items()
    )


Shape = tuple[object, ...]
Speeds = Mapping[Shape, SpeedRecord]


# What the time of a step depends on, beside cell and sizes.
COSTLY = ("batch-size", "bptt", "bidirectional", "pool", "tied", "precision", "vocab-size")


def _shape(member: Member) -> Shape:
    size = (member.cell, member.hidden_size, member.embedding_size, member.layers, member.level)
    return *size, *(member.recipe.get(name) for name in COSTLY)


def _row(name: str, members: list[Member], reference: int, speeds: Speeds) -> Row:
    first = members[0]
    return Row(
        name=name,
        kind="untrained" if first.untrained else "trained",
        cell=first.cell,
        init=first.init,
        seeds=tuple(member.seed for member in members),
        hidden_size=first.hidden_size,
        parameters=first.parameters,
        recurrent_parameters=first.recurrent_parameters,
        deviation=deviation(first.recurrent_parameters, reference) if reference else None,
        macs_per_token=first.macs_per_token,
        lr=None if first.untrained else first.lr,
        numbers=_numbers(members) | _speed(None if first.untrained else speeds.get(_shape(first))),
        curves=_curves(members),
        exploding_seeds=sum(bool(member.explodes) for member in members),
    )


def _numbers(members: list[Member]) -> dict[str, SeedSummary]:
    numbers = {}
    for key, measure in MEASURES.items():
        values = [member.values[key] for member in members if key in member.values]
        if values:
            numbers[key] = summarise(
                values,
                measure.scale,
                measure.unit,
                most=measure.most,
                step=STEP if measure.in_tokens else _step(members),
            )
    return numbers


def _step(members: Sequence[Member]) -> float:
    """The shortest distance above 0 at which the horizon of any of them was measured."""
    found = [m.diagnosed.shortest for m in members if m.diagnosed and m.diagnosed.shortest]
    return min(found, default=STEP)


def _speed(found: SpeedRecord | None) -> dict[str, SeedSummary]:
    """Speed does not depend on the seed: the interval is over the rounds of one member."""
    if found is None:
        return {}
    rounds = {
        "train_tokens_per_s": found.train_tokens_per_s,
        "generate_ms_per_token": found.generate_ms_per_token,
    }
    numbers = {}
    for key, values in rounds.items():
        if values:
            said = f"{len(values)} of {plural(found.rounds or len(values), 'round')} of one member"
            over = summarise(estimates(values), "log", MEASURES[key].unit)
            numbers[key] = over.model_copy(update={"note": said})
    return numbers


def _curves(members: list[Member]) -> dict[str, Curve]:
    names = dict.fromkeys(name for member in members for name in member.curves)
    made = {
        name: summarise_curves(
            [m.curves[name] for m in members if name in m.curves],
            "log" if name in LOG_CURVES else "linear",
        )
        for name in names
    }
    return {name: curve for name, curve in made.items() if curve is not None}


def bench_rows(groups: dict[tuple[str, str, int | None], list[Member]]) -> tuple[BenchRow, ...]:
    """Accuracy by task, row name and lag, over seeds."""
    return tuple(_bench_row(*key, members) for key, members in groups.items())


def _bench_row(name: str, task: str, lag: int | None, members: list[Member]) -> BenchRow:
    first = members[0]
    accuracy = summarise(
        [member.values["accuracy"] for member in members if "accuracy" in member.values],
        "linear",
        most=1.0,
    )
    # Recall is learnt all at once or not at all: how many seeds solved it says more than their
    # mean.
    solved = sum(value >= SOLVED for value in accuracy.seeds)
    share = wilson(solved, len(accuracy.seeds))
    return BenchRow(
        name=name, cell=first.cell, init=first.init, task=task, lag=lag, chance=first.chance,
        accuracy=accuracy, solved=solved, solved_ci95=(share.lo, share.hi),
    )  # fmt: skip


def estimates(values: Iterable[float]) -> list[Estimate]:
    """Plain numbers as estimates without intervals."""
    return [Estimate(estimate=value) for value in values]
