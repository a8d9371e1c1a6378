"""What USE holds a model's loss against: an n-gram model of the same training text.

A model that is bad with little context gains much from more of it, and its context curve alone
looks like a long memory. An interpolated Kneser–Ney n-gram says what a few tokens of context are
worth without any recurrence. L_ref is its mean loss on the very targets that the sweep scores;
`overtakes_reference` is the context length with which the model does as well,
L_full + δ(n) ≤ L_ref, and `reference_gain` what the model with all of its context does better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnnctl import statistics
from rnnctl.diagnostics import curves
from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.use_plan import Plan
from rnnctl.results.base import Estimate

Ids = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Reference:
    """`losses` takes a text's ids (T,) to the nats of each token (T,); `name` says what it is."""

    name: str
    losses: Callable[[Ids], Floats]


class ReferenceSums:
    """Per unit and fine bin: the reference's loss over the model's with all of its context, and the
    model's with n tokens of context over the reference's. All in nats, on the same targets.
    """

    def __init__(self, reference: Reference, plan: Plan, *, seed: int, resamples: int) -> None:
        shape = (len(plan.units.ids), len(plan.fine))
        self.behind = curves.Sums.empty(*shape, seed=seed, resamples=resamples)
        self.short = curves.Sums.empty(*shape, seed=seed, resamples=resamples)
        self.loss = curves.Sums.empty(*shape, seed=seed, resamples=resamples)
        self._nats = [reference.losses(ids) for ids in plan.units.ids]

    def at(self, members: Ids, positions: Ids) -> Floats:
        """Nats of the tokens at `positions` (N,) of units `members` (B,): (N, B)."""
        return np.stack([self._nats[int(unit)][positions] for unit in members], axis=1)

    def add(self, members: Ids, point: int, nats: Floats, full: Floats, short: Floats) -> None:
        """Count one target of every unit (B,): the reference's nats and the model's two."""
        self.loss.add(members, point, nats)
        self.behind.add(members, point, nats - full)
        self.short.add(members, point, short - nats)

    def scalars(self, plan: Plan, sample: Sample) -> Mapping[str, Estimate]:
        """`reference_loss`, `reference_gain` and `overtakes_reference`, see the module."""
        gain, replicates = _mean(self.behind)
        per_word = 1 / sample.units_per_token
        found = {
            "reference_loss": curves.estimate(
                *_mean(self.loss), n=len(self.loss.sums), unit="nats per token"
            ),
            "reference_gain": curves.estimate(
                _per_cent(gain * per_word),
                np.array([_per_cent(value * per_word) for value in replicates]),
                n=len(self.loss.sums),
                unit=f"% perplexity per {sample.unit[:-1]}",
            ),
        }
        if gain <= 0:
            worse = "with all of its context the model is no better than the n-gram"
            return {**found, "overtakes_reference": curves.missing("undefined", worse)}
        return {**found, "overtakes_reference": self._overtakes(plan, sample)}

    def _overtakes(self, plan: Plan, sample: Sample) -> Estimate:
        x = np.array([curves.centre(*edges) for edges in plan.fine])
        value, replicates = curves.falling_horizons(
            x, self.short.means, self.short.counts.sum(0), _reaches_zero
        )
        return curves.estimate(
            sample.distance(value),
            replicates * sample.units_per_token,
            n=len(self.short.sums),
            unit=sample.unit,
            largest=sample.distance(plan.n_max),
        )


def _reaches_zero(x: Floats, fit: Floats) -> float:
    return statistics.crossing(x, fit, 0.0)


def _mean(sums: curves.Sums) -> tuple[float, Floats]:
    """Mean over all targets, and its bootstrap replicates (R,)."""
    mean = statistics.ratio_of_means(sums.sums.sum(1), sums.counts.sum(1), sums.weights)
    return float(mean.estimate[0]), mean.replicates[:, 0]


def _per_cent(nats: float) -> float:
    return 100 * math.expm1(min(50.0, nats))
