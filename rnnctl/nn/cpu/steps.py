"""One compiled elementwise pass per step, forward and backward, for any cell, by numba.

Nothing of a cell is repeated here. The functions of `cells` are arithmetic on anything that
multiplies; numba compiles the very same functions for single floats, with the `tanh` and its like
of `arithmetic` in place of PyTorch's, into one pass over a step that the vector units take. The
state and all arithmetic are in fp32; in bf16 only what the products read and write is rounded (h,
pre-activations, and the gates kept for the backward pass).

Each pass is serial and releases the interpreter lock; no threads are started here.
Axes: T time, B batch, g gates, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from rnnctl.nn.cells import Cell
from rnnctl.nn.cpu.arithmetic import ARITHMETIC, get, put
from rnnctl.nn.cpu.compiling import UNBOUND, bound, compile_bound, digest_of, inline

# How g parts of a row (g, H) become a tuple, and back. Written out for each g: numba knows a tuple
# by its length, so that one made in a loop has no type.


@inline
def _take1(row: Any, j: Any) -> Any:
    return (get(row[0], j),)


@inline
def _take2(row: Any, j: Any) -> Any:
    return (get(row[0], j), get(row[1], j))


@inline
def _take3(row: Any, j: Any) -> Any:
    return (get(row[0], j), get(row[1], j), get(row[2], j))


@inline
def _take4(row: Any, j: Any) -> Any:
    return (get(row[0], j), get(row[1], j), get(row[2], j), get(row[3], j))


@inline
def _give1(row: Any, j: Any, parts: Any) -> Any:
    put(row[0], j, parts[0])


@inline
def _give2(row: Any, j: Any, parts: Any) -> Any:
    put(row[0], j, parts[0])
    put(row[1], j, parts[1])


@inline
def _give3(row: Any, j: Any, parts: Any) -> Any:
    put(row[0], j, parts[0])
    put(row[1], j, parts[1])
    put(row[2], j, parts[2])


@inline
def _give4(row: Any, j: Any, parts: Any) -> Any:
    put(row[0], j, parts[0])
    put(row[1], j, parts[1])
    put(row[2], j, parts[2])
    put(row[3], j, parts[3])


_TAKE = {1: _take1, 2: _take2, 3: _take3, 4: _take4}
_GIVE = {1: _give1, 2: _give2, 3: _give3, 4: _give4}


@inline
def _give_none(row: Any, j: Any, parts: Any) -> Any:
    return


# What `step` returns for `factors`: nothing, the gates, or one number more, which lies elsewhere.
# `take` and `give` are those above, as many as the cell has gates.


def _take_nothing(x: Any, extra: Any, j: Any) -> Any:
    return ()


def _keep_nothing(x: Any, extra: Any, j: Any, gates: Any) -> Any:
    return


def _take_gates(x: Any, extra: Any, j: Any) -> Any:
    return take(x, j)


def _keep_gates(x: Any, extra: Any, j: Any, gates: Any) -> Any:
    give(x, j, gates)


def _take_one_more(x: Any, extra: Any, j: Any) -> Any:
    return (*take(x, j), get(extra, j))


def _keep_one_more(x: Any, extra: Any, j: Any, gates: Any) -> Any:
    give(x, j, gates)
    put(extra, j, gates[-1])


# The coordinate that is carried from step to step beside the product: h, or the LSTM's c.


@inline
def _single(carried: Any) -> Any:
    return (carried,)


@inline
def _double(carried: Any) -> Any:
    return (carried, carried)  # no elementwise part of the LSTM reads h


@inline
def _single_gradient(dh: Any, carried: Any) -> Any:
    return (dh + carried,)


@inline
def _double_gradient(dh: Any, carried: Any) -> Any:
    return (dh, carried)


@inline
def _none_direct(direct: Any) -> Any:
    return np.float32(0)


@inline
def _first_direct(direct: Any) -> Any:
    return direct[0]


# The passes over a row of the batch, and the loops over rows, in names that `compile_bound` binds.
# A row is a function of its own, since only so does LLVM see that its arrays do not overlap:
# inlined into the loop over rows it is ten times slower.

step = factors = pull = take = give = give_du = take_gates = keep_gates = UNBOUND
as_state = as_gradient = first_direct = forward_row = read_row = backward_row = UNBOUND


def _forward_row(
    x: Any, u: Any, before: Any, after: Any, h: Any, gates: Any, extra: Any, keep: Any
) -> Any:
    for j in range(h.shape[0]):
        # Multiplied by 0 or 1: a branch would keep the loop from becoming vector instructions.
        state = as_state(keep * before[j])
        new, values = step(take(x, j), take(u, j), state)
        keep_gates(gates, extra, j, values)
        after[j] = new[-1]
        put(h, j, new[0])


def _forward(
    t: Any, x: Any, u: Any, carried: Any, h: Any, gates: Any, extra: Any, keep: Any
) -> Any:
    for b in range(u.shape[0]):
        before, after = carried[t, b], carried[t + 1, b]
        forward_row(x[t, b], u[b], before, after, h[t + 1, b], gates[t, b], extra[t, b], keep[t, b])


def _read_row(x: Any, u: Any, carried: Any, h: Any) -> Any:
    for j in range(h.shape[0]):
        new, _ = step(take(x, j), take(u, j), as_state(carried[j]))
        carried[j] = new[-1]
        put(h, j, new[0])


def _read(first: Any, x: Any, index: Any, u: Any, carried: Any, h: Any) -> Any:
    for b in range(u.shape[0]):
        read_row(x[index[first + b]], u[b], carried[b], h[first + b])


def _backward_row(
    x: Any,
    extra: Any,
    before: Any,
    after: Any,
    dh: Any,
    product: Any,
    gradient: Any,
    du: Any,
    keep: Any,
    keep_after: Any,
) -> Any:
    for j in range(dh.shape[0]):
        state = as_state(keep * before[j])
        parts = factors(take_gates(x, extra, j), state, as_state(after[j]))
        # The gradient by way of the product belongs to the step after: nothing of it passes a
        # beginning.
        dh_j = get(dh, j) + keep_after * get(product, j)
        # dx goes where the gates were, which nobody needs any more: no second (T, B, g, H).
        dx, du_parts, direct = pull(parts, as_gradient(dh_j, gradient[j]))
        give(x, j, dx)
        give_du(du, j, du_parts)
        gradient[j] = keep * first_direct(direct)


def _backward(
    t: Any,
    x: Any,
    extra: Any,
    carried: Any,
    dh: Any,
    product: Any,
    gradient: Any,
    du: Any,
    keep: Any,
) -> Any:
    for b in range(product.shape[0]):
        backward_row(
            x[t, b],
            extra[t, b],
            carried[t, b],
            carried[t + 1, b],
            dh[t, b],
            product[b],
            gradient[b],
            du[t, b],
            keep[t, b],
            keep[t + 1, b],
        )


class Kernels(NamedTuple):
    """The compiled passes over step t of a whole batch, for numpy arrays.

    forward(t, x, u, carried, h, gates, extra, keep): reads x (T,B,g,H), u (B,g,H) and carried[t];
    writes gates[t] (T,B,g,H), extra[t] (T,B,H), carried[t+1] and h[t+1] (T+1,B,H).
    backward(t, gates, extra, carried, dh, product, gradient, du, keep): reads what forward left,
    dh (T,B,H), product (B,H), the gradient by way of h, and gradient (B,H), that of the carried
    coordinate; writes dx over gates[t], du[t] (T,B,g,H) where it is not dx, and gradient.
    keep (T+1,B): 0 where the state is zeroed before the step.
    read(first, x, index, u, carried, h): a step without gradient over u (n,g,H), for `reading`:
    reads rows index[first:first+n] of x (M,g,H), carried (n,H) and writes it, and h[first:first+n].
    """

    forward: Callable[..., None]
    read: Callable[..., None]
    backward: Callable[..., None]


def _layout(cell: Cell) -> dict[str, Any]:
    """How the cell's parts lie in memory, as functions for the names in the passes below."""
    assert cell.compilable is not None
    take, give = _TAKE[cell.gate_count], _GIVE[cell.gate_count]
    names = {"take": take, "give": give}
    take_gates, keep_gates = {
        0: (_take_nothing, _keep_nothing),
        cell.gate_count: (_take_gates, _keep_gates),
        cell.gate_count + 1: (_take_one_more, _keep_one_more),
    }[cell.compilable.returned]
    two = cell.has_cell_state
    return {
        **names,
        "give_du": _give_none if cell.compilable.same else give,
        "take_gates": inline(bound(take_gates, label_of(cell), names)),
        "keep_gates": inline(bound(keep_gates, label_of(cell), names)),
        "as_state": _double if two else _single,
        "as_gradient": _double_gradient if two else _single_gradient,
        "first_direct": _first_direct if cell.direct else _none_direct,
    }


