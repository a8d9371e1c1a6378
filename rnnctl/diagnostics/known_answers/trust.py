"""GT19 to GT21: intervals that cover, scores that do not depend on names and units, determinism."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from rnnctl import statistics
from rnnctl.diagnostics import effect, gates, hold, lyapunov, reach, use
from rnnctl.diagnostics.known_answers import Check, close, holds
from rnnctl.diagnostics.known_answers.models import (
    VOCABULARY,
    LinearModel,
    random_text,
)
from rnnctl.diagnostics.sample import Floats, Sample
from rnnctl.diagnostics.settings import Settings
from rnnctl.diagnostics.subject import ExactModel, LanguageModelSubject
from rnnctl.nn.models import LanguageModel
from rnnctl.results.base import Record
from rnnctl.results.diagnostics import Measurement

TRIALS, DOCUMENTS, WINDOWS, LAGS = 400, 60, 5, 6
SWAPS = 600
PROBED = 60
DECAY = 0.3
HIDDEN = 6
SETTINGS = Settings(
    resamples=50, resets=32, n_max=32, swaps=32, distance_words=32, planted=100, most_planted=100,
    hold_lag=16, choices=4, sequences=8, reach_lags=24, exponents=4, lyapunov_steps=120,
    lyapunov_burn_in=20,
)  # fmt: skip


def coverage() -> Iterator[Check]:
    """GT19: 95 % intervals of alike windows hold the truth 92 to 97 times in 100."""
    curve_hits, half_hits = 0, 0
    lags = np.arange(1, LAGS + 1)
    truth = np.log(2) / DECAY
    for trial in range(TRIALS):
        norms, groups = _correlated(np.random.default_rng((19, trial)), lags)
        curve = reach.lag_curve(norms, groups, 200, trial)
        low, high = statistics.percentiles(curve.replicates[:, -1], DOCUMENTS)
        curve_hits += bool(low <= -DECAY * (LAGS - 1) <= high)
        ends = reach.lag_estimate(curve, 0.5).ci95
        half_hits += (ends[0] or 0.0) <= truth <= (np.inf if ends[1] is None else ends[1])
    crossed = sum(_crossed(np.random.default_rng((20, trial)), trial) for trial in range(TRIALS))
    for name, hits in (("curve", curve_hits), ("half-life", half_hits), ("crossed", crossed)):
        share = hits / TRIALS  # of 400: a standard error of 1.1 %
        yield holds(f"coverage, {name}", "92–97 %", f"{share:.1%}", 0.92 <= share <= 0.97)


def _correlated(
    rng: np.random.Generator, lags: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Norms (K, N) that decay by DECAY a step, at a rate that differs between documents."""
    groups = np.repeat(np.arange(DOCUMENTS), WINDOWS)
    rate = DECAY + 0.1 * rng.standard_normal(DOCUMENTS)[groups]
    noise = 0.02 * rng.standard_normal((len(lags), len(groups)))
    return np.exp(-np.outer(lags - 1, rate) + noise * (lags[:, None] > 1)), groups


def _crossed(rng: np.random.Generator, seed: int) -> bool:
    """Whether the interval holds the mean of swaps in texts that share word pairs."""
    texts, pairs = rng.integers(0, 4 * DOCUMENTS, SWAPS), rng.integers(0, DOCUMENTS, SWAPS)
    effect_of_pair = 0.1 * rng.standard_normal(DOCUMENTS)[pairs]
    values = DECAY + effect_of_pair + rng.standard_normal(SWAPS)
    weights = statistics.crossed_weights(values, texts, pairs, resamples=200, seed=seed)
    found = statistics.ratio_of_means(values, np.ones(SWAPS), weights)
    return bool(found.lo[0] <= DECAY <= found.hi[0])


def coverage_of_probes() -> Iterator[Check]:
    """GT22: 95 % intervals of HOLD hold the mean over draws of texts, words and fits.

    States of 8 numbers: what a word adds, drawn anew each time, what a text adds, and noise.
    """
    means, intervals = [], []
    for trial in range(PROBED):
        rng = np.random.default_rng((22, trial))
        groups = np.repeat(np.arange(24), 8)
        choices = rng.integers(8, size=len(groups))
        states = rng.standard_normal((8, 8))[choices] + 0.5 * rng.standard_normal((24, 8))[groups]
        states = states + 1.2 * rng.standard_normal(states.shape)
        found = hold.read_out(
            states.astype(np.float32), choices, groups, 8, seed=trial, refit=True, smaller=False
        )
        bits = hold.bootstrapped({0: found}, replace(SETTINGS, resamples=200))
        means.append(float(bits.estimate[0]))
        intervals.append((float(bits.lo[0]), float(bits.hi[0])))
    # No answer on paper: the mean over trials stands for it. Of 60 trials the share has a standard
    # error of 2.8 %.
    truth = float(np.mean(means))
    share = float(np.mean([low <= truth <= high for low, high in intervals]))
    yield holds("coverage, bits", "88–100 %", f"{share:.0%} of {PROBED}", share >= 0.88)


