"""A1: gradient half-lives of untrained cells, by cell and initialisation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from acceptance_models import Row, each, layer, spread
from torch import Tensor

from rnnctl.diagnostics import reach
from rnnctl.diagnostics.subject import TracedModel
from rnnctl.nn.recurrent import Recurrent


class Untrained:
    """A fresh layer over one-hot tokens, read out by a random vector, as a `TracedModel`."""

    def __init__(self, recurrent: Recurrent, vocabulary: int) -> None:
        self.recurrent, self.vocabulary = recurrent.double(), vocabulary
        self.cell = recurrent.cell.name
        self.readout = torch.randn(recurrent.hidden_size, dtype=torch.float64)

    def trace(self, ids: Tensor, state: Any = None) -> Any:
        """See `TracedModel`."""
        return self.recurrent.trace(torch.eye(self.vocabulary, dtype=torch.float64)[ids], state)

    def readout_gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `TracedModel`."""
        return self.readout.expand_as(outputs)


HALF_LIVES = {
    ("rnn", "torch"): (1.24, 1.54),
    ("gru", "torch"): (1.50, 1.59),
    ("lstm", "torch"): (1.47, 1.55),
    ("lstm", "torch, bias 1"): (4.3, 4.9),
    ("gru", "torch, bias 1"): (2.9, 3.2),
    ("rnn", "torch, orthogonal"): (10.0, 13.0),
    ("lstm", "torch, chrono"): (26.0, 29.0),
    ("gru", "torch, chrono"): (26.0, 29.0),
    ("rnn", "good"): None,
    ("lstm", "good"): None,
    ("gru", "good"): None,
    ("lstm", "chrono"): None,
    ("gru", "chrono"): None,
}


def a1(seeds: int) -> Iterator[Row]:
    """Half-life by the slope at lags 31–60, unscaled state gradient, H = 32; [C] ± 15 %.

    The curve of chrono bends (many time constants): 26 to 32 by lags 21–40, 31 to 36 by 61–120.
    """
    for (cell, init), band in HALF_LIVES.items():
        found = [half_life(Untrained(layer(cell, 16, 32, init), 16), seed) for seed in each(seeds)]
        low, high = (0.85 * band[0], 1.15 * band[1]) if band else (0.0, math.inf)
        inside = all(low <= value <= high for value in found) if band else None
        expected = f"{band[0]:g} to {band[1]:g} ±15 %" if band else "(not stated)"
        yield Row("A1", f"half-life, {cell}, {init}", expected, spread(found), inside)


def half_life(model: TracedModel, seed: int) -> float:
    """tail τ · ln 2 of the whole state's gradient, not scaled by the state's spread."""
    ids = torch.from_numpy(np.random.default_rng(seed).integers(16, size=(101, 32)))
    windows = reach.Windows(ids, torch.zeros(32, dtype=torch.int64), np.arange(32))
    norms = reach.gradient_norms(model, windows, lags=60, scaled=False)
    parts = [norms.blocks[name] for name in ("h", "c") if name in norms.blocks]
    state = np.sqrt(sum(np.square(part) for part in parts))
    curve = reach.lag_curve(state[1:], norms.groups, 2, 0)
    return -math.log(2) / reach.tail_slope(curve.estimate)
