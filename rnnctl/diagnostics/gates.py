"""GATES: the time constants that gates suggest, and how far they are saturated.

Of a unit whose forget gate (LSTM) or keep gate (GRU) is f_t along a text, a memory is multiplied by
f_t at each step, so it decays as exp(Σ ln f_t): ℓ = E[ln f], τ = −1/ℓ tokens, half-life τ ln 2. The
usual −1/ln(mean f) overestimates it by Jensen's inequality: a gate that is 0.99 nine times in ten
and 0.1 otherwise has τ 4.18, not 9.59. Saturation shares (below 0.1, above 0.9) after Karpathy et
al. 2015. All of it is *gate-implied, not measured memory*: other ways through the recurrent weights
are left out.

Axes: T time, B batch, H hidden, L layers, D documents, R bootstrap resamples of documents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rnnctl.data.batches import pad_documents
from rnnctl.diagnostics import curves
from rnnctl.diagnostics.sample import Floats, Ids, Sample
from rnnctl.diagnostics.settings import Settings
from rnnctl.diagnostics.subject import State, TracedModel, TraceLike, final_state
from rnnctl.nn.cells import Cell
from rnnctl.results.base import Curve, Estimate
from rnnctl.results.diagnostics import GateMode, GateRecord, GatesRecord, Sampling
from rnnctl.statistics import percentiles, resampling_weights

LOW, HIGH = 0.1, 0.9
"""Where a gate counts as saturated, left and right (Karpathy, Johnson & Li 2015)."""
SMALLEST = 1e-300
"""Stands for a gate that is 0 in floats: its logarithm is −691, which erases what it keeps."""
LONGEST = 1e9
"""τ in tokens beyond which a gate counts as always open."""
CHUNK = 256
"""Steps traced at once: a trace keeps every gate."""
BATCH = 16
"""Documents read side by side."""
BLOCK = 512
"""Tokens per resampled block of running text."""
QUANTILES = {"tau_p10": 0.1, "tau_p50": 0.5, "tau_p90": 0.9}
ABOVE = (10, 50, 100)
VALLEY = 0.5
"""How low the density between two groups of units has to sink, of the lower peak."""
SMALLEST_MODE = 0.1
"""Share of the units that make a group."""
NOT_DEFINED = (
    "a plain RNN has no gates: the whole state is rewritten at every step, so there is nothing "
    "here to measure; see REACH and USE"
)


@dataclass(frozen=True)
class GateSums:
    """What each of D documents adds up to.

    log_keep, resets: (D, L, H) sums of ln f, and of f < 0.1, over the document's tokens; tokens:
    (D,); gates: name -> (D, 3, L) sums of "below 0.1", "above 0.9" and the value, mean over units.
    """

    log_keep: Floats
    resets: Floats
    tokens: Floats
    gates: Mapping[str, Floats]


def measure(subject: TracedModel, sample: Sample, settings: Settings) -> GatesRecord:
    """Gate statistics over about ``settings.gate_tokens`` tokens of `sample`, each document read
    from the zero state. A plain RNN has status "not_applicable", never a zero.
    """
    if subject.cell is None or not subject.cell.has_gates:
        return GatesRecord(status="not_applicable", note=NOT_DEFINED)
    # A running text is one document, which nothing could be resampled of.
    if sample.running:
        sample = sample.blocks(min(BLOCK, max(1, sample.tokens // 2)))
    documents = list(_chosen(sample, settings))
    if not documents:
        return GatesRecord(status="insufficient_data", note="there is no text to read")
    sums = collect(subject, documents)
    made = record(sums, resamples=settings.resamples, seed=settings.seed)
    sampling = Sampling(unit=sample.resampling_unit, n=len(documents), items=int(sums.tokens.sum()))
    return made.model_copy(update={"sampling": sampling})


def _chosen(sample: Sample, settings: Settings) -> Iterator[Ids]:
    """Documents in random order until there are enough tokens; the last one is cut."""
    left = settings.gate_tokens
    for document in np.random.default_rng(settings.seed).permutation(len(sample.ids)):
        ids = sample.ids[int(document)][:left]
        left -= len(ids)
        if len(ids):
            yield ids


def collect(subject: TracedModel, documents: Sequence[Ids]) -> GateSums:
    """Read every document (T,) from the zero state, several side by side, and add up its gates."""
    # Similar lengths side by side: little of what is read is padding.
    lengths = np.array([len(ids) for ids in documents])
    order = np.argsort(lengths, kind="stable")
    parts = [
        _read(subject, [documents[int(k)] for k in order[first : first + BATCH]])
        for first in range(0, len(order), BATCH)
    ]
    back = np.argsort(order, kind="stable")
    return _together(parts, lambda found: np.concatenate(found)[back])


def _together(parts: Sequence[GateSums], how: Callable[[list[Floats]], Floats]) -> GateSums:
    return GateSums(
        log_keep=how([part.log_keep for part in parts]),
        resets=how([part.resets for part in parts]),
        tokens=how([part.tokens for part in parts]),
        gates={gate: how([part.gates[gate] for part in parts]) for gate in parts[0].gates},
    )


def _read(subject: TracedModel, documents: Sequence[Ids]) -> GateSums:
    """Documents side by side, the shorter ones padded at their end; padding is not counted."""
    ids, lengths = pad_documents(documents, 0)
    inside = torch.from_numpy(np.arange(len(ids))[:, None] < lengths)  # (T, B)
    state: State | None = None
    parts: list[GateSums] = []
    cell = subject.cell
    assert cell is not None
    for first in range(0, len(ids), CHUNK):
        piece = slice(first, first + CHUNK)
        trace = subject.trace(torch.from_numpy(ids[piece]), state)
        state = final_state(trace)
        parts.append(_sums_of(trace, cell, inside[piece]))
    return _together(parts, lambda found: np.sum(found, axis=0))


def _sums_of(trace: TraceLike, cell: Cell, inside: Tensor) -> GateSums:
    """Sums over the steps that lie `inside` (T, B) their document."""
    counted = inside[None, :, :, None].double()  # (1, T, B, 1)

    def added(values: Tensor) -> Floats:
        total: Tensor = (values * counted).sum(dim=1)  # (L, B, H)
        return np.asarray(total.transpose(0, 1).numpy(force=True))

    keep = torch.stack(
        [layer.values[cell.shown_gates[0]] for layer in trace.layers]
    )  # (L, T, B, H)
    gates = {}
    for gate in cell.shown_gates:
        values = torch.stack([layer.values[gate] for layer in trace.layers])
        counts = (added((values < LOW).double()), added((values > HIGH).double()), added(values))
        gates[gate] = np.stack([count.mean(axis=2) for count in counts], axis=1)
    return GateSums(
        log_keep=added(log_gate(keep)),
        resets=added((keep < LOW).double()),
        tokens=inside.double().sum(dim=0).numpy(),
        gates=gates,
    )


def log_gate(gate: Tensor) -> Tensor:
    """ln f, what a memory's logarithm changes by in one step, for f of any shape."""
    return gate.clamp_min(SMALLEST).log()


