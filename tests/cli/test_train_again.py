"""`train --config` and `train --resume`: what is repeated, what may change, and what is said."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rnnctl.runs import Run
from rnnctl.training.schedule import SCHEDULE_NAME

CommandLine = Callable[..., Any]
SMALL = ("--hidden-size", 8, "--embedding-size", 4, "--batch-size", 4, "--bptt", 16)
PLAIN = ("--threads", 1, "--no-diagnose", "--precision", "fp32")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("one two three good bad " * 300)
    return path


@pytest.fixture(scope="module")
def budget_run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped by the clock."""
    from rnnctl.__main__ import main

    path = tmp_path_factory.mktemp("runs") / "budget"
    command = ("train", text, "--budget", "0.3s", "--run", path, *SMALL, *PLAIN, "--quiet")
    assert main([str(word) for word in command]) == 0
    return path


@pytest.fixture
def replayed(rnnctl: CommandLine, budget_run: Path, tmp_path: Path) -> Path:
    """A run that repeated it."""
    path = tmp_path / "replayed"
    outcome = rnnctl("train", "--config", budget_run, "--run", path, *PLAIN)
    assert outcome.code == 0 and "warning" not in outcome.err, outcome.err
    return path


def follows(path: Path) -> bool:
    return SCHEDULE_NAME in Run.open(path).current.files


@pytest.mark.parametrize("options", [("--no-keep-text",), ("--seed", 3), ("--device", "cpu")])
def test_a_repetition_keeps_the_steps_whatever_else_changes(
    rnnctl: CommandLine, budget_run: Path, tmp_path: Path, options: tuple[Any, ...]
) -> None:
    path = tmp_path / "again"
    outcome = rnnctl("train", "--config", budget_run, *options, "--run", path, *PLAIN)
    assert outcome.code == 0 and "schedule" not in outcome.err
    assert follows(path)
    assert Run.open(path).log()[-1]["step"] == Run.open(budget_run).log()[-1]["step"]


@pytest.mark.parametrize("options", [("--steps", 5), ("--lr", 0.001)])
def test_a_repetition_at_another_pace_says_that_it_is_none(
    rnnctl: CommandLine, budget_run: Path, tmp_path: Path, options: tuple[Any, ...]
) -> None:
    path = tmp_path / "again"
    outcome = rnnctl("train", "--config", budget_run, *options, "--run", path, *PLAIN)
    assert outcome.code == 0 and not follows(path)
    assert f"{options[0]} given: this is a new training with these settings" in outcome.err


def test_a_limit_given_on_resuming_wins_over_the_schedule(
    rnnctl: CommandLine, replayed: Path
) -> None:
    steps = Run.open(replayed).log()[-1]["step"]
    assert follows(replayed)
    outcome = rnnctl("train", "--resume", replayed, "--steps", steps + 7, "--no-diagnose")
    assert outcome.code == 0 and "--steps given: the training follows it" in outcome.err
    assert Run.open(replayed).log()[-1]["step"] == steps + 7 and not follows(replayed)
    outcome = rnnctl("train", "--resume", replayed, "--no-diagnose")
    assert outcome.code == 0 and "nothing is left to train" in outcome.err


@pytest.mark.parametrize(
    "options", [("--seed", 7), ("--no-keep-text",), ("--from", "{run}"), ("--overwrite",)]
)
def test_what_would_change_nothing_in_the_middle_is_refused(
    rnnctl: CommandLine, budget_run: Path, tmp_path: Path, options: tuple[Any, ...]
) -> None:
    path = tmp_path / "copy"
    shutil.copytree(budget_run, path)
    given = [str(option).format(run=budget_run) for option in options]
    for resume in (("--resume", path), ("--resume", "auto", "--run", path)):
        outcome = rnnctl("train", *resume, *given, "--no-diagnose")
        assert outcome.code == 2 and "hint: " in outcome.err
        assert given[0].replace("--no-", "--") in outcome.err
    assert rnnctl("train", "--resume", path, "--seed", 0, "--keep-text", "--quiet").code == 0
