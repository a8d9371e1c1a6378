"""The reset sweep: bins, plans and the extra starts, on models whose answer is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rnnctl.diagnostics import curves, use, use_plan
from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.settings import Settings

Make = Callable[..., Any]
V = 12


def text(documents: int, length: int, *, running: bool = False) -> Sample:
    """Each document has three favourite tokens: what was read says what will come."""
    draw = np.random.default_rng(0)
    ids = []
    for _ in range(documents):
        liked = draw.choice(V - 1, 3, replace=False)
        any_token = draw.integers(0, V - 1, length)
        ids.append(np.where(draw.random(length) < 0.6, draw.choice(liked, length), any_token))
    return Sample(ids=tuple(ids), running=running)


@pytest.mark.parametrize("last", [1, 2, 7, 8, 100, 256])
def test_bins_cover_every_length_once(last: int) -> None:
    for per_octave in (2, 4):
        bins = curves.octave_bins(last, per_octave)
        covered = [n for low, high in bins for n in range(low, high + 1)]
        assert covered == list(range(last + 1))
    assert curves.octave_points(last)[0] == 0 and curves.octave_points(last)[-1] == last


def test_fine_bins_lie_inside_the_shown_ones() -> None:
    plan = use_plan.make_plan(text(20, 400), Settings(n_max=64))
    assert plan is not None
    for (low, high), group in zip(plan.fine, plan.groups, strict=True):
        outer = plan.bins[group]
        assert outer[0] <= low and high <= outer[1]


def test_a_bag_of_words_does_not_mind_the_order(counting: Make) -> None:
    """Documents so short that the spoilt text is all there is before the reset."""
    sample = text(20, 49)
    arms = ("foreign", "shuffle", "reverse", "replace")
    found = use.measure(counting(V), sample, Settings(n_max=32, resets=60, arms=arms))
    for arm in ("shuffle", "reverse"):
        assert np.abs(found.curves[arm].y).max() < 1e-12
    assert found.curves["replace"].y[0] > 0.05  # type: ignore[operator]
    assert found.curves["foreign"].y[0] > 0.05  # type: ignore[operator]


def test_order_counts_where_the_model_sees_it(counting: Make) -> None:
    arms = ("foreign", "shuffle")
    found = use.measure(counting(V, 0.7), text(20, 49), Settings(n_max=32, resets=200, arms=arms))
    assert abs(found.curves["shuffle"].y[0] or 0) > 0.01


def test_a_model_that_looks_at_nothing_needs_nothing(counting: Make) -> None:
    found = use.measure(counting(V, scale=0.0), text(20, 400), Settings(n_max=32, resets=40))
    assert found.scalars["n_eff_foreign"].estimate == 0
    assert found.scalars["n_eff_zero"].estimate == 0
    assert found.status == "ok"


def test_an_endless_memory_is_censored_and_never_a_number(counting: Make) -> None:
    found = use.measure(counting(V, 1.0, 0.05), text(24, 200), Settings(n_max=16, resets=400))
    horizon = found.scalars["n_eff_foreign"]
    assert horizon.status == "censored" and horizon.estimate is None
    assert horizon.censored_at == 16 and horizon.ci95[1] is None


def test_short_text_has_shorter_contexts(counting: Make) -> None:
    found = use.measure(counting(V), text(20, 40), Settings(n_max=256, resets=40))
    assert found.status == "ok" and found.n_max_tokens is not None and found.n_max_tokens <= 26


@pytest.mark.parametrize(
    ("sample", "status"),
    [
        (text(20, 5), "insufficient_data"),
        (text(1, 20), "insufficient_data"),
        (text(0, 0), "insufficient_data"),
        (text(1, 400), "ok"),  # one document is running text
        (text(1, 400, running=True), "ok"),
    ],
)
def test_too_little_text(counting: Make, sample: Sample, status: str) -> None:
    found = use.measure(counting(V), sample, Settings(n_max=32, resets=20))
    assert found.status == status
    assert bool(found.note) == (status != "ok")


def test_the_unit_of_resampling_is_named(counting: Make) -> None:
    settings = Settings(n_max=16, resets=20)
    documents = use.measure(counting(V), text(20, 100), settings)
    running = use.measure(counting(V), text(1, 4000, running=True), settings)
    assert documents.sampling is not None and documents.sampling.unit == "document"
    assert running.sampling is not None and running.sampling.unit == "stretch of 64 tokens"