@cache
def label_of(cell: Cell) -> str:
    """A name for what is compiled of the cell, another one when its equations are changed.

    It has the lines in which they begin: cells of one file may have one name, as of `replace`.
    """
    parts = (cell.step, cell.factors, cell.pull)
    lines = "_".join(str(function.__code__.co_firstlineno) for function in parts)
    return f"{cell.name}_{lines}_{digest_of(cell.step)}"


@cache
def row_kernels(cell: Cell) -> Kernels:
    """The passes over one row of the batch at one step, whose arrays have neither T nor B.

    Compiled when first called with a dtype, or found in the cache.
    """
    label = label_of(cell)
    mathematics = {
        name: inline(bound(getattr(cell, name), label, ARITHMETIC))
        for name in ("step", "factors", "pull")
    }
    names = {**mathematics, **_layout(cell), "get": get, "put": put}
    return Kernels(
        compile_bound(_forward_row, label, names),
        compile_bound(_read_row, label, names),
        compile_bound(_backward_row, label, names),
    )


def has_extra(cell: Cell) -> bool:
    """Whether `step` returns a number more than there are gates."""
    return cell.compilable is not None and cell.compilable.returned > cell.gate_count


def needs_du(cell: Cell) -> bool:
    """Whether the gradient of u is another one than that of x."""
    return cell.compilable is not None and not cell.compilable.same


@cache
def kernels(cell: Cell) -> Kernels:
    """The passes over a whole batch for one cell."""
    rows = row_kernels(cell)
    return Kernels(
        compile_bound(_forward, label_of(cell), {"forward_row": rows.forward}),
        compile_bound(_read, label_of(cell), {"read_row": rows.read}),
        compile_bound(_backward, label_of(cell), {"backward_row": rows.backward}),
    )
