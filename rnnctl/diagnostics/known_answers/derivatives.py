"""GT01 to GT09 and GT17: gradients through time, Lyapunov exponents and gates.

GT09: the layer that is looked into computes what `torch.nn` computes, and so do its derivatives:
forward parity in float64; Jacobian-vector products three ways: the closed form, automatic
differentiation, finite differences. A cell that another package adds has no counterpart in
`torch.nn`: its derivatives are held against its own step.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import linear

from rnnctl import catalog
from rnnctl.diagnostics import gates, lyapunov, reach
from rnnctl.diagnostics.known_answers import Check, close, holds
from rnnctl.diagnostics.known_answers.models import (
    VOCABULARY,
    GatedModel,
    LinearModel,
    as_ids,
    random_text,
)
from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.settings import Settings
from rnnctl.diagnostics.subject import State, TracedModel, final_state
from rnnctl.nn.recurrent import Recurrent
from rnnctl.nn.trace import Trace
from rnnctl.results.diagnostics import GatesRecord, ReachBlock, ReachRecord

KEEPS = (0.3, 0.6, 0.9, 0.95)
"""Values of the frozen gates, one per unit."""


def _matrices(values: list[list[list[float]]]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _measure(subject: TracedModel, lags: int = 100) -> ReachRecord:
    settings = Settings(sequences=6, reach_lags=lags, resamples=50)
    return reach.measure(subject, random_text(6, lags + reach.WARM_UP + 2), settings)


def _geo(block: ReachBlock) -> NDArray[np.float64]:
    return np.array([0.0 if y is None else y for y in block.geo.y])


def scalar() -> Iterator[Check]:
    """GT01: h' = λh + x has Γ(k) = λ^(k−1) and half-life ln 2 / −ln λ."""
    for rate in (0.5, 0.9, 0.99):
        found = _measure(LinearModel(_matrices([[[rate]]])))
        lags = np.arange(100)
        yield close(f"Γ(k), λ={rate}", rate**lags, _geo(found.blocks["h"]), 1e-9)
        expected = math.log(2) / -math.log(rate)
        half_life = found.scalars["half_life"].estimate
        yield close(f"half-life, λ={rate}", expected, half_life or math.nan, 1e-9)


def orthogonal() -> Iterator[Check]:
    """GT02: an orthogonal linear network neither forgets nor explodes."""
    model = LinearModel(_orthogonal(16)[None])
    windows = reach.cut_windows(random_text(6, 134), lags=100, count=6, seed=0)
    assert windows is not None
    norms = reach.gradient_norms(model, windows, lags=100, scaled=False)
    found = reach.record(norms, resamples=50)
    yield close("Γ(k)", 1, _geo(found.blocks["h"]), 1e-9)
    status = found.scalars["half_life"].status
    yield holds("half-life", "censored", status, status == "censored")
    growth = lyapunov.growth_rates(model, torch.arange(200), directions=16)
    yield close("all exponents", 0, growth.mean(axis=0), 1e-9)


