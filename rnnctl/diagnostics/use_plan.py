"""Which text the reset sweep of USE reads, up to which context length, in which bins."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnnctl.diagnostics import curves
from rnnctl.diagnostics.sample import Sample, enough, worth_shortening
from rnnctl.diagnostics.settings import Settings

SHORTEST = 8  # no curve below this longest context
FEWEST = 16  # units wanted before a longer context is tried


@dataclass(frozen=True)
class Plan:
    """Which units are read, up to which context length, in which bins of n.

    Targets are drawn from, and curves shown in, half-octave `bins`; the horizon is found on `fine`
    ones, half as wide, which blur a sudden end less.
    """

    units: Sample
    n_max: int
    bins: list[tuple[int, int]]
    fine: list[tuple[int, int]]
    resets_per_unit: int
    carried: bool

    @property
    def groups(self) -> NDArray[np.int64]:
        """Which bin each fine bin lies in."""
        highs = [high for _, high in self.bins]
        return np.searchsorted(highs, [high for _, high in self.fine]).astype(np.int64)


def _contexts(settings: Settings) -> Iterator[int]:
    """Longest contexts to try, the longest first."""
    n_max = settings.n_max
    while n_max >= SHORTEST:
        yield n_max
        n_max = int(n_max / math.sqrt(2))


def _block(n_max: int) -> int:
    return 4 * n_max


def _document(n_max: int) -> int:
    return n_max + n_max // 2 + 1


def too_short(sample: Sample, settings: Settings) -> str:
    """What USE would need of a text that `make_plan` has no plan for."""
    n_max = min(_contexts(settings), default=SHORTEST)
    if sample.running or len(sample.ids) == 1:
        total = int(sample.lengths.sum())
        return f"USE needs a text of at least {2 * _block(n_max)} tokens; this one has {total}"
    least = _document(n_max)
    enough = int((sample.lengths >= least).sum())
    return f"USE needs two documents of at least {least} tokens each; here are {enough}"


def make_plan(sample: Sample, settings: Settings) -> Plan | None:
    """The longest context for which there is enough; None where even a short one does not fit."""
    if len(sample.ids) == 1 and not sample.running:
        sample = sample.blocks(max(1, len(sample.ids[0])))
    running = sample.running or len(sample.ids) == 1
    chosen: tuple[int, Sample] | None = None
    for n_max in _contexts(settings):
        units = sample.blocks(_block(n_max)) if running else sample.at_least(_document(n_max))
        if worth_shortening(units, chosen[1] if chosen else None, fewest=2):
            chosen = (n_max, units)
        if enough(units, sample, FEWEST):
            break
    if chosen is None:
        return None
    n_max, units = chosen
    draw = np.random.default_rng((settings.seed, 1))
    count = min(len(units.ids), settings.resets)
    units = units.subset(np.sort(draw.permutation(len(units.ids))[:count]))
    each = [(n, n) for n in range(n_max + 1)]
    bins = each if settings.bins == "each" else curves.octave_bins(n_max)
    fine = each if settings.bins == "each" else curves.octave_bins(n_max, 4)
    resets = max(1, math.ceil(settings.resets / count))
    return Plan(units, n_max, bins, fine, resets, running)
