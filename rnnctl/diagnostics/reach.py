"""REACH: how far back the learning signal gets.

The loss of **one** step is differentiated with respect to every earlier state. A sum of the losses
of many steps would hide vanishing gradients: for h' = h/2 + x the summed ratio of lag 50 to lag 1
is 1.08 while the one-step ratio is 9e-16. Such gradients are refused (`one_step_of`).

Each coordinate of a gradient is multiplied by the standard deviation of that coordinate of the
state, so that the norm means "change of the loss per one-sigma change of the state" and does not
depend on how a network scales its units. Curves are relative to lag 1, because the cell state of
an LSTM has no direct path to the loss of its own step.

Γ(k) = exp(mean over windows of ln‖g(k)‖ − ln‖g(1)‖) is the typical gradient k steps back relative
to one step back; its root mean square is what an optimiser sees. They differ: for factors of 0.5
or 1.4 with equal chance the typical product decays by 0.8367 a step and the rms grows by 1.0512.

half_life         steps beyond lag 1 after which Γ is ½ (falling fit, linear in ln Γ between lags)
half_life_median  the same for single windows, and of these the median. A state that is kept until
                  something erases it is not described by a mean of logarithms: one erased window in
                  ten pulls Γ down at once, while nine in ten have lost nothing.
reach_1pct        steps beyond lag 1 after which Γ is 1 %
tail_tau          −1 / slope of ln Γ over the second half of the lags above the floor; beyond ten
                  times the window it is not told apart from "no decay"
reset_share       share of windows that fall below ½ within one step, to a tenth or less
explodes          Γ at the window's last lag exceeds 1.05, its whole interval does, and the gradient
                  is not zero there

Axes: T time, B batch (windows of text), H hidden, L layers, K lags 1…K, N windows, D documents,
R bootstrap resamples of documents.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnnctl.diagnostics import curves
from rnnctl.diagnostics.sample import REPRESENTATIVE, REPRESENTATIVE_ONCE, Floats, Sample
from rnnctl.diagnostics.settings import Settings
from rnnctl.diagnostics.subject import ExactModel, TracedModel, TraceLike
from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.results.base import Curve, Estimate
from rnnctl.results.diagnostics import ReachBlock, ReachRecord, Sampling
from rnnctl.statistics import (
    isotonic,
    percentiles,
    ratio_of_means,
    resampling_weights,
    wilson,
)

WARM_UP = 32
"""Tokens read before the largest lag, so that the state is no longer the zero state: there gates
and gradients are unlike those further on."""
CHUNK = 32
"""Windows traced at once."""
FEWEST_DOCUMENTS = 8
SHORTEST = 8
"""Lags below which there is nothing to fit."""

SHARE_LAGS = (10, 30, 100)

FLOOR = 1e-30
"""Smaller ratios are rounding or exact zeros; curves end there."""
QUANTILES = {"p10": 0.1, "p50": 0.5, "p90": 0.9}
GROWTH = 1.05
"""Γ at the last lag from which on gradients are called exploding: growth that matters."""
TAIL = 10
"""Windows beyond which a time constant of the tail is not told apart from no decay."""
ERASED = math.log(10)
"""Fall of ln‖g‖ within one step that counts as a reset: to a tenth, as with a gate below 0.1."""


class SummedLossError(ValueError):
    """Gradients of more than one step's loss were offered: their ratio would hide vanishing."""


@dataclass(frozen=True)
class Windows:
    """Pieces of text whose last step's loss is differentiated.

    ids: (T, N) inputs; targets: (N,) what the last step should answer; groups: (N,) the document
    of each window, the resampling unit.
    """

    ids: Tensor
    targets: Tensor
    groups: NDArray[np.int64]


