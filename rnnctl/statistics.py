"""Intervals, fits and tests, on numbers only.

Two levels are kept apart (Efron & Tibshirani 1993; DIAGNOSTICS part 4): a bootstrap over documents
says how precisely one checkpoint is measured; a t-interval over training seeds says what may be
claimed of a cell. Shapes: U resampling units, K points of a curve, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
RESAMPLES = 1000


@dataclass(frozen=True)
class Interval:
    """A number with the ends of its 95 % interval; an end is infinite where it is unknown."""

    estimate: float
    lo: float
    hi: float


@dataclass(frozen=True)
class Bootstrapped:
    """K ratios of means: `estimate`, `lo`, `hi` (K,) and the `replicates` (R, K) behind them.

    An entry without any observation is NaN here; records turn it into None.
    """

    estimate: Floats
    lo: Floats
    hi: Floats
    replicates: Floats


def resampling_weights(units: int, *, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """How often each of `units` is drawn in each resample: (R, U), every row sums to U."""
    # Counts instead of drawn indices: a resample of every curve is then one matrix product.
    draw = np.random.default_rng(seed)
    if units == 0:
        return np.zeros((resamples, 0))
    return draw.multinomial(units, np.full(units, 1 / units), size=resamples).astype(np.float64)


def crossed_weights(
    values: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Floats:
    """Bootstrap weights (R, N) of N items that come from two crossed groups, say texts and pairs.

    `values` are (N, K), `first` and `second` (N,) the groups that each item belongs to. Both groups
    are resampled and their deviations added, in such a measure that the mean of `values` varies as
    its two-way clustered variance says: V(first) + V(second) - V(cells), at least the larger of the
    two (Cameron, Gelbach & Miller 2011). The product of both resamplings would count the variance
    of independent items three times (Owen 2007). A weight may be negative.
    """
    columns = _columns(values)
    deviations = columns - columns.mean(0)
    groups = [np.unique(np.asarray(group), return_inverse=True)[1] for group in (first, second)]
    cells = np.unique(np.stack(groups), axis=1, return_inverse=True)[1].ravel()
    by_first, by_second, by_cell = (
        _clustered(deviations, group) if group.max(initial=0) else np.zeros(columns.shape[1])
        for group in (*groups, cells)
    )
    added = by_first + by_second
    # One measure for all columns, so that a replicate stays one curve and R(d) = B(d) / B_near has
    # numerator and denominator of the same resample.
    wanted = np.maximum(added - by_cell, np.maximum(by_first, by_second)).sum()
    scale = math.sqrt(wanted / added.sum()) if added.sum() > 0 else 1.0
    weights = np.ones((resamples, len(columns)))
    for k, group in enumerate(groups):
        if group.max(initial=0):
            drawn = resampling_weights(int(group.max()) + 1, resamples=resamples, seed=seed + k)
            weights += scale * (drawn - 1)[:, group]
    return weights


def dyadic_weights(
    values: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Floats:
    """Bootstrap weights (R, N) of N items that are each of two things of one kind, say two texts.

    `values` are (N,), `first` and `second` (N,) the numbers of the things: a text may be the first
    in one item and the second in another, and both then share its peculiarity. The things are
    resampled, in such a measure that the mean varies as `dyadic_excess` says. A weight may be
    negative.
    """
    array, one, other = (np.asarray(part) for part in (values, first, second))
    drawn = resampling_weights(int(max(one.max(), other.max())) + 1, resamples=resamples, seed=seed)
    excess = dyadic_excess(array, one, other)
    if excess <= 1:
        return drawn[:, one]
    # Both of an item's things are resampled, so that the item itself is counted twice.
    scale = math.sqrt(excess / (excess + 1))
    weights: Floats = 1 + scale * ((drawn - 1)[:, one] + (drawn - 1)[:, other])
    return weights


def dyadic_excess(values: ArrayLike, first: ArrayLike, second: ArrayLike) -> float:
    """How many times the variance of a mean of N independent items that of such pairs is.

    `values`, `first` and `second` are (N,). Σ over things of the square of what they add up to,
    less the items, which are in two of those sums (Fafchamps & Gubert 2007; Aronow, Samii &
    Assenova 2015). Never below 1.
    """
    array, one, other = (np.asarray(part) for part in (values, first, second))
    deviations = array - array.mean()
    alone = float(deviations @ deviations)
    if not alone:
        return 1.0
    sums = np.bincount(np.concatenate([one, other]), np.concatenate([deviations, deviations]))
    return max(1.0, (float(sums @ sums) - alone) / alone)


def _clustered(deviations: Floats, group: NDArray[np.intp]) -> Floats:
    """Σ over clusters of the square of the sum within: (K,)."""
    sums = np.zeros((int(group.max()) + 1, deviations.shape[1]))
    np.add.at(sums, group, deviations)
    squares: Floats = (sums**2).sum(0)
    return squares


def ratio_of_means(sums: ArrayLike, counts: ArrayLike, weights: Floats) -> Bootstrapped:
    """Bootstrap of Σ sums / Σ counts over units.

    `sums` and `counts` are (U, K), or (U,) for one number: what each unit adds to the numerator
    and to the denominator; `weights` (R, U) comes from `resampling_weights`. Percentile intervals,
    as wide as the number of units that add something asks for.
    """
    top, bottom = _columns(sums), _columns(counts)
    replicates = _divide(weights @ top, weights @ bottom)
    lo, hi = percentiles(replicates, np.count_nonzero(bottom, axis=0))
    return Bootstrapped(_divide(top.sum(0), bottom.sum(0)), lo, hi, replicates)


def _columns(values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    return array[:, None] if array.ndim == 1 else array


def _divide(top: Floats, bottom: Floats) -> Floats:
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom != 0)


def percentiles(replicates: ArrayLike, units: ArrayLike | None = None) -> tuple[Floats, Floats]:
    """The ends of the 95 % percentile interval along the first axis: (R, …) -> two of (…).

    `units`: of how many things, one number or (…), each replicate is a resample. Few of them vary
    by (n − 1)/n of what they should, and in their tails like a normal distribution and not like
    Student's; so of few units percentiles further out are taken, which are right for a mean
    (expanded percentiles; Hesterberg 2015, "What teachers should know about the bootstrap"). Of
    fewer than six units not even the most extreme resamples reach far enough: the interval of four
    holds the mean 87 times in 100. None: the replicates vary as they should, and the percentiles
    are 2.5 and 97.5.

    Replicates may be infinite (a censored horizon), so no interpolation between them; NaN ones
    are left out.
    """
    array = np.sort(np.asarray(replicates, dtype=np.float64), axis=0)  # NaN sorts last
    valid = np.sum(~np.isnan(array), axis=0)
    tail = 0.025 if units is None else _tail(units)
    # Outwards on both sides: between two replicates the further one, never a narrower interval.
    low = np.clip(np.floor(tail * (valid - 1)), 0, None).astype(np.intp)
    high = np.clip(np.ceil((1 - tail) * (valid - 1)), 0, None).astype(np.intp)
    ends = [np.take_along_axis(array, index[None], axis=0)[0] for index in (low, high)]
    return ends[0], ends[1]


def _tail(units: ArrayLike) -> Floats:
    """What a percentile interval of so many units leaves out on each side; 0 of one unit."""
    from scipy.special import ndtr, stdtrit

    # Of one unit Student's quantile is infinite, and so all replicates lie inside: 0 is left out.
    n = np.maximum(np.asarray(units, dtype=np.float64), 1 + 1e-9)
    return np.asarray(ndtr(-stdtrit(n - 1, 0.975) * np.sqrt(n / (n - 1))), dtype=np.float64)


def bca(estimate: Floats, replicates: Floats, influence: Floats) -> tuple[Floats, Floats]:
    """The ends of the 95 % BCa interval: two of (K,), from replicates (R, K) without NaN.

    Bias-corrected and accelerated percentiles (Efron 1987, "Better bootstrap confidence
    intervals"): of a skewed mean, plain ones lie too low, since the few large values that a sample
    may lack are in none of its resamples either. `influence` (U, K) is what each of the units adds
    to the estimate. Percentiles start from those of `percentiles` for so many units.
    """
    from scipy.special import ndtr, ndtri

    resamples = len(replicates)
    below = (np.sum(replicates < estimate, axis=0) + np.sum(replicates <= estimate, axis=0)) / 2
    # Where every replicate lies on one side of the estimate, as at the edge of an isotonic fit, the
    # bias would be infinite: one resample in R is the most that R of them can show.
    bias = ndtri(np.clip(below / resamples, 1 / resamples, 1 - 1 / resamples))
    squares, cubes = (influence**2).sum(0), (influence**3).sum(0)
    acceleration = _divide(cubes, 6 * squares**1.5)
    acceleration[np.isnan(acceleration)] = 0.0  # all units agree: nothing is skewed
    far = -ndtri(max(float(_tail(len(influence))), 1e-12))
    drawn, ends = np.sort(replicates, axis=0), []
    for side in (-far, far):
        moved = bias + side
        level = ndtr(bias + moved / np.maximum(1 - acceleration * moved, 1e-9))
        rank = np.floor(level * resamples) if side < 0 else np.ceil(level * resamples) - 1
        index = np.clip(rank, 0, resamples - 1).astype(np.intp)
        ends.append(np.take_along_axis(drawn, index[None], axis=0)[0])
    return ends[0], ends[1]


def isotonic(values: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """The falling curve nearest to `values` (K,) in weighted squares.

    Pool adjacent violators (Barlow et al. 1972), through scipy.
    """
    from scipy.optimize import isotonic_regression

    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        return array
    # Points without weight take part with next to none: a fit has to have a value everywhere.
    heavy = None if weights is None else np.maximum(np.asarray(weights, dtype=np.float64), 1e-12)
    fit = isotonic_regression(array, weights=heavy, increasing=False)
    return np.asarray(fit.x, dtype=np.float64)


def interpolated(x: ArrayLike, y: ArrayLike, at: ArrayLike) -> Floats:
    """A curve over distance x (K,): between its points linear in log(1 + x), level beyond them."""
    return np.asarray(np.interp(np.log1p(at), np.log1p(x), np.asarray(y, float)), dtype=np.float64)


def crossing(
    x: ArrayLike, y: ArrayLike, level: float, *, decay: bool = False, floor: float = -math.inf
) -> float:
    """Where a falling curve first gets to `level` or below: x[0] if it starts there, inf if never.

    Between two points y is taken to be linear in log x (in x where a distance of 0 is involved), or
    with `decay` ln y to be linear in x, which is exact for an exponential; `floor` keeps y from
    reaching 0 there. `x` (K,) rises.
    """
    at, height = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    below = np.flatnonzero(height <= level)
    if below.size == 0:
        return math.inf
    k = int(below[0])
    if k == 0:
        return float(at[0])
    high, low = float(height[k - 1]), max(float(height[k]), floor)
    if decay and low > 0 and level > 0:
        share = math.log(high / level) / math.log(high / low)
        return float(at[k - 1] + share * (at[k] - at[k - 1]))
    share = (high - level) / (high - low)
    if at[k - 1] <= 0:
        return float(at[k - 1] + share * (at[k] - at[k - 1]))
    return float(at[k - 1] * (at[k] / at[k - 1]) ** share)


def stays_below(x: ArrayLike, y: ArrayLike, level: float) -> float:
    """The smallest x (K,) from which on y (K,) stays at `level` or below; inf if it never does."""
    # Not the first dip below it: of a curve of noise that comes too early.
    at, height = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    above = np.flatnonzero(height > level)
    k = int(above[-1]) + 1 if above.size else 0
    return float(at[k]) if k < at.size else math.inf


LAST_PART = 1 / 3
"""Of a training: what its end is judged by."""
NOTICEABLE = 0.02
"""Of a loss: a smaller fall over the last part is no reason to train longer."""


def still_falling(steps: Sequence[float], values: Sequence[float]) -> float | None:
    """By which share a loss fell over the last third of a training, if it was still falling.

    `values` at `steps` (K,), in order. The slope is the median over all pairs of points of the last
    third (Theil 1950; Sen 1968), so that one outlier does not decide; of the last three points
    where it holds fewer. None where there are no three, where the last two of them hold no new
    minimum, or where the fall is less than `NOTICEABLE` of the loss.
    """
    known = [(s, v) for s, v in zip(steps, values, strict=True) if math.isfinite(v)]
    if not known:
        return None
    last = known[-1][0]
    late = known[-max(3, sum(s >= (1 - LAST_PART) * last for s, _ in known)) :]
    if len(late) < 3 or min(v for _, v in late[-2:]) > min(v for _, v in known):
        return None
    slopes = [(v - w) / (s - t) for (t, w), (s, v) in combinations(late, 2) if s > t]
    level = float(np.median([v for _, v in late]))
    if not slopes or level <= 0:
        return None
    # Of two middle slopes the less steep one: of four points one outlier is in half of all pairs.
    slope = float(np.quantile(slopes, 0.5, method="higher"))
    share = -slope * LAST_PART * last / level
    return share if share >= NOTICEABLE else None


def still_improving(
    points: Sequence[tuple[float, float | None, float | None]], stop_reason: str
) -> float | None:
    """By which share the validation loss was still falling when a training ended; None if not.

    `points`: step, loss and accuracy of each validation, in order, None for what is not known.
    Nothing more is to be gained where the last answers were all right, nor where the training ended
    because its validations did not get better (`stop_reason` "patience").
    """
    known = [(step, value) for step, value, _ in points if value is not None]
    if stop_reason == "patience" or not known or points[-1][2] == 1:
        return None
    return still_falling(*zip(*known, strict=True))


def no_better_than_counting(loss: float | None, n_gram: float | None) -> bool:
    """Whether a model's loss is no lower than an n-gram's on the same text; False if not known."""
    return loss is not None and n_gram is not None and loss >= n_gram


def t_interval(values: Sequence[float], *, log: bool = False) -> Interval:
    """Student's interval of the mean over seeds; of the geometric mean with `log` (values > 0).

    One value has an infinite interval. Raises ValueError without values.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise ValueError("no values")
    array = np.log(array) if log else array
    back = math.exp if log else float
    mean = float(array.mean())
    if array.size == 1:
        return Interval(back(mean), 0.0 if log else -math.inf, math.inf)
    half = t_quantile(array.size - 1) * float(array.std(ddof=1)) / math.sqrt(array.size)
    return Interval(back(mean), back(mean - half), back(mean + half))


def over_folds(values: Sequence[float]) -> Interval:
    """Mean of K folds' results and its 95 % interval, corrected by Nadeau and Bengio (2003).

    The folds share training documents, so their results are no independent draws: the variance of
    the mean is s² (1/K + 1/(K − 1)), the second term being the ratio of test to training documents.
    """
    k = len(values)
    mean = sum(values) / k
    if k < 2:
        return Interval(mean, -math.inf, math.inf)
    spread = sum((value - mean) ** 2 for value in values) / (k - 1)
    half = t_quantile(k - 1) * math.sqrt(spread * (1 / k + 1 / (k - 1)))
    return Interval(mean, mean - half, mean + half)


def t_quantile(degrees: float) -> float:
    """Two-sided 95 % quantile of Student's t."""
    from scipy.special import stdtrit  # scipy.stats takes ten times as long to import

    return float(stdtrit(degrees, 0.975))


def difference_of_means(a: Sequence[float], b: Sequence[float]) -> Interval:
    """mean a − mean b with Welch's (1947) interval; infinite ends with one value on a side."""
    first, second = np.asarray(a, float), np.asarray(b, float)
    difference = float(first.mean() - second.mean())
    if min(first.size, second.size) < 2:
        return Interval(difference, -math.inf, math.inf)
    parts = [float(v.var(ddof=1)) / v.size for v in (first, second)]
    total = sum(parts)
    if total == 0:
        return Interval(difference, difference, difference)
    spread = parts[0] ** 2 / (first.size - 1) + parts[1] ** 2 / (second.size - 1)
    half = t_quantile(total**2 / spread) * math.sqrt(total)
    return Interval(difference, difference - half, difference + half)


def ratio_of_geometric_means(a: Sequence[float], b: Sequence[float]) -> Interval:
    """exp(mean ln a − mean ln b) with Welch's interval; values > 0, at least one each.

    The effect size for horizons and half-lives, which live on a log scale.
    """
    logs = difference_of_means(*(np.log(np.asarray(side, float)).tolist() for side in (a, b)))
    return Interval(math.exp(logs.estimate), math.exp(logs.lo), math.exp(logs.hi))


def probability_of_superiority(a: Sequence[float], b: Sequence[float]) -> float:
    """P(a > b) + ½ P(a = b) for one drawn from each: 0.5 means no difference."""
    first, second = np.asarray(a, float)[:, None], np.asarray(b, float)[None, :]
    return float(np.mean(first > second)) + 0.5 * float(np.mean(first == second))


def permutation_test(a: Sequence[float], b: Sequence[float], *, most: int = 20_000) -> float:
    """Two-sided p of the difference of means; exact while there are at most `most` arrangements.

    The smallest possible p is 2 / C(2n, n): few seeds cannot be significant. (scipy.stats has this
    test too, and takes longer to import than a comparison of ten runs.)
    """
    values, first = np.concatenate([np.asarray(a, float), np.asarray(b, float)]), len(a)
    exact = math.comb(len(values), first) <= most
    if exact:
        deals = np.array(list(combinations(range(len(values)), first)))
    else:
        places = np.tile(np.arange(len(values)), (most, 1))
        deals = np.random.default_rng(0).permuted(places, axis=1)[:, :first]
    sums = values[np.vstack([np.arange(first), deals])].sum(1)  # the values as they came, first
    apart = np.abs(sums / first - (values.sum() - sums) / len(b))
    # Arrangements with the same difference differ in the order of addition: equal up to rounding.
    hits = int(np.sum(apart[1:] >= apart[0] - 1e-12 * max(1.0, float(apart[0]))))
    # Of drawn arrangements the observed one counts as one of them, or p could be 0 (Phipson & Smyth
    # 2010).
    return hits / len(deals) if exact else (hits + 1) / (len(deals) + 1)


def smallest_p(n: int) -> float:
    """The smallest two-sided p of an unpaired permutation test with n seeds a side."""
    return 2 / math.comb(2 * n, n)


def enough_seeds(n: int, comparisons: int) -> bool:
    """Whether n seeds a side can be significant at 5 % after Holm over `comparisons`."""
    return smallest_p(n) * comparisons <= 0.05


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down adjusted p-values, in the order given."""
    order = np.argsort(p_values)
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * float(p_values[index])))
        adjusted[int(index)] = highest
    return adjusted


def share_of(hits: ArrayLike, totals: ArrayLike) -> Interval:
    """The share Σ hits / Σ totals of things that come in units (U,), with Wilson's interval.

    As if of so many independent things as vary like these (Korn & Graubard 1998), which is their
    number where every unit has one. A bootstrap of a share of 99 % has no room above it. NaN and
    (0, 1) where there is nothing.
    """
    right, all_ = np.asarray(hits, float), np.asarray(totals, float)
    count, units = float(all_.sum()), int(np.count_nonzero(all_))
    if not units:
        return wilson(0, 0)
    share = float(right.sum()) / count
    alike = float(units)
    if bool((all_ > 1).any()):
        # with one unit more that is all right, and one all wrong: of few failures nobody can say
        # whether they come together
        usual = count / units
        right, all_ = np.append(right, [usual, 0.0]), np.append(all_, [usual, usual])
        near = float(right.sum() / all_.sum())
        residuals = right - near * all_
        variance = float(residuals @ residuals) / all_.sum() ** 2 * (units + 2) / (units + 1)
        alike = min(count, max(1.0, near * (1 - near) / variance * count / float(all_.sum())))
    return wilson(share * alike if share < 1 else alike, alike)


def wilson(successes: float, n: float) -> Interval:
    """Wilson's (1927) 95 % interval of a proportion, exact at both ends; (0, 1) where n is 0.

    `successes` may hold halves, for ties.
    """
    if n == 0:
        return Interval(math.nan, 0.0, 1.0)
    z, share = 1.959963984540054, successes / n  # the normal distribution's 97.5 % quantile
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    high = 1.0 if successes == n else min(1.0, middle + half)
    return Interval(share, low, high)
