"""GT01 to GT08: gradients through time and Lyapunov exponents."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnnctl.diagnostics import lyapunov, reach
from rnnctl.diagnostics.known_answers.check import Check, close, holds
from rnnctl.diagnostics.known_answers.toys import (
    GatedModel,
    LinearModel,
    as_ids,
    random_text,
)
from rnnctl.diagnostics.settings import Settings
from rnnctl.diagnostics.traceable import TracedModel
from rnnctl.nn.recurrent import Recurrent
from rnnctl.results.diagnostics import ReachBlock, ReachRecord

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
    found = reach.record(norms, main="h", resamples=50)
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
    crossing = reach.lag_where(curve.rms, 0.5)
    yield close("last lag above ½", 41, math.floor(crossing), 0)
    slope = reach.tail_slope(curve.rms, (80, 120))
    yield close("half-life by the slope at 80–120", 7.3, -math.log(2) / slope, 0.073)


def random_products() -> Iterator[Check]:
    """GT07: factors 0.5 or 1.4: typical size 0.8367 a step, root mean square 1.0512."""
    model = LinearModel(_matrices([[[0.5]], [[1.4]]]))
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


CHECKS: dict[str, Callable[[], Iterator[Check]]] = {
    "GT01": scalar,
    "GT02": orthogonal,
    "GT03": frozen_lstm,
    "GT04": frozen_gru,
    "GT05": period_three,
    "GT06": jordan,
    "GT07": random_products,
    "GT08": summed_loss,
}