@dataclass(frozen=True)
class Unit:
    """What a block's coordinates (C of them) are measured in: their standard deviations.

    sums, squares: (N, C) of each window's states, over its `steps` tokens. typical, total: (K+1, C)
    the share of the squared norm that a coordinate has, k steps back: the mean of the windows'
    shares, and the share of their sum.
    """

    steps: int
    sums: Floats
    squares: Floats
    typical: Floats
    total: Floats

    def shifts(self, alive: NDArray[np.bool_], weights: Floats) -> tuple[Floats, ...]:
        """(R, K) what other texts' standard deviations add to ln Γ and to the rms's logarithm.

        `alive` (N,) windows count, each as often as `weights` (R, their number) says. Of first
        order: ln ‖s ∘ g‖ changes by half of Σ share · ln of the change of s².
        """
        sums, squares = self.sums[alive], self.squares[alive]

        def variances(often: Floats) -> Floats:
            count = self.steps * often.sum(axis=-1, keepdims=True)
            found: Floats = often @ squares / count - np.square(often @ sums / count)
            return np.maximum(found, 0)

        here, there = variances(np.ones(len(sums))), variances(weights)
        known = (here > 0) & (there > 0)
        # The standard deviations are estimates too: without this the intervals would hold for this
        # text's unit of measurement, and be too narrow for another text's.
        change = np.log(np.where(known, there, 1) / np.where(known, here, 1)) / 2
        shares = (self.typical, self.total)
        return tuple(change @ (share[1:] - share[1]).T for share in shares)


@dataclass(frozen=True)
class GradientNorms:
    """Norms of the gradient of one-step losses, by block of the state.

    blocks: name -> (K+1, N), row k being k steps back; groups: (N,) document of each window;
    units: name -> what the block's coordinates are measured in, empty where as they are.
    """

    blocks: Mapping[str, Floats]
    groups: NDArray[np.int64]
    units: Mapping[str, Unit] = field(default_factory=dict)

    @property
    def main(self) -> str:
        """The block that a cell keeps its memory in: c where there is one, else h."""
        return "c" if "c" in self.blocks else "h"


def measure(subject: TracedModel, sample: Sample, settings: Settings) -> ReachRecord:
    """Gradients of one-step losses over `sample`; deterministic in ``settings.seed``.

    Language models: the loss of the token after each window. Classifiers (``sample.labels``): the
    loss of the label at the document's last token, read from that state alone. Lags reach to
    ``settings.reach_lags`` or as far as documents go that hold a tenth of all tokens, or half of
    them for a classifier, of whose documents each is asked once.
    """
    sample = as_documents(sample, settings.reach_lags)
    windows = cut_windows(
        sample, lags=settings.reach_lags, count=settings.sequences, seed=settings.seed
    )
    if windows is None:
        return ReachRecord(status="insufficient_data", note="the documents are too short")
    # The first tokens of a window only carry the state away from zero; no lag reaches into them.
    lags = max(SHORTEST, len(windows.ids) - WARM_UP) - 1
    norms = gradient_norms(subject, windows, lags=lags)
    made = record(norms, resamples=settings.resamples, seed=settings.seed)
    documents = len(np.unique(windows.groups))
    sampling = Sampling(unit=sample.resampling_unit, n=documents, items=len(windows.groups))
    return made.model_copy(update={"sampling": sampling})


def gradient_norms(
    subject: TracedModel, windows: Windows, *, lags: int, scaled: bool = True
) -> GradientNorms:
    """Norms of the gradients of each window's last loss, for 0 to `lags` steps back.

    `scaled` multiplies by the states' standard deviations, over all windows.
    """
    # A trace keeps every gate of every step, so all at once would not fit into memory: they are
    # read twice, first for the unit of measurement that all share.
    chunks = [slice(first, first + CHUNK) for first in range(0, windows.ids.shape[1], CHUNK)]
    moments = _Moments()
    if scaled:
        for chunk in chunks:
            moments.add(subject.trace(windows.ids[:, chunk]))
    scales = moments.deviations()
    parts: list[dict[str, Floats]] = []
    shares: dict[str, list[tuple[Floats, Floats]]] = defaultdict(list)
    for chunk in chunks:
        trace = subject.trace(windows.ids[:, chunk])
        # The loss of the last step alone: see `one_step_of` for what a sum would hide.
        gradient = torch.zeros_like(trace.outputs)
        gradient[-1] = subject.readout_gradient(trace.outputs[-1], windows.targets[chunk])
        squares = _lag_squares(trace, gradient, lags, scales)
        parts.append({name: _norms(part) for name, part in squares.items()})
        for name in squares if scaled else ():
            shares[name].append(_shares(squares[name]))
    blocks = {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}
    units = {name: moments.unit(name, found) for name, found in shares.items()}
    return GradientNorms(blocks, windows.groups, units)


