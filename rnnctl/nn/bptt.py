"""Closed-form back-propagation through time, for any cell, in plain PyTorch.

One large product for all inputs, one product per step for the recurrence; in the backward pass all
local factors at once, one product per step, and the weight gradients as one large product after
the loop (Werbos 1990). The mathematics is the cell's (`cells`); this file only moves it along time.
Works in every floating dtype and on every device, and zeroes the state at `starts` at no cost.

Axes: T time, B batch, E inputs, H hidden, g gates.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rnnctl.nn.cells import Cell, LayerWeights, Parts
from rnnctl.nn.products import packed, transposed, weight_gradient


class Steps(NamedTuple):
    """What a pass forward leaves behind: parts of shape (T, B, H)."""

    states: Parts
    gates: Parts


def split(values: Tensor, gates: int) -> Parts:
    """(…, gH) -> g parts (…, H)."""
    return values.chunk(gates, -1)


def kept(starts: Tensor | None, like: Tensor) -> Tensor | None:
    """(T, B) bool -> (T, B, 1): 0 where the state is zeroed before the step, else 1."""
    return None if starts is None else (~starts).to(like.dtype).unsqueeze(-1)


def run_steps(
    cell: Cell, x: Tensor, initial: Parts, w_hh: Tensor, b_hh: Tensor, keep: Tensor | None
) -> Steps:
    """The recurrence itself: x (T, B, gH) and initial parts (B, H) -> states and gates."""
    # The one product that cannot be made for all steps at once; its matrix is arranged only once.
    product = packed(w_hh, x.shape[1], b_hh)
    state, states, gates = initial, [], []
    for t in range(x.shape[0]):
        if keep is not None:
            state = tuple(part * keep[t] for part in state)
        u = product(state[0].to(w_hh.dtype)).to(x.dtype)
        state, gate = cell.step(split(x[t], cell.gate_count), split(u, cell.gate_count), state)
        states.append(state)
        gates.append(gate)
    return Steps(_stack(states), _stack(gates))


def _stack(steps: list[Parts]) -> Parts:
    return tuple(torch.stack(parts) for parts in zip(*steps, strict=True))


def states_before(states: Parts, initial: Parts, keep: Tensor | None) -> Parts:
    """States after each step (T, B, H) -> states that each step started from."""
    shifted = tuple(
        torch.cat((first.unsqueeze(0), after[:-1]))
        for first, after in zip(initial, states, strict=True)
    )
    return shifted if keep is None else tuple(part * keep for part in shifted)


def pull_steps(
    cell: Cell,
    factors: Parts,
    output_gradients: list[Tensor | None],
    w_hh: Tensor,
    keep: Tensor | None,
    record: list[Parts] | None = None,
) -> tuple[Tensor, Tensor, Parts]:
    """The recurrence backwards.

    factors: parts (T, B, H). output_gradients: per state coordinate (T, B, H), or None.
    Returns the gradients of x (T, B, gH), of u (T, B, gH), and of the initial state. `record` is
    given the gradient of the state after every step, from the last step to the first.
    """
    steps, batch, hidden = factors[0].shape
    product = packed(w_hh.t(), batch)
    gradient: list[Tensor] = [factors[0].new_zeros(batch, hidden) for _ in cell.state_names]
    dx: list[Tensor] = []
    du: list[Tensor] = []
    # Taken apart once: indexing tensors in the loop costs more than the arithmetic of small layers.
    per_step = list(zip(*(part.unbind(0) for part in factors), strict=True))
    for t in reversed(range(steps)):
        for index, extra in enumerate(output_gradients):
            if extra is not None:
                gradient[index] = gradient[index] + extra[t]
        if record is not None:
            record.append(tuple(gradient))
        dx_t, du_t, direct = cell.pull(per_step[t], tuple(gradient))
        dx.append(torch.cat(dx_t, -1))
        if du_t is not dx_t:  # of the GRU only; where they are one, one is stored
            du.append(torch.cat(du_t, -1))
        last = (du or dx)[-1]
        gradient[0] = product(last.to(w_hh.dtype)).to(last.dtype)
        # Two ways lead back to the state: through U (always to h), and directly (LSTM c, GRU h).
        for index, part in zip(cell.direct, direct, strict=True):
            gradient[index] = gradient[index] + part if index == 0 else part
        if keep is not None:  # no gradient leaves a document through its beginning
            gradient = [part * keep[t] for part in gradient]
    dx_all = torch.stack(dx[::-1])
    return dx_all, torch.stack(du[::-1]) if du else dx_all, tuple(gradient)


class ClosedFormLayer(torch.autograd.Function):
    """One layer over a whole sequence: inputs and weights -> all states (T, B, H) of each name."""

    @staticmethod
    def forward(
        ctx: Any,
        cell: Cell,
        starts: Tensor | None,
        inputs: Tensor,
        weights: LayerWeights,
        *state_and_weights: Tensor,
    ) -> Parts:
        """(T, B, E) -> (T, B, H) for each part of the state.

        `inputs` and `weights` are in the dtype of the products, the rest is in the state's own.

        `state_and_weights`, the initial parts and the four master weights, get the gradients.
        """
        initial = state_and_weights[: len(cell.state_names)]
        keep = kept(starts, initial[0])
        rows = inputs.shape[0] * inputs.shape[1]
        x = packed(weights.w_ih, rows, weights.b_ih)(inputs).to(initial[0].dtype)
        steps = run_steps(cell, x, initial, weights.w_hh, weights.b_hh, keep)
        ctx.cell, ctx.keep, ctx.weights, ctx.counts = cell, keep, weights, len(initial)
        ctx.set_materialize_grads(False)  # c has no gradient where only h is read: None, not zeros
        ctx.save_for_backward(inputs, *initial, *steps.states, *steps.gates)
        return steps.states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *output_gradients: Tensor | None) -> Any:
        """(T, B, H) gradients of the states, or None -> of inputs (T, B, E), initial state (B, H),
        and weights, in their own dtypes.
        """
        cell, keep, weights, count = ctx.cell, ctx.keep, ctx.weights, ctx.counts
        inputs, *saved = ctx.saved_tensors
        initial, states = tuple(saved[:count]), tuple(saved[count : 2 * count])
        before = states_before(states, initial, keep)
        factors = cell.factors(tuple(saved[2 * count :]), before, states)
        dx, du, dinitial = pull_steps(cell, factors, list(output_gradients), weights.w_hh, keep)
        flat = dx.flatten(0, 1).to(inputs.dtype)  # (TB, gH)
        flat_u = flat if du is dx else du.flatten(0, 1).to(inputs.dtype)
        dinputs = None  # nobody asks for them where the inputs are not learnt
        if ctx.needs_input_grad[2]:
            dinputs = transposed(weights.w_ih, len(flat))(flat).view_as(inputs)
        if not any(ctx.needs_input_grad[-len(weights) :]):  # nor those of weights that are held
            return (None, None, dinputs, None, *dinitial, *[None] * len(weights))
        # After the loop, as one product over all steps and streams: (gH, TB) x (TB, E).
        dw_ih = weight_gradient(flat, inputs.flatten(0, 1))
        dw_hh = weight_gradient(flat_u, before[0].flatten(0, 1).to(inputs.dtype))
        db_ih = dx.sum((0, 1))
        db_hh = db_ih if du is dx else du.sum((0, 1))
        master = (dw_ih.to(dx.dtype), dw_hh.to(dx.dtype), db_ih, db_hh)
        return None, None, dinputs, None, *dinitial, *master


def closed_form(
    cell: Cell,
    inputs: Tensor,
    initial: Parts,
    weights: LayerWeights,
    starts: Tensor | None,
    dtype: torch.dtype,
) -> tuple[Tensor, Parts]:
    """inputs (T, B, E), initial parts (B, H) -> outputs (T, B, H), and the states after every step.

    `dtype` is that of the products and the outputs; states are in their own.
    starts (T, B) bool: streams whose state is zeroed before that step.
    """
    products = LayerWeights(*(weight.detach().to(dtype) for weight in weights))
    states: Parts = ClosedFormLayer.apply(  # type: ignore[no-untyped-call]
        cell, starts, inputs.to(dtype), products, *initial, *weights
    )
    return states[0].to(dtype), states
