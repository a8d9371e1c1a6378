"""USE against an n-gram: a reference of constant loss, on an oracle whose two losses are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rnnctl.data.bench_tasks import task_documents
from rnnctl.diagnostics import use
from rnnctl.diagnostics.known_answers.models import CopyOracle
from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.settings import Settings
from rnnctl.diagnostics.use import Reference
from rnnctl.results.diagnostics import UseRecord

LAG = 6
SETTINGS = Settings(
    resamples=50, resets=300, n_max=12, bins="each", per_bin=1, arms=("zero", "foreign")
)


def measured(nats: float) -> UseRecord:
    """The oracle of copying from 6 back: ln 20 with less context, 0.594 with more."""
    source = f"task:copy-lag:lag={LAG},symbols=20,q=0.9,train=12000,valid=0,test=0"
    text = task_documents(source)["train"][0].text
    ids = np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64) - ord("a")
    sample = Sample(ids=tuple(ids.reshape(-1, 40)))
    reference = Reference("constant", lambda ids: np.full(len(ids), nats))
    return use.measure(CopyOracle(LAG, 0.9, 20), sample, SETTINGS, reference)


def test_it_is_overtaken_where_the_context_begins_to_tell() -> None:
    found = measured(1.5)
    overtakes = found.scalars["overtakes_reference"].estimate
    assert overtakes is not None and LAG - 1 < overtakes <= LAG
    assert found.reference == "constant"
    loss, reference = found.scalars["loss"].estimate, found.scalars["reference_loss"].estimate
    assert loss is not None and reference == pytest.approx(1.5)
    gain = found.scalars["reference_gain"]
    assert gain.estimate == pytest.approx(100 * math.expm1(1.5 - loss))
    assert gain.unit == "% perplexity per word"


def test_a_worse_one_needs_no_context_to_be_overtaken() -> None:
    assert measured(math.log(20) + 0.5).scalars["overtakes_reference"].estimate == 0


def test_a_better_one_is_never_overtaken_and_it_says_so() -> None:
    found = measured(0.1).scalars
    assert found["overtakes_reference"].status == "undefined"
    assert "no better than the n-gram" in found["overtakes_reference"].note
    assert (found["reference_gain"].estimate or 0) < 0


def test_the_targets_are_the_models_own() -> None:
    """A reference that is the token's position: its mean is that of the scored positions."""
    sample = Sample(ids=tuple(np.zeros((20, 40), dtype=np.int64)))
    plain = Settings(resamples=20, resets=20, n_max=8, bins="each", per_bin=1, arms=("zero",))
    seen = []

    def losses(ids: np.ndarray) -> np.ndarray:
        seen.append(len(ids))
        return np.arange(len(ids), dtype=np.float64)

    found = use.measure(CopyOracle(2, 0.9, 4), sample, plain, Reference("place", losses))
    assert seen == [40] * 20  # once per document, not once per reset
    mean = found.scalars["reference_loss"].estimate
    assert mean is not None
    assert 8 + 4 <= mean <= 31 + 4  # resets lie between 8 and 31, targets 0 to 8 further


def test_without_one_nothing_is_said() -> None:
    sample = Sample(ids=tuple(np.zeros((20, 40), dtype=np.int64)))
    found = use.measure(CopyOracle(2, 0.9, 4), sample, Settings(resamples=20, resets=20, n_max=8))
    assert found.reference == "" and "reference_loss" not in found.scalars
