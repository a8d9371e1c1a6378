"""GT10 to GT16 and GT18: USE, EFFECT, HOLD and POSITION of models that remember exactly so much.

Axes: T time, B batch, K lags, N sequences. Every token of the classifiers' texts carries evidence
for one of two labels, or none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnnctl.data.bench_tasks import chance, task_documents
from rnnctl.diagnostics import effect, hold, position, use
from rnnctl.diagnostics.effect import Evidence
from rnnctl.diagnostics.known_answers import Check, close, holds, numbers
from rnnctl.diagnostics.known_answers.models import (
    VOCABULARY,
    CopyOracle,
    LeakyModel,
    RandomStates,
    WindowModel,
    random_text,
)
from rnnctl.diagnostics.sample import Floats, Sample
from rnnctl.diagnostics.settings import Settings
from rnnctl.diagnostics.subject import LanguageModelSubject, StateSubject
from rnnctl.nn.models import LanguageModel
from rnnctl.results.base import Curve
from rnnctl.results.diagnostics import PositionRecord

# -- EFFECT and POSITION of classifiers that weigh by position -----------------------------------

NEUTRAL = VOCABULARY // 2
"""Tokens from here on are neutral; those below count for the one label if even, else the other."""
CLASSIFIER_SETTINGS = Settings(resamples=200, evidence=24, filler_words=100, reviews=64)
LEAK, WEIGHED = 0.95, 20


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
    # One token each, so that "d tokens before the end" is the same for all of them.
    pairs = [(np.array([k]), np.array([k + 1])) for k in range(0, NEUTRAL, 2)]
    neutral = rng.integers(NEUTRAL, VOCABULARY - 1, size=(2, 20, 8))
    fillers = {"own": list(neutral[0]), "other": list(neutral[1])}
    return Evidence(labels=(0, 1), pairs=pairs, fillers=fillers)


def _text() -> Sample:
    return random_text(40, 120)


def _curve(curve: Curve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.array(curve.x), np.array([math.nan if y is None else y for y in curve.y])


def flat() -> Iterator[Check]:
    """GT18: to a bag of words position is nothing: R ≡ 1, first over last = 1."""
    found = effect.measure_evidence(bag_of_words(), _text(), CLASSIFIER_SETTINGS, _evidence())
    yield close("R(d)", 1, _curve(found.curves["r"])[1], 1e-9)
    status = found.scalars["half_distance"].status
    yield holds("half-distance", "censored", status, status == "censored")
    x, r = _curve(
        effect.measure_evidence(
            windowed_bag(WEIGHED), _text(), CLASSIFIER_SETTINGS, _evidence()
        ).curves["r"]
    )
    yield close(f"R(d), window of {WEIGHED}", (x < WEIGHED).astype(float), r, 1e-9)
    ratio = _position(bag_of_words()).scalars["first_over_last"]
    low, high = ratio.ci95
    covers = low is not None and high is not None and low - 1e-9 <= 1 <= high + 1e-9
    yield holds("first fifth over last", "interval holds 1", f"{low} to {high}", covers)
    short = _position(windowed_bag(WEIGHED)).curves["occlusion"]
    yield close("effect in the first fifth, window", 0, short.y[0] or 0.0, 1e-9)


def _position(model: WeighingClassifier) -> PositionRecord:
    """POSITION on texts of which each speaks mostly for its own label."""
    rng = np.random.default_rng(6)
    labels = np.arange(40) % 2
    ids = np.stack(random_text(40, 120).ids)
    agreeing = rng.random(ids.shape) < 0.8
    ids = np.where((ids < NEUTRAL) & agreeing, ids // 2 * 2 + labels[:, None], ids)
    text = Sample(ids=tuple(ids), labels=labels.astype(np.int64))
    return position.measure(model, text, CLASSIFIER_SETTINGS, _evidence().fillers["own"])


# -- USE and EFFECT of language models -----------------------------------------------------------

SETTINGS = Settings(
    resamples=100, resets=96, n_max=64, bins="each", swaps=64, distance_words=128, per_bin=1
)
WINDOWS = (10, 37)
LAG = 30
SOURCE = f"task:copy-lag:lag={LAG},symbols=20,q=0.9,train=60000,valid=0,test=0"


def points(curve: Curve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """x and y of a curve, points without a value left out."""
    x, y = np.array(curve.points, dtype=np.float64).reshape(-1, 2).T
    return x, y


def leaky() -> Iterator[Check]:
    """GT10: a leaky integrator of rate λ has B(d)/B(0) = λ^d and half-distance ln 2 / −ln λ."""
    for rate in (0.9, 0.99):
        found = effect.measure(LeakyModel(rate, VOCABULARY), random_text(16, 200), SETTINGS)
        x, b = points(found.curves["b"])
        yield close(f"B(d)/B(0), λ={rate}", rate**x, b / b[0], 1e-9)
        expected = math.log(2) / -math.log(rate)
        half = found.scalars["half_distance"].estimate
        yield close(f"half-distance, λ={rate}", expected, half or math.nan, 0.01 * expected)
    found = effect.measure_evidence(leaky_bag(LEAK), _text(), CLASSIFIER_SETTINGS, _evidence())
    x, b = _curve(found.curves["b"])
    yield close(f"classifier: B(d)/B(0), λ={LEAK}", LEAK**x, b / b[0], 1e-9)
    expected = math.log(2) / -math.log(LEAK)
    half = found.scalars["half_distance"].estimate
    yield close("classifier: half-distance", expected, half or math.nan, 0.01 * expected)


def window() -> Iterator[Check]:
    """GT11: a model that sees n tokens has no USE, and no EFFECT, of anything further back."""
    for width in WINDOWS:
        model = WindowModel(width, VOCABULARY)
        text = model.write(24, 180)
        used = use.measure(model, text, SETTINGS)
        for arm in ("foreign", "zero"):
            n, excess = points(used.curves[arm])
            yield close(f"δ(n ≥ {width}), {arm}", 0, excess[n >= width], 1e-6)
        horizon = used.scalars["n_eff_foreign"].estimate
        yield close(f"n_eff, window {width}", width, horizon or math.nan, 0)
        x, b = points(effect.measure(model, text, SETTINGS).curves["b"])
        yield close(f"B(d ≥ {width})", 0, b[x >= width], 1e-6)


def copy_source() -> Iterator[Check]:
    """GT12: on a source that copies from 30 back, the oracle's loss falls by 2.4021 at n = 30."""
    expected = chance(SOURCE)
    text = task_documents(SOURCE)["train"][0].text
    ids = np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64) - ord("a")
    source = Sample(ids=(ids,), running=True)
    many = Settings(
        resamples=100, resets=4200, n_max=48, bins="each", per_bin=1, arms=("zero", "foreign")
    )
    found = use.measure(CopyOracle(LAG, 0.9, 20), source, many)
    n, excess = points(found.curves["zero"])
    step = float(excess[n == LAG - 1][0] - excess[n == LAG][0])
    theory = expected["loss_nats_memoryless"] - expected["loss_nats_best"]
    # The text is one draw of 60,000 symbols: the step itself is known to some hundredths only.
    yield close("δ(29) − δ(30)", theory, step, 0.05)
    for arm in ("zero", "foreign"):
        horizon = found.scalars[f"n_eff_{arm}"].estimate
        yield close(f"n_eff, {arm}", LAG, horizon or math.nan, 0)