def invariance() -> Iterator[Check]:
    """GT20: renaming units or tokens, and other units of measurement, change no score."""
    sample = _uneven_text()
    for cell in ("rnn", "lstm", "gru"):
        model = _small(cell)
        scores = _scores(model, sample)
        permuted = _permuted_units(model)
        yield close(f"{cell}: units permuted", scores, _scores(permuted, sample), 1e-6)
        names = torch.from_numpy(np.random.default_rng(2).permutation(VOCABULARY))
        text = replace(sample, ids=tuple(names.numpy()[ids] for ids in sample.ids))
        renamed = _renamed_tokens(model, names)
        again = _scores(renamed, text, boundary_id=int(names[0]))
        yield close(f"{cell}: tokens renamed", scores, again, 1e-6)
    plain, scaled = (reach.measure(model, sample, SETTINGS) for model in _two_scales())
    yield close("units of measurement", _curve(plain), _curve(scaled), 1e-6)


def _uneven_text() -> Sample:
    """Random text in which no two tokens are equally frequent: names decide no tie."""
    counts = 60 + 5 * np.arange(VOCABULARY)
    ids = np.random.default_rng(20).permutation(np.repeat(np.arange(VOCABULARY), counts))
    return Sample(ids=tuple(ids[: len(ids) // 20 * 20].reshape(20, -1)))


def _small(cell: str) -> LanguageModel:
    """A small random model, drawn without touching the global generator."""
    generator = torch.Generator().manual_seed(20)
    model = LanguageModel(
        vocab_size=VOCABULARY, embedding_size=5, cell=cell, hidden_size=HIDDEN, num_layers=1
    ).double()
    with torch.no_grad():
        for parameter in model.parameters():
            drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(0.6 * drawn)
    return model


def _permuted_units(model: LanguageModel) -> LanguageModel:
    """The same function with its hidden units in another order."""
    other = copy.deepcopy(model)
    order = torch.from_numpy(np.random.default_rng(1).permutation(HIDDEN))
    weights = other.recurrent.weights("_l0")
    gates_of = torch.arange(len(weights.w_hh) // HIDDEN)
    rows = (gates_of[:, None] * HIDDEN + order).flatten()
    with torch.no_grad():
        for part in weights:
            part.copy_(part[rows].clone())
        weights.w_hh.copy_(weights.w_hh[:, order].clone())
        other.decoder.weight.copy_(other.decoder.weight[:, order].clone())
    return other


def _renamed_tokens(model: LanguageModel, names: torch.Tensor) -> LanguageModel:
    """The same function where token v is called names[v]."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for part in (other.embedding.weight, other.decoder.weight, other.decoder.bias):
            part[names] = part.clone()
    return other


def _two_scales() -> tuple[LinearModel, LinearModel]:
    """A linear network, and the same with every unit measured on a scale of its own."""
    generator = torch.Generator().manual_seed(8)
    matrix = torch.randn(5, 5, generator=generator, dtype=torch.float64) / 3
    plain, scale = LinearModel(matrix[None]), torch.logspace(-2, 2, 5, dtype=torch.float64)
    scaled = LinearModel((scale[:, None] * matrix / scale)[None])
    scaled.embedding = plain.embedding * scale
    scaled.readout = plain.readout / scale
    return plain, scaled


def _records(model: LanguageModel, sample: Sample, boundary_id: int = 0) -> dict[str, Record]:
    subject, exact = LanguageModelSubject(model, boundary_id=boundary_id), ExactModel(model)
    return {
        "use": use.measure(subject, sample, SETTINGS),
        "effect": effect.measure(subject, sample, SETTINGS),
        "hold": hold.measure(subject, sample, SETTINGS),
        "reach": reach.measure(exact, sample, SETTINGS),
        "gates": gates.measure(exact, sample, SETTINGS),
    }


def _scores(model: LanguageModel, sample: Sample, boundary_id: int = 0) -> Floats:
    """Every curve and every scalar of every measurement, one after the other."""
    values: list[float] = []
    for record in _records(model, sample, boundary_id).values():
        assert isinstance(record, Measurement)
        found = [y for curve in record.curves.values() for y in curve.y]
        found += [scalar.estimate for scalar in record.scalars.values()]
        values += [0.0 if y is None else y for y in found]
    return np.array(values)


def _curve(record: Measurement) -> Floats:
    return np.array([0.0 if y is None else y for y in record.curves["geo"].y])


def determinism() -> Iterator[Check]:
    """GT21: the same seed gives the same JSON, to the last digit."""
    sample = random_text(16, 100)
    for cell in ("lstm", "gru"):
        first, second = (_records(_small(cell), sample) for _ in range(2))
        exact = ExactModel(_small(cell))
        first["lyapunov"], second["lyapunov"] = (
            lyapunov.measure(exact, sample, SETTINGS) for _ in range(2)
        )
        different = [
            name
            for name, record in first.items()
            if record.model_dump_json() != second[name].model_dump_json()
        ]
        yield holds(
            f"{cell}: records that differ", "none", ", ".join(different) or "none", not different
        )
