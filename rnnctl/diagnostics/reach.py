"""REACH: how far back the learning signal gets (DIAGNOSTICS.md D4).

Axes: T time, B batch (windows of text), H hidden, L layers, K largest lag, N windows, D documents.

The loss of **one** step is differentiated with respect to every earlier state. A sum of the losses
of many steps would hide vanishing gradients: for h' = h/2 + x the summed ratio of lag 50 to lag 1
is 1.08 while the one-step ratio is 9e-16. Such gradients are refused (`one_step_of`).

Each coordinate of a gradient is multiplied by the standard deviation of that coordinate of the
state, so that the norm means "change of the loss per one-sigma change of the state" and does not
depend on how a network scales its units. Curves are relative to lag 1, because the cell state of
an LSTM has no direct path to the loss of its own step. How norms become curves and half-lives is
in `reach_curves`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnnctl.diagnostics.reach_curves import FLOOR, GradientNorms, record
from rnnctl.diagnostics.sample import REPRESENTATIVE, Sample
from rnnctl.diagnostics.settings import Settings
from rnnctl.diagnostics.traceable import ExactModel, TracedModel, TraceLike
from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.results.diagnostics import ReachRecord, Sampling

FloatArray = NDArray[np.float64]
WARM_UP = 32
"""Tokens read before the largest lag, so that the state is no longer the zero state."""
CHUNK = 32
"""Windows traced at once: a trace keeps every gate of every step."""
FEWEST_DOCUMENTS = 8
SHORTEST = 8
"""Lags below which there is nothing to fit."""

SHARE_LAGS = (10, 30, 100)


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


def measure(subject: TracedModel, sample: Sample, settings: Settings) -> ReachRecord:
    """Gradients of one-step losses over `sample`; deterministic in ``settings.seed``.

    Language models: the loss of the token after each window. Classifiers (``sample.labels``): the
    loss of the label at the document's last token, read from that state alone. Lags reach to
    ``settings.reach_lags`` or as far as `FEWEST_DOCUMENTS` documents with a tenth of all tokens go.
    """
    sample = as_documents(sample, settings.reach_lags)
    windows = cut_windows(
        sample, lags=settings.reach_lags, count=settings.sequences, seed=settings.seed
    )
    if windows is None:
        return ReachRecord(status="insufficient_data", note="the documents are too short")
    lags = max(SHORTEST, len(windows.ids) - WARM_UP) - 1
    norms = gradient_norms(subject, windows, lags=lags)
    made = record(
        norms,
        main="c" if "c" in norms.blocks else "h",
        resamples=settings.resamples,
        seed=settings.seed,
    )
    documents = len(np.unique(windows.groups))
    sampling = Sampling(unit=sample.resampling_unit, n=documents, items=len(windows.groups))
    return made.model_copy(update={"sampling": sampling})


def gradient_norms(
    subject: TracedModel, windows: Windows, *, lags: int, scaled: bool = True
) -> GradientNorms:
    """Norms of the gradients of each window's last loss, for 0 to `lags` steps back.

    `scaled` multiplies by the states' standard deviations (over the first `CHUNK` windows).
    """
    parts: list[dict[str, FloatArray]] = []
    scales: Mapping[str, Tensor] | None = None
    for first in range(0, windows.ids.shape[1], CHUNK):
        chosen = slice(first, first + CHUNK)
        trace = subject.trace(windows.ids[:, chosen])
        if scales is None:
            scales = standard_deviations(trace) if scaled else {}
        gradient = torch.zeros_like(trace.outputs)
        gradient[-1] = subject.readout_gradient(trace.outputs[-1], windows.targets[chosen])
        parts.append(lag_norms(trace, gradient, lags, scales))
    blocks = {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}
    return GradientNorms(blocks, windows.groups)


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
) -> dict[str, FloatArray]:
    """(lags+1, B) norms per block ("h", "c", "l0.h", …, "input") of the gradient at each lag.

    `output_gradients` (T, B, H) is non-zero at one step only; a block that `scales` (as
    `standard_deviations` returns them) does not name is taken as it is.
    """
    step = one_step_of(output_gradients)
    gradients = trace.state_gradients(output_gradients)
    rows = slice(step - lags, step + 1)
    states = {name: gradients[name][:, rows] for name in ("h", "c") if name in gradients}
    if len(trace.layers) > 1:
        states = _through_states(trace, output_gradients[step], step, lags, tuple(states))
    blocks: dict[str, Tensor] = {}
    for name, gradient in states.items():
        taken = _scale(gradient, scales, name)
        by_layer = taken.square().sum(dim=-1)  # (L, lags+1, B)
        blocks[name] = by_layer.sum(dim=0)
        if len(by_layer) > 1:
            blocks |= {f"l{layer}.{name}": part for layer, part in enumerate(by_layer)}
    blocks["input"] = _scale(gradients["inputs"][rows], scales, "input").square().sum(dim=-1)
    return {name: part.flip(0).sqrt().numpy(force=True) for name, part in blocks.items()}


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


def standard_deviations(trace: TraceLike) -> dict[str, Tensor]:
    """Of every coordinate over time and batch: "h", "c" (L, 1, 1, H) and "input" (E,)."""
    found = {"input": trace.layers[0].inputs.std(dim=(0, 1))}
    for name in ("h", "c"):
        if name in trace.layers[0].values:
            stacked = torch.stack([layer.values[name] for layer in trace.layers])  # (L, T, B, H)
            found[name] = stacked.std(dim=(1, 2), keepdim=True)
    return found


def cut_windows(sample: Sample, *, lags: int, count: int, seed: int) -> Windows | None:
    """About `count` windows of one length, ended at several steps of each document.

    None where not even `SHORTEST` lags fit. Documents are drawn at random where there are more
    than `count`; windows of one document lie evenly spread over it.
    """
    labelled = sample.labels is not None
    sample = as_documents(sample, lags)
    length = _window_length(sample.lengths - (0 if labelled else 1), lags + 1 + WARM_UP)
    if length < SHORTEST:
        return None
    fitting = np.flatnonzero(sample.lengths >= length + (0 if labelled else 1))
    drawn = np.random.default_rng(seed).permutation(fitting)[:count]
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


def _window_length(available: NDArray[np.int64], wanted: int) -> int:
    """`wanted`, or what `FEWEST_DOCUMENTS` have (all, if fewer) that hold enough of the tokens."""
    if not len(available):
        return 0
    longest = np.sort(available)[::-1]
    held = np.cumsum(longest)
    last = max(FEWEST_DOCUMENTS - 1, int(np.searchsorted(held, REPRESENTATIVE * held[-1])))
    return min(wanted, int(longest[min(last, len(longest) - 1)]))


def _ends(tokens: int, length: int, count: int, *, labelled: bool) -> list[int]:
    """Where windows end: at the document's end for a label, else spread, one token left over."""
    if labelled:
        return [tokens]
    last = tokens - 1
    spread = np.linspace(length, last, num=min(count, last - length + 1))
    return sorted({int(end) for end in np.round(spread)})


def share_windows(
    documents: Sequence[NDArray[np.integer[Any]]],
    *,
    labels: Sequence[int] | None = None,
    running: bool = False,
    lags: int = max(SHARE_LAGS),
    count: int = 8,
    seed: int = 0,
) -> Windows | None:
    """A few fixed windows of held-out text for `gradient_share`; None where all is too short."""
    ids = tuple(np.asarray(document, dtype=np.int64) for document in documents)
    classes = None if labels is None else np.asarray(labels, dtype=np.int64)
    sample = Sample(ids=ids, labels=classes, running=running)
    return cut_windows(sample, lags=lags, count=count, seed=seed)


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
    rows = norms.blocks["c" if "c" in norms.blocks else "h"]
    alive = rows[1] > 0
    if longest < 1 or not alive.any():
        return {}
    ratios = np.maximum(rows[:, alive] / rows[1, alive], FLOOR)
    typical = np.exp(np.log(ratios).mean(axis=1))
    return {lag: float(typical[lag]) for lag in lags if lag <= longest}
