"""From single counterfactual swaps to the curves B(d) and R(d) of EFFECT and their summaries.

N swaps, K distances, R bootstrap resamples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from rnnctl import statistics
from rnnctl.diagnostics import curves
from rnnctl.diagnostics.sample import Sample, Unit, enough, worth_shortening
from rnnctl.diagnostics.settings import Settings
from rnnctl.results.base import Curve, Estimate, Status
from rnnctl.results.diagnostics import EffectRecord, Sampling

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]
NEAR_WORDS = (4, 8)
PAIRS = 64
READ_AT = (10, 30, 100)  # words, for the panel
FLOOR = 0.001  # nats: a smaller near effect of a language model is no effect


@dataclass(frozen=True)
class Swaps:
    """Δ of N swaps at K distances `x` (words); which text and which pair each came from."""

    x: Floats
    deltas: Floats
    texts: Ids
    pairs: Ids
    sampling_unit: str


def distances(longest: int) -> list[int]:
    """At which distances, in words, the effect is read."""
    near = range(NEAR_WORDS[0], NEAR_WORDS[1] + 1)
    wanted = {*curves.octave_points(longest), *near, *READ_AT}
    return sorted(point for point in wanted if point <= longest)


def fit_window(sample: Sample, prefix: int, longest_words: int) -> tuple[Sample, int] | None:
    """Units that hold a window, and the longest distance in words that enough of them allow."""
    chosen, words = None, longest_words
    while words >= 2 * NEAR_WORDS[1]:
        length = prefix + math.ceil(words / sample.units_per_token) + 2
        units = sample.at_least(2 * length if sample.running else length)
        if worth_shortening(units, chosen[0] if chosen else None, fewest=2):
            chosen = (units, words)
        if enough(units, sample, 16):
            break
        words = int(words / math.sqrt(2))
    return chosen


def draw_pairs(groups: list[list[int]], draw: np.random.Generator) -> Ids:
    """Disjoint random pairs from within each group, 64 at most: (P, 2)."""
    pairs = []
    for group in groups:
        mixed = draw.permutation(group)
        pairs += [mixed[k : k + 2] for k in range(0, len(mixed) - 1, 2)]
    if not pairs:
        return np.zeros((0, 2), dtype=np.int64)
    return np.stack(pairs)[draw.permutation(len(pairs))[:PAIRS]].astype(np.int64)


def summarise(
    swaps: Swaps,
    near: NDArray[np.bool_],
    sample: Sample,
    settings: Settings,
    *,
    advice: str = "",
    floor: float = FLOOR,
    also: Mapping[str, float] = MappingProxyType({}),
) -> EffectRecord:
    """Curves B and R and their summaries. `near` (K,) marks the distances behind B_near.

    `also` names further distances to read R at. Texts and pairs are resampled crossed. Where
    B_near is below `floor` nats, below twice its standard error, or has an interval that reaches 0,
    there is no ratio, and `advice` ends the sentence that says so.
    """
    weights = statistics.crossed_weights(
        swaps.deltas, swaps.texts, swaps.pairs, resamples=settings.resamples, seed=settings.seed
    )
    b = statistics.ratio_of_means(swaps.deltas, np.ones_like(swaps.deltas), weights)
    units = len(np.unique(swaps.texts))
    n = np.full(len(swaps.x), units)
    near_value = float(b.estimate[near].mean())
    near_replicates = b.replicates[:, near].mean(1)
    b_near = curves.estimate(near_value, near_replicates, n=units, unit="nats of log-odds")
    record = EffectRecord(
        sampling=Sampling(unit=swaps.sampling_unit, n=units, items=len(swaps.deltas)),
        scalars={"b_near": b_near},
        curves={"b": curves.curve(swaps.x, b, n, x_unit=sample.unit, y_unit="nats")},
    )
    low = b_near.ci95[0]
    least = max(floor, 2 * float(np.std(near_replicates)))
    if low is None or low <= 0 or near_value < least:
        return _undefined(record, near_value, b_near, advice)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = b.replicates / near_replicates[:, None]
    r = statistics.Bootstrapped(b.estimate / near_value, *statistics.percentiles(ratios), ratios)
    scalars = {"b_near": b_near, **_summaries(swaps.x, r, near, units, sample, also)}
    drawn = {
        **record.curves,
        "r": curves.curve(swaps.x, r, n, x_unit=sample.unit, y_unit="ratio"),
    }
    return record.model_copy(update={"scalars": scalars, "curves": drawn})


def _undefined(record: EffectRecord, near: float, b_near: Estimate, advice: str) -> EffectRecord:
    low, high = (f"{end:.2g}" if end is not None else "?" for end in b_near.ci95)
    size = f"{near:.2g} nats [{low}, {high}]"
    note = (
        f"no measurable effect even when near ({size}): too small for its decay to be measured; "
        if near >= 0 or (b_near.ci95[1] or 0) >= 0
        else f"the near effect has the wrong sign ({size}), so there is no ratio; "
    ) + advice
    status: Status = "undefined"
    names = ["half_distance", *(f"retention_{d}" for d in READ_AT), "retention_auc"]
    scalars = {name: curves.missing(status, note) for name in names}
    return record.model_copy(
        update={"status": status, "note": note, "scalars": {**record.scalars, **scalars}}
    )


def _summaries(
    x: Floats,
    r: statistics.Bootstrapped,
    near: NDArray[np.bool_],
    n: int,
    sample: Sample,
    also: Mapping[str, float],
) -> dict[str, Estimate]:
    """half_distance, retention at 10, 30 and 100 words, retention_auc."""
    start = int(np.flatnonzero(near)[0])

    replicates = np.array([_half(x[start:], row[start:], near) for row in r.replicates])
    value = _half(x[start:], r.estimate[start:], near)
    largest = float(x[-1] - (x[near].mean() if near.sum() > 1 else x[0]))
    found = {
        "half_distance": curves.estimate(value, replicates, n=n, unit=sample.unit, largest=largest)
    }
    for name, distance in {**{f"retention_{d}": float(d) for d in READ_AT}, **also}.items():
        found[name] = retention(x, r, distance, n, sample.unit)
    grid = np.geomspace(max(1.0, x[start]), x[-1], 64)

    def area(fit: Floats) -> float:
        return float(np.clip(statistics.interpolated(x, fit, grid), 0, 1).mean())

    found["retention_auc"] = curves.estimate(
        area(r.estimate), np.array([area(row) for row in r.replicates]), n=n, unit="ratio"
    )
    return found


def _half(x: Floats, r: Floats, near: NDArray[np.bool_]) -> float:
    """How far beyond the near window the falling fit of R gets to ½.

    Fitted up to where R is least: evidence that counts again further back (a reader who begins
    with interest) must not lift what has already fallen.
    """
    if not np.isfinite(r).all():
        return math.nan
    least = int(np.argmin(r)) + 1
    fit = statistics.isotonic(r[:least])
    begin = statistics.crossing(x, fit, 1.0, decay=True) if near.sum() > 1 else float(x[0])
    return statistics.crossing(x[:least], fit, 0.5, decay=True) - begin


def near_words(x: Floats) -> NDArray[np.bool_]:
    """Which distances (K,) count as near: those that round to 4 to 8 words (or characters)."""
    found: NDArray[np.bool_] = (np.round(x) >= NEAR_WORDS[0]) & (np.round(x) <= NEAR_WORDS[1])
    return found


def rises(curve: Curve) -> tuple[float, float] | None:
    """Two distances, the further of which counts clearly more: intervals apart; None if none."""
    ends = list(zip(curve.x, curve.lo, curve.hi, strict=True))
    for k, (x, _, high) in enumerate(ends):
        for further, low, _ in ends[k + 1 :]:
            if low is not None and high is not None and low > max(high, 0.0) + 0.1:
                return x, further
    return None


def retention(
    x: Floats, r: statistics.Bootstrapped, distance: float, n: int, unit: Unit
) -> Estimate:
    """R at one distance, in words (or characters), between the points of the curve."""
    if distance > x[-1] * 1.05:
        return curves.missing("insufficient_data", f"texts shorter than {distance:g} {unit}")
    replicates = np.array([statistics.interpolated(x, row, distance) for row in r.replicates])
    value = float(statistics.interpolated(x, r.estimate, distance))
    return curves.estimate(value, replicates, n=n, unit="ratio")
