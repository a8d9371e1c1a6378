"""Recurrent layers behind one contract, whatever the cell and whichever engine does the work.

Axes: T time, B batch, E inputs, H hidden, L layers, D directions (1 or 2).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from rnnctl.errors import UsageError
from rnnctl.nn import engines
from rnnctl.nn.cells import Cell, LayerWeights, State, find_cell
from rnnctl.nn.initialisation import initialise_layer
from rnnctl.nn.trace import LayerTrace, Trace

# Dropout for recurrent models: one mask for all time steps, or whole tokens. Off in `eval`.
#
# Sources: Gal & Ghahramani (2016), "A theoretically grounded application of dropout in recurrent
# neural networks"; embedding dropout as in Merity et al. (2018), AWD-LSTM.


class VariationalDropout(nn.Module):
    """Drops the same coordinates at every time step of a sequence: one mask (1, B, ·) per call."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, values: Tensor) -> Tensor:
        """(T, B, ·) -> (T, B, ·); kept coordinates are divided by 1 - rate."""
        if not self.training or self.rate == 0:
            return values
        # Noise that is new at every step adds up along the state, and hides what came before.
        mask = torch.empty_like(values[:1]).bernoulli_(1 - self.rate).div_(1 - self.rate)
        return values * mask

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


class TokenDropout(nn.Module):
    """Drops whole entries of the vocabulary: a dropped word is a zero vector wherever it stands in
    its sequence, and every sequence of the batch drops others (Gal & Ghahramani 2016).

    One mask over the vocabulary serves all sequences, each turned by an offset of its own.
    """

    def __init__(self, rate: float, vocab_size: int) -> None:
        super().__init__()
        self.rate = rate
        self.vocab_size = vocab_size

    def forward(self, embedded: Tensor, ids: Tensor) -> Tensor:
        """embedded (T, B, E) of ids (T, B) -> (T, B, E); kept vectors are divided by 1 - rate."""
        if not self.training or self.rate == 0:
            return embedded
        kept = torch.empty(self.vocab_size, dtype=embedded.dtype, device=embedded.device)
        kept.bernoulli_(1 - self.rate).div_(1 - self.rate)
        offsets = torch.randint(self.vocab_size, ids.shape[1:], device=ids.device)
        return embedded * kept[(ids + offsets) % self.vocab_size].unsqueeze(-1)

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


if TYPE_CHECKING:
    from rnnctl.nn.reading import Ready

__all__ = ["Recurrent", "State", "parameter_shapes"]


def suffixes(layer: int, directions: int) -> tuple[str, ...]:
    """How the names of a layer's parameters end, as in `torch.nn`: ``_l0``, ``_l0_reverse``."""
    return (f"_l{layer}", f"_l{layer}_reverse")[:directions]


