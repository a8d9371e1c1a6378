"""What REACH, GATES and the Lyapunov exponents need of a model; users' models and toys satisfy it.

Axes: T time, B batch, H hidden, L layers, E embedding. Everything in float64 on the CPU.

`rnnctl.nn.trace.Trace` is a `TraceLike` and `ExactModel` a `TracedModel`; so are the small linear
systems of `known_answers`, whose answers are known on paper. The same code measures both.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from rnnctl.nn.cells import Cell
from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.nn.trace import Trace

State = tuple[Tensor, ...]


class TracedLayer(Protocol):
    """One layer of a trace."""

    @property
    def values(self) -> Mapping[str, Tensor]:
        """States and gates by name ("h", "c", "forget", "keep", …), each (T, B, H)."""

    @property
    def inputs(self) -> Tensor:
        """(T, B, E) what the layer read."""


class TraceLike(Protocol):
    """A recurrent stack after it has read a text, with its exact derivatives."""

    @property
    def layers(self) -> Sequence[TracedLayer]:
        """From the input upwards."""

    @property
    def outputs(self) -> Tensor:
        """(T, B, H) outputs of the last layer."""

    def state_gradients(self, output_gradients: Tensor) -> Mapping[str, Tensor]:
        """Gradients of ``(output_gradients * outputs).sum()``: "h" and, for an LSTM, "c" are
        (L, T, B, H), with respect to the state after each step as independent coordinates;
        "inputs" is (T, B, E).
        """

    def jvp(self, t: int, tangent: State) -> State:
        """(L, B, H) tangents of the state before step t -> after step t, inputs fixed."""

    def vjp(self, t: int, cotangent: State) -> State:
        """(L, B, H) cotangents of the state after step t -> before step t, inputs fixed."""


class TracedModel(Protocol):
    """A model that can be traced over token ids and knows the loss of one step."""

    @property
    def cell(self) -> Cell | None:
        """What the recurrent layers are made of; None for systems that are no such cell."""

    def trace(self, ids: Tensor, state: State | None = None) -> TraceLike:
        """Read ids (T, B) from `state` (zero where None)."""

    def readout_gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(B, H) gradient of each sequence's own loss with respect to its `outputs` (B, H)."""


def final_state(trace: TraceLike) -> State:
    """The stacked state after the last step: (L, B, H) for "h" and, where there is one, "c"."""
    names = [name for name in ("h", "c") if name in trace.layers[0].values]
    return tuple(torch.stack([layer.values[name][-1] for layer in trace.layers]) for name in names)


class ExactModel:
    """A float64 copy of a trained model on the CPU, dropout off, as a `TracedModel`.

    A classifier's answer is read from the last state alone, whatever its pooling: what arrives
    *through recurrence*. Pooled parts (mean, max) are then all equal to that state. One direction
    only; a bidirectional model is refused by `Recurrent.trace`.
    """

    def __init__(self, model: LanguageModel | Classifier) -> None:
        self.model = copy.deepcopy(model).cpu().double().eval()
        self.cell: Cell = model.recurrent.cell

    @torch.no_grad()
    def trace(self, ids: Tensor, state: State | None = None) -> Trace:
        """See `TracedModel.trace`."""
        return self.model.recurrent.trace(self.model.embed(ids.cpu()), state)

    def readout_gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `TracedModel.readout_gradient`; the loss is the cross-entropy in nats."""
        leaf = outputs.detach().requires_grad_()
        with torch.enable_grad():
            loss = cross_entropy(self._logits(leaf), targets, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, leaf)
        return gradient

    @torch.no_grad()
    def log_chances(self, outputs: Tensor) -> Tensor:
        """(B, V) log-probabilities of the next token, or of the labels, from `outputs` (B, H)."""
        return self._logits(outputs).log_softmax(-1)

    def _logits(self, outputs: Tensor) -> Tensor:
        if isinstance(self.model, Classifier):
            parts = self.model.output.in_features // outputs.shape[-1]
            return self.model.head(outputs.repeat(1, parts))
        features: Tensor = self.model.projection(outputs)
        return self.model.logits(features)