def one_step_of(output_gradients: Tensor) -> int:
    """The step that (T, B, H) gradients belong to; raises SummedLossError if there are several."""
    steps = torch.nonzero(output_gradients.abs().sum(dim=(1, 2)))
    if len(steps) > 1:
        raise SummedLossError(
            f"losses of {len(steps)} steps were summed: gradients that enter at every step hide "
            "those that vanish; differentiate the loss of one step"
        )
    return int(steps[0]) if len(steps) else len(output_gradients) - 1


def lag_norms(
    trace: TraceLike, output_gradients: Tensor, lags: int, scales: Mapping[str, Tensor]
) -> dict[str, Floats]:
    """(lags+1, B) norms per block ("h", "c", "l0.h", …, "input") of the gradient at each lag.

    `output_gradients` (T, B, H) is non-zero at one step only; a block that `scales` ("h" and "c"
    (L, 1, 1, H), "input" (1, 1, E)) does not name is taken as it is.
    """
    squares = _lag_squares(trace, output_gradients, lags, scales)
    return {name: _norms(part) for name, part in squares.items()}


def _lag_squares(
    trace: TraceLike, output_gradients: Tensor, lags: int, scales: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The squares whose sum is the squared norm: (layers of the block, lags+1, B, coordinates)."""
    step = one_step_of(output_gradients)
    gradients = trace.state_gradients(output_gradients)
    rows = slice(step - lags, step + 1)
    states = {name: gradients[name][:, rows] for name in ("h", "c") if name in gradients}
    if len(trace.layers) > 1:  # in one layer both are the same, and this is the cheaper way
        states = _through_states(trace, output_gradients[step], step, lags, tuple(states))
    blocks: dict[str, Tensor] = {}
    for name, gradient in states.items():
        blocks[name] = _scale(gradient, scales, name).square()
        if len(gradient) > 1:
            blocks |= {f"l{k}.{name}": part[None] for k, part in enumerate(blocks[name])}
    # What a change of the token's embedding would do: the way that learning an early word takes.
    blocks["input"] = _scale(gradients["inputs"][rows], scales, "input").square()[None]
    # Rows run forwards in time; lags run backwards.
    return {name: part.flip(1) for name, part in blocks.items()}


def _norms(squares: Tensor) -> Floats:
    """(lags+1, B) of squares (L, lags+1, B, H)."""
    norms: Floats = squares.sum(dim=(0, 3)).sqrt().numpy(force=True)
    return norms


def _shares(squares: Tensor) -> tuple[Floats, Floats]:
    """Of squares (L, lags+1, B, H), sums over the windows, as (lags+1, L · H).

    First of each window's shares of its squared norm (0 where that is 0), then of the squares.
    """
    by_window = squares.double().permute(1, 2, 0, 3).flatten(2)
    whole = by_window.sum(dim=2, keepdim=True)
    shares = torch.where(whole > 0, by_window / whole, 0.0)
    return shares.sum(dim=1).numpy(force=True), by_window.sum(dim=1).numpy(force=True)


def _through_states(
    trace: TraceLike, output_gradient: Tensor, step: int, lags: int, names: tuple[str, ...]
) -> dict[str, Tensor]:
    """(L, lags+1, B, H) gradients of the state of a stack, carried on by the state alone.

    In s' = F(s, x) the layers' states are coordinates of one s: what a lower layer has already
    passed upwards at its own step belongs to the upper layer. `state_gradients` counts it for both.
    """
    zero = output_gradient.new_zeros(len(trace.layers), *output_gradient.shape)
    cotangent = tuple(zero.clone() for _ in names)
    cotangent[0][-1] = output_gradient
    found = [cotangent]
    for t in range(step, step - lags, -1):
        found.append(trace.vjp(t, found[-1]))
    return {
        name: torch.stack(parts[::-1], dim=1)
        for name, parts in zip(names, zip(*found, strict=True), strict=True)
    }


def _scale(gradient: Tensor, scales: Mapping[str, Tensor], name: str) -> Tensor:
    return gradient * scales[name] if name in scales else gradient


class _Moments:
    """Sums of the states of texts that are traced one after the other, by text."""

    def __init__(self) -> None:
        self.steps = 0
        self.dtype = torch.float32
        self.sums: dict[str, list[tuple[Tensor, Tensor]]] = defaultdict(list)

    def add(self, trace: TraceLike) -> None:
        self.steps, self.dtype = len(trace.outputs), trace.outputs.dtype
        values = {"input": trace.layers[0].inputs[None]}
        for name in ("h", "c"):
            if name in trace.layers[0].values:
                values[name] = torch.stack([layer.values[name] for layer in trace.layers])
        for name, value in values.items():  # (L, T, B, H)
            # In float64 always: a variance as a difference of two sums loses half of its digits.
            wide = value.double()
            self.sums[name].append((wide.sum(dim=1), wide.square().sum(dim=1)))

    def of(self, name: str) -> tuple[Tensor, Tensor]:
        """The sums and the sums of squares over time: (L, N, H)."""
        sums, squares = zip(*self.sums[name], strict=True)
        return torch.cat(sums, dim=1), torch.cat(squares, dim=1)

    def deviations(self) -> dict[str, Tensor]:
        """Of every coordinate over time and texts: "h", "c" (L, 1, 1, H) and "input" (1, 1, E)."""
        found = {}
        for name in self.sums:
            sums, squares = self.of(name)
            count = self.steps * sums.shape[1]
            mean = sums.sum(dim=1) / count
            variance = (squares.sum(dim=1) / count - mean.square()).clamp(min=0)
            shape = (1, 1, -1) if name == "input" else (len(sums), 1, 1, -1)
            found[name] = variance.sqrt().to(self.dtype).reshape(shape)
        return found

    def unit(self, block: str, shares: Sequence[tuple[Floats, Floats]]) -> Unit:
        """The unit of a block ("h", "l0.h", …), from `_shares` of all chunks."""
        layer, _, name = block.rpartition(".")
        chosen = slice(int(layer[1:]), int(layer[1:]) + 1) if layer else slice(None)
        sums, squares = (
            part[chosen].permute(1, 0, 2).flatten(1).numpy(force=True) for part in self.of(name)
        )
        typical, total = (sum(parts) for parts in zip(*shares, strict=True))
        typical, total = (
            part / np.maximum(part.sum(axis=1, keepdims=True), FLOOR**2)
            for part in (np.asarray(typical), np.asarray(total))
        )
        return Unit(self.steps, sums, squares, typical, total)


def cut_windows(sample: Sample, *, lags: int, count: int, seed: int) -> Windows | None:
    """About `count` windows of one length, ended at several steps of each document.

    None where not even `SHORTEST` lags fit. Documents are drawn at random where there are more
    than `count`; windows of one document lie evenly spread over it.
    """
    labelled = sample.labels is not None
    sample = as_documents(sample, lags)
    share = REPRESENTATIVE_ONCE if labelled else REPRESENTATIVE
    length = _window_length(sample.lengths - (0 if labelled else 1), lags + 1 + WARM_UP, share)
    if length < SHORTEST:
        return None
    # A language model is asked for the token after its window, so one more has to be there.
    fitting = np.flatnonzero(sample.lengths >= length + (0 if labelled else 1))
    drawn = np.random.default_rng(seed).permutation(fitting)[:count]
    # A label is asked for once, at the end; a language model at any step.
    per_document = 1 if labelled else -(-count // len(drawn))
    inputs, targets, groups = [], [], []
    for document in np.sort(drawn):
        ids = sample.ids[document]
        for end in _ends(len(ids), length, per_document, labelled=labelled):
            inputs.append(ids[end - length : end])
            targets.append(int(ids[end]) if sample.labels is None else int(sample.labels[document]))
            groups.append(int(document))
    columns = torch.from_numpy(np.stack(inputs, axis=1).astype(np.int64))
    return Windows(columns, torch.tensor(targets), np.asarray(groups, dtype=np.int64))


def as_documents(sample: Sample, lags: int) -> Sample:
    """Running text in blocks of 4 · `lags` tokens, which are then resampled; documents as they are.

    Shorter blocks where the text would give fewer than `FEWEST_DOCUMENTS`.
    """
    if not sample.running or sample.block is not None:
        return sample
    return sample.blocks(min(4 * lags, max(1, sample.tokens // FEWEST_DOCUMENTS)))


def _window_length(available: NDArray[np.int64], wanted: int, share: float) -> int:
    """`wanted`, or as long as documents are that hold this `share` of all tokens.

    At least `FEWEST_DOCUMENTS` are that long (all, if there are fewer).
    """
    if not len(available):
        return 0
    # Long windows show far lags, but a few long documents must not speak for all of the text.
    longest = np.sort(available)[::-1]
    held = np.cumsum(longest)
    last = max(FEWEST_DOCUMENTS - 1, int(np.searchsorted(held, share * held[-1])))
    return min(wanted, int(longest[min(last, len(longest) - 1)]))


def _ends(tokens: int, length: int, count: int, *, labelled: bool) -> list[int]:
    """Where windows end: at the document's end for a label, else spread, one token left over."""
    if labelled:
        return [tokens]
    last = tokens - 1
    spread = np.linspace(length, last, num=min(count, last - length + 1))
    return sorted({int(end) for end in np.round(spread)})


# -- from norms to curves, half-lives and intervals ----------------------------------------------


@dataclass(frozen=True)
class LagCurve:
    """ln Γ at lags 1…K: `estimate` (K,), `replicates` (R, K); the same of the rms.

    `log_ratios` (K, N) of the single windows, `groups` (N,) the document of each, numbered from 0,
    `weights` (R, D) how often each document stands in each resample, `shifts` (R, K) what its unit
    of measurement adds to ln Γ.
    """

    estimate: Floats
    replicates: Floats
    rms: Floats
    rms_replicates: Floats
    log_ratios: Floats
    groups: NDArray[np.int64]
    weights: Floats
    shifts: Floats

    @property
    def documents(self) -> int:
        """D, the resampling units."""
        return int(self.weights.shape[1])

    @property
    def windows(self) -> int:
        """N."""
        return int(self.log_ratios.shape[1])


def lag_curve(
    norms: Floats,
    groups: NDArray[np.int64],
    resamples: int,
    seed: int,
    unit: Unit | None = None,
) -> LagCurve:
    """Average (K, N) norms from lag 1 on; windows without any gradient at lag 1 are left out.

    In the bootstrap resamples the `unit` of measurement is another one, too. Raises ValueError if
    no window is left.
    """
    alive = norms[0] > 0
    if not alive.any():
        raise ValueError("no gradient reaches even the step before")
    taken, documents = norms[:, alive], documents_of(groups[alive])
    # Logarithms before the mean: the typical product of many factors is their geometric mean.
    ratios = np.log(np.maximum(taken / taken[0], FLOOR))
    count = int(documents.max()) + 1
    # A matrix from documents to windows makes resampling of documents a product.
    member = (np.arange(count)[:, None] == documents).astype(np.float64)  # (D, N)
    weights = resampling_weights(count, resamples=resamples, seed=seed)
    sizes = member.sum(axis=1, keepdims=True)
    mean = ratio_of_means(member @ ratios.T, np.broadcast_to(sizes, (count, len(taken))), weights)
    # The rms is a ratio of sums and not a mean of ratios: one window with a tiny gradient at lag 1
    # would outweigh all others.
    squares = member @ np.square(taken).T
    rms = ratio_of_means(squares, np.broadcast_to(squares[:, :1], squares.shape), weights)
    # FLOOR² and a half: these are squares, and their logarithm is twice that of a norm.
    shown, drawn = (
        np.log(np.maximum(part, FLOOR**2)) / 2 for part in (rms.estimate, rms.replicates)
    )
    shifts: tuple[Floats, ...] = (np.zeros_like(mean.replicates), np.zeros_like(drawn))
    if unit is not None:
        shifts = unit.shifts(alive, weights[:, documents])
    typical, total = mean.replicates + shifts[0], drawn + shifts[1]
    return LagCurve(mean.estimate, typical, shown, total, ratios, documents, weights, shifts[0])


def documents_of(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) the resampling unit of each window, numbered from 0.

    Windows of one document are alike; resampled singly they would feign precision.
    """
    units: NDArray[np.int64] = np.unique(groups, return_inverse=True)[1]
    return units


def lag_where(log_curve: Floats, level: float) -> float:
    """The lag (from 1) where the falling fit of (K,) ln Γ crosses ln `level`; inf if it does not.

    Interpolated linearly in ln Γ between lags.
    """
    # The first lag below the level on a curve of noise comes too early; on its falling fit it does
    # not.
    fit = isotonic(log_curve)
    below = np.flatnonzero(fit <= math.log(level))
    # Beyond the window nothing is known but that the curve stays above: no extrapolation.
    if not len(below):
        return math.inf
    k = int(below[0])
    if k == 0:
        return 1.0
    return k + float((fit[k - 1] - math.log(level)) / (fit[k - 1] - fit[k]))


def tail_slope(log_curve: Floats, tail: tuple[int, int] | None = None) -> float:
    """Least-squares slope of ln Γ (K,) per step over lags `tail` (inclusive), by default the second
    half of those above the floor; NaN where fewer than two are.
    """
    if tail is None:
        above = np.flatnonzero(log_curve > math.log(FLOOR) + 1)
        last = int(above[-1]) + 1 if len(above) else 0
        # The first half holds the fast directions, which are many and die early; the slow ones
        # decide how far learning gets.
        tail = (last // 2 + 1, last)
    lags = np.arange(tail[0], tail[1] + 1, dtype=np.float64)
    if len(lags) < 2:
        return math.nan
    heights = log_curve[tail[0] - 1 : tail[1]]
    centred = lags - lags.mean()
    return float(centred @ heights / (centred @ centred))


def record(norms: GradientNorms, *, resamples: int = 1000, seed: int = 0) -> ReachRecord:
    """Curves and scalars of every block; the main one gives the record's own scalars."""
    blocks: dict[str, ReachBlock] = {}
    for name, rows in norms.blocks.items():
        # Row 0 is the step of the loss itself; relative to lag 1 there must be something at lag 1.
        if (rows[1] > 0).any():
            curve = lag_curve(rows[1:], norms.groups, resamples, seed, norms.units.get(name))
            blocks[name] = block_record(curve)
    if norms.main not in blocks:
        note = "no gradient reaches even the step before: the loss does not depend on the state"
        return ReachRecord(status="undefined", note=note, main_block=norms.main, blocks=blocks)
    chosen = blocks[norms.main]
    names = ("half_life", "half_life_median", "tail_tau", "reach_1pct", "reset_share")
    return ReachRecord(
        status="exploding" if chosen.explodes else "ok",
        note="gradients grow with the lag" if chosen.explodes else "",
        main_block=norms.main,
        blocks=blocks,
        scalars={name: getattr(chosen, name) for name in names},
        curves={"geo": chosen.geo, "rms": chosen.rms},
    )


def mean_misleads(record: ReachRecord) -> bool:
    """Whether the median window keeps its gradient for over twice, or under half, as long as Γ."""
    mean, median = (record.scalars.get(name) for name in ("half_life", "half_life_median"))
    if mean is None or median is None or mean.estimate is None:
        return False  # beyond the window there is nothing to compare
    if median.estimate is None:
        return median.status == "censored" and (median.censored_at or 0.0) > 2 * mean.estimate
    high, low = (pick(mean.estimate, median.estimate) for pick in (max, min))
    return high > 2 * low and high > 1  # below one step both say "at once"


def block_record(curve: LagCurve) -> ReachBlock:
    """The record of one block of the state, from its curve at lags 1…K."""
    # Growth counts only if it is beyond chance, and if there is still a gradient that grows.
    last_low = float(percentiles(curve.replicates[:, -1], curve.documents)[0])
    alive = curve.estimate[-1] > math.log(10 * FLOOR)
    explodes = bool(alive and last_low > math.log(GROWTH))
    # Of windows, not of an estimate: how much single stretches of text differ.
    bands = np.quantile(curve.log_ratios, list(QUANTILES.values()), axis=1)
    return ReachBlock(
        geo=_curve(curve, curve.estimate, *percentiles(curve.replicates, curve.documents)),
        rms=_curve(curve, curve.rms, *percentiles(curve.rms_replicates, curve.documents)),
        bands={name: _curve(curve, band) for name, band in zip(QUANTILES, bands, strict=True)},
        half_life=lag_estimate(curve, 0.5),
        half_life_median=_median_estimate(curve),
        tail_tau=_tau_estimate(curve, explodes=explodes),
        reach_1pct=lag_estimate(curve, 0.01),
        reset_share=_reset_share(curve),
        explodes=explodes,
    )


def _curve(curve: LagCurve, logs: Floats, *ends: Floats) -> Curve:
    """The record of a curve ln Γ (K,), with the ends of its interval if there is one."""
    # Where it has sunk to the floor, what is there is rounding.
    above = np.exp(logs) > 10 * FLOOR
    y, *shown = (
        tuple(float(value) if kept else None for value, kept in zip(part, above, strict=True))
        for part in map(np.exp, (logs, *ends))
    )
    lo, hi = shown or ((), ())
    return Curve(
        x_unit="tokens",
        y_unit="ratio to lag 1",
        x=tuple(float(k) for k in range(1, len(logs) + 1)),
        y=y,
        lo=lo,
        hi=hi,
        n=(curve.windows,) * len(logs),
    )


def lag_estimate(curve: LagCurve, level: float) -> Estimate:
    """Steps beyond lag 1, where Γ is 1, after which it is `level`."""
    replicates = np.array([lag_where(row, level) - 1 for row in curve.replicates])
    return _steps(curve, lag_where(curve.estimate, level) - 1, replicates, level)


def _median_estimate(curve: LagCurve) -> Estimate:
    """The median over windows of the steps beyond lag 1 after which a window's gradient is half."""
    lives = _half_lives(curve.log_ratios.T)
    even = np.ones(len(lives))
    # The same unit of measurement is in all windows, so another one moves all of them.
    replicates = [
        _weighted_median(_half_lives(curve.log_ratios.T + shift) if shift.any() else lives, weights)
        for shift, weights in zip(curve.shifts, curve.weights[:, curve.groups], strict=True)
    ]
    return _steps(curve, _weighted_median(lives, even), np.array(replicates), 0.5)


def _half_lives(log_curves: Floats) -> Floats:
    """(N,) steps beyond lag 1 after which rows (N, K) are half: `lag_where` − 1, of all at once."""
    above = log_curves - math.log(0.5)
    sums = np.concatenate([np.zeros((len(above), 1)), np.cumsum(above, axis=1)], axis=1)
    # By the min-max formulas of isotonic regression (Robertson, Wright & Dykstra 1988), since a fit
    # for each window in each resample would take minutes. The falling fit stays above the level for
    # as long as the sum grows; its last value there is the least mean of what ends there, and the
    # next one the largest mean of what begins there.
    last = np.argmax(sums, axis=1)
    ends = np.arange(sums.shape[1])
    away = ends - last[:, None]
    means = (sums - sums[np.arange(len(sums)), last][:, None]) / np.where(away == 0, 1, away)
    before = np.min(means, axis=1, where=away < 0, initial=math.inf)
    behind = np.max(means, axis=1, where=away > 0, initial=-math.inf)
    with np.errstate(invalid="ignore"):
        lives = last - 1 + before / (before - behind)
    lives = np.where(last == 0, 0.0, lives)
    return np.where(last == sums.shape[1] - 1, math.inf, lives)


def _weighted_median(values: Floats, weights: Floats) -> float:
    """Of (N,) values, of which infinite ones sort last."""
    # As if each value stood there as often as its weight says: resampled documents, not windows.
    order = np.argsort(values, kind="stable")
    return float(values[order][np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)])


