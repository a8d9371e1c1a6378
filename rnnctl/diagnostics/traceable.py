"""What REACH, GATES and the Lyapunov exponents need of a model; users' models and toys satisfy it.

Axes: T time, B batch, H hidden, L layers, E embedding. Everything in float64 on the CPU.

`rnnctl.nn.trace.Trace` is a `Traceable`; so are the small linear systems of `known_answers`, whose
answers are known on paper. Both are measured by the same code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from rnnctl.nn.models import Classifier, LanguageModel

State = tuple[Tensor, ...]


class TracedLayer(Protocol):
    """States and gates of one layer by name, each (T, B, H)."""

    @property
    def values(self) -> Mapping[str, Tensor]: ...


class Traceable(Protocol):
    """A recurrent stack after it has read a text, with its exact derivatives."""

    @property
    def layers(self) -> Sequence[TracedLayer]: ...

    @property
    def outputs(self) -> Tensor:
        """(T, B, H) outputs of the last layer."""
        ...

    def state_gradients(self, output_gradients: Tensor) -> Mapping[str, Tensor]:
        """Gradients of ``(output_gradients * outputs).sum()``: "h" and, for an LSTM, "c" are
        (L, T, B, H), with respect to the state after each step as independent coordinates;
        "inputs" is (T, B, E).
        """
        ...

    def jvp(self, t: int, tangent: State) -> State:
        """(L, B, H) tangents of the state before step t -> after step t, inputs fixed."""
        ...


class TracedModel(Protocol):
    """A model that can be traced over token ids and knows the loss of one step."""

    def trace(self, ids: Tensor, state: State | None = None) -> Traceable:
        """Read ids (T, B) from `state` (zero where None)."""
        ...

    def loss_gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(B, H) gradient of each sequence's own loss with respect to its `outputs` (B, H)."""
        ...


def final_state(trace: Traceable) -> State:
    """The stacked state after the last step: (L, B, H) for "h" and, where there is one, "c"."""
    names = [name for name in ("h", "c") if name in trace.layers[0].values]
    return tuple(torch.stack([layer.values[name][-1] for layer in trace.layers]) for name in names)


class ModelSubject:
    """A trained model in float64 as a `TracedModel`. The model is used as given: pass a copy in
    float64 and eval mode, as `double_copy` makes it.

    A classifier is read at its last state whatever its pooling: what arrives *through recurrence*.
    """

    def __init__(self, model: LanguageModel | Classifier) -> None:
        self.model = model

    def trace(self, ids: Tensor, state: State | None = None) -> Traceable:
        """See `TracedModel.trace`."""
        with torch.no_grad():
            return cast(
                Traceable, self.model.recurrent.trace(self.model.embed(ids), state)
            )

    def loss_gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `TracedModel.loss_gradient`; the loss is the cross-entropy in nats."""
        leaf = outputs.detach().requires_grad_()
        with torch.enable_grad():
            loss = F.cross_entropy(self._scores(leaf), targets, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, leaf)
        return gradient
