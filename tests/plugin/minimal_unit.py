"""A cell that another package adds to rnnctl: its equations, their derivatives, and one `Cell`.

The minimal gated unit without a reset gate (Zhou et al. 2016, simplified). The entry point beside
this file, in the group ``rnnctl.cell``, is all that makes ``rnnctl train --cell minimal`` work.
"""

from __future__ import annotations

from typing import Any

from rnnctl.nn.cells import Cell, complement, sigmoid, sigmoid_slope, tanh, tanh_slope


def step(x: Any, u: Any, state: Any) -> Any:
    """f = sigmoid(x_f + u_f), n = tanh(x_n + u_n), h' = (1 - f) n + f h."""
    f, n = sigmoid(x[0] + u[0]), tanh(x[1] + u[1])
    return (n + f * (state[0] - n),), (f, n)


def factors(gates: Any, state: Any, new: Any) -> Any:
    f, n = gates
    return (state[0] - n) * sigmoid_slope(f), complement(f) * tanh_slope(n), f


def pull(factors: Any, gradient: Any) -> Any:
    to_f, to_n, f = factors
    da = to_f * gradient[0], to_n * gradient[0]
    return da, da, (f * gradient[0],)


def push(factors: Any, dx: Any, du: Any, tangent: Any) -> Any:
    to_f, to_n, f = factors
    return (f * tangent[0] + to_f * (dx[0] + du[0]) + to_n * (dx[1] + du[1]),)


MINIMAL = Cell(
    name="minimal", gate_count=2, state_names=("h",), gate_names=("forget", "candidate"),
    direct=(0,), keep_gate=0, write_gate=None, step=step, factors=factors, pull=pull, push=push,
)  # fmt: skip