def _steps(curve: LagCurve, found: float, replicates: Floats, level: float) -> Estimate:
    """An estimate in steps beyond lag 1, censored at the window's last lag."""
    low, high = map(float, percentiles(replicates, curve.documents))
    limit = float(len(curve.estimate) - 1)
    return Estimate(
        estimate=found if math.isfinite(found) else None,
        ci95=(low if math.isfinite(low) else limit, high if math.isfinite(high) else None),
        n=curve.documents,
        unit="tokens",
        status="ok" if math.isfinite(found) else "censored",
        censored_at=None if math.isfinite(found) and math.isfinite(high) else limit,
        note=""
        if math.isfinite(found)
        else f"not below {100 * level:.0f} % within {limit:.0f} tokens",
    )


def _tau_estimate(curve: LagCurve, *, explodes: bool) -> Estimate:
    """τ = −1/slope of the tail, censored at `TAIL` times the window: beyond, it is extrapolation.

    A curve that ends at the floor without having decayed before (a delay line, whose gradient is
    exactly 0 from some lag on) has no tail.
    """
    # Of the tail and not of the whole curve: the slowest directions are what is left there, as the
    # largest Lyapunov exponent has them (memory.md, Cross-checks).
    slope = tail_slope(curve.estimate)
    n, lags = curve.documents, len(curve.estimate)
    limit = float(TAIL * lags)
    living = int(np.sum(curve.estimate > math.log(10 * FLOOR)))
    if math.isnan(slope):
        note = "the gradient is zero after one step"
        return curves.missing("undefined", note, unit="tokens", n=n)
    if living < lags and -slope < 1 / (TAIL * living):
        note = f"the gradient is zero from {living} steps beyond lag 1 on, and has no tail"
        return curves.missing("undefined", note, unit="tokens", n=n)
    # Intervals of the rate, then 1 / rate: where the rate's interval reaches 0, τ has no upper end.
    rates = -np.array([tail_slope(row) for row in curve.replicates])
    low, high = map(float, percentiles(rates, n))
    shortest = min(1 / high, limit) if high > 0 else limit
    longest = 1 / low if low > 1 / limit else None
    if -slope >= 1 / limit:
        beyond = limit if longest is None else None
        ends = (shortest, longest)
        return Estimate(estimate=-1 / slope, ci95=ends, censored_at=beyond, n=n, unit="tokens")
    slow = f"a decay too slow to be told from none within {lags} tokens"
    return Estimate(
        estimate=None,
        ci95=(shortest, None),
        censored_at=limit,
        n=n,
        unit="tokens",
        status="exploding" if explodes else "censored",
        note="no decay over the second half of the lags" if slope >= 0 else slow,
    )


