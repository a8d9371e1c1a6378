"""GATES: the time constants that gates suggest, and how far they are saturated (DIAGNOSTICS.md D5).

Of a unit whose forget gate (LSTM) or keep gate (GRU) is f_t along a text, a memory is multiplied by
f_t at each step, so it decays as exp(Σ ln f_t): ℓ = E[ln f], τ = −1/ℓ tokens, half-life τ ln 2. The
usual −1/ln(mean f) overestimates it by Jensen's inequality: a gate that is 0.99 nine times in ten
and 0.1 otherwise has τ 4.18, not 9.59. Saturation shares (below 0.1, above 0.9) after Karpathy et
al. 2015. All of it is *gate-implied, not measured memory*: other ways through the recurrent weights
are left out.

Axes: T time, B batch, H hidden, L layers, D documents, R bootstrap resamples of documents.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.settings import Settings
from rnnctl.diagnostics.traceable import State, TracedModel, TraceLike, final_state
from rnnctl.results.base import Curve, Estimate
from rnnctl.results.diagnostics import GateRecord, GatesRecord, Sampling
from rnnctl.statistics import percentiles, resampling_weights

FloatArray = NDArray[np.float64]
KEEPING = {"lstm": "forget", "gru": "keep"}
"""The gate that multiplies the past, by cell."""
SHOWN = {"lstm": ("forget", "input", "output"), "gru": ("keep", "reset")}
LOW, HIGH = 0.1, 0.9
SMALLEST = 1e-300
LONGEST = 1e9
"""τ in tokens beyond which a gate counts as always open."""
CHUNK = 512
BLOCK = 512
"""Tokens per resampled block of running text."""
QUANTILES = {"tau_p10": 0.1, "tau_p50": 0.5, "tau_p90": 0.9}
ABOVE = (10, 50, 100)
NOT_DEFINED = (
    "a plain RNN has no gates: the whole state is rewritten at every step, so there is nothing "
    "here to measure; see REACH and USE"
)


@dataclass
class GateSums:
    """What documents add up to. Arrays (D, L, H), one entry per document read."""

    log_keep: list[FloatArray] = field(default_factory=list)
    resets: list[FloatArray] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    gates: dict[str, list[FloatArray]] = field(default_factory=dict)  # (D, 3, L): low, high, sum


def measure(subject: TracedModel, sample: Sample, settings: Settings) -> GatesRecord:
    """Gate statistics over about ``settings.gate_tokens`` tokens of `sample`, each document read
    from the zero state. A plain RNN has status "not_applicable", never a zero.
    """
    if subject.cell not in KEEPING:
        return GatesRecord(status="not_applicable", note=NOT_DEFINED)
    if sample.running:
        sample = sample.blocks(min(BLOCK, max(1, sample.tokens // 2)))
    sums = collect(subject, _chosen(sample, settings))
    if not sums.tokens:
        return GatesRecord(status="insufficient_data", note="there is no text to read")
    made = record(sums, resamples=settings.resamples, seed=settings.seed)
    sampling = Sampling(unit=sample.resampling_unit, n=len(sums.tokens), items=sum(sums.tokens))
    return made.model_copy(update={"sampling": sampling})


def _chosen(sample: Sample, settings: Settings) -> Iterator[NDArray[np.int64]]:
    """Documents in random order until there are enough tokens; the last one is cut."""
    left = settings.gate_tokens
    for document in np.random.default_rng(settings.seed).permutation(len(sample.ids)):
        ids = sample.ids[int(document)][:left]
        left -= len(ids)
        if len(ids):
            yield ids


def collect(subject: TracedModel, documents: Iterator[NDArray[np.int64]]) -> GateSums:
    """Read documents one by one and add up what their gates do."""
    sums = GateSums()
    for ids in documents:
        state: State | None = None
        parts: list[GateSums] = []
        for piece in torch.split(torch.from_numpy(ids.astype(np.int64)), CHUNK):
            trace = subject.trace(piece[:, None], state)
            state = final_state(trace)
            parts.append(_sums_of(trace, subject.cell))
        _append(sums, parts, len(ids))
    return sums


def _sums_of(trace: TraceLike, cell: str) -> GateSums:
    keep = torch.stack([layer.values[KEEPING[cell]] for layer in trace.layers])  # (L, T, 1, H)
    part = GateSums()
    part.log_keep.append(log_gate(keep).sum(dim=(1, 2)).numpy(force=True))
    part.resets.append((keep < LOW).double().sum(dim=(1, 2)).numpy(force=True))
    for gate in SHOWN[cell]:
        values = torch.stack([layer.values[gate] for layer in trace.layers])
        counts = ((values < LOW).double(), (values > HIGH).double(), values)
        sums = torch.stack([count.sum(dim=(1, 2, 3)) for count in counts])  # (3, L)
        part.gates[gate] = [sums.numpy(force=True) / values.shape[-1]]
    return part


def log_gate(gate: Tensor) -> Tensor:
    """ln f, what a memory's logarithm changes by in one step; its mean is the rate."""
    return gate.clamp_min(SMALLEST).log()


