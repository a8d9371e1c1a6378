"""From gradient norms to curves, half-lives and intervals (DIAGNOSTICS.md D4).

Γ(k) = exp(mean over windows of ln‖g(k)‖ − ln‖g(1)‖) is the typical gradient k steps back relative
to one step back; its root mean square is what an optimiser sees. They differ: for factors of 0.5
or 1.4 with equal chance the typical product decays by 0.8367 a step and the rms grows by 1.0512.

half_life   lag where Γ falls to ½ (isotonic in ln Γ, interpolated linearly in ln Γ), minus 1
tail_tau    −1 / slope of ln Γ over the second half of the lags above the floor
reach_1pct  lag where Γ falls to 1 %
explodes    the 95 % interval of the tail slope lies above 0

Axes: K lags 1…K, N windows, D documents, R bootstrap resamples of documents.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnnctl.results.base import Curve, Estimate
from rnnctl.results.diagnostics import ReachBlock, ReachRecord
from rnnctl.statistics import isotonic, percentiles, ratio_of_means, resampling_weights

FloatArray = NDArray[np.float64]
FLOOR = 1e-30
"""Smaller ratios are rounding or exact zeros; curves end there."""
QUANTILES = {"p10": 0.1, "p50": 0.5, "p90": 0.9}


@dataclass(frozen=True)
class GradientNorms:
    """Norms of the gradient of one-step losses, by block of the state.

    blocks: name -> (K+1, N), row k being k steps back; groups: (N,) document of each window.
    """

    blocks: Mapping[str, FloatArray]
    groups: NDArray[np.int64]


@dataclass(frozen=True)
class LagCurve:
    """ln Γ at lags 1…K: `estimate` (K,), `replicates` (R, K); rms as ln too; D documents."""

    estimate: FloatArray
    replicates: FloatArray
    rms: FloatArray
    rms_replicates: FloatArray
    log_ratios: FloatArray
    documents: int
    windows: int


def lag_curve(norms: FloatArray, groups: NDArray[np.int64], weights_of: int, seed: int) -> LagCurve:
    """Average (K, N) norms from lag 1 on; windows without any gradient at lag 1 are left out.

    `weights_of` is the number of bootstrap resamples. Raises ValueError if no window is left.
    """
    alive = norms[0] > 0
    if not alive.any():
        raise ValueError("no gradient reaches even the step before")
    taken, documents = norms[:, alive], documents_of(groups[alive])
    ratios = np.log(np.maximum(taken / taken[0], FLOOR))
    count = int(documents.max()) + 1
    member = np.zeros((count, taken.shape[1]))
    member[documents, np.arange(taken.shape[1])] = 1
    weights = resampling_weights(count, resamples=weights_of, seed=seed)
    sizes = member.sum(axis=1, keepdims=True)
    mean = ratio_of_means(member @ ratios.T, np.broadcast_to(sizes, (count, len(taken))), weights)
    squares = member @ np.square(taken).T
    rms = ratio_of_means(squares, np.broadcast_to(squares[:, :1], squares.shape), weights)
    shown, drawn = (
        np.log(np.maximum(part, FLOOR**2)) / 2 for part in (rms.estimate, rms.replicates)
    )
    return LagCurve(mean.estimate, mean.replicates, shown, drawn, ratios, count, taken.shape[1])


def documents_of(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) the resampling unit of each window, numbered from 0.

    Windows of one document are alike; resampled singly they would feign precision.
    """
    units: NDArray[np.int64] = np.unique(groups, return_inverse=True)[1]
    return units


def lag_where(log_curve: FloatArray, level: float) -> float:
    """The lag (from 1) where the falling fit of (K,) ln Γ crosses ln `level`; inf if it does not.

    Interpolated linearly in ln Γ between lags.
    """
    fit = isotonic(log_curve)
    below = np.flatnonzero(fit <= math.log(level))
    if not len(below):
        return math.inf
    k = int(below[0])
    if k == 0:
        return 1.0
    return k + float((fit[k - 1] - math.log(level)) / (fit[k - 1] - fit[k]))


