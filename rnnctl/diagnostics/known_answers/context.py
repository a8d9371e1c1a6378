"""GT10 to GT12 and GT16: USE and EFFECT of language models that remember exactly so much."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from rnnctl.data.bench_tasks import chance, task_documents
from rnnctl.diagnostics import effect, use
from rnnctl.diagnostics.known_answers import classifiers
from rnnctl.diagnostics.known_answers.check import Check, close, holds
from rnnctl.diagnostics.known_answers.language import CopyOracle, LeakyModel, WindowModel
from rnnctl.diagnostics.known_answers.toys import VOCABULARY, random_text
from rnnctl.diagnostics.model_subject import LanguageModelSubject
from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.settings import Settings
from rnnctl.nn.models import LanguageModel
from rnnctl.results.base import Curve

SETTINGS = Settings(
    resamples=100, resets=96, n_max=64, bins="each", swaps=64, distance_words=128, per_bin=1
)
WINDOWS = (10, 37)
LAG = 30
SOURCE = f"task:copy-lag:lag={LAG},symbols=20,q=0.9,train=60000,valid=0,test=0"


def points(curve: Curve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """x and y of a curve, points without a value left out."""
    known = [(x, y) for x, y in zip(curve.x, curve.y, strict=True) if y is not None]
    return np.array([x for x, _ in known]), np.array([y for _, y in known])


def leaky() -> Iterator[Check]:
    """GT10: a leaky integrator of rate λ has B(d)/B(0) = λ^d and half-distance ln 2 / −ln λ."""
    for rate in (0.9, 0.99):
        found = effect.measure(LeakyModel(rate, VOCABULARY), random_text(16, 200), SETTINGS)
        x, b = points(found.curves["b"])
        yield close(f"B(d)/B(0), λ={rate}", rate**x, b / b[0], 1e-9)
        expected = math.log(2) / -math.log(rate)
        half = found.scalars["half_distance"].estimate
        yield close(f"half-distance, λ={rate}", expected, half or math.nan, 0.01 * expected)
    yield from classifiers.leaky()


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


def _chaotic(hidden: int = 128, gain: float = 3.0) -> LanguageModel:
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


CHECKS: dict[str, Callable[[], Iterator[Check]]] = {
    "GT10": leaky,
    "GT11": window,
    "GT12": copy_source,
    "GT16": chaos,
}
