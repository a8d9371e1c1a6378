"""GT09: the layer that is looked into computes what `torch.nn` computes, and so do its derivatives.

Forward parity in float64; Jacobian-vector products three ways: the closed form, automatic
differentiation, finite differences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from rnnctl.diagnostics import reach
from rnnctl.diagnostics.known_answers.check import Check, close
from rnnctl.diagnostics.traceable import State, final_state
from rnnctl.nn.recurrent import Recurrent

REFERENCES: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
LAYERS, WIDTH, HIDDEN, STEPS, BATCH = 2, 3, 5, 7, 2
STEP = 1e-6


def parity() -> Iterator[Check]:
    """GT09: three cells against torch.nn; exact derivatives against autograd and differences."""
    for cell in REFERENCES:
        generator = torch.Generator().manual_seed(9)
        mine = Recurrent(cell, WIDTH, HIDDEN, LAYERS).double()
        inputs = _random((STEPS, BATCH, WIDTH), generator)
        state = tuple(
            _random((LAYERS, BATCH, HIDDEN), generator) for _ in mine.initial_state(BATCH)
        )
        reference = REFERENCES[cell](WIDTH, HIDDEN, LAYERS).double()
        reference.load_state_dict(mine.state_dict())
        outputs, _ = _reference(reference, inputs, state)
        trace = mine.trace(inputs, state)
        yield close(f"{cell}: outputs", 0, (outputs - trace.outputs).abs().max().item(), 1e-10)
        tangent = tuple(_random(tuple(part.shape), generator) for part in state)
        pushed = _flat(trace.jvp(0, tangent))
        automatic, differences = _other_ways(reference, inputs[:1], state, tangent)
        yield close(f"{cell}: JVP, autograd", 0, (pushed - automatic).abs().max().item(), 1e-10)
        yield close(f"{cell}: JVP, differences", 0, (pushed - differences).abs().max().item(), 1e-6)
        yield close(f"{cell}: all lags", 0, _lag_error(mine, reference, inputs), 1e-10)


def _random(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _flat(state: State) -> Tensor:
    return torch.cat([part.flatten() for part in state])


def _reference(model: nn.RNNBase, inputs: Tensor, state: State) -> tuple[Tensor, State]:
    outputs, final = model(inputs, state if len(state) == 2 else state[0])
    return outputs, final if isinstance(final, tuple) else (final,)


def _other_ways(
    model: nn.RNNBase, inputs: Tensor, state: State, tangent: State
) -> tuple[Tensor, Tensor]:
    """One step's JVP by autograd (row by row of the Jacobian) and by central differences."""

    def step(*parts: Tensor) -> Tensor:
        return _flat(_reference(model, inputs, parts)[1])

    jacobian: State = torch.autograd.functional.jacobian(step, state)  # type: ignore[no-untyped-call]
    automatic = sum(
        part.flatten(1) @ moved.flatten() for part, moved in zip(jacobian, tangent, strict=True)
    )
    assert isinstance(automatic, Tensor)
    moved = [
        tuple(part + sign * STEP * way for part, way in zip(state, tangent, strict=True))
        for sign in (1, -1)
    ]
    with torch.no_grad():
        differences = (step(*moved[0]) - step(*moved[1])) / (2 * STEP)
    return automatic, differences


def _lag_error(mine: Recurrent, reference: nn.RNNBase, inputs: Tensor) -> float:
    """Largest difference, over all lags, of ‖∂(sum of the last outputs)/∂state‖ by autograd."""
    trace = mine.trace(inputs)
    last = torch.zeros_like(trace.outputs)
    last[-1] = 1
    found = reach.lag_norms(trace, last, STEPS - 1, {})
    worst = 0.0
    for t in range(STEPS - 1):
        state = final_state(mine.trace(inputs[: t + 1]))
        leaves = tuple(part.clone().requires_grad_() for part in state)
        outputs, _ = _reference(reference, inputs[t + 1 :], leaves)
        gradients = torch.autograd.grad(outputs[-1].sum(), leaves)
        for name, gradient in zip(("h", "c"), gradients, strict=False):
            norms = gradient.square().sum(dim=(0, 2)).sqrt().numpy()
            worst = max(worst, float(np.abs(found[name][STEPS - 1 - t] - norms).max()))
    return worst


CHECKS: dict[str, Callable[[], Iterator[Check]]] = {"GT09": parity}