def tail_slope(log_curve: FloatArray, tail: tuple[int, int] | None = None) -> float:
    """Least-squares slope of ln Γ per step over lags `tail` (inclusive), by default the second
    half of those above the floor; NaN where fewer than two are.
    """
    if tail is None:
        above = np.flatnonzero(log_curve > math.log(FLOOR) + 1)
        last = int(above[-1]) + 1 if len(above) else 0
        tail = (last // 2 + 1, last)
    lags = np.arange(tail[0], tail[1] + 1, dtype=np.float64)
    if len(lags) < 2:
        return math.nan
    heights = log_curve[tail[0] - 1 : tail[1]]
    centred = lags - lags.mean()
    return float(centred @ heights / (centred @ centred))


def record(norms: GradientNorms, *, main: str, resamples: int = 1000, seed: int = 0) -> ReachRecord:
    """Curves and scalars of every block; `main` gives the record's own scalars."""
    blocks: dict[str, ReachBlock] = {}
    for name, rows in norms.blocks.items():
        if (rows[1] > 0).any():
            curve = lag_curve(rows[1:], norms.groups, resamples, seed)
            blocks[name] = block_record(curve)
    if main not in blocks:
        note = "no gradient reaches even the step before: the loss does not depend on the state"
        return ReachRecord(status="undefined", note=note, main_block=main, blocks=blocks)
    chosen = blocks[main]
    scalars = {
        "half_life": chosen.half_life,
        "tail_tau": chosen.tail_tau,
        "reach_1pct": chosen.reach_1pct,
    }
    status = "exploding" if chosen.explodes else "ok"
    note = "gradients grow with the lag" if chosen.explodes else ""
    return ReachRecord(
        status=status,
        note=note,
        main_block=main,
        blocks=blocks,
        scalars=scalars,
        curves={"geo": chosen.geo, "rms": chosen.rms},
    )


def block_record(curve: LagCurve) -> ReachBlock:
    """The record of one block of the state."""
    slopes = np.array([tail_slope(row) for row in curve.replicates])
    low, _ = percentiles(slopes)
    slope = tail_slope(curve.estimate)
    explodes = bool(slope > 0 and low > 0)
    bands = np.quantile(curve.log_ratios, list(QUANTILES.values()), axis=1)
    return ReachBlock(
        geo=_curve(curve.estimate, curve.replicates, curve.windows),
        rms=_curve(curve.rms, curve.rms_replicates, curve.windows),
        bands={
            name: _curve(band, None, curve.windows)
            for name, band in zip(QUANTILES, bands, strict=True)
        },
        half_life=_lag_estimate(curve, 0.5, shift=1),
        tail_tau=_tau_estimate(slope, slopes, curve.documents),
        reach_1pct=_lag_estimate(curve, 0.01, shift=0),
        explodes=explodes,
    )


def _curve(logs: FloatArray, replicates: FloatArray | None, n: int) -> Curve:
    values = np.exp(logs)
    ends = () if replicates is None else tuple(np.exp(end) for end in percentiles(replicates))
    shown = [_shown(part, values) for part in (values, *ends)]
    lags = tuple(float(k) for k in range(1, len(logs) + 1))
    lo, hi = (shown[1], shown[2]) if ends else ((), ())
    return Curve(
        x_unit="tokens",
        y_unit="ratio to lag 1",
        x=lags,
        y=shown[0],
        lo=lo,
        hi=hi,
        n=(n,) * len(lags),
    )


def _shown(part: FloatArray, values: FloatArray) -> tuple[float | None, ...]:
    """None where the curve has sunk to the floor: what is there is rounding."""
    return tuple(
        float(y) if value > 10 * FLOOR else None for y, value in zip(part, values, strict=True)
    )


def _lag_estimate(curve: LagCurve, level: float, *, shift: int) -> Estimate:
    found = lag_where(curve.estimate, level) - shift
    replicates = np.array([lag_where(row, level) - shift for row in curve.replicates])
    low, high = (float(end) for end in percentiles(replicates))
    limit = float(len(curve.estimate) - shift)
    return Estimate(
        estimate=found if math.isfinite(found) else None,
        ci95=(low if math.isfinite(low) else limit, high if math.isfinite(high) else None),
        n=curve.documents,
        unit="tokens",
        status="ok" if math.isfinite(found) else "censored",
        censored_at=None if math.isfinite(found) and math.isfinite(high) else limit,
        note="" if math.isfinite(found) else f"not below {level:.0%} within {limit:.0f} tokens",
    )


def _tau_estimate(slope: float, slopes: FloatArray, documents: int) -> Estimate:
    """τ = −1/slope; where the slope is not below 0 the signal does not decay in this window."""
    if math.isnan(slope):
        return Estimate(
            estimate=None,
            n=documents,
            unit="tokens",
            status="undefined",
            note="the curve is at the floor after one step",
        )
    decays = -slopes[~np.isnan(slopes)]
    low, high = (float(end) for end in percentiles(decays))
    ends = tuple(1 / end if end > 0 else None for end in (high, low))
    if slope >= 0:
        return Estimate(
            estimate=None,
            ci95=(ends[0], None),
            n=documents,
            unit="tokens",
            status="exploding" if high < 0 else "censored",
            note="no decay over the second half of the lags",
        )
    return Estimate(estimate=-1 / slope, ci95=(ends[0], ends[1]), n=documents, unit="tokens")
