"""What a finished training still warns of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rnnctl.config import RunConfig
from rnnctl.training import loop
from rnnctl.training.events import Finished
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
