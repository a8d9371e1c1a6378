"""From the sums of USE's reset sweep to its curves, horizons and gains."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnnctl import statistics
from rnnctl.diagnostics import curves
from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.settings import Arm, Settings
from rnnctl.diagnostics.use_plan import Plan
from rnnctl.diagnostics.use_reference import ReferenceSums
from rnnctl.results.base import Curve, Estimate
from rnnctl.results.diagnostics import Sampling, UseRecord


@dataclass
class Totals:
    """Sums per unit and bin: the full-context loss, and each arm's excess over it, in nats."""

    full: curves.Sums
    arms: dict[Arm, curves.Sums]
    reference: ReferenceSums | None = None
    resets: int = 0


def summarise(plan: Plan, totals: Totals, sample: Sample, settings: Settings) -> UseRecord:
    """The record of a sweep: curves per arm, horizons, and what further context buys."""
    x = np.array([curves.centre(*edges) for edges in plan.bins])
    everything: dict[str, curves.Sums] = {str(arm): sums for arm, sums in totals.arms.items()}
    everything["full"] = totals.full
    shown = {name: sums.gathered(plan.groups) for name, sums in everything.items()}
    epsilon = settings.epsilon * sample.units_per_token  # nats per token
    scalars = {
        f"n_eff_{arm}": horizon(plan, everything[arm], epsilon, sample)
        for arm in ("foreign", "zero")
        if arm in everything
    }
    scalars["loss"] = _mean_loss(totals.full)
    main = shown[settings.arms[0]]
    scalars["early_gain_50"] = _early_gain(plan, x, main, sample, 50)
    scalars["half_width"] = _half_width(plan, x, main, sample, scalars[f"n_eff_{settings.arms[0]}"])
    if totals.reference is not None:
        scalars |= totals.reference.scalars(plan, sample)
    return UseRecord(
        sampling=Sampling(
            unit=plan.units.resampling_unit,
            n=len(plan.units.ids),
            items=totals.resets,
            documents_long_enough=len(plan.units.ids),
        ),
        scalars=scalars,
        curves={name: _curve(x, sums, sample) for name, sums in shown.items()},
        epsilon_nats=settings.epsilon,
        n_max_tokens=plan.n_max,
    )


def _curve(x: NDArray[np.float64], sums: curves.Sums, sample: Sample) -> Curve:
    """Nats per word over words, from nats per token over tokens."""
    return curves.curve(
        x * sample.units_per_token,
        sums.means,
        sums.n,
        x_unit=sample.unit,
        y_unit=f"nats per {sample.unit[:-1]}",
        scale=1 / sample.units_per_token,
    )


def horizon(plan: Plan, sums: curves.Sums, epsilon: float, sample: Sample) -> Estimate:
    """n_eff: the context length from which on the falling fit of δ stays at or below epsilon.

    With a bin per n this is the exact smallest n. With wider bins it is interpolated between their
    middles as if δ decayed exponentially; to a hundredth of epsilon where it ends all at once.
    """
    x = np.array([curves.centre(*edges) for edges in plan.fine])
    exact = all(low == high for low, high in plan.fine)

    def find(at: NDArray[np.float64], fit: NDArray[np.float64]) -> float:
        if exact:
            return statistics.stays_below(at, fit, epsilon)
        return statistics.crossing(at, fit, epsilon, decay=True, floor=epsilon / 100)

    value, replicates = curves.falling_horizons(x, sums.means, sums.counts.sum(0), find)
    return curves.estimate(
        sample.distance(value),
        replicates * sample.units_per_token,
        n=len(sums.sums),
        unit=sample.unit,
        largest=sample.distance(plan.n_max),
    )


def _mean_loss(full: curves.Sums) -> Estimate:
    """Nats per token with all of the context, over everything that was scored."""
    mean = statistics.ratio_of_means(full.sums.sum(1), full.counts.sum(1), full.weights)
    value, replicates = float(mean.estimate[0]), mean.replicates[:, 0]
    return curves.estimate(value, replicates, n=len(full.sums), unit="nats per token")


def _early_gain(
    plan: Plan, x: NDArray[np.float64], sums: curves.Sums, sample: Sample, words: float
) -> Estimate:
    """What context beyond `words` words buys: 100·(exp δ(words) − 1) % of perplexity per word.

    All in characters, where the text has no words.
    """
    at = words / sample.units_per_token
    known = np.isfinite(sums.means.estimate)
    if at > plan.n_max or not known.any():
        return curves.missing(
            "insufficient_data", f"the text has no context of {words:g} {sample.unit}", unit="%"
        )

    def gain(fit: NDArray[np.float64]) -> float:
        delta = statistics.interpolated(x[known], fit[known], at)
        return 100 * math.expm1(min(50.0, float(delta) / sample.units_per_token))

    replicates = np.array([gain(fit) for fit in sums.means.replicates])
    unit = f"% perplexity per {sample.unit[:-1]}"
    return curves.estimate(gain(sums.means.estimate), replicates, n=len(sums.sums), unit=unit)


def _half_width(
    plan: Plan, x: NDArray[np.float64], sums: curves.Sums, sample: Sample, found: Estimate
) -> Estimate:
    """Half the interval of δ at the horizon, nats per word, and how much text 0.01 would take."""
    words = found.estimate if found.estimate is not None else sample.distance(plan.n_max)
    k = int(np.argmin(np.abs(x * sample.units_per_token - words)))
    half = float(sums.means.hi[k] - sums.means.lo[k]) / 2 / sample.units_per_token
    if not math.isfinite(half):
        return curves.missing("insufficient_data", "one unit only")
    note = ""
    if half > 0.01:
        more = math.ceil(len(sums.sums) * ((half / 0.01) ** 2 - 1))
        note = f"±0.01 would take about {more:,} more units (each a {plan.units.resampling_unit})"
    return Estimate(estimate=half, n=len(sums.sums), unit=f"nats per {sample.unit[:-1]}", note=note)