def _append(sums: GateSums, parts: list[GateSums], tokens: int) -> None:
    """Add one document, read in `parts`."""
    sums.log_keep.append(np.sum([part.log_keep[0] for part in parts], axis=0))
    sums.resets.append(np.sum([part.resets[0] for part in parts], axis=0))
    sums.tokens.append(tokens)
    for gate in parts[0].gates:
        total = np.sum([part.gates[gate][0] for part in parts], axis=0)
        sums.gates.setdefault(gate, []).append(total)


def time_constants(mean_log: FloatArray) -> FloatArray:
    """τ = −1/ℓ in tokens, `LONGEST` where it is longer."""
    return np.asarray(1 / np.maximum(-mean_log, 1 / LONGEST))


def endless(tau: float) -> bool:
    """Whether a time constant is the `LONGEST` one, give or take rounding."""
    return tau > 0.999 * LONGEST


def record(sums: GateSums, *, resamples: int = 1000, seed: int = 0) -> GatesRecord:
    """Quantiles and shares over units, with intervals from resampled documents."""
    tokens = np.array(sums.tokens, dtype=np.float64)
    logs = np.stack(sums.log_keep)  # (D, L, H)
    documents, layers, hidden = logs.shape
    weights = resampling_weights(documents, resamples=resamples, seed=seed)
    counts = weights @ tokens
    tau = time_constants(logs.sum(axis=0).ravel() / tokens.sum())
    replicates = time_constants((weights @ logs.reshape(documents, -1)) / counts[:, None])
    scalars = {
        name: _estimate(np.quantile(tau, q), np.quantile(replicates, q, axis=1), documents)
        for name, q in QUANTILES.items()
    }
    for limit in ABOVE:
        share = _estimate((tau > limit).mean(), (replicates > limit).mean(axis=1), documents, "")
        scalars[f"share_tau_above_{limit}"] = share
    resets = np.stack(sums.resets).mean(axis=(1, 2))
    rate = _estimate(resets.sum() / tokens.sum(), weights @ resets / counts, documents, "")
    scalars["reset_rate"] = rate
    rows = [
        tuple(None if endless(value) else float(value) for value in layer)
        for layer in tau.reshape(layers, hidden)
    ]
    return GatesRecord(
        scalars=scalars,
        curves={"tau_histogram": histogram(tau)},
        gates=gate_records(sums.gates, tokens.sum()),
        tau_by_unit=tuple(rows),
    )


def _estimate(
    value: float, replicates: FloatArray, documents: int, unit: str = "tokens"
) -> Estimate:
    low, high = (float(end) for end in percentiles(replicates))
    censored = endless(value)
    known = documents > 1
    return Estimate(
        estimate=None if censored else float(value),
        ci95=(low if known else None, high if known and not endless(high) else None),
        n=documents,
        unit=unit,
        status="censored" if censored else "ok",
        censored_at=LONGEST if censored else None,
        note="the gate never closes" if censored else "",
    )


def histogram(tau: FloatArray) -> Curve:
    """Share of units per half-octave bin of τ from 0.25 tokens; x is the bin's lower edge."""
    edges = 2.0 ** np.arange(-2, 2 * math.log2(4096) // 2 + 0.5, 0.5)
    clipped = np.clip(tau, edges[0], edges[-1] * 0.999)
    counts, _ = np.histogram(clipped, bins=edges)
    return Curve(
        x_unit="tokens",
        y_unit="share of units",
        x=tuple(float(edge) for edge in edges[:-1]),
        y=tuple(float(count) / len(tau) for count in counts),
        n=tuple(int(count) for count in counts),
    )


def gate_records(gates: Mapping[str, list[FloatArray]], tokens: float) -> tuple[GateRecord, ...]:
    """Saturation and mean of every gate and layer."""
    totals = {gate: np.sum(rows, axis=0) / tokens for gate, rows in gates.items()}  # (3, L)
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
