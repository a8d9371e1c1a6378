"""What is kept of a measurement in a run that others train, measure or overwrite meanwhile."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rnnctl import storage
from rnnctl.config import RunConfig
from rnnctl.errors import StorageError
from rnnctl.results.base import Environment, Result
from rnnctl.runs import Run
from rnnctl.runs.checkpoints import write_checkpoint

Command = Callable[..., Any]
TEXT = "".join(f"the cat number {k} sat on mat {k % 7} and ate the hat. " for k in range(60))
SMALL = ("--hidden-size", 8, "--batch-size", 4, "--bptt", 16, "--no-diagnose", "--no-keep-text",
         "-q")  # fmt: skip


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "new.txt").write_text(TEXT)
    return tmp_path / "new.txt"


def arguments(command: str, run: Path, text: Path) -> list[object]:
    if command == "evaluate":
        return ["evaluate", run, text]
    return ["diagnose", run, "gates", "--text", text, "-q"]


COMMANDS = ("evaluate", "diagnose")


def meanwhile(monkeypatch: pytest.MonkeyPatch, command: str, work: Callable[[], object]) -> None:
    """Do `work` after a command has measured and before it keeps the result."""
    package = {"evaluate": "inference", "diagnose": "diagnostics"}[command]
    module = importlib.import_module(f"rnnctl.{package}.{command}")
    measure = getattr(module, command)

    def measured(*arguments: Any, **options: Any) -> Any:
        result = measure(*arguments, **options)
        work()
        return result

    monkeypatch.setattr(module, command, measured)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_run_that_is_being_trained_can_be_measured(
    rnnctl: Command, make_run: Callable[..., Path], text: Path, command: str
) -> None:
    run = Run.open(make_run(TEXT))
    with run.lock():
        done = rnnctl(*arguments(command, run.path, text))
    assert (done.code, "not kept" in done.err) == (0, False), done.err
    assert run.results() == [command]
    assert run.verify() == []


@pytest.mark.parametrize("command", COMMANDS)
def test_the_result_of_one_run_is_not_kept_in_another_that_took_its_place(
    rnnctl: Command, make_run: Callable[..., Path], text: Path, command: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path, other = make_run(TEXT), Run.open(make_run(TEXT, hidden_size=7))

    def overwrite() -> None:
        files = {name: other.file(name).read_bytes() for name in other.current.files}
        files.pop("config.json")
        Run.create(path, other.config, files=files, overwrite=True)

    meanwhile(monkeypatch, command, overwrite)
    done = rnnctl(*arguments(command, path, text))
    assert done.code == 0
    assert done.out  # nobody measures twice
    assert f"the result is not saved in {path}: the run has changed" in done.err
    assert Run.open(path).results() == []


def test_nor_if_that_happens_at_the_last_instant(make_run: Callable[..., Path]) -> None:
    """At every step of writing: what was written stands in the run that went."""
    result = Result(environment=Environment(rnnctl="0", python="3"))
    for point in range(20):
        run = Run.open(make_run(TEXT))
        seen = 0

        def hook(name: str, at: Path, run: Run = run, point: int = point) -> None:
            nonlocal seen
            seen += 1
            if seen == point + 1:
                with storage.faults(lambda *_: None):
                    Run.create(run.path, RunConfig(), overwrite=True)

        with storage.faults(hook):
            try:
                kept = run.keep_result("evaluate", result)
            except StorageError:
                kept = False
        assert Run.open(run.path).results() == (["evaluate"] if seen <= point else [])
        if seen <= point:
            break
    assert kept and point >= 4


def better(run: Run) -> None:
    """A training finds better weights."""
    digest = write_checkpoint(run.path, "000009", {"model.safetensors": os.urandom(8)})
    run.commit(checkpoints={"000009": digest}, newest="000009", best="000009")


@pytest.mark.parametrize("command", COMMANDS)
def test_what_was_measured_on_weights_that_are_no_longer_the_best_is_shown_only(
    rnnctl: Command, make_run: Callable[..., Path], text: Path, command: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    run = Run.open(make_run(TEXT))
    meanwhile(monkeypatch, command, lambda: better(run))
    done = rnnctl(*arguments(command, run.path, text))
    assert (done.code, "the run has changed in the meantime" in done.err) == (0, True)
    assert run.results() == []


def test_a_training_that_goes_on_takes_away_what_is_no_longer_true(
    rnnctl: Command, tmp_path: Path, text: Path
) -> None:
    path = tmp_path / "run"
    assert rnnctl("train", text, "--run", path, "--steps", 3, *SMALL).code == 0
    for command in COMMANDS:
        assert rnnctl(*arguments(command, path, text)).code == 0
    assert Run.open(path).results() == ["diagnose", "evaluate", "train"]
    assert rnnctl("train", "--resume", path, "-q").code == 0  # nothing is left to do
    assert Run.open(path).results() == ["diagnose", "evaluate", "train"]
    best = Run.open(path).current.best
    assert rnnctl("train", "--resume", path, "--steps", 30, "-q").code == 0
    assert Run.open(path).current.best != best
    assert Run.open(path).results() == ["train"]


def test_many_writers_of_one_result_leave_one_whole_result(make_run: Callable[..., Path]) -> None:
    path = make_run(TEXT)

    def keep(number: int) -> None:
        environment = Environment(rnnctl=str(number) * 5000, python="3")
        for _ in range(20):
            assert Run.open(path).keep_result("a", Result(environment=environment))
            kept = Run.open(path).read_result("a")["environment"]["rnnctl"]
            assert len(set(kept)) == 1 and len(kept) == 5000

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(keep, range(6)))
    assert [one.name for one in (path / "results").iterdir()] == ["a.json"]
