"""What a path on the command line means: the home folder, `.`, nothing; what is never written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rnnctl import catalog
from rnnctl.cli import paths
from rnnctl.cli.app import load_command
from rnnctl.data import cache
from rnnctl.runs import Run, find_runs, summarize

CommandLine = Callable[..., Any]
SMALL = ("--steps", 2, "--hidden-size", 4, "--embedding-size", 4, "--no-diagnose", "--quiet")
TEXT = "the cat sat on the mat and ate the rat with a hat. \n" * 60


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with a text in it, and a home folder elsewhere."""
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "text.txt").write_text(TEXT)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "work"


def parameters() -> list[tuple[str, Any]]:
    return [(name, one) for name in catalog.COMMANDS for one in load_command(name).params]


@pytest.mark.parametrize(("command", "parameter"), parameters(), ids=str)
def test_what_is_a_path_in_python_is_called_one_in_the_help(command: str, parameter: Any) -> None:
    kind = str(getattr(parameter, "annotation", "")) + str(getattr(parameter, "type", ""))
    if "Path" in kind and parameter.name != "plot":
        assert paths.takes_paths(parameter), f"{command} {parameter.name} {parameter.metavar}"


def test_the_home_folder_is_meant_by_a_tilde_wherever_it_stands(
    rnnctl: CommandLine, here: Path
) -> None:
    assert rnnctl("train", "text.txt", *SMALL, "--run=~/run").code == 0
    assert not (here / "~").exists() and (here.parent / "home" / "run").is_dir()
    assert rnnctl("info", "~/run").code == 0
    (here.parent / "home" / "more.txt").write_text(TEXT)
    assert rnnctl("score", "~/run", "~/more.txt", "-o", "~/scores.txt").code == 0
    assert (here.parent / "home" / "scores.txt").is_file()


def test_a_training_needs_no_cache_that_stays(
    rnnctl: CommandLine, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "file").write_text("")
    for name in ("RNNCTL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(here / "file" / "home"))
    monkeypatch.setattr(sys, "platform", "linux")
    cache._usable.cache_clear()
    begun = rnnctl("train", "text.txt", *(one for one in SMALL if one != "--quiet"), "--run", "run")
    assert begun.code == 0, begun.err
    assert "using a cache for this command only, since" in begun.err.replace("\n", " ")
    instead = cache.cache_directory()
    assert instead.is_dir() and not instead.is_relative_to(here)
    assert rnnctl("score", "run", "text.txt").code == 0
    monkeypatch.setenv("RNNCTL_CACHE", str(here / "file" / "chosen"))  # who chooses one wants it
    refused = rnnctl("train", "text.txt", *SMALL, "--run", "other")
    assert refused.code == 1 and "choose another folder" in refused.err, refused.err
    cache._usable.cache_clear()


def test_a_name_that_begins_with_a_tilde_is_a_name(rnnctl: CommandLine, here: Path) -> None:
    (here / "~draft.txt").write_text(TEXT)
    assert rnnctl("train", "~draft.txt", *SMALL, "--run", "~run").code == 0
    assert (here / "~run").is_dir()


def test_without_a_home_folder_a_tilde_is_refused(
    rnnctl: CommandLine, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    outcome = rnnctl("train", "text.txt", *SMALL, "--run", "~/run")
    assert (outcome.code, list(here.iterdir())) == (2, [here / "text.txt"])
    assert outcome.err.startswith("error: `~` means the home folder, and there is none")
    assert rnnctl("train", "text.txt", *SMALL, "--run", "run").code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", ""), ("train", "text.txt", "--run", ""), ("train", "--run="),
        ("train", "text.txt", "--cell", ""), ("info", ""), ("runs", ""), ("score", "run", ""),
        ("score", "run", "-o", ""), ("generate", "run", "--stop", ""), ("compare", ""),
        ("diagnose", "run", "--text", ""), ("diagnose", "run", ""), ("classify", "run", ""),
        ("evaluate", "run", "--text-field", ""),
    ],
)  # fmt: skip
def test_an_empty_argument_is_refused(
    rnnctl: CommandLine, here: Path, arguments: tuple[str, ...]
) -> None:
    outcome = rnnctl(*arguments)
    assert outcome.code == 2 and outcome.out == ""
    assert " is empty\n\nhint: an unset shell variable" in outcome.err
    assert list(here.iterdir()) == [here / "text.txt"]


