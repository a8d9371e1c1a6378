"""From sums per resampling unit to curves, horizons and estimates.

U resampling units (documents or blocks), K distances, R bootstrap resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnnctl import statistics
from rnnctl.diagnostics.sample import Floats
from rnnctl.diagnostics.settings import QUICK, Settings
from rnnctl.results.base import Curve, Estimate, Status


def octave_bins(last: int, per_octave: int = 2) -> list[tuple[int, int]]:
    """Inclusive bins up to `last`; with two per octave 0, 1, 2, 3, 4, 5–6, 7–8, 9–11, 12–16, …

    Bins of four per octave lie inside those of two.
    """
    # Memory falls by ratios of the distance rather than by steps of it, so bins of equal width on
    # log n lose equally little everywhere; up to 4 each n has one of its own.
    edges = sorted({round(2 ** (k / per_octave)) for k in range(per_octave * 32)})
    bins, low = [(0, 0)], 1
    for edge in edges:
        if low > last:
            break
        bins.append((low, min(edge, last)))
        low = edge + 1
    return bins


def octave_points(last: int) -> list[int]:
    """Distances 0, 1, 2, 3, 4, 6, 8, 11, 16, 23, 32, … and `last`, two per octave."""
    points = {round(2 ** (k / 2)) for k in range(64)}
    return sorted({0, last} | {point for point in points if point < last})


def centre(low: int, high: int) -> float:
    """The distance that stands for a bin: its geometric middle."""
    # The middle on the logarithmic axis that bins are equally wide on.
    return math.sqrt(low * high) if low else float(low + high) / 2


def centres(bins: Sequence[tuple[int, int]]) -> Floats:
    """The distances that stand for some bins: (K,)."""
    return np.array([centre(low, high) for low, high in bins])


@dataclass
class Sums:
    """What each unit contributes to the mean at each distance: (U, K) sums and counts, or (U,).

    The mean is a ratio of sums, Σ sums / Σ counts, and not a mean of the units' own means: a
    document then counts as much as it has targets, and one with few of them adds little noise.
    """

    sums: Floats
    counts: Floats
    settings: Settings = QUICK

    @cached_property
    def means(self) -> statistics.Bootstrapped:
        """Mean at each distance with its interval: (K,) each, and replicates (R, K)."""
        # The same resamples for every curve of as many units: what one unit does to one curve it
        # does to the others, so that sums and ratios of curves keep what they share.
        weights = _weights(len(self.sums), self.settings.resamples, self.settings.seed)
        return statistics.ratio_of_means(self.sums, self.counts, weights)

    @cached_property
    def n(self) -> NDArray[np.int64]:
        """Units that contribute at each distance: (K,)."""
        contributing: NDArray[np.int64] = np.count_nonzero(self.counts, axis=0)
        return contributing


@lru_cache(maxsize=4)
def _weights(units: int, resamples: int, seed: int) -> Floats:
    """Drawing them takes longer than using them, and many curves have the same."""
    weights = statistics.resampling_weights(units, resamples=resamples, seed=seed)
    weights.flags.writeable = False
    return weights


def number(value: float) -> float | None:
    """A float of a record: None for NaN and infinities."""
    return float(value) if math.isfinite(value) else None


def numbers(values: Sequence[float] | Floats) -> tuple[float | None, ...]:
    """Several of them: (K,)."""
    return tuple(number(float(value)) for value in values)


def curve(
    x: Sequence[float] | Floats,
    means: statistics.Bootstrapped,
    n: Sequence[int] | NDArray[np.int64],
    *,
    x_unit: str,
    y_unit: str,
    scale: float = 1.0,
) -> Curve:
    """A curve record of x (K,), its means and how many units are behind each: n (K,)."""
    return Curve(
        x_unit=x_unit,
        y_unit=y_unit,
        x=tuple(float(value) for value in x),
        y=numbers(means.estimate * scale),
        lo=numbers(means.lo * scale),
        hi=numbers(means.hi * scale),
        n=tuple(int(value) for value in n),
    )


def estimate(
    value: float,
    replicates: Floats,
    *,
    n: int,
    unit: str,
    largest: float = math.inf,
) -> Estimate:
    """A scalar from its bootstrap replicates (R,) of `n` units; see `with_ends`."""
    low, high = map(float, statistics.percentiles(replicates, n))
    return with_ends(value, low, high, n=n, unit=unit, largest=largest)


def with_ends(
    value: float,
    low: float,
    high: float,
    *,
    n: int,
    unit: str,
    largest: float = math.inf,
) -> Estimate:
    """A scalar and its interval.

    Infinite means beyond `largest`, the longest distance measured: censored there. NaN: undefined.
    """
    ends = (number(low), number(high))
    if math.isinf(value):
        # What is censored still has a lower bound: the lower end of its interval where that was
        # reached, else all that was measured.
        low_end = ends[0] if ends[0] is not None else number(largest)
        return Estimate(
            estimate=None, ci95=(low_end, None), n=n, unit=unit, status="censored",
            censored_at=number(largest),
        )  # fmt: skip
    if math.isnan(value):
        return missing("undefined", "", unit=unit, n=n)
    return Estimate(estimate=value, ci95=ends, n=n, unit=unit)


def derived(
    means: statistics.Bootstrapped,
    of: Callable[[Floats], float],
    *,
    n: int,
    unit: str,
    largest: float = math.inf,
) -> Estimate:
    """What `of` makes of a curve (K,), with the interval of what it makes of each replicate."""
    # From each replicate of the whole curve, not from the curve's two ends: its points vary
    # together, and for the place where it crosses a level there is no formula of the error.
    replicates = np.array([of(row) for row in means.replicates])
    return estimate(of(means.estimate), replicates, n=n, unit=unit, largest=largest)


def first(means: statistics.Bootstrapped, *, n: int, unit: str) -> Estimate:
    """The first point of a curve, or the one mean that there is."""
    return estimate(float(means.estimate[0]), means.replicates[:, 0], n=n, unit=unit)


def at_distance(
    x: Floats, means: statistics.Bootstrapped, distance: float, *, n: int, unit: str, short: str
) -> Estimate:
    """A curve's value at one distance, interpolated between its points x (K,).

    "insufficient_data" with the note `short` where the curve ends more than 5 % before it.
    """
    if distance > x[-1] * 1.05:
        return missing("insufficient_data", short, unit=unit)
    return derived(
        means, lambda row: float(statistics.interpolated(x, row, distance)), n=n, unit=unit
    )


def share(hits: ArrayLike, totals: ArrayLike) -> Estimate:
    """A share of things that come in units (U,), with Wilson's interval over units."""
    found = statistics.share_of(hits, totals)
    n = len(np.asarray(totals))
    if math.isnan(found.estimate):
        return missing("insufficient_data", "there are none", unit="share")
    return Estimate(estimate=found.estimate, ci95=(found.lo, found.hi), n=n, unit="share")


