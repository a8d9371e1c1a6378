"""Linear systems whose memory is known on paper, behind the protocols of users' models.

Axes: T time, B batch, H state size, M matrices, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.traceable import State
from rnnctl.nn.recurrent import Recurrent
from rnnctl.nn.trace import Trace

VOCABULARY = 24


@dataclass(frozen=True)
class LinearLayer:
    """The only layer of a `LinearTrace`."""

    values: Mapping[str, Tensor]
    inputs: Tensor


class LinearTrace:
    """h_t = A_t h_{t−1} + x_t over a text: states (T, B, H), Jacobians A (T, B, H, H)."""

    def __init__(self, inputs: Tensor, jacobians: Tensor, state: Tensor) -> None:
        steps = []
        for x, jacobian in zip(inputs, jacobians, strict=True):
            state = torch.einsum("bij,bj->bi", jacobian, state) + x
            steps.append(state)
        self.outputs = torch.stack(steps)
        self.jacobians = jacobians
        self.layers: Sequence[LinearLayer] = (LinearLayer({"h": self.outputs}, inputs),)

    def state_gradients(self, output_gradients: Tensor) -> Mapping[str, Tensor]:
        """See `TraceLike.state_gradients`."""
        gradient = torch.zeros_like(output_gradients[0])
        found = []
        for t in reversed(range(len(output_gradients))):
            gradient = gradient + output_gradients[t]
            found.append(gradient)
            gradient = torch.einsum("bij,bi->bj", self.jacobians[t], gradient)
        rows = torch.stack(found[::-1])
        return {"h": rows[None], "inputs": rows}

    def jvp(self, t: int, tangent: State) -> State:
        """See `TraceLike.jvp`."""
        return (torch.einsum("bij,lbj->lbi", self._jacobian(t, tangent), tangent[0]),)

    def vjp(self, t: int, cotangent: State) -> State:
        """See `TraceLike.vjp`."""
        return (torch.einsum("bij,lbi->lbj", self._jacobian(t, cotangent), cotangent[0]),)

    def _jacobian(self, t: int, tangent: State) -> Tensor:
        return self.jacobians[t].expand(tangent[0].shape[1], -1, -1)


class LinearModel:
    """Reads token v with the matrix number v mod M; the loss of target y is readout[y mod R] · h.

    `matrices` (M, H, H), `readout` (R, H), by default one random row; inputs are one random vector
    per token.
    """

    cell = None

    def __init__(self, matrices: Tensor, *, readout: Tensor | None = None, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        size = matrices.shape[-1]
        self.matrices = matrices.double()
        shape = (VOCABULARY, size)
        self.embedding = torch.randn(shape, generator=generator, dtype=torch.float64)
        drawn = torch.randn(1, size, generator=generator, dtype=torch.float64)
        self.readout = drawn if readout is None else readout.double()

    def trace(self, ids: Tensor, state: State | None = None) -> LinearTrace:
        """See `TracedModel.trace`."""
        inputs = self.embedding[ids % VOCABULARY]
        start = torch.zeros_like(inputs[0]) if state is None else state[0][0]
        return LinearTrace(inputs, self.matrices[ids % len(self.matrices)], start)

    def readout_gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `TracedModel.readout_gradient`."""
        return self.readout[targets % len(self.readout)]


class GatedModel:
    """A real `Recurrent` layer with chosen gates: the frozen-gate LSTM and GRU.

    `recurrent` is used as it is; inputs are one random vector per token.
    """

    def __init__(self, recurrent: Recurrent, *, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.recurrent = recurrent.double()
        self.cell = recurrent.cell
        shape = (VOCABULARY, recurrent.input_size)
        self.embedding = torch.randn(shape, generator=generator, dtype=torch.float64)

    def trace(self, ids: Tensor, state: State | None = None) -> Trace:
        """See `TracedModel.trace`."""
        with torch.no_grad():
            return self.recurrent.trace(self.embedding[ids % VOCABULARY], state)

    def readout_gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `TracedModel.readout_gradient`: the loss is the sum of the outputs."""
        return torch.ones_like(outputs)


def random_text(
    documents: int, tokens: int, *, vocabulary: int = VOCABULARY, seed: int = 0
) -> Sample:
    """Documents of independent random tokens."""
    ids = np.random.default_rng(seed).integers(vocabulary, size=(documents, tokens))
    return Sample(ids=tuple(ids.astype(np.int64)))


def as_ids(sample: Sample) -> Tensor:
    """The first document as a tensor (T,)."""
    return torch.from_numpy(sample.ids[0])
