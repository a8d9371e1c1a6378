"""REACH: how far back the learning signal gets (DIAGNOSTICS.md D4).

Axes: T time, B batch (windows of text), H hidden, L layers, K largest lag, N windows, D documents.

The loss of **one** step is differentiated with respect to every earlier state. A sum of the losses
of many steps would hide vanishing gradients: for h' = h/2 + x the summed ratio of lag 50 to lag 1
is 1.08 while the one-step ratio is 9e-16. Such gradients are refused (`one_step_of`).

Each coordinate of a gradient is multiplied by the standard deviation of that coordinate of the
state, so that the norm means "change of the loss per one-sigma change of the state" and does not
depend on how a network scales its units. Curves are relative to lag 1, because the cell state of
an LSTM has no direct path to the loss of its own step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnnctl.diagnostics.traceable import Traceable, TracedModel

FloatArray = NDArray[np.float64]
FLOOR = 1e-30
"""Ratios below are rounding or exact zeros; curves end there."""


class SummedLossError(ValueError):
    """Gradients of more than one step's loss were offered: their ratio would hide vanishing."""


@dataclass(frozen=True)
class GradientNorms:
    """Norms of the gradient of one-step losses, by block of the state.

    blocks: name -> (K+1, N), row k being k steps back; "state" is h and c of all layers together,
    then "h", "c", "h1", "c1", … per layer, and "input". groups: (N,) document of each window.
    """

    blocks: Mapping[str, FloatArray]
    groups: NDArray[np.int64]

    def at_lags(self, block: str) -> FloatArray:
        """(K, N) norms from lag 1 on."""
        return self.blocks[block][1:]


def one_step_of(output_gradients: Tensor) -> int:
    """The step that (T, B, H) gradients belong to; raises SummedLossError if there are several."""
    steps = torch.nonzero(output_gradients.abs().sum(dim=(1, 2)))
    if len(steps) > 1:
        raise SummedLossError(
            f"losses of {len(steps)} steps were summed: gradients that enter at every step hide "
            "those that vanish; differentiate the loss of one step"
        )
    return int(steps[0]) if len(steps) else len(output_gradients) - 1


def lag_norms(
    trace: Traceable, output_gradients: Tensor, lags: int, scales: Mapping[str, Tensor]
) -> dict[str, FloatArray]:
    """(lags+1, B) norms per block of the gradient that reaches each state.

    `output_gradients` (T, B, H) may be non-zero at one step only, the last one; `scales` has the
    standard deviations "h", "c" (L, H) and "inputs" (E,) that coordinates are multiplied by.
    """
    step = one_step_of(output_gradients)
    gradients = trace.state_gradients(output_gradients)
    squares: dict[str, Tensor] = {}
    for name in [name for name in ("h", "c") if name in gradients]:
        taken = gradients[name][:, step - lags : step + 1] * scales[name][:, None, None]
        by_layer = taken.square().sum(dim=-1)  # (L, lags+1, B)
        squares[name] = by_layer.sum(dim=0)
        squares |= {f"{name}{layer + 1}": rows for layer, rows in enumerate(by_layer)}
    state = sum(squares[name] for name in ("h", "c") if name in squares)
    assert isinstance(state, Tensor)
    taken = gradients["inputs"][step - lags : step + 1] * scales["inputs"]
    blocks = {"state": state, **squares, "input": taken.square().sum(dim=-1)}
    return {name: rows.flip(0).sqrt().numpy(force=True) for name, rows in blocks.items()}