def _reset_share(curve: LagCurve) -> Estimate:
    """Share of windows whose gradient falls below ½ in one step that leaves a tenth or less."""
    # A gate that falls below 0.1 leaves a tenth in one step; a decay by half in one step does not.
    ended = np.zeros(curve.windows)
    for k, window in enumerate(curve.log_ratios.T):
        below = np.flatnonzero(window <= math.log(0.5))
        if len(below) and below[0] > 0:
            ended[k] = window[below[0] - 1] - window[below[0]] >= ERASED
    per_window = curve.weights[:, curve.groups]
    low, high = map(float, percentiles(per_window @ ended / per_window.sum(1), curve.documents))
    # where none or all of a few windows end so, resampling them shows no error: Wilson's does
    share = float(ended.mean())
    rough = wilson(share * curve.documents, curve.documents)
    return Estimate(
        estimate=share,
        ci95=(min(low, rough.lo), max(high, rough.hi)),
        n=curve.documents,
        unit="share",
    )


# -- a look at a model while it trains -----------------------------------------------------------


def share_windows(
    documents: Sequence[NDArray[np.integer[Any]]],
    *,
    labels: Sequence[int] | None = None,
    running: bool = False,
    count: int = 8,
) -> Windows | None:
    """A few fixed windows (T, N) of held-out text for `gradient_share`; None where all are short.

    documents: ids (T,) each; labels (D,).
    """
    ids = tuple(np.asarray(document, dtype=np.int64) for document in documents)
    classes = None if labels is None else np.asarray(labels, dtype=np.int64)
    sample = Sample(ids=ids, labels=classes, running=running)
    return cut_windows(sample, lags=max(SHARE_LAGS), count=count, seed=0)


def gradient_share(
    model: LanguageModel | Classifier, windows: Windows, lags: Sequence[int] = SHARE_LAGS
) -> dict[int, float]:
    """How much of the gradient still arrives from `lags` steps back, relative to one step back.

    Γ(k) of h (of c in an LSTM), by lag; lags beyond the windows are left out, and the answer is
    empty where no gradient arrives at all. The model is copied, not touched: for a look at it while
    it trains. One direction only.
    """
    subject = ExactModel(model)
    longest = len(windows.ids) - 1
    norms = gradient_norms(subject, windows, lags=longest)
    rows = norms.blocks[norms.main]
    alive = rows[1] > 0
    if longest < 1 or not alive.any():
        return {}
    ratios = np.maximum(rows[:, alive] / rows[1, alive], FLOOR)
    typical = np.exp(np.log(ratios).mean(axis=1))
    return {lag: float(typical[lag]) for lag in lags if lag <= longest}
