"""Lyapunov exponents of the full state along real text (an expert view of REACH).

λ_i = lim (1/N) Σ_t ln |R_ii(t)|, where Q R is the QR decomposition of J_t Q, and J_t the Jacobian
of one step with respect to the *whole* state: h and c of every layer (Benettin et al. 1980;
Engelken et al. 2023). Leaving out c, as published code does, measures an LSTM without its memory;
and J_t has to be applied in the order in which the text is read, J_N … J_2 J_1, not transposed.

λ₁ is about the slowest direction, seen by the loss or not: a cell that has grown until tanh(c) is
flat keeps what it holds and shows it to nobody. λ₁ above the tail slope of REACH says just that.

Axes: T time, M followed directions, S state size, L layers, H hidden.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from rnnctl.diagnostics import curves
from rnnctl.diagnostics.sample import Floats, Sample
from rnnctl.diagnostics.settings import Settings
from rnnctl.diagnostics.subject import State, TracedModel, TraceLike, final_state
from rnnctl.results.base import Estimate
from rnnctl.results.diagnostics import LyapunovRecord
from rnnctl.statistics import t_interval

CHUNK = 512
"""Steps traced at once."""
BLOCKS = 10
"""Stretches of text whose means give the interval of the leading exponent."""
PARAGRAPH = 100
"""Tokens that a slow direction survives."""
SMALLEST = 1e-300
"""Stands for 0 where a logarithm is taken: a direction that is forgotten outright has −∞."""
ROUNDING = 1e-14
"""Of the largest: what a QR decomposition in float64 leaves of a direction that is gone."""


def measure(subject: TracedModel, sample: Sample, settings: Settings) -> LyapunovRecord:
    """The ``settings.exponents`` largest exponents, driven by the longest document of `sample`.

    Where it is not long enough the next longest ones follow on it, without a new beginning.
    """
    steps = settings.lyapunov_burn_in + settings.lyapunov_steps
    longest = sorted(sample.ids, key=len, reverse=True)
    # An exponent is a limit over one path: many short documents do not add up to a long one.
    joined = np.concatenate(longest)[:steps] if longest else np.zeros(0, dtype=np.int64)
    burn_in = settings.lyapunov_burn_in
    if len(joined) < 2 * burn_in:
        none = curves.missing("insufficient_data", "the text is too short")
        return LyapunovRecord(exponents=(), leading=none, n_slow=none)
    ids = torch.from_numpy(joined.astype(np.int64))
    growth = growth_rates(
        subject, ids, directions=settings.exponents, seed=settings.seed, burn_in=burn_in
    )
    size = sum(part[:, 0].numel() for part in final_state(subject.trace(ids[:1, None])))
    return record(growth, burn_in=burn_in, whole=growth.shape[1] == size)


def growth_rates(
    subject: TracedModel, ids: Tensor, *, directions: int, burn_in: int = 0, seed: int = 0
) -> Floats:
    """(T − burn_in, M) ln |R_ii| of each step along `ids` (T,), M = min(directions, S)."""
    state: State | None = None
    frame: State | None = None
    rows: list[Floats] = []
    for piece in torch.split(ids, CHUNK):
        # State and frame are handed on: to the recursion the pieces are one text.
        trace = subject.trace(piece[:, None], state)
        state = final_state(trace)
        if frame is None:
            frame = _first_frame(state, directions, seed)
        for t in range(len(piece)):
            frame, growth = _advance(trace, t, frame)
            rows.append(growth)
    # In the first steps the frame has not yet turned to the directions that grow most.
    return np.stack(rows)[burn_in:]


def _first_frame(state: State, directions: int, seed: int) -> State:
    """Random orthonormal directions in the whole state, as tangents (L, M, H)."""
    size = sum(part.shape[0] * part.shape[2] for part in state)
    start = np.random.default_rng(seed).standard_normal((size, min(directions, size)))
    return _unflatten(torch.from_numpy(np.linalg.qr(start)[0]), state)


def _advance(trace: TraceLike, t: int, frame: State) -> tuple[State, Floats]:
    """One step of the QR recursion: Q ← qr(J_t Q), and ln |R_ii|.

    Not NumPy's: its own threads beside torch's made every product here twenty times slower.
    """
    # Without this all directions would soon point along the fastest one, and its exponent would be
    # the only one to be seen (and J^N would overflow).
    moved = _propagate(trace, t, frame)
    orthonormal, triangle = torch.linalg.qr(_flatten(moved))
    sizes: Floats = triangle.diagonal().abs().numpy(force=True)
    forgotten = sizes < ROUNDING * sizes.max()  # what is left of such a direction is rounding
    growth = np.log(np.where(forgotten, SMALLEST, np.maximum(sizes, SMALLEST)))
    return _unflatten(orthonormal, frame), growth


def _propagate(trace: TraceLike, t: int, frame: State) -> State:
    """J_t Q: tangents follow the text forwards, so the products come out in reading order."""
    return trace.jvp(t, frame)


def _flatten(frame: State) -> Tensor:
    """Tangents (L, M, H) per state tensor -> one matrix (S, M)."""
    return torch.cat([part.transpose(0, 1).flatten(1) for part in frame], dim=1).T


def _unflatten(matrix: Tensor, like: State) -> State:
    """(S, M) -> tangents (L, M, H) per state tensor, shaped after `like` (L, ·, H)."""
    sizes = [part.shape[0] * part.shape[2] for part in like]
    return tuple(
        rows.T.reshape(-1, part.shape[0], part.shape[2]).transpose(0, 1).contiguous()
        for rows, part in zip(torch.split(matrix, sizes), like, strict=True)
    )


def record(growth: Floats, *, burn_in: int, whole: bool) -> LyapunovRecord:
    """Exponents from (N, M) growth rates; `whole`: M is all of the state, not some directions.

    The interval of the leading one is Student's over `BLOCKS` stretches of the text. A direction
    that is forgotten outright, once or always, has exponent −∞, which is None in the record.
    """
    means = np.where((growth <= math.log(SMALLEST)).any(axis=0), -math.inf, growth.mean(axis=0))
    # QR sorts them in the long run; in a short one neighbours may stand the other way round.
    order = np.argsort(-means, kind="stable")
    exponents, leading = means[order], growth[:, order[0]]
    first = _finite(float(exponents[0]))
    # Steps that follow each other are alike; means of long stretches hardly are.
    interval = t_interval([float(part.mean()) for part in np.array_split(leading, BLOCKS)])
    slow = int(np.sum(exponents > -1 / PARAGRAPH))
    more = slow == len(exponents) and not whole
    ends: tuple[float | None, float | None] = (None, None)
    if first is not None:  # blocks of unequal length: their mean is not quite the estimate
        ends = (_finite(min(first, interval.lo)), _finite(max(first, interval.hi)))
    return LyapunovRecord(
        exponents=tuple(_finite(float(value)) for value in exponents),
        leading=Estimate(
            estimate=first,
            ci95=ends,
            n=BLOCKS,
            unit="1/token",
            status="ok" if first is not None else "undefined",
            note="" if first is not None else "every direction is forgotten outright",
        ),
        n_slow=Estimate(
            estimate=float(slow),
            n=BLOCKS,
            unit="directions",
            status="censored" if more else "ok",
            censored_at=float(slow) if more else None,
        ),
        n_slow_text=f"≥{slow}" if more else str(slow),
        steps=len(growth),
        burn_in=burn_in,
    )


def _finite(value: float) -> float | None:
    return float(value) if value > math.log(SMALLEST) / 2 else None
