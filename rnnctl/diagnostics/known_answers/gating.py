"""GT17: gates and their time constants."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch

from rnnctl.diagnostics import gates
from rnnctl.diagnostics.known_answers.check import Check, close, holds
from rnnctl.diagnostics.known_answers.flow import frozen
from rnnctl.diagnostics.known_answers.toys import VOCABULARY, GatedModel, random_text
from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.settings import Settings
from rnnctl.nn.recurrent import Recurrent
from rnnctl.results.diagnostics import GatesRecord

OPEN, CLOSED, SHARE = 0.99, 0.1, 0.9


def _measure(model: GatedModel, sample: Sample) -> GatesRecord:
    return gates.measure(model, sample, Settings(resamples=50, gate_tokens=sample.tokens))


def mixture() -> Iterator[Check]:
    """GT17: a gate that is 0.99 nine times in ten, else 0.1, has τ = −1/E[ln f] = 4.18."""
    found = _measure(_two_levels(), _nine_to_one())
    rate = SHARE * math.log(OPEN) + (1 - SHARE) * math.log(CLOSED)
    tau = found.scalars["tau_p50"].estimate
    yield close("τ of the mixture", -1 / rate, tau or math.nan, 0.02 * 4.179)
    for bias in (0.0, 1.0, 3.0):
        kept = 1 / (1 + math.exp(-bias))
        measured = _measure(frozen("lstm", (kept,)), random_text(2, 60)).scalars["tau_p50"]
        yield close(f"τ at bias {bias:g}", -1 / math.log(kept), measured.estimate or math.nan, 1e-9)
    yield from _saturation()


def _saturation() -> Iterator[Check]:
    """σ(±10) counts as saturated, left and right; the plain RNN has no gates."""
    wide = 1 / (1 + math.exp(-10))
    for cell, name in (("lstm", "forget"), ("gru", "keep")):
        found = _measure(frozen(cell, (wide, 1 - wide)), random_text(2, 60))
        gate = next(gate for gate in found.gates if gate.gate == name)
        sides = (gate.left_saturated, gate.right_saturated)
        yield close(f"saturated, {name}", (0.5, 0.5), sides, 1e-12)
    status = _measure(GatedModel(Recurrent("rnn", 2, 2)), random_text(2, 60)).status
    yield holds("a plain RNN", "not_applicable", status, status == "not_applicable")


def _two_levels() -> GatedModel:
    """An LSTM unit whose forget gate is 0.1 on token 0 and 0.99 on all others."""
    model = frozen("lstm", (OPEN,))
    weights = model.recurrent.weights("_l0")
    low, high = (math.log(f / (1 - f)) for f in (CLOSED, OPEN))
    with torch.no_grad():
        weights.w_ih[1] = low - high
        model.embedding[:] = 0
        model.embedding[0] = 1
    return model


def _nine_to_one() -> Sample:
    """Documents of which exactly one token in ten is token 0."""
    rng = np.random.default_rng(3)
    ids = rng.integers(1, VOCABULARY, size=(4, 200))
    ids[:, ::10] = 0
    return Sample(ids=tuple(ids.astype(np.int64)))


CHECKS: dict[str, Callable[[], Iterator[Check]]] = {"GT17": mixture}
