"""Looking inside: states and gates by name, and exact derivatives of the state along time.

Everything here follows from the cell's own step and local factors (`cells`); there is no second
version of the mathematics. h and c of the LSTM are independent coordinates of the state: leaving
c out, or taking the total derivative through h = o tanh(c), would measure another model.

Axes: T time, B batch, E inputs, H hidden, L layers, g gates.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import linear

from rnnctl.nn.bptt import Steps, kept, pull_steps, run_steps, split, states_before
from rnnctl.nn.cells import Cell, LayerWeights, Parts


@dataclass(frozen=True)
class LayerTrace:
    """One layer's pass. `values`: (T, B, H) by name, the states `h` (and `c`) after every step and
    the gates: `input`, `forget`, `candidate`, `output` (LSTM), `reset`, `keep`, `candidate` (GRU).
    `inputs`: (T, B, E) of this layer.
    """

    inputs: Tensor
    values: dict[str, Tensor]
    weights: LayerWeights = field(repr=False)
    factors: Parts = field(repr=False)  # (T, B, H) each: the derivative of every step

    @classmethod
    def run(
        cls, cell: Cell, inputs: Tensor, initial: Parts, weights: LayerWeights, keep: Tensor | None
    ) -> LayerTrace:
        """inputs (T, B, E), initial parts (B, H), keep (T, B, 1) or None -> the pass."""
        x = linear(inputs, weights.w_ih, weights.b_ih)
        steps: Steps = run_steps(cell, x, initial, weights.w_hh, weights.b_hh, keep)
        before = states_before(steps.states, initial, keep)
        values = dict(zip(cell.state_names, steps.states, strict=True))
        # What a step returns beyond its gates, the GRU's u_n, is for the factors and has no name.
        values.update(zip(cell.gate_names, steps.gates, strict=False))
        return cls(inputs, values, weights, cell.factors(steps.gates, before, steps.states))


class Trace:
    """A pass through all layers, open to inspection. Made by `Recurrent.trace`; no autograd.

    `layers` from the bottom up; `outputs` (T, B, H) is the top layer's h. Memory: about ten
    (T, B, H) tensors a layer.
    """

    @torch.no_grad()
    def __init__(
        self,
        cell: Cell,
        weights: list[LayerWeights],
        inputs: Tensor,
        state: Parts,
        starts: Tensor | None,
    ) -> None:
        self.cell = cell
        self.layers: list[LayerTrace] = []
        self._keep = kept(starts, state[0])
        current = inputs.detach().to(weights[0].w_ih.dtype)
        for index, layer in enumerate(weights):
            initial = tuple(part[index].detach() for part in state)
            plain = LayerWeights(*(weight.detach() for weight in layer))
            self.layers.append(LayerTrace.run(cell, current, initial, plain, self._keep))
            current = self.layers[-1].values["h"]
        self.outputs = current

    @property
    def steps(self) -> int:
        """T, the number of time steps."""
        return self.outputs.shape[0]

    def state(self, t: int) -> Parts:
        """The full state after step t: (L, B, H) per coordinate, fit to be carried on."""
        return tuple(
            torch.stack([layer.values[name][t] for layer in self.layers])
            for name in self.cell.state_names
        )

    @torch.no_grad()
    def state_gradients(self, output_gradients: Tensor) -> dict[str, Tensor]:
        """Gradients of sum(output_gradients * outputs), output_gradients (T, B, H).

        `h` (and `c`): (L, T, B, H), with respect to an independent perturbation added to that
        state coordinate after step t, the direct way to the output at t included; every lag from
        one backward pass. `inputs`: (T, B, E), with respect to the bottom layer's inputs.

        Of a trace of one text (B = 1) many gradients can be asked for at once, one a column.
        """
        inputs, per_layer = self._backwards(output_gradients, states=True)
        result = {
            name: torch.stack(parts[::-1])
            for name, parts in zip(self.cell.state_names, zip(*per_layer, strict=True), strict=True)
        }
        return {**result, "inputs": inputs}

    @torch.no_grad()
    def input_gradients(self, output_gradients: Tensor) -> Tensor:
        """`inputs` of `state_gradients` alone, in less memory; of the first S of all steps where
        output_gradients is (S, B, H): (S, B, E).
        """
        return self._backwards(output_gradients, states=False)[0]

    def _backwards(self, gradient: Tensor, *, states: bool) -> tuple[Tensor, list[Parts]]:
        """Gradients (S, B, E) of the inputs and, from the top layer down, of the states."""
        steps, batch, _ = gradient.shape
        keep = None if self._keep is None else self._keep[:steps]
        per_layer: list[Parts] = []
        for layer in reversed(self.layers):
            record: list[Parts] | None = [] if states else None
            extra: list[Tensor | None] = [gradient] + [None] * (len(self.cell.state_names) - 1)
            # Expanded, not copied: many gradients of one text share its factors.
            factors = tuple(part[:steps].expand(-1, batch, -1) for part in layer.factors)
            dx, _, _ = pull_steps(self.cell, factors, extra, layer.weights.w_hh, keep, record)
            if record is not None:
                parts = zip(*record, strict=True)
                per_layer.append(tuple(torch.stack(part[::-1]) for part in parts))
            gradient = dx @ layer.weights.w_ih
        return gradient, per_layer

    @torch.no_grad()
    def jvp(self, t: int, tangent: Parts) -> Parts:
        """Tangent of the full state after step t-1 -> after step t, the inputs being fixed.

        Parts (…, L, B, H), any leading axes (many tangents at once). For t = 0 the state before is
        the initial one.
        """
        after: list[Parts] = []
        for index, layer in enumerate(self.layers):
            before = tuple(self._passed(t, part[..., index, :, :]) for part in tangent)
            # Without biases: a tangent is a change, and constants do not change.
            du = linear(before[0], layer.weights.w_hh)
            dx = linear(after[-1][0], layer.weights.w_ih) if after else torch.zeros_like(du)
            gates = self.cell.gate_count
            after.append(
                self.cell.push(self._factors(layer, t), split(dx, gates), split(du, gates), before)
            )
        return tuple(torch.stack(parts, -3) for parts in zip(*after, strict=True))

    @torch.no_grad()
    def vjp(self, t: int, cotangent: Parts) -> Parts:
        """The transpose of `jvp`: cotangent of the state after step t -> after step t-1."""
        before: list[Parts] = []
        from_above: Tensor | None = None
        for index in reversed(range(len(self.layers))):
            layer = self.layers[index]
            gradient = [part[..., index, :, :] for part in cotangent]
            if from_above is not None:
                gradient[0] = gradient[0] + from_above
            # Three ways down: to the layer below at this step by W, to h before by U, and directly.
            dx, du, direct = self.cell.pull(self._factors(layer, t), tuple(gradient))
            from_above = torch.cat(dx, -1) @ layer.weights.w_ih
            down = [torch.zeros_like(part) for part in gradient]
            down[0] = torch.cat(du, -1) @ layer.weights.w_hh
            for coordinate, part in zip(self.cell.direct, direct, strict=True):
                down[coordinate] = down[coordinate] + part
            before.append(tuple(self._passed(t, part) for part in down))
        return tuple(torch.stack(parts[::-1], -3) for parts in zip(*before, strict=True))

    def _factors(self, layer: LayerTrace, t: int) -> Parts:
        return tuple(part[t] for part in layer.factors)

    def _passed(self, t: int, part: Tensor) -> Tensor:
        """What reaches step t of a change in the state before it: nothing where a stream starts."""
        return part if self._keep is None else part * self._keep[t]