def _orthogonal(size: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(size, size, generator=generator, dtype=torch.float64)
    orthogonal_part: Tensor = torch.linalg.qr(start)[0]
    return orthogonal_part


def frozen(cell: str, keeps: tuple[float, ...]) -> GatedModel:
    """A layer without recurrent weights whose units keep `keeps` of their state at every step."""
    size = len(keeps)
    recurrent = Recurrent(cell, size, size, init="torch").double()
    weights = recurrent.weights("_l0")
    with torch.no_grad():
        for part in weights:
            part.zero_()
        weights.w_ih[2 * size : 3 * size] = torch.eye(size)  # the candidate of either cell
        weights.b_ih[size : 2 * size] = torch.logit(torch.tensor(keeps, dtype=torch.float64))
    return GatedModel(recurrent)


def frozen_lstm() -> Iterator[Check]:
    """GT03: with frozen gates ∂c_T/∂c_{T−k} = f^k, and the exponents are ln f and −∞."""
    yield from _frozen_decay("lstm", "c")
    growth = lyapunov.growth_rates(frozen("lstm", KEEPS), _text(400), directions=8)
    exponents = np.sort(growth[100:].mean(axis=0))[::-1]
    yield close("exponents ln f", np.sort(np.log(KEEPS))[::-1], exponents[: len(KEEPS)], 0.01)
    largest = float(exponents[len(KEEPS) :].max())
    yield holds("the other exponents", "−∞", f"{largest:.0f}", largest < -100)


def frozen_gru() -> Iterator[Check]:
    """GT04: with frozen gates ∂h_T/∂h_{T−k} = z^k: z near 1 keeps."""
    yield from _frozen_decay("gru", "h")
    growth = lyapunov.growth_rates(frozen("gru", KEEPS), _text(400), directions=4)
    exponents = np.sort(growth[100:].mean(axis=0))[::-1]
    yield close("exponents ln z", np.sort(np.log(KEEPS))[::-1], exponents, 0.01)


def _frozen_decay(cell: str, block: str) -> Iterator[Check]:
    for keep in KEEPS:
        found = _measure(frozen(cell, (keep,)), lags=60)
        made = found.blocks.get(block)
        measured = np.full(60, math.nan) if made is None else _geo(made)
        yield close(f"Γ_{block}(k), gate {keep}", keep ** np.arange(60), measured, 1e-9)


def _text(tokens: int) -> Tensor:
    return as_ids(random_text(1, tokens))


def period_three() -> Iterator[Check]:
    """GT05: exponents of the product CBA that a text A, B, C means, not of ABC."""
    generator = torch.Generator().manual_seed(5)
    matrices = torch.randn(3, 2, 2, generator=generator, dtype=torch.float64) * 0.8
    a, b, c = matrices.numpy()
    # Over a period the state is multiplied by A first, so the product is C B A; a transposed
    # recursion has the eigenvalues of another product.
    expected = math.log(float(np.abs(np.linalg.eigvals(c @ b @ a)).max())) / 3
    growth = lyapunov.growth_rates(LinearModel(matrices), torch.arange(1200) % 3, directions=2)
    yield close("λ₁", expected, growth[300:, 0].mean(), 0.003)


def jordan() -> Iterator[Check]:
    """GT06: a Jordan block (0.9, 2) first amplifies; crossing and slope are different numbers."""
    model = LinearModel(_matrices([[[0.9, 2.0], [0.0, 0.9]]]), readout=torch.eye(2))
    ids = torch.zeros(130, 2, dtype=torch.int64)
    windows = reach.Windows(ids, torch.arange(2), np.arange(2))
    norms = reach.gradient_norms(model, windows, lags=120, scaled=False)
    curve = reach.lag_curve(norms.blocks["h"][1:], norms.groups, 2, 0)
    # Crossing and slope answer two questions, and a transient growth pulls them far apart.
    crossing = reach.lag_where(curve.rms, 0.5)
    yield close("last lag above ½", 41, math.floor(crossing), 0)
    slope = reach.tail_slope(curve.rms, (80, 120))
    yield close("half-life by the slope at 80–120", 7.3, -math.log(2) / slope, 0.073)


def random_products() -> Iterator[Check]:
    """GT07: factors 0.5 or 1.4: typical size 0.8367 a step, root mean square 1.0512."""
    model = LinearModel(_matrices([[[0.5]], [[1.4]]]))
    # All 4,096 sequences, so that the expectation is exact and not sampled.
    sequences = torch.tensor(list(itertools.product((0, 1), repeat=12))).T.contiguous()
    windows = reach.Windows(
        sequences, torch.zeros(sequences.shape[1], dtype=torch.int64), np.arange(4096)
    )
    norms = reach.gradient_norms(model, windows, lags=11, scaled=False)
    curve = reach.lag_curve(norms.blocks["h"][1:], norms.groups, 2, 0)
    lags = np.arange(11)
    yield close("geo(k), all 4096 sequences", math.sqrt(0.7) ** lags, np.exp(curve.estimate), 1e-9)
    yield close("rms(k), all 4096 sequences", math.sqrt(1.105) ** lags, np.exp(curve.rms), 1e-9)
    slope = math.exp(reach.tail_slope(_sampled(model, 200).estimate, (1, 60)))
    yield close("geo per step, 200 sampled sequences", 0.8367, slope, 0.0167)


def _sampled(model: LinearModel, count: int) -> reach.LagCurve:
    ids = torch.from_numpy(np.random.default_rng(7).integers(2, size=(62, count)))
    windows = reach.Windows(ids, torch.zeros(count, dtype=torch.int64), np.arange(count))
    norms = reach.gradient_norms(model, windows, lags=60, scaled=False)
    return reach.lag_curve(norms.blocks["h"][1:], norms.groups, 2, 0)


def summed_loss() -> Iterator[Check]:
    """GT08: a sum of many steps' losses is refused; a model without memory has no curve."""
    model = LinearModel(torch.zeros(1, 3, 3))
    trace = model.trace(torch.zeros(50, 4, dtype=torch.int64))
    try:
        reach.lag_norms(trace, torch.ones_like(trace.outputs), 40, {})
        refused = False
    except reach.SummedLossError:
        refused = True
    yield holds("losses of 50 steps summed", "refused", "refused" if refused else "taken", refused)
    status = _measure(model).status
    yield holds("a model without memory", "undefined", status, status == "undefined")


# -- against torch.nn ----------------------------------------------------------------------------

REFERENCES: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
Layers = Callable[[Tensor, State], tuple[Tensor, State]]
"""Inputs (T, B, E) and the state (L, B, H) -> outputs (T, B, H) and the state after."""
LAYERS, WIDTH, HIDDEN, STEPS, BATCH = 2, 3, 5, 7, 2
DIFFERENCE = 1e-6


def parity() -> Iterator[Check]:
    """GT09: three cells against torch.nn; exact derivatives against autograd and differences."""
    for cell in catalog.names("cell"):
        generator = torch.Generator().manual_seed(9)
        # Layers draw from the global generator, of which a known answer must not depend.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(9)
            mine = Recurrent(cell, WIDTH, HIDDEN, LAYERS).double()
        inputs = _random((STEPS, BATCH, WIDTH), generator)
        state = tuple(
            _random((LAYERS, BATCH, HIDDEN), generator) for _ in mine.initial_state(BATCH)
        )
        reference = _torch_layers(cell, mine) if cell in REFERENCES else partial(_steps, mine)
        outputs, _ = reference(inputs, state)
        trace = mine.trace(inputs, state)
        yield close(f"{cell}: outputs", 0, (outputs - trace.outputs).abs().max().item(), 1e-10)
        tangent = tuple(_random(tuple(part.shape), generator) for part in state)
        pushed = _flat(trace.jvp(0, tangent))
        automatic, differences = _other_ways(reference, inputs[:1], state, tangent)
        yield close(f"{cell}: JVP, autograd", 0, (pushed - automatic).abs().max().item(), 1e-10)
        yield close(f"{cell}: JVP, differences", 0, (pushed - differences).abs().max().item(), 1e-6)
        yield close(f"{cell}: all lags", 0, _lag_error(mine, reference, inputs), 1e-10)
        if mine.cell.keeping is not None:
            found = _keep_error(trace)
            yield close(f"{cell}: {mine.cell.keeping} multiplies the past", 0, found, 1e-10)


def _random(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _flat(state: State) -> Tensor:
    return torch.cat([part.flatten() for part in state])


def _torch_layers(cell: str, mine: Recurrent) -> Layers:
    """The layers of `torch.nn` with the same weights."""
    model = REFERENCES[cell](WIDTH, HIDDEN, LAYERS).double()
    model.load_state_dict(mine.state_dict())

    def run(inputs: Tensor, state: State) -> tuple[Tensor, State]:
        outputs, final = model(inputs, state if len(state) == 2 else state[0])
        return outputs, final if isinstance(final, tuple) else (final,)

    return run


def _steps(mine: Recurrent, inputs: Tensor, state: State) -> tuple[Tensor, State]:
    """What the cell's own step makes of the same weights, open to automatic differentiation."""
    cell, outputs, finals = mine.cell, inputs, []
    for k in range(LAYERS):
        w_ih, w_hh, b_ih, b_hh = (
            mine.get_parameter(f"{name}_l{k}").detach()
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        now, shown = tuple(part[k] for part in state), []
        for x in linear(outputs, w_ih, b_ih):
            u = linear(now[0], w_hh, b_hh)
            now, _ = cell.step(x.chunk(cell.gate_count, -1), u.chunk(cell.gate_count, -1), now)
            shown.append(now[0])
        outputs = torch.stack(shown)
        finals.append(now)
    return outputs, tuple(torch.stack(parts) for parts in zip(*finals, strict=True))


def _other_ways(
    reference: Layers, inputs: Tensor, state: State, tangent: State
) -> tuple[Tensor, Tensor]:
    """One step's JVP by autograd (row by row of the Jacobian) and by central differences."""

    def step(*parts: Tensor) -> Tensor:
        return _flat(reference(inputs, parts)[1])

    jacobian: State = torch.autograd.functional.jacobian(step, state)  # type: ignore[no-untyped-call]
    automatic = sum(
        part.flatten(1) @ moved.flatten() for part, moved in zip(jacobian, tangent, strict=True)
    )
    assert isinstance(automatic, Tensor)
    moved = [
        tuple(part + sign * DIFFERENCE * way for part, way in zip(state, tangent, strict=True))
        for sign in (1, -1)
    ]
    with torch.no_grad():
        differences = (step(*moved[0]) - step(*moved[1])) / (2 * DIFFERENCE)
    return automatic, differences


def _lag_error(mine: Recurrent, reference: Layers, inputs: Tensor) -> float:
    """Largest difference, over all lags, of ‖∂(sum of the last outputs)/∂state‖ by autograd."""
    trace = mine.trace(inputs)
    last = torch.zeros_like(trace.outputs)
    last[-1] = 1
    found = reach.lag_norms(trace, last, STEPS - 1, {})
    worst = 0.0
    for t in range(STEPS - 1):
        state = final_state(mine.trace(inputs[: t + 1]))
        leaves = tuple(part.clone().requires_grad_() for part in state)
        outputs, _ = reference(inputs[t + 1 :], leaves)
        gradients = torch.autograd.grad(outputs[-1].sum(), leaves)
        for name, gradient in zip(("h", "c"), gradients, strict=False):
            norms = gradient.square().sum(dim=(0, 2)).sqrt().numpy()
            worst = max(worst, float(np.abs(found[name][STEPS - 1 - t] - norms).max()))
    return worst


def _keep_error(trace: Trace) -> float:
    """How far the gate that is said to keep is from the factor of the past, at most."""
    cell, layer = trace.cell, trace.layers[0]
    memory = len(cell.state_names) - 1  # c where there is one, else h
    gradient = [torch.zeros_like(trace.outputs) for _ in cell.state_names]
    gradient[memory] += 1
    _, _, direct = cell.pull(layer.factors, tuple(gradient))
    if memory not in cell.direct:
        return math.inf
    factor = direct[cell.direct.index(memory)]
    return (factor - layer.values[str(cell.keeping)]).abs().max().item()


# -- gates ---------------------------------------------------------------------------------------

OPEN, CLOSED, SHARE = 0.99, 0.1, 0.9


def _measure_gates(model: GatedModel, sample: Sample) -> GatesRecord:
    return gates.measure(model, sample, Settings(resamples=50, gate_tokens=sample.tokens))


def mixture_of_gates() -> Iterator[Check]:
    """GT17: a gate that is 0.99 nine times in ten, else 0.1, has τ = −1/E[ln f] = 4.18."""
    found = _measure_gates(_two_levels(), _nine_to_one())
    rate = SHARE * math.log(OPEN) + (1 - SHARE) * math.log(CLOSED)
    tau = found.scalars["tau_p50"].estimate
    yield close("τ of the mixture", -1 / rate, tau or math.nan, 0.02 * 4.179)
    for bias in (0.0, 1.0, 3.0):
        kept = 1 / (1 + math.exp(-bias))
        measured = _measure_gates(frozen("lstm", (kept,)), random_text(2, 60)).scalars["tau_p50"]
        yield close(f"τ at bias {bias:g}", -1 / math.log(kept), measured.estimate or math.nan, 1e-9)
    yield from _saturation()


def _saturation() -> Iterator[Check]:
    """σ(±10) counts as saturated, left and right; the plain RNN has no gates."""
    wide = 1 / (1 + math.exp(-10))
    for cell, name in (("lstm", "forget"), ("gru", "keep")):
        found = _measure_gates(frozen(cell, (wide, 1 - wide)), random_text(2, 60))
        gate = next(gate for gate in found.gates if gate.gate == name)
        sides = (gate.left_saturated, gate.right_saturated)
        yield close(f"saturated, {name}", (0.5, 0.5), sides, 1e-12)
    status = _measure_gates(GatedModel(Recurrent("rnn", 2, 2)), random_text(2, 60)).status
    yield holds("a plain RNN", "not_applicable", status, status == "not_applicable")


def _two_levels() -> GatedModel:
    """An LSTM unit whose forget gate is 0.1 on token 0 and 0.99 on all others."""
    model = frozen("lstm", (OPEN,))
    weights = model.recurrent.weights("_l0")
    low, high = (math.log(f / (1 - f)) for f in (CLOSED, OPEN))
    with torch.no_grad():
        weights.w_ih[1] = low - high
        model.embedding[:] = 0
        model.embedding[0] = 1
    return model


def _nine_to_one() -> Sample:
    """Documents of which exactly one token in ten is token 0."""
    rng = np.random.default_rng(3)
    ids = rng.integers(1, VOCABULARY, size=(4, 200))
    ids[:, ::10] = 0
    return Sample(ids=tuple(ids.astype(np.int64)))