def time_constants(mean_log: Floats) -> Floats:
    """τ = −1/ℓ in tokens for ℓ = mean ln f of any shape; `LONGEST` where it is longer."""
    return np.asarray(1 / np.maximum(-mean_log, 1 / LONGEST))


def endless(tau: float) -> bool:
    """Whether a time constant is the `LONGEST` one, give or take rounding."""
    return tau > 0.999 * LONGEST


def unit_at(tau: Floats, share: float) -> Floats:
    """The quantile `share` over units, the first axis of `tau` (J, …), as the value of one unit.

    Of two neighbours the lower one: between a fast and a slow half of the units, their mean would
    be a time constant that no unit has.
    """
    return np.asarray(np.quantile(tau, share, axis=0, method="lower"))


def find_modes(tau: Floats) -> tuple[GateMode, ...]:
    """Two groups of units (J,) with clearly different time constants; () where there is one.

    The density of ln τ (Gaussian kernel, Silverman's width) has to sink below `VALLEY` of its lower
    peak between them, and each group has to hold `SMALLEST_MODE` of the units. A group's τ is that
    of its median unit.
    """
    # On a log scale: a memory of 1 and one of 10 tokens are as far apart as 10 and 100.
    logs = np.log(np.maximum(tau, 1e-3))
    spread = float(logs.std())
    if len(logs) < 4 or spread < 1e-9:
        return ()
    # 1.34: the interquartile range of a normal distribution in standard deviations.
    iqr = float(np.subtract(*np.quantile(logs, (0.75, 0.25)))) / 1.34
    # Silverman's rule of thumb (1986): with the smaller of the two spreads it does not smooth two
    # groups into one.
    width = 0.9 * (min(spread, iqr) if iqr > 0 else spread) * len(logs) ** -0.2
    grid = np.linspace(logs.min(), logs.max(), 200)
    density = np.exp(-0.5 * ((grid[:, None] - logs) / width) ** 2).sum(axis=1)
    best: tuple[float, float] | None = None
    for k in range(1, len(grid) - 1):
        peak = min(density[:k].max(), density[k:].max())
        share = float((logs < grid[k]).mean())
        if min(share, 1 - share) >= SMALLEST_MODE and density[k] < VALLEY * peak:
            depth = float(density[k] / peak)
            best = min(best, (depth, grid[k])) if best else (depth, grid[k])
    if best is None:
        return ()
    sides = (tau[logs < best[1]], tau[logs >= best[1]])
    return tuple(_mode(side, len(side) / len(tau)) for side in sides)


