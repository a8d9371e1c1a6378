"""A whole sequence in one compiled pass each way: products and elementwise parts together.

Streams of a batch do not touch each other, so each thread takes some of them through all steps,
and there is neither a barrier nor Python per step. The products are `tiles`, the elementwise part
is the rows of `steps`.

Axes: T time, B batch, E inputs, g gates, H hidden.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from torch import Tensor

from rnnctl.nn.cells import Cell, LayerWeights
from rnnctl.nn.cpu.arithmetic import put
from rnnctl.nn.cpu.compiling import (
    UNBOUND,
    Array,
    Passes,
    address,
    as_array,
    compile_bound,
    compile_passes,
)
from rnnctl.nn.cpu.steps import label_of, needs_du, row_kernels
from rnnctl.nn.cpu.tiles import Shape, multiplier

multiply = forward_row = read_row = backward_row = UNBOUND


class Kept(NamedTuple):
    """What the backward pass needs of the forward pass."""

    gates: Tensor  # (T, B, g, H); pre-activations before the step, gradients of x after it
    extra: Tensor  # (T, B, H), the GRU's u_n; for other cells anything of that shape
    hidden: Tensor  # (T+1, B, H), h before and after every step
    carried: Tensor  # (T+1, B, H) in fp32: h, or the LSTM's c
    keep: Tensor  # (T+1, B) in fp32: 0 where the state is zeroed before the step


def _forward(
    first: Any,
    last: Any,
    source: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any,
    b_hh: Any,
    carried: Any,
    h: Any,
    gates: Any,
    extra: Any,
    keep: Any,
) -> Any:
    rows, parts = last - first, gates.shape[2:]
    used = parts[0] * parts[1]
    x, u = np.empty((rows, b_ih.size), np.float32), np.empty((rows, b_ih.size), np.float32)
    for t in range(source.shape[0]):
        # The inputs' products too are made step by step: x is used while it is in the nearest cache
        # and overwritten by the next step; of all steps at once it would go to memory and back.
        multiply(
            *(address(source[t, first:]), source.strides[1], 4, address(w_ih), address(b_ih), 0),
            *(address(x), x.strides[0], rows, w_ih.shape[0], w_ih.shape[1]),
        )
        multiply(
            *(address(h[t, first:]), h.strides[1], 4, address(w_hh), address(b_hh), 0),
            *(address(u), u.strides[0], rows, w_hh.shape[0], w_hh.shape[1]),
        )
        for row in range(rows):
            b = first + row
            # At a document's beginning U h is 0, and only the bias is left. h itself stays as it
            # is: it is also the layer's output at the step before.
            if keep[t, b] == 0:
                _round(b_hh, u[row])
            x_b, u_b = x[row, :used].reshape(parts), u[row, :used].reshape(parts)
            before, after = carried[t, b], carried[t + 1, b]
            forward_row(x_b, u_b, before, after, h[t + 1, b], gates[t, b], extra[t, b], keep[t, b])


def _backward(
    first: Any,
    last: Any,
    w_ih: Any,
    w_hh: Any,
    zeros: Any,
    gates: Any,
    extra: Any,
    carried: Any,
    dh: Any,
    dcarried: Any,
    du: Any,
    keep: Any,
    gradient: Any,
    through: Any,
    dsource: Any,
) -> Any:
    rows, size = last - first, dh.shape[2]
    dx_t = np.empty((rows, w_ih.shape[0] * w_ih.shape[2]), np.float32)
    for t in range(dh.shape[0] - 1, -1, -1):
        # First the elementwise part, which needs what came by the product of the step after; then
        # this step's product, for the step before.
        for b in range(first, last):
            if dcarried.shape[0] > 0:
                _add(dcarried[t, b], gradient[b])
            backward_row(
                *(gates[t, b], extra[t, b], carried[t, b], carried[t + 1, b], dh[t, b]),
                *(through[b, :size], gradient[b], du[t, b], keep[t, b], keep[t + 1, b]),
            )
        multiply(
            *(address(du[t, first:]), du.strides[1], 4, address(w_hh), address(zeros), 0),
            *(address(through[first:]), through.strides[0], rows, w_hh.shape[0], w_hh.shape[1]),
        )
        # Here and not after the loop: this step's dx is still in the cache.
        if dsource.shape[0] > 0:
            multiply(
                *(address(gates[t, first:]), gates.strides[1], 4, address(w_ih), address(zeros), 0),
                *(address(dx_t), dx_t.strides[0], rows, w_ih.shape[0], w_ih.shape[1]),
            )
            for row in range(rows):
                _round(dx_t[row], dsource[t, first + row])


def _read(
    sizes: Any, x: Any, index: Any, w_hh: Any, b_hh: Any, initial: Any, carried: Any, h: Any
) -> Any:
    parts = x.shape[1:]
    used = parts[0] * parts[1]
    u = np.empty((sizes[0], b_hh.size), np.float32)
    source, begin = address(initial), 0
    for t in range(sizes.shape[0]):
        rows = sizes[t]
        multiply(
            *(source, h.strides[0], 4, address(w_hh), address(b_hh), 0),
            *(address(u), u.strides[0], rows, w_hh.shape[0], w_hh.shape[1]),
        )
        # Texts lie by falling length, so those that go on are the first rows of this step: the next
        # product reads h where it was written.
        source = address(h[begin:])
        for row in range(rows):
            u_row = u[row, :used].reshape(parts)
            read_row(x[index[begin + row]], u_row, carried[row], h[begin + row])
        begin += rows


def _look(
    sizes: Any,
    x: Any,
    index: Any,
    w_hh: Any,
    b_hh: Any,
    initial: Any,
    keep: Any,
    carried: Any,
    h: Any,
    gates: Any,
    extra: Any,
) -> Any:
    parts, texts = x.shape[1:], sizes[0]
    used = parts[0] * parts[1]
    u = np.empty((texts, b_hh.size), np.float32)
    # `carried` begins with what each text had before its first token.
    source, begin, before = address(initial), 0, 0
    for t in range(sizes.shape[0]):
        rows = sizes[t]
        multiply(
            *(source, h.strides[0], 4, address(w_hh), address(b_hh), 0),
            *(address(u), u.strides[0], rows, w_hh.shape[0], w_hh.shape[1]),
        )
        source = address(h[begin:])
        for row in range(rows):
            token, u_row = begin + row, u[row, :used].reshape(parts)
            forward_row(
                *(x[index[token]], u_row, carried[before + row], carried[texts + token]),
                *(h[token], gates[token], extra[row], keep[row]),
            )
        before = texts + begin
        begin += rows


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _round(values: Any, row: Any) -> Any:
    for j in range(row.shape[0]):
        put(row, j, values[j])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _add(values: Any, row: Any) -> Any:
    for j in range(row.shape[0]):
        row[j] += values[j]


class _Sequence(NamedTuple):
    forward: Passes
    backward: Passes


@cache
def _passes(cell: Cell, shape: Shape) -> _Sequence:
    rows = row_kernels(cell)
    names = {"multiply": multiplier(shape), "_round": _round, "_add": _add}
    label = f"{label_of(cell)}_{shape.label}"
    return _Sequence(
        compile_passes(_forward, label, {**names, "forward_row": rows.forward}),
        compile_passes(_backward, label, {**names, "backward_row": rows.backward}),
    )


@cache
def _looking_pass(cell: Cell, shape: Shape) -> Any:
    names = {"multiply": multiplier(shape), "forward_row": row_kernels(cell).forward}
    return compile_bound(_look, f"{label_of(cell)}_{shape.label}", names)


@cache
def _reading_pass(cell: Cell, shape: Shape) -> Any:
    names = {"multiply": multiplier(shape), "read_row": row_kernels(cell).read}
    return compile_bound(_read, f"{label_of(cell)}_{shape.label}", names)


def _padded(shape: Shape, bias: Tensor) -> Array:
    """(gH,) -> fp32, as many as the panels have columns."""
    padded = torch.zeros(shape.columns(len(bias)))
    padded[: len(bias)] = bias
    return as_array(padded)


def run_steps(cell: Cell, shape: Shape, inputs: Tensor, weights: LayerWeights, kept: Kept) -> None:
    """The recurrence: inputs (T, B, E) and the initial state in `kept` -> all of `kept`."""
    # In bf16 the sums run over pairs of numbers.
    if shape.half and inputs.shape[2] % 2:
        inputs = torch.nn.functional.pad(inputs, (0, 1))
    _passes(cell, shape).forward(
        inputs.shape[1],
        *(as_array(inputs.contiguous()), as_array(shape.panels(weights.w_ih.t()))),
        as_array(shape.panels(weights.w_hh.t())),
        *(_padded(shape, bias) for bias in (weights.b_ih, weights.b_hh)),
        *(as_array(part) for part in (kept.carried, kept.hidden, kept.gates, kept.extra)),
        as_array(kept.keep),
    )


def pull_steps(
    cell: Cell,
    shape: Shape,
    kept: Kept,
    dh: Tensor,
    dcarried: Tensor | None,
    weights: LayerWeights,
    inputs: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """As `layer._pull_steps`, and the gradient of the inputs where they are given."""
    _, batch, _, size = kept.gates.shape
    du = torch.empty_like(kept.gates) if needs_du(cell) else kept.gates
    # Whole panels wide: a tile stores all of its columns, also those behind the last unit.
    gradient, through = torch.zeros(batch, size), torch.zeros(batch, shape.columns(size))
    nothing = torch.empty(0, 1, 1)
    dcarried = nothing if dcarried is None else dcarried.contiguous()
    dinputs = None if inputs is None else torch.empty(inputs.shape, dtype=inputs.dtype)
    dsource = nothing.to(kept.gates.dtype) if dinputs is None else dinputs
    zeros = np.zeros(shape.columns(max(size, weights.w_ih.shape[1])), np.float32)
    _passes(cell, shape).backward(
        batch,
        *(as_array(shape.panels(weights.w_ih)), as_array(shape.panels(weights.w_hh)), zeros),
        *(as_array(part) for part in (kept.gates, kept.extra, kept.carried, dh, dcarried)),
        *(as_array(part) for part in (du, kept.keep, gradient, through, dsource)),
    )
    return du, through[:, :size] * kept.keep[0].unsqueeze(-1), gradient, dinputs


class ReadingWeights(NamedTuple):
    """The recurrent weights of a layer as `read_steps` takes them."""

    shape: Shape
    panels: Array
    bias: Array


def reading_weights(shape: Shape, weights: LayerWeights) -> ReadingWeights:
    """A copy: changing the weights later does not change it."""
    panels = as_array(shape.panels(weights.w_hh.detach().t()))
    return ReadingWeights(shape, panels, _padded(shape, weights.b_hh.detach()))


def read_steps(
    cell: Cell,
    x: Tensor,
    index: Array,
    sizes: Array,
    weights: ReadingWeights,
    initial: Tensor,
    carried: Tensor,
) -> Tensor:
    """The recurrence in fp32 with nothing kept, over texts of different lengths, on one thread.

    x (M, gH), and which of its rows each token has, index (N,); `sizes` (T,) of the tokens are at
    each step, those of the first so many texts. initial h and carried (B, H) -> h (N, H); what is
    carried is overwritten. `reading` has the layout.
    """
    # On one thread: `reading.each` gives every thread texts of its own, so that none waits.
    hidden = torch.empty(len(index), initial.shape[1])
    x_parts = as_array(x).reshape(len(x), cell.gate_count, initial.shape[1])
    _reading_pass(cell, weights.shape)(
        *(sizes, x_parts, index, weights.panels, weights.bias),
        *(as_array(part) for part in (initial.contiguous(), carried, hidden)),
    )
    return hidden


def look_steps(
    cell: Cell,
    x: Tensor,
    index: Array,
    sizes: Array,
    weights: ReadingWeights,
    initial: Tensor,
    carried: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """As `read_steps`, with everything kept: h (N, H), what is carried after each token (N, H), and
    the gates (N, g, H). `carried` stays as it is.
    """
    texts, size = initial.shape
    hidden = torch.empty(len(index), size)
    every = torch.cat([carried, torch.empty(len(index), size)])
    gates = torch.empty(len(index), cell.gate_count, size)
    extra, keep = torch.empty(texts, size), torch.ones(texts)
    _looking_pass(cell, weights.shape)(
        *(sizes, as_array(x).reshape(len(x), cell.gate_count, size), index),
        *(weights.panels, weights.bias),
        *(as_array(part) for part in (initial.contiguous(), keep, every, hidden, gates, extra)),
    )
    return hidden, every[texts:], gates
