"""Ctrl-C and `kill` while a large model trains: everything is safe within five seconds.

All of them: `python tests/benchmarks/trust.py signals`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from rnnctl.runs import Run, summarize

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
SAFE_WITHIN_S = 5.0
PATIENCE_S = 120.0

# 8.4 million weights: with moments and best weights 134 MB are written.
LARGE = ["--hidden-size", "1400", "--embedding-size", "64", "--batch-size", "16", "--bptt", "32"]

# Says on standard error what the training is doing, beside what the command says there.
SCRIPT = """
import sys
import rnnctl.cli.train as command
from rnnctl.__main__ import main
from rnnctl.tasks.language_model import LanguageModelTask
from rnnctl.diagnostics import while_training as probes
def told(name, function):
    def call(*arguments, **named):
        print("doing", name, file=sys.stderr, flush=True)
        return function(*arguments, **named)
    return call
LanguageModelTask.validate = told("validate", LanguageModelTask.validate)
LanguageModelTask.loss = told("train", LanguageModelTask.loss)
LanguageModelTask.measure = told("measure", LanguageModelTask.measure)
command._headline = told("diagnose", probes.headline)
sys.exit(main())
"""


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("the cat sat on the mat and ate the rat with a hat. \n" * 600)
    return path


def start(text: Path, run: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", SCRIPT, "train", str(text), "--run", str(run)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, *LARGE, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,  # a terminal's Ctrl-C goes to a whole process group
    )


def wait_for(process: subprocess.Popen[bytes], what: str, times: int) -> None:
    assert process.stderr is not None
    seen = b""
    while times and (line := process.stderr.readline()):
        seen += line
        times -= line == f"doing {what}\n".encode()
    assert not times, seen.decode()


MOMENTS: dict[str, tuple[str, int, list[str]]] = {
    "training": ("train", 3, ["--steps", "500"]),
    "validating": ("validate", 2, ["--steps", "500", "--evaluate-every", "2"]),
    "measuring": ("measure", 1, ["--steps", "2"]),
    "diagnosing": ("diagnose", 1, ["--steps", "2"]),
    "two workers": ("train", 3, ["--steps", "500", "--workers", "2"]),
}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal(
    moment: str, number: signal.Signals, code: int, text: Path, tmp_path: Path
) -> None:
    what, times, options = MOMENTS[moment]
    process = start(text, tmp_path / "run", *options)
    try:
        wait_for(process, what, times)
        time.sleep(0.3)
        family = psutil.Process(process.pid).children(recursive=True)
        begin = time.monotonic()
        os.killpg(process.pid, number)
        _, error = process.communicate(timeout=PATIENCE_S)
        seconds = time.monotonic() - begin
    finally:
        process.kill()
    print(f"{moment}, {number.name}: safe and gone after {seconds:.1f} s")
    assert process.returncode == code, error.decode()
    assert b"Traceback" not in error
    assert not psutil.wait_procs(family, timeout=PATIENCE_S)[1], "orphans"
    assert seconds < SAFE_WITHIN_S
    run = Run.open(tmp_path / "run")
    assert run.verify() == []
    wanted = "finished" if moment == "diagnosing" else "resumable"
    assert summarize(run.path).state == wanted
    assert run.weights_path.is_file()


def test_a_worker_that_is_still_starting_does_not_hear_the_terminal(
    text: Path, tmp_path: Path
) -> None:
    process = start(text, tmp_path / "run", "--steps", "500", "--workers", "2")
    family: list[psutil.Process] = []
    while not family and process.poll() is None:
        family = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, error.decode()
    assert b"Traceback" not in error
    assert not psutil.wait_procs(family, timeout=PATIENCE_S)[1], "orphans"
