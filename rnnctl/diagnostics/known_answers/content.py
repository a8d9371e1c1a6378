"""GT13 to GT15: what HOLD reads out of states whose content is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from rnnctl.diagnostics import hold
from rnnctl.diagnostics.known_answers.check import Check, close, holds, numbers
from rnnctl.diagnostics.known_answers.language import LeakyModel, RandomStates, WindowModel
from rnnctl.diagnostics.known_answers.toys import random_text
from rnnctl.diagnostics.subject import StateSubject

CHOICES = 16
DELAY = 32
RATE, SIZE, WORDS = 0.9, 64, 400
Floats = NDArray[np.float64]


def bits(
    subject: StateSubject, lags: list[int], *, planted: int, vocabulary: int = CHOICES
) -> tuple[Floats, hold.Plants, Floats]:
    """Mean bits at each lag (K,), the plants, and the bits of each sequence (K, N)."""
    draw = np.random.default_rng(13)
    units = random_text(100, 4 * hold.PREFIX + lags[-1] + 4, vocabulary=vocabulary)
    words = np.arange(CHOICES)[:, None]
    plants = hold.plant(units, words, planted, lags[-1], draw)
    states = hold.collect(subject, plants, lags)["state"]
    each = np.stack(
        [
            hold.held_out_bits(part, plants.choices, plants.groups, plants.count, seed=0)
            for part in states
        ]
    )
    return each.mean(axis=1), plants, each


def delay_line() -> Iterator[Check]:
    """GT13: a delay line of 32 tokens holds all 4 bits up to lag 31, and none at 32."""
    found, _, _ = bits(WindowModel(DELAY, CHOICES), [0, 31, 32], planted=1000)
    yield close("bits at lags 0 and 31", 4, found[:2], 0.05)
    yield close("bits at lag 32", 0, found[2], 0.05)


def leaky() -> Iterator[Check]:
    """GT14: of a leaky state a linear probe finds at least half, and never more than there is."""
    generator = torch.Generator().manual_seed(1)
    embedding = torch.randn(WORDS, SIZE, generator=generator, dtype=torch.float64)
    lags = [0, 4, 8, 16]
    model = LeakyModel(RATE, WORDS, embedding)
    found, _, _ = bits(model, lags, planted=2000, vocabulary=WORDS)
    oracle = np.array([_gaussian_bits(embedding.numpy(), lag) for lag in lags])
    yield holds(
        "bits at lags 0, 4, 8, 16",
        f"≤ {numbers(oracle.tolist())}",
        numbers(found.tolist()),
        bool(np.all(found <= oracle + 0.02)),
    )
    large = oracle > 1
    share = float((found[large] / oracle[large]).min())
    yield holds("share of what is there", "≥ 0.5", f"{share:.2f}", share >= 0.5)


def _gaussian_bits(embedding: Floats, lag: int, draws: int = 4000) -> float:
    """Bits that the best reader gets where the rest of the text is Gaussian noise.

    The state is λ^k e(w) + noise, with the covariance of all other tokens' contributions.
    """
    rng = np.random.default_rng(14)
    weight = 1 / (1 - RATE**2) - RATE ** (2 * lag)
    noise = np.cov(embedding.T) * weight
    means = RATE**lag * embedding[:CHOICES]
    truth = rng.integers(CHOICES, size=draws)
    states = means[truth] + rng.multivariate_normal(np.zeros(SIZE), noise, size=draws)
    weights = np.linalg.solve(noise, means.T)
    scores = states @ weights - 0.5 * (means.T * weights).sum(axis=0)
    scores -= scores.max(axis=1, keepdims=True)
    chosen = scores[np.arange(draws), truth] - np.log(np.exp(scores).sum(axis=1))
    return math.log2(CHOICES) + float(chosen.mean()) / math.log(2)


def random_states() -> Iterator[Check]:
    """GT15: in states of noise there are 0 bits, and never significantly more."""
    found, plants, each = bits(RandomStates(128, CHOICES), [0, 1], planted=2000)
    yield close("bits", 0, found, 0.01)
    by_document = np.array([each[0][plants.groups == g].mean() for g in np.unique(plants.groups)])
    error = float(by_document.std(ddof=1) / math.sqrt(len(by_document)))
    low = float(found[0]) - 1.96 * error
    yield holds("lower end of the interval", "≤ 0", f"{low:.4f}", low <= 0)


CHECKS: dict[str, Callable[[], Iterator[Check]]] = {
    "GT13": delay_line,
    "GT14": leaky,
    "GT15": random_states,
}
