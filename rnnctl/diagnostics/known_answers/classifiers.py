"""GT18, and the classifier of GT10: EFFECT and POSITION of classifiers that weigh by position.

Axes: T time, B batch. Every token carries evidence for one of two labels, or none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnnctl.diagnostics import evidence, position
from rnnctl.diagnostics.evidence import Evidence
from rnnctl.diagnostics.known_answers.check import Check, close, holds
from rnnctl.diagnostics.known_answers.toys import VOCABULARY, random_text
from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.settings import Settings
from rnnctl.results.base import Curve, Estimate
from rnnctl.results.diagnostics import PositionRecord

NEUTRAL = VOCABULARY // 2
"""Tokens from here on are neutral; those below count for the one label if even, else the other."""
SETTINGS = Settings(resamples=200, evidence=24, filler_words=100, reviews=64)
RATE, WINDOW = 0.95, 20


class WeighingClassifier:
    """Margin = Σ_t weigh(tokens after t) · value(x_t): `weigh` is 1 in a bag of words."""

    def __init__(self, weigh: Callable[[Tensor], Tensor]) -> None:
        self.weigh = weigh
        self.vocab_size, self.boundary_id = VOCABULARY, VOCABULARY - 1
        self.labels: tuple[str, ...] = ("a", "b")
        tokens = torch.arange(VOCABULARY)
        size = 0.1 * (1 + tokens // 2)
        self.values = torch.where(tokens < NEUTRAL, size * (1 - 2 * (tokens % 2)), 0.0).double()

    def logits(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """See `ClassifierSubject`."""
        after = lengths[None] - 1 - torch.arange(len(ids))[:, None]  # (T, B)
        weights = torch.where(after >= 0, self.weigh(after.clamp_min(0).double()), 0.0)
        margin = (weights * self.values[ids]).sum(dim=0)
        return torch.stack([margin / 2, -margin / 2], dim=1)


def bag_of_words() -> WeighingClassifier:
    """Counts every token alike."""
    return WeighingClassifier(torch.ones_like)


def leaky_bag(rate: float) -> WeighingClassifier:
    """A token d tokens before the end counts rate^d."""
    return WeighingClassifier(lambda after: rate**after)


def windowed_bag(window: int) -> WeighingClassifier:
    """Only the last `window` tokens count."""
    return WeighingClassifier(lambda after: (after < window).double())


def _evidence() -> Evidence:
    """One-token sentences for either label, in filler of neutral tokens from two sources."""
    rng = np.random.default_rng(18)
    pairs = [(np.array([k]), np.array([k + 1])) for k in range(0, NEUTRAL, 2)]
    neutral = rng.integers(NEUTRAL, VOCABULARY - 1, size=(2, 20, 8))
    fillers = {"own": list(neutral[0]), "other": list(neutral[1])}
    return Evidence(labels=(0, 1), pairs=pairs, fillers=fillers)


def _text() -> Sample:
    return random_text(40, 120)


def _curve(curve: Curve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.array(curve.x), np.array([math.nan if y is None else y for y in curve.y])


def _value(estimate: Estimate) -> float:
    return math.nan if estimate.estimate is None else estimate.estimate


def leaky() -> Iterator[Check]:
    """The classifier half of GT10."""
    found = evidence.measure(leaky_bag(RATE), _text(), SETTINGS, _evidence())
    x, b = _curve(found.curves["b"])
    yield close(f"classifier: B(d)/B(0), λ={RATE}", RATE**x, b / b[0], 1e-9)
    expected = math.log(2) / -math.log(RATE)
    half = _value(found.scalars["half_distance"])
    yield close("classifier: half-distance", expected, half, 0.01 * expected)


def flat() -> Iterator[Check]:
    """GT18: to a bag of words position is nothing: R ≡ 1, first over last = 1."""
    found = evidence.measure(bag_of_words(), _text(), SETTINGS, _evidence())
    yield close("R(d)", 1, _curve(found.curves["r"])[1], 1e-9)
    status = found.scalars["half_distance"].status
    yield holds("half-distance", "censored", status, status == "censored")
    x, r = _curve(
        evidence.measure(windowed_bag(WINDOW), _text(), SETTINGS, _evidence()).curves["r"]
    )
    yield close(f"R(d), window of {WINDOW}", (x < WINDOW).astype(float), r, 1e-9)
    ratio = _position(bag_of_words()).scalars["first_over_last"]
    low, high = ratio.ci95
    covers = low is not None and high is not None and low - 1e-9 <= 1 <= high + 1e-9
    yield holds("first fifth over last", "interval holds 1", f"{low} to {high}", covers)
    short = _position(windowed_bag(WINDOW)).curves["occlusion"]
    yield close("effect in the first fifth, window", 0, short.y[0] or 0.0, 1e-9)


def _position(model: WeighingClassifier) -> PositionRecord:
    """POSITION on texts of which each speaks mostly for its own label."""
    rng = np.random.default_rng(6)
    labels = np.arange(40) % 2
    ids = np.stack(random_text(40, 120).ids)
    agreeing = rng.random(ids.shape) < 0.8
    ids = np.where((ids < NEUTRAL) & agreeing, ids // 2 * 2 + labels[:, None], ids)
    text = Sample(ids=tuple(ids), labels=labels.astype(np.int64))
    return position.measure(model, text, SETTINGS, _evidence().fillers["own"])


CHECKS: dict[str, Callable[[], Iterator[Check]]] = {"GT18": flat}