def test_a_run_in_the_folder_that_one_is_in(
    rnnctl: CommandLine, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "mine").mkdir()
    monkeypatch.chdir(here / "mine")
    assert rnnctl("train", "../text.txt", *SMALL, "--run", ".").code == 0
    assert Run.open(Path.cwd()).verify() == []
    assert f"Run{Path.cwd()}" in "".join(rnnctl("info", ".").out.split())
    assert "mine" in rnnctl("compare", ".", "--format", "json").out
    before = sorted(Path.cwd().iterdir())
    outcome = rnnctl("train", "../text.txt", *SMALL, "--run", ".", "--overwrite")
    assert outcome.code == 1 and "and cannot be replaced" in outcome.err
    assert sorted(Path.cwd().iterdir()) == before


def test_an_input_is_never_written_over(rnnctl: CommandLine, here: Path, make_run: Any) -> None:
    run = make_run("the cat sat")
    Path("link.txt").symlink_to("text.txt")
    for source, target in [("text.txt", "text.txt"), ("text.txt", "link.txt")]:
        outcome = rnnctl("score", run, source, "-o", target)
        assert outcome.code == 2 and "would overwrite an input" in outcome.err
    assert Path("text.txt").read_text() == TEXT
    before = sorted(run.iterdir())
    for target in (run / "config.json", run / "new.txt", run / "results" / "new.json"):
        outcome = rnnctl("info", run, "-o", target)
        assert outcome.code == 2 and f"is inside the run {run}" in outcome.err
    assert sorted(run.iterdir()) == before


def test_trainings_that_start_together_get_a_run_each(here: Path) -> None:
    command = [sys.executable, "-m", "rnnctl", "train", "text.txt", *map(str, SMALL)]
    started = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    assert [one.communicate()[1] for one in started] == [b""] * 3
    assert [one.returncode for one in started] == [0] * 3
    assert len(list(find_runs(here / "runs"))) == 3


def test_a_training_that_fails_leaves_no_folder(rnnctl: CommandLine, here: Path) -> None:
    assert rnnctl("train", "text.txt", "--batch-size", 10**6, "--steps", 1).code == 1
    assert list(here.iterdir()) == [here / "text.txt"]


def test_linked_runs_are_listed_once(make_run: Any, tmp_path: Path) -> None:
    run = make_run("the cat sat")
    root = tmp_path / "runs"
    (root / "group").mkdir(parents=True)
    (root / "linked").symlink_to(run)
    (root / "group" / "again").symlink_to(run)
    (root / "circle").symlink_to(root)
    (root / "broken").symlink_to(root / "nowhere")
    assert len(list(find_runs(root))) == 1


# -- an end that nobody planned -------------------------------------------------------------------


def training(folder: Path, *options: str, **streams: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "rnnctl", "train", str(folder / "text.txt"), "--run", "run"]
    small = ["--hidden-size", "4", "--no-diagnose", *options]
    return subprocess.Popen([*command, *small], cwd=folder, **streams)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_a_hang_up_keeps_the_best_weights_and_says_so(number: signal.Signals, here: Path) -> None:
    options = ["--steps", "1000000", "--evaluate-every", "1"]
    process = training(
        here, *options, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        # where the tests run under `nohup`, a child would inherit that a hang-up is ignored
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )  # fmt: skip
    try:
        assert process.stderr is not None
        for line in process.stderr:  # ends with the process, so that this never waits in vain
            if b"step" in line:
                break
        time.sleep(0.2)
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + number
    assert b"error: stopped after step " in error and b"the best weights" in error
    run = Run.open(here / "run")
    assert summarize(run.path).state == "resumable" and run.weights_path.is_file()


@pytest.mark.parametrize("reader", ["gone", "full"])
def test_a_training_goes_on_when_nobody_can_read_its_progress(reader: str, here: Path) -> None:
    if reader == "full" and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    read, write = os.pipe()
    os.close(read)
    progress = write if reader == "gone" else os.open("/dev/full", os.O_WRONLY)
    process = training(here, "--steps", "3", stdout=subprocess.PIPE, stderr=progress)
    out, _ = process.communicate(timeout=120)
    os.close(progress)
    assert process.returncode == 0 and b"LSTM trained: run" in out
    assert summarize(here / "run").state == "finished"


@pytest.mark.parametrize(
    ("ending", "code"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143)], ids=["INT", "TERM"]
)
def test_an_interrupted_closing_diagnosis_leaves_a_finished_run(
    rnnctl: CommandLine,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    ending: BaseException,
    code: int,
) -> None:
    def interrupted(path: Path) -> None:
        raise ending

    monkeypatch.setattr("rnnctl.cli.train._headline", interrupted)
    options = [option for option in SMALL if option != "--no-diagnose"]
    outcome = rnnctl("train", "text.txt", *options, "--run", "run")
    assert outcome.code == code
    assert outcome.err.startswith("error: the closing diagnosis was stopped; the training is ")
    assert summarize(here / "run").state == "finished"