def chaos() -> Iterator[Check]:
    """GT16: a chaotic network's states diverge after a swap, yet its EFFECT is undefined."""
    subject = LanguageModelSubject(_chaotic(), boundary_id=0)
    found = effect.measure(subject, random_text(24, 200), SETTINGS)
    yield holds("EFFECT", "undefined", found.status, found.status == "undefined")
    ids = torch.from_numpy(np.stack(random_text(32, 60).ids, axis=1))
    other = ids.clone()
    other[0] = (ids[0] + 1) % VOCABULARY
    zero = subject.initial_state(32)
    states = [subject.vector(subject.read(part, zero)) for part in (ids, other)]
    apart = float((states[0] - states[1]).norm(dim=1).median())
    yield holds("distance of states after 60 tokens", "above 2", f"{apart:.2f}", apart > 2)


def _chaotic() -> LanguageModel:
    hidden, gain = 128, 3.0
    generator = torch.Generator().manual_seed(3)
    model = LanguageModel(
        vocab_size=VOCABULARY, embedding_size=16, cell="rnn", hidden_size=hidden, num_layers=1
    )
    scales = {"weight_hh_l0": gain / math.sqrt(hidden), "weight_ih_l0": 0.25}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = scales.get(name.removeprefix("recurrent."), 1.0)
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(drawn * (0.0 if "bias" in name else scale))
    return model


# -- what HOLD reads out of states whose content is known ----------------------------------------

CHOICES = 16
DELAY = 32
RATE, SIZE, WORDS = 0.9, 64, 400


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
            hold.read_out(
                part,
                plants.choices[plants.at(lag)],
                plants.groups[plants.at(lag)],
                plants.count,
                seed=0,
                refit=False,
            ).bits
            for lag, part in states.items()
        ]
    )
    return each.mean(axis=1), plants, each


def delay_line() -> Iterator[Check]:
    """GT13: a delay line of 32 tokens holds all 4 bits up to lag 31, and none at 32."""
    found, _, _ = bits(WindowModel(DELAY, CHOICES), [0, 31, 32], planted=1000)
    yield close("bits at lags 0 and 31", 4, found[:2], 0.05)
    yield close("bits at lag 32", 0, found[2], 0.05)


def leaky_state() -> Iterator[Check]:
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


def _gaussian_bits(embedding: Floats, lag: int) -> float:
    """Bits that the best reader gets where the rest of the text is Gaussian noise.

    The state is λ^k e(w) + noise, with the covariance of all other tokens' contributions.
    """
    rng, draws = np.random.default_rng(14), 4000
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
    groups = plants.groups[plants.at(0)]
    by_document = np.array([each[0][groups == g].mean() for g in np.unique(groups)])
    error = float(by_document.std(ddof=1) / math.sqrt(len(by_document)))
    low = float(found[0]) - 1.96 * error
    yield holds("lower end of the interval", "≤ 0", f"{low:.4f}", low <= 0)
