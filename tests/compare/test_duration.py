"""How long a comparison is said to take."""

from __future__ import annotations

from pathlib import Path

import pytest

from rnnctl.compare import duration
from rnnctl.compare.duration import expected_seconds
from rnnctl.compare.experiment import Machine, work_ahead
from rnnctl.compare.plan import Settings, members

SMALL = Settings(cells=("rnn", "lstm"), inits=("good",), seeds=3, limit=("--steps", "1000"))
TWO = Machine(workers=2, threads=1, cores=2)


def test_steps_take_as_long_as_their_multiply_adds(tmp_path: Path) -> None:
    """An LSTM of 128 units and embeddings of 64: 4 · 128 · 192 products, and 100 outputs."""
    alone = duration.MEASURE_S * work_ahead(SMALL)["measure"]
    (one,) = [m for m in members(SMALL) if m.row == "lstm good" and m.seed == 0][:1]
    products = 4 * 128 * (64 + 128) + 128 * 100
    expected = duration.BEGIN_S + 1000 * 32 * 64 * products / duration.PACE
    assert duration._training(SMALL, one, 1) == pytest.approx(expected, rel=0.01)
    whole = expected_seconds(SMALL, tmp_path, TWO)
    assert whole is not None and whole > alone + 3 * expected / 2
    longer = SMALL.model_copy(update={"limit": ("--steps", "100000")})
    much = expected_seconds(longer, tmp_path, TWO)
    steps = expected - duration.BEGIN_S
    # Six trainings, two at a time; the RNN is matched in parameters but has more outputs.
    assert much is not None and much - whole == pytest.approx(99 * 3 * steps, rel=0.15)


def test_time_is_shared_and_epochs_are_not_known(tmp_path: Path) -> None:
    alike = {"recall_lags": (), "untrained": False, "seeds": 2}
    shared = SMALL.model_copy(update={"match": "time", "limit": ("--budget", "400s"), **alike})
    whole = expected_seconds(shared, tmp_path, Machine(1, 2, 2))
    rest = 4 * (duration.BEGIN_S + duration.DIAGNOSE_S)
    alone = duration.MEASURE_S * work_ahead(shared)["measure"]
    assert whole == pytest.approx(400 + rest + alone, abs=30)  # whole minutes
    epochs = SMALL.model_copy(update={"limit": ("--epochs", "2")})
    assert expected_seconds(epochs, tmp_path, TWO) is None


def test_what_is_finished_takes_no_time_and_gives_the_pace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = SMALL.model_copy(update={"recall_lags": (), "untrained": False, "cells": ("lstm",)})
    before = expected_seconds(plan, tmp_path, TWO)
    (first, *_) = members(plan)
    monkeypatch.setattr(
        duration, "has_result", lambda path, name: path.name == first.name and name == "train"
    )
    monkeypatch.setattr(duration, "_known", lambda planned, root: {("text", "lstm"): 1000.0})
    after = expected_seconds(plan, tmp_path, TWO)
    assert before is not None and after is not None
    assert after == pytest.approx(
        (2 * 1000 + 3 * duration.DIAGNOSE_S) / 2
        + duration.MEASURE_S * work_ahead(plan)["measure"], abs=30,
    )  # fmt: skip
