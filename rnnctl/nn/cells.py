"""The three cells, each with everything that is particular to it; nothing of a cell is elsewhere.

A `Cell` is one step and the derivative of one step, and the facts that the rest of the package asks
it for: which gates to show, which of them keeps the past, how many parameters and multiply-adds it
has, which kernel of PyTorch computes it, which learning rate suits it, how charts draw it. So a new
cell is one `Cell` and one line in the catalog, and no other module compares the name of a cell.

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
Nothing here imports torch, so that a comparison of finished runs can ask a cell without that.

Weights are interchangeable with `torch.nn.RNN`, `LSTM` and `GRU` (the equations are those of their
documentation): gate order i, f, g, o for the LSTM and r, z, n for the GRU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from rnnctl import catalog
from rnnctl.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

Parts: TypeAlias = "tuple[Tensor, ...]"
# Per coordinate (L, B, H); nobody outside this package opens it.
State: TypeAlias = "tuple[Tensor, ...]"

__all__ = [
    "GRU",
    "LSTM",
    "RNN_RELU",
    "RNN_TANH",
    "Cell",
    "Compilable",
    "LayerWeights",
    "OnnxForm",
    "Parts",
    "State",
    "find_cell",
    "held",
]


def tanh(value: Any) -> Any:
    """Hyperbolic tangent, elementwise."""
    return value.tanh()


def sigmoid(value: Any) -> Any:
    """Logistic function 1 / (1 + exp(-value)), elementwise."""
    return value.sigmoid()


def relu(value: Any) -> Any:
    """max(value, 0), elementwise."""
    return value.relu()


def complement(value: Any) -> Any:
    """1 - value."""
    return 1 - value


# Both slopes are functions of the value itself: of a forward pass only the gates are kept, not what
# went into them.


def sigmoid_slope(value: Any) -> Any:
    """Derivative of the logistic function where the function has this value."""
    return value * (1 - value)


def tanh_slope(value: Any) -> Any:
    """Derivative of tanh where tanh has this value."""
    return 1 - value * value


def positive(value: Any) -> Any:
    """1 where the value is above 0, else 0: the derivative of relu, by its value."""
    # At 0 itself there is none; 0 is PyTorch's choice too.
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
    # Nothing goes back directly: each step back is a product with U, times a slope of at most 1.
    # Products of many such matrices vanish or explode (Bengio et al. 1994), and here they are all
    # that an early word can be learnt by.
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
    # With f near 1 and i near 0 the cell is copied from step to step, whatever else happens: the
    # memory. Nothing bounds c; what the rest of the network sees of it, tanh(c'), is bounded.
    c = f * state[1] + i * g
    return (o * tanh(c), c), (i, f, g, o)


def lstm_factors(gates: Any, state: Any, new: Any) -> Any:
    """The derivative of one step, h and c being independent coordinates of the state.

    dc' = f dc + g i(1-i) da_i + c f(1-f) da_f + i (1-g^2) da_g
    dh' = tanh(c') o(1-o) da_o + o (1 - tanh^2 c') dc'
    """
    i, f, g, o = gates
    # Computed again from c', which is kept in any case: one tanh more, and one number less to keep
    # for every unit and step.
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
    dc = gradient[1] + expose * dh  # h' is read off c', so its gradient reaches c' too
    da = (to_i * dc, to_f * dc, to_g * dc, to_o * dh)
    # The way back along c: one multiplication by f a step, through no matrix and no other slope. An
    # open forget gate carries a gradient over any distance.
    return da, da, (forget * dc,)


def lstm_push(factors: Any, dx: Any, du: Any, tangent: Any) -> Any:
    """Tangents of x, of u and of the state (h, c) -> tangent of (h', c')."""
    to_i, to_f, to_g, to_o, forget, expose = factors
    # c first: h' is read off c', and moves with it.
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
    # r acts on the product (cuDNN's variant), not on h before it (Cho's own): so the products of
    # all three gates can be one. The derivative of r needs u_n, which goes out with the gates.
    n = tanh(x[2] + r * u[2])
    # (1 - z) n + z h with one multiplication fewer; no literal number, see the top of this module.
    return (n + z * (state[0] - n),), (r, z, n, u[2])


def gru_factors(gates: Any, state: Any, new: Any) -> Any:
    """The derivative of one step, with q = u_n.

    dh' = z dh + (h-n) z(1-z) d(x_z+u_z) + (1-z)(1-n^2) [dx_n + r du_n + q r(1-r) d(x_r+u_r)]
    """
    r, z, n, q = gates
    # The reset gate acts by way of the candidate alone: its factor contains the candidate's.
    to_n = complement(z) * tanh_slope(n)
    return (to_n * q * sigmoid_slope(r), (state[0] - n) * sigmoid_slope(z), to_n, r, z)


def gru_pull(factors: Any, gradient: Any) -> Any:
    """Gradient of (h',) -> of x, of u (differs in the candidate by r), and of h directly."""
    to_r, to_z, to_n, r, z = factors
    dh = gradient[0]
    dr, dz, dn = to_r * dh, to_z * dh, to_n * dh
    # As the LSTM's c, h has a way back that passes no matrix: z per step. But what is kept is also
    # what is shown: there is no gate between the memory and the rest of the network.
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
    b_ih: Tensor  # (gH,); only the GRU's candidate needs two biases, the others' add up
    b_hh: Tensor  # (gH,)


@dataclass(frozen=True, slots=True)
class OnnxForm:
    """The ONNX operator that computes a cell, and how its weights stand there.

    `order` says which of our row blocks comes first, second, … in the operator's; `activations`
    are those of one direction, () for the operator's own; `attributes` are passed on. `has_int8`:
    whether onnxruntime has one for weights of one byte. The operators are those of
    https://onnx.ai/onnx/operators (RNN, LSTM, GRU).
    """

    operator: str
    order: tuple[int, ...]
    activations: tuple[str, ...] = ()
    attributes: Mapping[str, int] = field(default_factory=dict, hash=False)
    has_int8: bool = False


MOST_COMPILED = 4  # gates


class Compilable(NamedTuple):
    """What compiled passes (`nn.cpu`) must know of a cell, beyond its functions.

    returned: how many numbers `step` returns for `factors`: none, one for each gate, or one more.
    same: whether `pull` gives x and u the same gradient.
    """

    returned: int
    same: bool = True


@dataclass(frozen=True, slots=True)
class Cell:
    """Everything that is particular to one kind of cell. Only the first eleven fields are needed.

    Mathematics: `step`, `factors`, `pull` and `push` are the four functions described at the top of
    this module. `direct` names the state coordinates that `pull` returns, those that reach the next
    step by another way than the recurrent product. `state_names` begins with "h".

    Gates: `gate_names` are the gates that `step` returns, in the order of the row blocks of U, W
    and the biases; what `step` returns beyond them is for `factors` only. "candidate" is the name
    of new content, which is no gate. `keep_gate` is the row block that decides what is kept (LSTM
    forget, GRU keep): it multiplies the past, so near 1 it keeps. `write_gate` is the one that
    decides what is added; where it is None, what is added is what is not kept. `meanings` says of a
    gate what it does when it is open.

    Speed: `stock` is the name of PyTorch's own kernel in `torch`, None where there is none.
    `compilable` says that the functions of at most four gates can also be compiled for single
    floats, and how; then they must not contain literal numbers, and if the state has two parts they
    must not read its h. Without it the cell runs on the engines that need no compiler.

    Export: `onnx` is its form in ONNX, None where there is none: then it cannot be exported.

    Training: `rate_factor` is the learning rate that suits the cell, relative to the LSTM's.

    Reports: `title` is the name that people read. `color`, `dash` (lengths of dash and gap) and
    `markers` (Vega-Lite shapes; the second for PyTorch's initial weights) draw it, so that no two
    cells are told apart by colour alone.

    `variants` are cells of the same kind with another nonlinearity, by its name.
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
    title: str = ""
    meanings: Mapping[str, str] = field(default_factory=dict, hash=False)
    stock: str | None = None
    compilable: Compilable | None = None
    onnx: OnnxForm | None = None
    rate_factor: float = 1.0
    color: str = "#7f3c8d"
    dash: tuple[int, ...] = (6, 2, 1, 2)
    markers: tuple[str, str] = ("triangle-right", "triangle-left")
    variants: Mapping[str, Cell] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Raises ValueError for facts that contradict each other, or that no pass is made of."""
        if self.state_names not in (("h",), ("h", "c")):
            raise ValueError("the parts of a state are called h, and c if there are two")
        if any(part not in range(len(self.state_names)) for part in self.direct):
            raise ValueError("`direct` are places in `state_names`, from 0")
        if len(self.gate_names) not in (0, self.gate_count):
            raise ValueError("`gate_names` has a name for each row block, or none")
        gates = (self.keep_gate, self.write_gate)
        if any(gate not in (None, *range(len(self.gate_names))) for gate in gates):
            raise ValueError("`keep_gate` and `write_gate` are places in `gate_names`, from 0")
        if self.keep_gate is None and self.write_gate is not None:
            # Every measurement of gates asks for the factor of the past.
            raise ValueError(
                "a cell with a `write_gate` needs a `keep_gate`: where one gate does both, write "
                "the equations with the gate that multiplies the past, h' = z h + (1 - z) n"
            )
        if self.compilable is None:
            return
        if self.gate_count > MOST_COMPILED:
            raise ValueError(f"passes are compiled for up to four gates, not {self.gate_count}")
        if self.compilable.returned not in (0, self.gate_count, self.gate_count + 1):
            raise ValueError("a step returns nothing, its gates, or one number more")

    @property
    def display_name(self) -> str:
        """`title`, or the name in capitals: ``LSTM``."""
        return self.title or self.name.upper()

    @property
    def has_gates(self) -> bool:
        """Whether a gate decides what is kept. A plain RNN rewrites its whole state every step."""
        return self.keep_gate is not None

    @property
    def has_cell_state(self) -> bool:
        """Whether the state has a part that the rest of the network does not see (the LSTM's c)."""
        return len(self.state_names) > 1

    @property
    def keeping(self) -> str | None:
        """The name of the gate that multiplies the past; None without gates."""
        return None if self.keep_gate is None else self.gate_names[self.keep_gate]

    @property
    def shown_gates(self) -> tuple[str, ...]:
        """The gates to report, the one that keeps first; empty without gates."""
        if self.keeping is None:
            return ()
        others = (name for name in self.gate_names if name not in (self.keeping, "candidate"))
        return (self.keeping, *others)

    def written(self, values: Mapping[str, Tensor]) -> Tensor:
        """The share of the candidate that each step adds, from the gates by name: any shape.

        Only for cells with gates.
        """
        assert self.keeping is not None
        if self.write_gate is None:
            return complement(values[self.keeping])  # type: ignore[no-any-return]
        return values[self.gate_names[self.write_gate]]

    def parameters(
        self, input_size: int, hidden_size: int, layers: int = 1, directions: int = 1
    ) -> int:
        """Weights and biases of the recurrent layers, as ``torch.nn`` counts them.

        A layer and direction has g·H·E + g·H·H weights and two biases of g·H; every layer but the
        first reads all directions of the one below, so there E is H times the directions.
        """
        products = self.macs_per_token(input_size, hidden_size, layers, directions)
        return products + layers * directions * 2 * self.gate_count * hidden_size

    def macs_per_token(
        self, input_size: int, hidden_size: int, layers: int = 1, directions: int = 1
    ) -> int:
        """Multiply-adds of the recurrent layers' matrix products for one token, forward."""
        # Without the elementwise part, which is the smaller the more units there are.
        widths = [input_size, *[hidden_size * directions] * (layers - 1)]
        rows = directions * self.gate_count * hidden_size
        return sum(rows * (width + hidden_size) for width in widths)


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
    title="RNN",
    stock="rnn_relu",
    compilable=Compilable(0),
    onnx=OnnxForm("RNN", order=(0,), activations=("Relu",)),
    rate_factor=0.5,
    color="#d55e00",
    dash=(2, 2),
    markers=("triangle-up", "triangle-down"),
)
RNN_TANH = replace(
    RNN_RELU,
    name="rnn_tanh",
    step=rnn_tanh_step,
    factors=rnn_tanh_factors,
    stock="rnn_tanh",
    onnx=OnnxForm("RNN", order=(0,), activations=("Tanh",)),
    variants={"relu": RNN_RELU},
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
    title="LSTM",
    meanings={
        "forget": "open: the cell keeps its value; shut: its value is erased",
        "input": "open: this token is written into the cell",
        "output": "open: the cell is shown to the rest of the network",
    },
    stock="lstm",
    compilable=Compilable(4),
    onnx=OnnxForm("LSTM", order=(0, 3, 1, 2), has_int8=True),  # i, o, f, c: c is the candidate
    color="#3d8fd1",
    dash=(1, 0),
    markers=("circle", "diamond"),
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
    title="GRU",
    meanings={
        "keep": "open: the unit keeps its old value and ignores this token",
        "reset": "shut: the candidate is computed as if there were no past",
    },
    stock="gru",
    compilable=Compilable(4, same=False),
    # Keep is called z; the reset gate acts after the product, as here.
    onnx=OnnxForm("GRU", order=(1, 0, 2), attributes={"linear_before_reset": 1}),
    rate_factor=0.5,
    color="#009e73",
    dash=(5, 3),
    markers=("square", "cross"),
)


def held(cell: Cell, gates: Mapping[str, float]) -> Cell:
    """The cell with some gates held at a value, whatever it reads: an intervention in its step.

    `gates`: from a name in `cell.gate_names` to a value, in [0, 1] for gates and [-1, 1] for the
    candidate. The input of a held gate's nonlinearity is replaced by the number at which it has
    that value (at 0 and 1 an infinite one, so that the value is exact), and nothing flows back
    through it: the derivatives are those of the cell with this gate a constant. Only the engine
    `closed` computes it. Raises UsageError for a gate that the cell does not have, or a value that
    it cannot have.
    """
    fixed: dict[int, float] = {}
    for name, value in gates.items():
        if name not in cell.gate_names:
            there = f"it has {', '.join(cell.gate_names)}" if cell.gate_names else "it has none"
            raise UsageError(f"the {cell.display_name} has no gate {name!r}", hint=there)
        lowest = -1.0 if name == "candidate" else 0.0
        if not lowest <= value <= 1:
            raise UsageError(
                f"{name}={value:g}: the gate cannot have this value",
                hint=f"it lies between {lowest:g} and 1",
            )
        fixed[cell.gate_names.index(name)] = _input_of(value, signed=name == "candidate")

    def replaced(parts: Parts, by: Mapping[int, float | None]) -> Parts:
        """`parts` with constants in the places of held gates; zeros for None."""
        # Times 0, and not made anew: so it has the part's shape, dtype and device.
        return tuple(
            part if k not in by else part * 0 + (by[k] or 0.0) for k, part in enumerate(parts)
        )

    zeros = dict.fromkeys(fixed)

    def step(x: Any, u: Any, state: Any) -> Any:
        return cell.step(replaced(x, fixed), replaced(u, zeros), state)

    def pull(factors: Any, gradient: Any) -> Any:
        dx, du, direct = cell.pull(factors, gradient)
        # A constant has no derivative; what the gate multiplies passes on as ever, in `direct`.
        return replaced(dx, zeros), replaced(du, zeros), direct

    def push(factors: Any, dx: Any, du: Any, tangent: Any) -> Any:
        return cell.push(factors, replaced(dx, zeros), replaced(du, zeros), tangent)

    # Another name: compiled passes, which go by the name, would compute the cell as it was.
    name = f"{cell.name}, " + ", ".join(f"{gate}={value:g}" for gate, value in gates.items())
    return replace(cell, name=name, step=step, pull=pull, push=push, stock=None)


def _input_of(value: float, *, signed: bool) -> float:
    """Where tanh (`signed`) or the logistic function has this value."""
    if signed:
        return math.copysign(math.inf, value) if abs(value) == 1 else math.atanh(value)
    if value in (0, 1):
        return math.inf if value else -math.inf
    return math.log(value / (1 - value))


def find_cell(name: str, nonlinearity: str = "tanh") -> Cell:
    """The cell that the catalog lists as `name`; `nonlinearity` (tanh, relu) is the plain RNN's.

    A nonlinearity that the cell has no variant for leaves it as it is. Raises UsageError for a name
    that is not in the catalog.
    """
    if nonlinearity not in ("tanh", "relu"):
        raise UsageError(
            f"unknown nonlinearity: {nonlinearity}", hint="the RNN's nonlinearity is tanh or relu"
        )
    cell: Cell = catalog.load("cell", name)
    return cell.variants.get(nonlinearity, cell)
