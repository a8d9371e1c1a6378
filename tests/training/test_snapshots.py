"""`train --snapshots`: a snapshot is the training stopped there, bit for bit; kills spare it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rnnctl.cli.info import describe
from rnnctl.config import RunConfig
from rnnctl.errors import UsageError
from rnnctl.runs import Run, Snapshot
from rnnctl.tasks.loading import load, read_weights
from rnnctl.tasks.recipes import resolve
from rnnctl.training.events import Finished, Saved, Step
from rnnctl.training.resume import resumed
from rnnctl.training.train import Options

Settings = Callable[..., RunConfig]
Follow = Callable[..., list[Any]]
Same = Callable[[Path, Path], None]
AGAIN = Options(resume=True)
STEP = 4 * 16  # tokens


def kept(path: Path) -> list[tuple[int, int]]:
    return [(one.tokens, one.step) for one in Run.open(path).snapshots()]


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def of(path: Path, step: int) -> dict[str, Tensor]:
    (found,) = [one for one in Run.open(path).snapshots() if one.step == step]
    return read_weights(found.weights_path)


def test_the_snapshots_are_where_they_were_asked_for(
    settings: Settings, follow: Follow, same: Same, tmp_path: Path
) -> None:
    numbers = f"{3 * STEP},{3 * STEP - 1},{5 * STEP + 1}"
    follow(settings(snapshots=numbers), tmp_path / "run")
    assert kept(tmp_path / "run") == [(n * STEP, n) for n in (0, 3, 6, 12)]
    follow(settings(), tmp_path / "without")
    same(tmp_path / "run", tmp_path / "without")  # nothing of a training follows from them
    assert kept(tmp_path / "without") == []


def test_by_doubling_the_last_ten_are_kept(
    settings: Settings, follow: Follow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow(settings(snapshots="log"), tmp_path / "run")
    assert kept(tmp_path / "run") == [(n * STEP, n) for n in (0, 1, 2, 4, 8, 12)]
    monkeypatch.setattr("rnnctl.training.checkpoint.MOST_DOUBLINGS", 3)
    follow(settings(snapshots="log"), tmp_path / "few")
    assert kept(tmp_path / "few") == [(n * STEP, n) for n in (0, 4, 8, 12)]
    folders = [path.name for path in (tmp_path / "few" / "checkpoints").glob("tokens-*")]
    assert len(folders) == 4


@pytest.mark.parametrize("kind", ["lm", "sentiment"])
def test_a_snapshot_is_the_run_stopped_there(
    kind: str, settings: Settings, follow: Follow, tmp_path: Path
) -> None:
    """With a constant rate the training with fewer steps has the same weights in the end.

    A classifier's are the running average, as in its published weights.
    """
    alike = {"decay": "constant", "warmup": 0.0, "evaluate_every": 100}
    (*_, end) = follow(settings(kind, steps=3, **alike), tmp_path / "short")
    follow(settings(kind, snapshots=str(end.result.tokens), steps=6, **alike), tmp_path / "long")
    best = read_weights(Run.open(tmp_path / "short").weights_path)
    assert equal(of(tmp_path / "long", 3), best)
    assert not equal(of(tmp_path / "long", 6), best)


def test_a_snapshot_is_the_checkpoint_of_the_same_training(
    settings: Settings, follow: Follow, tmp_path: Path
) -> None:
    """Whatever the schedule: the same training, abandoned after that step, left these weights."""
    follow(settings(snapshots=str(5 * STEP)), tmp_path / "whole")
    follow(settings(), tmp_path / "part", until=lambda e: isinstance(e, Saved) and e.step == 5)
    run = Run.open(tmp_path / "part")
    newest = run.path / "checkpoints" / str(run.current.newest) / "model.safetensors"
    assert equal(of(tmp_path / "whole", 5), read_weights(newest))


@pytest.mark.parametrize("step", [3, 7])
def test_a_kill_changes_nothing(
    step: int, settings: Settings, follow: Follow, same: Same, tmp_path: Path
) -> None:
    """Killed between a snapshot and the next checkpoint, or with no checkpoint at all."""
    for name, every in (("often", 1e-9), ("never", 1000.0)):
        config = settings(snapshots="log", checkpoint_every_s=every)
        follow(config, tmp_path / f"whole-{name}")
        follow(
            config,
            tmp_path / name,
            until=lambda e: isinstance(e, Step) and e.step == step,
        )
        follow(config, tmp_path / name, AGAIN)
        same(tmp_path / f"whole-{name}", tmp_path / name)
        one, other = (Run.open(tmp_path / n).snapshots() for n in (f"whole-{name}", name))
        assert [(s.tokens, s.step, s.digest) for s in one] == [
            (s.tokens, s.step, s.digest) for s in other
        ]


def test_a_run_that_goes_on_keeps_them_and_continues(
    settings: Settings, follow: Follow, tmp_path: Path
) -> None:
    follow(settings(snapshots=f"{4 * STEP}"), tmp_path / "run")
    changes = {"training": {"steps": 20, "snapshots": f"{2 * STEP},{16 * STEP}"}}
    config, options = resumed(tmp_path / "run", changes, AGAIN)
    told = [note.text for note in options.notes]
    assert any("from now on" in text for text in told)
    assert not any("--snapshots" in text and "instead of" in text for text in told)
    follow(config, tmp_path / "run", options)
    assert kept(tmp_path / "run") == [(n * STEP, n) for n in (0, 4, 12, 16, 20)]


def test_beyond_the_end(settings: Settings, follow: Follow, tmp_path: Path) -> None:
    """An error where the end is known, else a warning when it is reached."""
    with pytest.raises(UsageError, match=rf"{12 * STEP + 1}.* after {12 * STEP} tokens") as error:
        follow(settings(snapshots=f"{STEP},{12 * STEP + 1}"), tmp_path / "run")
    assert "--steps" in error.value.hint
    assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match="ends earlier"):
        follow(settings(snapshots="10_000_000", steps=None, epochs=0.02), tmp_path / "run")
    events = follow(settings(snapshots="64,9000000", steps=None, budget_s=0.3), tmp_path / "run")
    assert isinstance(events[-1], Finished)
    (warning,) = [w for w in events[-1].result.warnings if w.code == "snapshots_not_reached"]
    assert "9000000" in warning.text
    assert "64," not in warning.text


@pytest.mark.parametrize("wrong", ["", "often", "1,,2", "-5", "1e6", "3.5", "log,5", "٣"])
def test_what_is_no_number_of_tokens(wrong: str) -> None:
    with pytest.raises(UsageError, match=r"--snapshots.*numbers of tokens"):
        resolve({"training": {"snapshots": wrong}})


def test_numbers_are_put_in_order() -> None:
    config = resolve({"training": {"snapshots": "50_000, 100,0,100"}})
    assert config.training.snapshots == "0,100,50000"


def test_they_are_checked_and_shown(settings: Settings, follow: Follow, tmp_path: Path) -> None:
    follow(settings(snapshots="log"), tmp_path / "run")
    run = Run.open(tmp_path / "run")
    assert run.verify() == []
    info = describe(run)
    assert [(line.tokens, line.step) for line in info.snapshots] == kept(run.path)
    assert not set(info.checkpoints) & {line.name for line in info.snapshots}
    assert json.loads(info.model_dump_json())["snapshots"][1]["tokens"] == STEP

    first: Snapshot = run.snapshots()[0]
    data = bytearray(first.weights_path.read_bytes())
    loaded = load(run.path, snapshot=first)
    assert equal(dict(loaded.model.state_dict()), read_weights(first.weights_path))
    data[-1] ^= 1
    (run.path / "checkpoints" / first.name / "model.safetensors").write_bytes(data)
    (problem,) = run.verify()
    assert first.name in problem.file
