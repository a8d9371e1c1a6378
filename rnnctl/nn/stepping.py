"""One step of a language model at a time, for generating: last tokens in, logits out.

A step of `torch.nn` is mostly overhead: the LSTM prepares its kernel anew each time, and a tensor's
operation costs more than the arithmetic on so few numbers. Here the weights are made ready once,
and what the first layer makes of a token is a table row where the vocabulary is small enough.
Several streams use packed products (`products`), and compiled passes where there are any; one
stream is vectors in numpy, whose calls cost a tenth of a tensor's and whose products run at the
memory's speed. The mathematics is `cells`': the same function of a step, on arrays as on tensors.

B streams, V vocabulary, E embedding, H hidden, g gates.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rnnctl.nn import cells
from rnnctl.nn.cells import Cell, State
from rnnctl.nn.products import of_vector, packed
from rnnctl.nn.reading import can_read

if TYPE_CHECKING:
    from rnnctl.nn.models import LanguageModel

TABLE_NUMBERS = 1 << 22  # 16 MB in fp32
Values = Any  # of all streams: tensors (B, …), or of one: arrays (…,)


class _Tensors:
    """Any streams, device and dtype. What `_Passes` and `_Vectors` do, with other values."""

    def __init__(self, model: LanguageModel, streams: int) -> None:
        self._streams = streams
        self._device = model.embedding.weight.device
        self.step = model.recurrent.cell.step

    def product(self, weight: Tensor, bias: Tensor) -> Callable[[Tensor], Tensor]:
        """a -> a W^T + b."""
        return packed(weight, self._streams, bias)

    def rows(self, table: Tensor) -> Callable[[NDArray[np.integer]], Tensor]:
        """tokens (B,) -> the rows of a table (V, …) that belong to them."""
        table = table.detach()
        return lambda tokens: table[torch.from_numpy(tokens.astype(np.int64)).to(self._device)]

    def parts(self, values: Tensor, count: int) -> tuple[Tensor, ...]:
        """(B, gH) -> g times (B, H)."""
        return values.view(len(values), count, -1).unbind(1)

    def enter(self, part: Tensor) -> Tensor:
        """A layer's state coordinate (B, H), from wherever it was kept."""
        return part.to(self._device)

    def leave(self, logits: Tensor) -> NDArray[np.float32]:
        """(B, V) for numpy, which may change it."""
        found: NDArray[np.float32] = logits.float().cpu().numpy()
        return found

    def select(self, part: Tensor, rows: NDArray[np.integer]) -> Tensor:
        """Some of the streams."""
        return part[torch.from_numpy(rows).to(self._device)]


class _Passes:
    """Several streams in fp32 on a CPU: packed products, and one compiled pass a layer."""

    def __init__(self, cell: Cell, streams: int) -> None:
        self._cell = cell
        self._streams = streams
        self._numbers = np.arange(streams)

    def step(self, x: Values, u: Values, state: tuple[Values, ...]) -> tuple[Any, tuple[()]]:
        """As `Cell.step`, without the gates."""
        from rnnctl.nn.cpu.steps import kernels  # imports numba

        # The pass overwrites what is carried, and the state before may be wanted again.
        hidden, carried = np.empty_like(state[0]), state[-1].copy()
        kernels(self._cell).read(0, x, self._numbers, u, carried, hidden)
        return (hidden, carried)[: len(state)], ()

    def product(self, weight: Tensor, bias: Tensor) -> Callable[[Values], Values]:
        multiply = packed(weight, self._streams, bias)
        return lambda values: multiply(torch.from_numpy(values)).numpy()

    def rows(self, table: Tensor) -> Callable[[NDArray[np.integer]], Values]:
        array = table.detach().numpy()
        return lambda tokens: array.take(tokens, axis=0)

    def parts(self, values: Values, count: int) -> Values:
        return values.reshape(len(values), count, -1)

    def enter(self, part: Tensor) -> Values:
        return part.cpu().numpy()

    def leave(self, logits: Values) -> NDArray[np.float32]:
        found: NDArray[np.float32] = logits
        return found

    def select(self, part: Values, rows: NDArray[np.integer]) -> Values:
        return part[rows]