def _mode(tau: Floats, share: float) -> GateMode:
    middle = float(unit_at(tau, 0.5))
    return GateMode(share=share, tau=None if endless(middle) else middle)


def record(sums: GateSums, *, resamples: int = 1000, seed: int = 0) -> GatesRecord:
    """Quantiles and shares over units, with intervals from resampled documents.

    The interval of a quantile reaches from that quantile of the units' lower ends to that of their
    upper ends, as intervals of ranked means do (Dudewicz 1972, "Two-sided confidence intervals for
    ranked means"). It is too wide where the units' errors are independent. Resamples of the
    quantile itself are no measure of its error where units lie close together (Xie, Singh & Zhang
    2009, "Confidence intervals for population ranks in the presence of ties and near ties").
    """
    tokens, logs = sums.tokens, sums.log_keep
    documents, layers, hidden = logs.shape
    weights = resampling_weights(documents, resamples=resamples, seed=seed)
    counts = weights @ tokens
    # Of the mean of ln f, not ln of the mean of f: a gate that is 0.1 once in ten steps wipes out
    # what it keeps at 0.99 in the other nine.
    tau = time_constants(logs.sum(axis=0).ravel() / tokens.sum())
    replicates = time_constants((weights @ logs.reshape(documents, -1)) / counts[:, None])
    low, high = percentiles(replicates, documents)  # of each unit
    # From the ordered ends and not from the ordered resamples: resampled units change places as
    # much once more as the measured ones did, and always away from where the units lie close.
    scalars = {
        name: _estimate(*(float(unit_at(part, q)) for part in (tau, low, high)), n=documents)
        for name, q in QUANTILES.items()
    }
    for limit in ABOVE:
        ends = map(float, percentiles((replicates > limit).mean(axis=1), documents))
        scalars[f"share_tau_above_{limit}"] = _estimate(
            (tau > limit).mean(), *ends, n=documents, unit=""
        )
    resets = sums.resets.mean(axis=(1, 2))
    ends = map(float, percentiles(weights @ resets / counts, documents))
    rate = _estimate(resets.sum() / tokens.sum(), *ends, n=documents, unit="")
    scalars["reset_rate"] = rate
    scalars["reset_interval"] = _interval_between(rate)
    rows = [
        tuple(None if endless(value) else float(value) for value in layer)
        for layer in tau.reshape(layers, hidden)
    ]
    return GatesRecord(
        scalars=scalars,
        curves={"tau_histogram": histogram(tau)},
        gates=gate_records(sums.gates, tokens.sum()),
        tau_by_unit=tuple(rows),
        modes=find_modes(tau),
    )


def _interval_between(rate: Estimate) -> Estimate:
    """Mean time between two resets of a unit: tokens per step whose gate is below 0.1."""
    share, (low, high) = rate.estimate or 0.0, rate.ci95
    if not share:
        return curves.missing("censored", "no gate ever falls below 0.1", unit="tokens", n=rate.n)
    ends = (1 / high if high else None, 1 / low if low else None)
    return rate.model_copy(update={"estimate": 1 / share, "ci95": ends, "unit": "tokens"})


def _estimate(value: float, low: float, high: float, *, n: int, unit: str = "tokens") -> Estimate:
    censored = endless(value)
    known = n > 1
    return Estimate(
        estimate=None if censored else float(value),
        ci95=(low if known else None, high if known and not endless(high) else None),
        n=n,
        unit=unit,
        status="censored" if censored else "ok",
        censored_at=LONGEST if censored else None,
        note="the gate never closes" if censored else "",
    )


def histogram(tau: Floats) -> Curve:
    """Share of units (J,) per half-octave bin of τ, 0.25 to 4096 tokens; x is the lower edge."""
    edges = 2.0 ** np.arange(-2, 12.5, 0.5)
    # Units beyond either end stand in the last bin, so that the shares add up to 1.
    clipped = np.clip(tau, edges[0], edges[-1] * 0.999)
    counts, _ = np.histogram(clipped, bins=edges)
    return Curve(
        x_unit="tokens",
        y_unit="share of units",
        x=tuple(float(edge) for edge in edges[:-1]),
        y=tuple(float(count) / len(tau) for count in counts),
        n=tuple(int(count) for count in counts),
    )


def gate_records(gates: Mapping[str, Floats], tokens: float) -> tuple[GateRecord, ...]:
    """Saturation and mean of every gate and layer, from sums (D, 3, L) over so many tokens."""
    totals = {gate: rows.sum(axis=0) / tokens for gate, rows in gates.items()}  # (3, L)
    return tuple(
        GateRecord(
            layer=layer,
            gate=gate,
            left_saturated=float(low),
            right_saturated=float(high),
            mean=float(mean),
        )
        for gate, total in totals.items()
        for layer, (low, high, mean) in enumerate(total.T)
    )
