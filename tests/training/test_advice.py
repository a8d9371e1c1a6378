"""What a finished training still warns of, and what it says while it measures its end."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from rnnctl.config import RunConfig
from rnnctl.tasks import language_model
from rnnctl.training import loop
from rnnctl.training.events import Finished, Preparing
from rnnctl.training.loop import NOT_BETTER
from rnnctl.training.train import train


@pytest.mark.parametrize(("rate", "warned"), [(0.03, False), (1e-6, True)])
def test_the_advice_goes_when_the_model_has_learnt_after_all(
    settings: Callable[..., RunConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rate: float,
    warned: bool,
) -> None:
    monkeypatch.setattr(loop, "ADVICE_STEPS", 1)
    monkeypatch.setattr(loop, "ADVICE_PROGRESS", 0.0)
    config = settings(steps=120, evaluate_every=2, lr=rate, checkpoint_every_s=60.0)
    events: list[Any] = list(train(config, tmp_path / "r"))
    assert sum(isinstance(event, loop.events.Advice) for event in events) == 1
    assert isinstance(events[-1], Finished)
    codes = [warning.code for warning in events[-1].result.warnings]
    assert (NOT_BETTER in codes) == warned


def test_a_short_training_that_ends_worse_than_a_unigram_model_says_so(
    settings: Callable[..., RunConfig], tmp_path: Path
) -> None:
    for rate, warned in [(1000.0, True), (0.03, False)]:
        config = settings(steps=30, lr=rate)
        *_, last = train(config, tmp_path / f"rate{rate:g}")
        assert isinstance(last, Finished)
        texts = [one.text for one in last.result.warnings if one.code == NOT_BETTER]
        assert bool(texts) == warned
        assert all("no better than a unigram model" in one and "--lr" in one for one in texts)


def test_of_a_long_text_it_is_said_that_it_is_measured_and_its_beginning_is(
    settings: Callable[..., RunConfig],
    follow: Callable[..., list[Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 50 MB held out the end is not read: minutes in which nothing would move."""
    monkeypatch.setattr(import_module("rnnctl.training.train"), "_LONG", 1000)
    monkeypatch.setattr(language_model, "MEASURED_TOKENS", 500)
    events = follow(settings(), tmp_path / "run")
    said = [e.what for e in events if isinstance(e, Preparing) and e.what.startswith("measuring")]
    assert said == [
        "measuring the best weights",
        "measuring the training text (1 of 3)",
        "measuring the validation text (2 of 3)",
        "measuring the test text (3 of 3)",
    ]
    splits = {one.split: one for one in events[-1].result.splits}
    for name in ("valid", "test"):
        assert {loss.tokens for loss in splits[name].losses} == {500}
        assert splits[name].part == "the first 500 tokens"