class _Vectors:
    """One stream in fp32 on a CPU, in numpy, without the axis of streams."""

    def __init__(self, cell: Cell) -> None:
        self.step = _on_arrays(cell)

    def product(self, weight: Tensor, bias: Tensor) -> Callable[[Values], Values]:
        return of_vector(weight, bias)

    def rows(self, table: Tensor) -> Callable[[NDArray[np.integer]], Values]:
        array = table.detach().numpy()
        return lambda tokens: array[tokens[0]]

    def parts(self, values: Values, count: int) -> Values:
        return values.reshape(count, -1)

    def enter(self, part: Tensor) -> Values:
        return part[0].cpu().numpy()

    def leave(self, logits: Values) -> NDArray[np.float32]:
        found: NDArray[np.float32] = logits[None]
        return found

    def select(self, part: Values, rows: NDArray[np.integer]) -> Values:
        return part


def _sigmoid(values: Values) -> Values:
    result = np.tanh(values * np.float32(0.5))
    result *= np.float32(0.5)
    result += np.float32(0.5)
    return result


def _on_arrays(cell: Cell) -> Callable[..., Any]:
    """The cell's own step with numpy's functions where it says tanh, sigmoid and relu."""
    arithmetic = {
        "tanh": np.tanh,
        "sigmoid": _sigmoid,
        "relu": lambda values: np.maximum(values, 0),
    }
    # The code of the step as it is, with other meanings for its names: no second version of it.
    code = cell.step.__code__
    return types.FunctionType(code, {**vars(cells), **arithmetic}, cell.step.__name__)


class StepWeights:
    """A model's weights made ready for steps of about B streams; they must not change meanwhile.

    The model must be in `eval` mode: there is no dropout.
    """

    @torch.no_grad()
    def __init__(self, model: LanguageModel, streams: int) -> None:
        recurrent, embedding = model.recurrent, model.embedding.weight
        alone = streams == 1 and embedding.device.type == "cpu" and embedding.dtype == torch.float32
        kind: _Vectors | _Passes | _Tensors = _Tensors(model, streams)
        if alone:
            kind = _Vectors(recurrent.cell)
        elif can_read(recurrent):
            kind = _Passes(recurrent.cell, streams)
        self.kind = kind
        self.gates = recurrent.cell.gate_count
        layers = [recurrent.weights(f"_l{layer}") for layer in range(recurrent.num_layers)]
        self.from_below = [kind.product(w.w_ih, w.b_ih) for w in layers]
        self.from_before = [kind.product(w.w_hh, w.b_hh) for w in layers]
        self.decode = kind.product(model.decoder.weight, model.decoder.bias)
        self.project: Callable[[Values], Values] | None = None
        if isinstance(model.projection, nn.Linear):
            self.project = kind.product(model.projection.weight, model.projection.bias)
        # tokens (B,) -> the first layer's input products (B, gH)
        self.inputs: Callable[[NDArray[np.integer]], Values]
        # Of few tokens all input products are made once, and a step begins with a look-up.
        if model.vocab_size * len(layers[0].b_ih) <= TABLE_NUMBERS:
            product = packed(layers[0].w_ih, model.vocab_size, layers[0].b_ih)
            self.inputs = kind.rows(product(embedding.detach() * model.input_scale))
        else:
            vectors, below, scale = kind.rows(embedding), self.from_below[0], model.input_scale
            self.inputs = lambda tokens: below(vectors(tokens) * scale)


class Stepper:
    """Holds the state of B streams between steps.

    model: itself, or its weights made ready before. state: as `Recurrent.initial_state`, (L, B, H).
    """

    def __init__(self, model: LanguageModel | StepWeights, state: State) -> None:
        streams = state[0].shape[1]
        weights = model if isinstance(model, StepWeights) else StepWeights(model, streams)
        self._weights = weights
        # layers, and in each the coordinates
        self._states: list[tuple[Values, ...]] = [
            tuple(weights.kind.enter(part[layer]) for part in state)
            for layer in range(len(state[0]))
        ]

    def step(self, tokens: NDArray[np.integer]) -> NDArray[np.float32]:
        """tokens (B,) -> logits (B, V) of the token after each; the caller may change them."""
        weights, kind = self._weights, self._weights.kind
        hidden: Values = None
        for layer, state in enumerate(self._states):
            x = weights.from_below[layer](hidden) if layer else weights.inputs(tokens)
            u = weights.from_before[layer](state[0])
            x, u = kind.parts(x, weights.gates), kind.parts(u, weights.gates)
            self._states[layer], _ = kind.step(x, u, state)
            hidden = self._states[layer][0]
        if weights.project is not None:
            hidden = weights.project(hidden)
        return kind.leave(weights.decode(hidden))

    def keep(self, rows: NDArray[np.integer]) -> None:
        """Go on with these streams only, in this order."""
        select = self._weights.kind.select
        self._states = [tuple(select(part, rows) for part in state) for state in self._states]