def falling_horizons(
    x: Floats,
    means: statistics.Bootstrapped,
    heavy: Floats,
    find: Callable[[Floats, Floats], float],
) -> tuple[float, Floats]:
    """`find(x, fit)` on the falling isotonic fit of the estimate and of every replicate.

    `heavy` (K,) weighs the fit. Points without observations, of the estimate or of a replicate, are
    left out of it.
    """

    def found(row: Floats) -> float:
        known = np.isfinite(row)
        if not known.any():
            return math.nan
        return find(x[known], statistics.isotonic(row[known], heavy[known]))

    return found(means.estimate), np.array([found(row) for row in means.replicates])


@dataclass(frozen=True)
class FallingCurve:
    """The falling isotonic fit of a curve at x (K,), and the ends of its interval at every x.

    All (K,), and all fall. Where such a band comes down to a level is the interval of where the
    curve does: those x that no test of the curve at x rejects.
    """

    x: Floats
    fit: Floats
    lo: Floats
    hi: Floats


def falling(x: Floats, sums: Sums) -> FallingCurve:
    """The falling fit of the means at x (K,), without the points that have no observation."""
    known = np.isfinite(sums.means.estimate)
    means, drawn = sums.means.estimate[known], sums.means.replicates[:, known]
    heavy = sums.counts.sum(0)[known]
    # What was drawn without any observation of a point takes the point as it was measured.
    fit = statistics.isotonic(means, heavy)
    fits = np.array(
        [statistics.isotonic(row, heavy) for row in np.where(np.isnan(drawn), means, drawn)]
    )
    # Points that the fit has pooled are one mean, and each unit adds to it as a whole.
    pool = np.concatenate([[0], np.cumsum(np.diff(fit) != 0)])
    member = (pool[:, None] == np.arange(pool[-1] + 1)).astype(np.float64)  # (K, pools)
    top, bottom = sums.sums[:, known] @ member, sums.counts[:, known] @ member
    influence = (top - bottom * (top.sum(0) / bottom.sum(0))) / bottom.sum(0)
    # A few documents lose far more than the rest, so means are skewed to the right, and plain
    # percentiles would end too low (memory.md, Intervals).
    lo, hi = statistics.bca(fit, fits, influence[:, pool])
    return FallingCurve(x[known], fit, *(statistics.isotonic(end, heavy) for end in (lo, hi)))


def missing(status: Status, note: str, *, unit: str = "", n: int = 0) -> Estimate:
    """A scalar that does not exist, and why."""
    return Estimate(estimate=None, status=status, note=note, unit=unit, n=n)