def parameter_shapes(
    cell: Cell, input_size: int, hidden_size: int, num_layers: int, directions: int
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the parameters of `Recurrent`, before memory is spent on them."""
    rows = cell.gate_count * hidden_size
    for layer in range(num_layers):
        width = input_size if layer == 0 else hidden_size * directions
        for suffix in suffixes(layer, directions):
            yield f"weight_ih{suffix}", (rows, width)
            yield f"weight_hh{suffix}", (rows, hidden_size)
            yield f"bias_ih{suffix}", (rows,)
            yield f"bias_hh{suffix}", (rows,)


class Recurrent(nn.Module):
    """Stacked RNN, LSTM or GRU layers with the parameters of `torch.nn.RNN`, `LSTM`, `GRU`.

    Names and shapes of the parameters are those of `torch.nn` (`weight_ih_l0` (gH, E),
    `weight_hh_l0` (gH, H), `bias_ih_l0`, `bias_hh_l0` (gH,), `…_reverse`), so weights can be
    exchanged. `engine` is auto (the fastest as measured), torch, closed or fused; the results
    agree within rounding. Raises UsageError for unknown cells, engines and initialisations.
    """

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        nonlinearity: str = "tanh",
        bidirectional: bool = False,
        dropout_between: float = 0.0,
        init: str = "good",
        horizon: int | None = None,
        engine: str = "auto",
    ) -> None:
        super().__init__()
        self.cell = find_cell(cell, nonlinearity)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.directions = 2 if bidirectional else 1
        self.engine = engines.check(engine)
        self.ready: Ready | None = None
        self.between = VariationalDropout(dropout_between)
        sizes = (input_size, hidden_size, num_layers, self.directions)
        for name, shape in parameter_shapes(self.cell, *sizes):
            self.register_parameter(name, nn.Parameter(torch.empty(shape)))
        self.reset_parameters(init, horizon)

    def reset_parameters(self, init: str, horizon: int | None = None) -> None:
        """Draw all weights anew; see `initialise_layer`."""
        for layer in range(self.num_layers):
            for suffix in suffixes(layer, self.directions):
                initialise_layer(self.cell, self.weights(suffix), init, horizon)

    def weights(self, suffix: str) -> LayerWeights:
        """The four parameters of one layer and direction, `_l0`, `_l0_reverse`, …"""
        return LayerWeights(
            *(
                self.get_parameter(name + suffix)
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
        )

    def keep_ready(self) -> None:
        """Say that the weights do not change any more: what reading makes of them is kept."""
        from rnnctl.nn.reading import Ready

        self.ready = Ready()

    def initial_state(self, batch_size: int, *, device: torch.device | str | None = None) -> State:
        """Zeros: one (LD, B, H) tensor per state coordinate (h; the LSTM's h and c)."""
        like = self.get_parameter("weight_hh_l0")
        shape = (self.num_layers * self.directions, batch_size, self.hidden_size)
        zeros = like.new_zeros(shape, device=device)
        return tuple(zeros.clone() for _ in self.cell.state_names)

    def forward(
        self,
        inputs: Tensor,
        state: State | None = None,
        starts: Tensor | None = None,
        lengths: Tensor | None = None,
        *,
        hidden_only: bool = False,
    ) -> tuple[Tensor, State]:
        """inputs (T, B, E) -> outputs (T, B, DH), state after the last step.

        state: as `initial_state`, zeros if None. starts (T, B) bool: the state is zeroed *before*
        that step (one direction only). lengths (B,), each at least 1: sequences are right-padded;
        the final state and the reverse direction respect them, outputs at padding are arbitrary.
        hidden_only: of the state only h is wanted, which is faster with lengths; the LSTM's c may
        be missing. Under `torch.autocast` in bf16 the products are in bf16 and the state stays in
        fp32. Raises UsageError for `starts` in two directions.
        """
        if starts is not None and self.directions == 2:
            raise UsageError(
                "the state cannot be reset within a chunk of a bidirectional model",
                hint="train with --no-bidirectional",
            )
        state = self.initial_state(inputs.shape[1]) if state is None else state
        if starts is not None and not bool(starts.any()):
            starts = None  # so that a kernel that cannot zero the state in a chunk will do
        # One layer after the other over all steps, not one step through all layers: so the products
        # of a layer's inputs are one.
        # The way back reads each text from its own end: padding before it would be read as text.
        backwards = None if self.directions == 1 else _reversal(inputs, lengths)
        finals: list[State] = []
        for layer in range(self.num_layers):
            outputs = []
            for direction, suffix in enumerate(suffixes(layer, self.directions)):
                source = _reordered(inputs, backwards if direction else None)
                first = tuple(part[len(finals)] for part in state)
                weights = self.weights(suffix)
                output, final = engines.run(
                    self.engine, self.cell, source, first, weights, starts, lengths, hidden_only
                )
                outputs.append(_reordered(output, backwards if direction else None))
                finals.append(final)
            inputs = outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)
            if layer + 1 < self.num_layers:
                inputs = self.between(inputs)
        return inputs, tuple(torch.stack(parts) for parts in zip(*finals, strict=True))

    def trace(
        self, inputs: Tensor, state: State | None = None, starts: Tensor | None = None
    ) -> Trace:
        """The same pass with everything in it kept by name; arguments as for `forward`.

        In the weights' dtype, without dropout and without autograd. Raises UsageError for a
        bidirectional model, whose states have no single past.
        """
        if self.directions == 2:
            raise UsageError(
                "a bidirectional model cannot be traced",
                hint="its states depend on the future too; train one without --bidirectional",
            )
        state = self.initial_state(inputs.shape[1]) if state is None else state
        layers = [self.weights(f"_l{layer}") for layer in range(self.num_layers)]
        return Trace(self.cell, layers, inputs, state, starts)

    @torch.no_grad()
    def look_inside(self, inputs: Tensor, state: State) -> tuple[list[dict[str, Tensor]], State]:
        """The states and gates of every layer by name, (T, B, DH), and the state after the pass.

        As `trace` has them, in any number of directions: the second half of two has read backwards.
        """
        made: list[dict[str, Tensor]] = []
        finals: list[State] = []
        for layer in range(self.num_layers):
            ways: list[dict[str, Tensor]] = []
            for direction, suffix in enumerate(suffixes(layer, self.directions)):
                first = tuple(part[len(finals)] for part in state)
                source = inputs.flip(0) if direction else inputs
                weights = self.weights(suffix)
                values = LayerTrace.run(self.cell, source, first, weights, None).values
                finals.append(tuple(values[name][-1] for name in self.cell.state_names))
                turned = {name: value.flip(0) for name, value in values.items()}
                ways.append(turned if direction else values)
            made.append({name: torch.cat([way[name] for way in ways], -1) for name in ways[0]})
            inputs = made[-1]["h"]
        return made, tuple(torch.stack(parts) for parts in zip(*finals, strict=True))

    @property
    def engine_in_use(self) -> str:
        """The engine that computes these layers where they are now; never `auto`."""
        return engines.choose(self.engine, self.cell, self.get_parameter("weight_hh_l0"))

    def extra_repr(self) -> str:
        return (
            f"{self.cell.name}, {self.input_size}, {self.hidden_size}, layers={self.num_layers}, "
            f"directions={self.directions}, engine={self.engine}"
        )


def _reversal(inputs: Tensor, lengths: Tensor | None) -> Tensor:
    """(T, B) index of the step that takes each place when every sequence is turned round."""
    steps, batch = inputs.shape[:2]
    time = torch.arange(steps, device=inputs.device).unsqueeze(1).expand(steps, batch)
    if lengths is None:
        return steps - 1 - time
    turned = lengths.to(time.device) - 1 - time  # below 0 is padding, which stays in its place
    return torch.where(turned >= 0, turned, time)


def _reordered(values: Tensor, order: Tensor | None) -> Tensor:
    if order is None:
        return values
    return values[order, torch.arange(values.shape[1], device=values.device)]
