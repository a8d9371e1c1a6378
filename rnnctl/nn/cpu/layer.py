"""The closed form in compiled passes: the fastest on a CPU.

The same algorithm as `bptt`. Where there are tiles for the processor (`tiles.shape_for`) a whole
sequence is one compiled pass each way (`sequence`); elsewhere a step is a product of oneDNN's
(`products`) and a compiled elementwise pass (`steps`).
What the forward pass keeps is overwritten by the gradients in the backward pass, so that a graph
can be gone through once only. fp32 and bf16, on a CPU.

Axes: T time, B batch, E inputs, g gates, H hidden.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from rnnctl.nn.cells import Cell, LayerWeights, Parts
from rnnctl.nn.cpu import sequence
from rnnctl.nn.cpu.compiling import as_array
from rnnctl.nn.cpu.sequence import Kept
from rnnctl.nn.cpu.steps import has_extra, kernels, needs_du
from rnnctl.nn.cpu.tiles import shape_for
from rnnctl.nn.cpu.weight_gradients import weight_gradients
from rnnctl.nn.products import packed, transposed, weight_gradient


def _buffers(cell: Cell, inputs: Tensor, initial: Parts, starts: Tensor | None) -> Kept:
    """Room for a pass over inputs (T, B, E), with the initial state in its place."""
    (steps, batch), size = inputs.shape[:2], initial[0].shape[1]
    # One step more than the text: [t] is the state before step t and [t + 1] the one after, without
    # a shifted copy of either.
    hidden = inputs.new_empty(steps + 1, batch, size)
    hidden[0] = initial[0]
    # In fp32 also where products are in bf16, whose three digits would round small changes away.
    carried = inputs.new_empty(steps + 1, batch, size, dtype=torch.float32)
    carried[0] = initial[-1]
    keep = torch.ones(steps + 1, batch)
    if starts is not None:
        keep[:-1] = ~starts
    # Gate before unit, as in the rows of U: a product's row needs no turning round.
    gates = inputs.new_empty(steps, batch, cell.gate_count, size)
    extra = inputs.new_empty(steps, batch, size) if has_extra(cell) else hidden
    return Kept(gates, extra, hidden, carried, keep)


def _run_steps(
    cell: Cell, inputs: Tensor, weights: LayerWeights, kept: Kept, starts: Tensor | None
) -> None:
    """The recurrence: inputs (T, B, E) and the initial state in `kept` -> all of `kept`."""
    shape = shape_for(inputs.dtype)
    if shape is not None:
        sequence.run_steps(cell, shape, inputs, weights, kept)
        return
    steps, batch, gates, size = kept.gates.shape
    x_all = packed(weights.w_ih, steps * batch, weights.b_ih)(inputs.flatten(0, 1))
    x = as_array(x_all.view(kept.gates.shape))
    masked = [False] * steps if starts is None else starts.any(1).tolist()
    kept_gates, extra, hidden, carried, keep = (as_array(part) for part in kept)
    before = kept.hidden.unbind(0)
    product = packed(weights.w_hh, batch, weights.b_hh)
    step = kernels(cell).forward
    for t in range(steps):
        source = before[t]
        if masked[t]:
            source = source * kept.keep[t].unsqueeze(-1).to(source.dtype)
        u = as_array(product(source)).reshape(batch, gates, size)
        step(t, x, u, carried, hidden, kept_gates, extra, keep)


def _pull_steps(
    cell: Cell,
    kept: Kept,
    dh: Tensor,
    dcarried: Tensor | None,
    weights: LayerWeights,
    inputs: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """The recurrence backwards: dh (T, B, H), dcarried (T, B, H) or None.

    Puts the gradient of x over `kept.gates`. Returns the gradient of u (T, B, g, H), those of the
    initial h by way of the product and of the initial carried coordinate, (B, H) each, and that of
    the inputs (T, B, E) where they are given.
    """
    steps, batch, _, size = kept.gates.shape
    shape = shape_for(dh.dtype)
    if shape is not None:
        return sequence.pull_steps(cell, shape, kept, dh, dcarried, weights, inputs)
    du = torch.empty_like(kept.gates) if needs_du(cell) else kept.gates
    gradient = torch.zeros(batch, size)
    x, extra, _, carried, keep = (as_array(part) for part in kept)
    dh_, du_, gradient_ = as_array(dh), as_array(du), as_array(gradient)
    product = packed(weights.w_hh.t(), batch)
    sources = du.flatten(2).unbind(0)
    step = kernels(cell).backward
    through = torch.zeros_like(dh[0])  # nothing comes back from behind the last step
    for t in reversed(range(steps)):
        if dcarried is not None:
            gradient.add_(dcarried[t])
        step(t, x, extra, carried, dh_, as_array(through), gradient_, du_, keep)
        through = product(sources[t])
    dx = kept.gates.flatten(0, 1).flatten(1)
    dinputs = None if inputs is None else transposed(weights.w_ih, len(dx))(dx).view_as(inputs)
    return du, through.float() * kept.keep[0].unsqueeze(-1), gradient, dinputs


class FusedLayer(torch.autograd.Function):
    """One layer over a whole sequence, as `bptt.ClosedFormLayer`."""

    @staticmethod
    def forward(
        ctx: Any,
        cell: Cell,
        starts: Tensor | None,
        inputs: Tensor,
        weights: LayerWeights,
        *state_and_weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """-> h (T, B, H) in the dtype of the products, the carried coordinate (T, B, H) in fp32."""
        initial = state_and_weights[: len(cell.state_names)]
        kept = _buffers(cell, inputs, initial, starts)
        _run_steps(cell, inputs, weights, kept, starts)
        ctx.cell, ctx.weights, ctx.kept, ctx.starts = cell, weights, kept, starts
        ctx.save_for_backward(inputs)
        ctx.set_materialize_grads(False)
        return kept.hidden[1:], kept.carried[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dh: Tensor | None, dcarried: Tensor | None) -> Any:
        """Gradients of the inputs, the initial state and the weights."""
        if ctx.kept is None:
            raise RuntimeError("the fused engine can go back through a graph once only")
        cell, weights, kept = ctx.cell, ctx.weights, ctx.kept
        # Gradients stand where the gates were: a second pass would read them as gates.
        ctx.kept = None
        (inputs,) = ctx.saved_tensors
        dh = torch.zeros_like(kept.hidden[1:]) if dh is None else dh.contiguous()
        wanted = inputs if ctx.needs_input_grad[2] else None
        du, dh_first, dcarried_first, dinputs = _pull_steps(
            cell, kept, dh, dcarried, weights, wanted
        )
        # Where the state is h alone, h is carried too: its gradient has come by both ways.
        dinitial = (
            (dh_first + dcarried_first,)
            if len(cell.state_names) == 1
            else (dh_first, dcarried_first)
        )
        if not any(ctx.needs_input_grad[-len(weights) :]):  # nobody asks for those of the weights
            return (None, None, dinputs, None, *dinitial, *[None] * len(weights))
        dx = kept.gates.flatten(0, 1).flatten(1)  # (TB, gH)
        before = kept.hidden[:-1]
        if ctx.starts is not None:
            before = before * kept.keep[:-1].unsqueeze(-1).to(before.dtype)
        return (
            *(None, None, dinputs, None, *dinitial),
            *_weight_gradients(dx, du.flatten(0, 1).flatten(1), inputs, before),
        )


def _weight_gradients(dx: Tensor, du: Tensor, inputs: Tensor, before: Tensor) -> Parts:
    """Gradients of W, U, b_ih, b_hh in fp32, from dx and du (TB, gH)."""
    inputs, before = inputs.flatten(0, 1), before.flatten(0, 1)
    shape = shape_for(dx.dtype)
    if shape is None:
        # In bf16 too the sums themselves are in fp32.
        dw_ih, dw_hh = weight_gradient(dx, inputs), weight_gradient(du, before)
        return tuple(part.float() for part in (dw_ih, dw_hh, dx.sum(0), du.sum(0)))
    if du.data_ptr() == dx.data_ptr():
        dw_ih, dw_hh, db = weight_gradients(shape, dx, inputs, before)
        # Two parameters must not share one gradient, which the optimizer scales in place.
        return dw_ih, dw_hh, db, db.clone()
    dw_ih, db_ih = weight_gradients(shape, dx, inputs)
    dw_hh, db_hh = weight_gradients(shape, du, before)
    return dw_ih, dw_hh, db_ih, db_hh


def _with_one_more(cell: Cell, initial: Parts, weights: LayerWeights) -> tuple[Parts, LayerWeights]:
    """The same layer with H + 1 units, the last of which has no weights: its state stays 0."""

    def units(weight: Tensor, columns: int) -> Tensor:
        parts = weight.view(cell.gate_count, -1, *weight.shape[1:])
        new = (0, columns, 0, 1) if parts.ndim == 3 else (0, 1)
        return pad(parts, new).flatten(0, 1)

    w_ih, w_hh, b_ih, b_hh = weights
    wider = LayerWeights(units(w_ih, 0), units(w_hh, 1), units(b_ih, 0), units(b_hh, 0))
    return tuple(pad(part, (0, 1)) for part in initial), wider


def fused(
    cell: Cell,
    inputs: Tensor,
    initial: Parts,
    weights: LayerWeights,
    starts: Tensor | None,
    dtype: torch.dtype,
) -> tuple[Tensor, Parts]:
    """As `bptt.closed_form`, with products in fp32 or bf16."""
    size = weights.w_hh.shape[1]
    shape = shape_for(dtype)
    uneven = size % 2 == 1 and shape is not None and shape.half  # units are pairs of numbers
    if uneven:
        initial, weights = _with_one_more(cell, initial, weights)
    products = LayerWeights(*(weight.detach().to(dtype) for weight in weights))
    h, carried = FusedLayer.apply(  # type: ignore[no-untyped-call]
        cell, starts, inputs.to(dtype), products, *initial, *weights
    )
    if uneven:
        h, carried = h[..., :size], carried[..., :size]
    return h, (h, carried) if len(initial) > 1 else (carried,)
