"""The three cells: one step, and the derivative of one step. Each cell's mathematics is here only.

Axes: T time, B batch, E inputs, H hidden, g gates (1 RNN, 4 LSTM, 3 GRU).

Every cell sees a step as two affine maps followed by elementwise arithmetic:

    x = W x_t + b_ih      (B, gH), known for all steps at once
    u = U h   + b_hh      (B, gH), one product per step

`step` takes x and u, each as g parts of size H, and the state before the step. `factors` are the
elementwise numbers that the step's derivative consists of. They need no recurrence, so they can be
computed for all steps at once. `pull` is the vector-Jacobian product made of them (gradient after
the step -> gradients of x, u and of the state before the step, not counting the way through u), and
`push` the Jacobian-vector product.

The functions are plain arithmetic on anything that multiplies: `bptt` and `trace` evaluate them on
tensors, `fused` compiles the very same functions for single floats. Hence they are written without
literal numbers (`complement(z)` for 1 - z), which would change the precision of compiled floats.

Weights are interchangeable with `torch.nn.RNN`, `LSTM` and `GRU` (the equations are those of their
documentation): gate order i, f, g, o for the LSTM and r, z, n for the GRU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, relu, sigmoid, tanh

from rnnctl import catalog
from rnnctl.errors import UsageError

Parts = tuple[Tensor, ...]
State = tuple[Tensor, ...]  # per coordinate (L, B, H); nobody outside this package opens it

__all__ = [
    "GRU",
    "LSTM",
    "RNN_RELU",
    "RNN_TANH",
    "Cell",
    "LayerWeights",
    "Parts",
    "State",
    "find_cell",
]


def complement(value: Any) -> Any:
    """1 - value."""
    return 1 - value


def sigmoid_slope(value: Any) -> Any:
    """Derivative of the logistic function where the function has this value."""
    return value * (1 - value)


def tanh_slope(value: Any) -> Any:
    """Derivative of tanh where tanh has this value."""
    return 1 - value * value


def positive(value: Any) -> Any:
    """1 where the value is above 0, else 0: the derivative of relu, by its value."""
    return value > 0


# Elman, "Finding structure in time" (1990).  h' = tanh(x + u), or relu(x + u).


def rnn_tanh_step(x: Any, u: Any, state: Any) -> Any:
    """h' = tanh(x + u). Returns the new state (h',) and no gates."""
    return (tanh(x[0] + u[0]),), ()


def rnn_tanh_factors(gates: Any, state: Any, new: Any) -> Any:
    """dh' = (1 - h'^2) d(x + u)."""
    return (tanh_slope(new[0]),)


def rnn_relu_step(x: Any, u: Any, state: Any) -> Any:
    """h' = max(x + u, 0). Returns the new state (h',) and no gates."""
    return (relu(x[0] + u[0]),), ()


def rnn_relu_factors(gates: Any, state: Any, new: Any) -> Any:
    """dh' = [h' > 0] d(x + u)."""
    return (positive(new[0]),)


def rnn_pull(factors: Any, gradient: Any) -> Any:
    """Gradient of (h',) -> of x, of u, and of the state directly (none: all goes through u)."""
    da = (factors[0] * gradient[0],)
    return da, da, ()


def rnn_push(factors: Any, dx: Any, du: Any, tangent: Any) -> Any:
    """Tangents of x, of u and of the state -> tangent of (h',)."""
    return (factors[0] * (dx[0] + du[0]),)


# Hochreiter & Schmidhuber (1997) with the forget gate of Gers et al. (2000), without peepholes.


def lstm_step(x: Any, u: Any, state: Any) -> Any:
    """One step of the LSTM, a = x + u in the order i, f, g, o.

    i = sigmoid(a_i), f = sigmoid(a_f), g = tanh(a_g), o = sigmoid(a_o)
    c' = f c + i g,   h' = o tanh(c')

    Returns the new state (h', c') and the gates (i, f, g, o).
    """
    i = sigmoid(x[0] + u[0])
    f = sigmoid(x[1] + u[1])
    g = tanh(x[2] + u[2])
    o = sigmoid(x[3] + u[3])
    c = f * state[1] + i * g
    return (o * tanh(c), c), (i, f, g, o)


def lstm_factors(gates: Any, state: Any, new: Any) -> Any:
    """The derivative of one step, h and c being independent coordinates of the state.

    dc' = f dc + g i(1-i) da_i + c f(1-f) da_f + i (1-g^2) da_g
    dh' = tanh(c') o(1-o) da_o + o (1 - tanh^2 c') dc'
    """
    i, f, g, o = gates
    squashed = tanh(new[1])
    return (
        g * sigmoid_slope(i),
        state[1] * sigmoid_slope(f),
        i * tanh_slope(g),
        squashed * sigmoid_slope(o),
        f,
        o * tanh_slope(squashed),
    )


def lstm_pull(factors: Any, gradient: Any) -> Any:
    """Gradient of (h', c') -> of x, of u (the same), and of the state directly: (c,) only."""
    to_i, to_f, to_g, to_o, forget, expose = factors
    dh = gradient[0]
    dc = gradient[1] + expose * dh
    da = (to_i * dc, to_f * dc, to_g * dc, to_o * dh)
    return da, da, (forget * dc,)


def lstm_push(factors: Any, dx: Any, du: Any, tangent: Any) -> Any:
    """Tangents of x, of u and of the state (h, c) -> tangent of (h', c')."""
    to_i, to_f, to_g, to_o, forget, expose = factors
    dc = forget * tangent[1] + to_i * (dx[0] + du[0]) + to_f * (dx[1] + du[1])
    dc = dc + to_g * (dx[2] + du[2])
    return (to_o * (dx[3] + du[3]) + expose * dc, dc)


# Cho et al. (2014), in the variant with the reset gate after the recurrent product.


def gru_step(x: Any, u: Any, state: Any) -> Any:
    """One step of the GRU; x and u in the order r, z, n. The reset gate acts after the product.

    r = sigmoid(x_r + u_r), z = sigmoid(x_z + u_z), n = tanh(x_n + r u_n)
    h' = (1 - z) n + z h

    z near 1 *keeps* the past (other texts use the opposite sign): this package calls it keep.
    Returns the new state (h',) and the gates (r, z, n, u_n).
    """
    r = sigmoid(x[0] + u[0])
    z = sigmoid(x[1] + u[1])
    n = tanh(x[2] + r * u[2])
    return (n + z * (state[0] - n),), (r, z, n, u[2])


def gru_factors(gates: Any, state: Any, new: Any) -> Any:
    """The derivative of one step, with q = u_n.

    dh' = z dh + (h-n) z(1-z) d(x_z+u_z) + (1-z)(1-n^2) [dx_n + r du_n + q r(1-r) d(x_r+u_r)]
    """
    r, z, n, q = gates
    to_n = complement(z) * tanh_slope(n)
    return (to_n * q * sigmoid_slope(r), (state[0] - n) * sigmoid_slope(z), to_n, r, z)


def gru_pull(factors: Any, gradient: Any) -> Any:
    """Gradient of (h',) -> of x, of u (differs in the candidate by r), and of h directly."""
    to_r, to_z, to_n, r, z = factors
    dh = gradient[0]
    dr, dz, dn = to_r * dh, to_z * dh, to_n * dh
    return (dr, dz, dn), (dr, dz, r * dn), (z * dh,)


def gru_push(factors: Any, dx: Any, du: Any, tangent: Any) -> Any:
    """Tangents of x, of u and of the state (h,) -> tangent of (h',)."""
    to_r, to_z, to_n, r, z = factors
    dn = to_n * (dx[2] + r * du[2])
    return (z * tangent[0] + to_r * (dx[0] + du[0]) + to_z * (dx[1] + du[1]) + dn,)


class LayerWeights(NamedTuple):
    """The weights of one layer and direction, named and shaped as in `torch.nn`."""

    w_ih: Tensor  # W (gH, E)
    w_hh: Tensor  # U (gH, H)
    b_ih: Tensor  # (gH,)
    b_hh: Tensor  # (gH,)


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell by name: its state and gates, and the four functions above.

    `direct` names the state coordinates that `pull` returns, those that reach the next step by
    another way than the recurrent product. `gate_names` are the gates that `step` returns; what it
    returns beyond them is for `factors` only. `keep_gate` is the row block of U, W and the biases
    that decides what is kept (LSTM forget, GRU keep), `write_gate` its counterpart.
    """

    name: str
    gate_count: int
    state_names: tuple[str, ...]
    gate_names: tuple[str, ...]
    direct: tuple[int, ...]
    keep_gate: int | None
    write_gate: int | None
    step: Callable[[Parts, Parts, Parts], tuple[Parts, Parts]]
    factors: Callable[[Parts, Parts, Parts], Parts]
    pull: Callable[[Parts, Parts], tuple[Parts, Parts, Parts]]
    push: Callable[[Parts, Parts, Parts, Parts], Parts]


RNN_TANH = Cell(
    name="rnn_tanh",
    gate_count=1,
    state_names=("h",),
    gate_names=(),
    direct=(),
    keep_gate=None,
    write_gate=None,
    step=rnn_tanh_step,
    factors=rnn_tanh_factors,
    pull=rnn_pull,
    push=rnn_push,
)
RNN_RELU = Cell(
    name="rnn_relu",
    gate_count=1,
    state_names=("h",),
    gate_names=(),
    direct=(),
    keep_gate=None,
    write_gate=None,
    step=rnn_relu_step,
    factors=rnn_relu_factors,
    pull=rnn_pull,
    push=rnn_push,
)
LSTM = Cell(
    name="lstm",
    gate_count=4,
    state_names=("h", "c"),
    gate_names=("input", "forget", "candidate", "output"),
    direct=(1,),
    keep_gate=1,
    write_gate=0,
    step=lstm_step,
    factors=lstm_factors,
    pull=lstm_pull,
    push=lstm_push,
)
GRU = Cell(
    name="gru",
    gate_count=3,
    state_names=("h",),
    gate_names=("reset", "keep", "candidate"),
    direct=(0,),
    keep_gate=1,
    write_gate=None,
    step=gru_step,
    factors=gru_factors,
    pull=gru_pull,
    push=gru_push,
)


def find_cell(name: str, nonlinearity: str = "tanh") -> Cell:
    """The cell called `rnn`, `lstm` or `gru`; `nonlinearity` (tanh, relu) is the plain RNN's.

    Raises UsageError for a name that is none of these.
    """
    if name not in catalog.CELLS or nonlinearity not in ("tanh", "relu"):
        raise UsageError(
            f"unknown cell or nonlinearity: {name}, {nonlinearity}",
            hint=f"cells are {', '.join(catalog.CELLS)}; the rnn's nonlinearity is tanh or relu",
        )
    if name == "rnn" and nonlinearity == "relu":
        return RNN_RELU
    cell: Cell = catalog.load("cell", name)
    return cell
