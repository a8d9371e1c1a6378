"""The worker of `rnnctl compare`: command lines in, exit codes out, output in logs."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from pathlib import Path


def test_commands_are_answered_with_their_exit_codes(root: Path, tmp_path: Path) -> None:
    logs = [tmp_path / f"{k}.txt" for k in range(3)]
    commands = [["runs", str(tmp_path)], ["nonsense"], ["runs", str(tmp_path), "--format", "json"]]
    worker = subprocess.Popen(
        [sys.executable, "-m", "rnnctl.cli.worker"],
        cwd=root, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert worker.stdin is not None
    assert worker.stdout is not None
    codes = []
    for arguments, log in zip(commands, logs, strict=True):
        worker.stdin.write(json.dumps({"arguments": arguments, "log": str(log)}) + "\n")
        worker.stdin.flush()
        codes.append(int(worker.stdout.readline()))
    out, err = worker.communicate(timeout=60)
    assert (worker.returncode, out, err) == (0, "", "")
    assert codes[1] == 2
    assert codes[0] == codes[2]
    assert "nonsense" in logs[1].read_text()
    assert "nonsense" not in logs[2].read_text()


def test_when_whoever_asked_is_gone_the_command_saves_itself_and_ends(
    root: Path, tmp_path: Path
) -> None:
    corpus = tmp_path / "text.txt"
    corpus.write_text("some words to learn from, again and again. " * 400)
    train = ["train", str(corpus), "--run", str(tmp_path / "run"), "--hidden-size", "8"]
    more = ["--steps", "1000000", "--batch-size", "4", "--bptt", "16", "--no-diagnose"]
    log = tmp_path / "log.txt"
    # As under `nohup rnnctl compare &`: a shell starts background jobs with interrupts ignored.
    ignoring = ["sh", "-c", "trap '' INT; exec \"$0\" -m rnnctl.cli.worker", sys.executable]
    worker = subprocess.Popen(
        ignoring, cwd=root, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert worker.stdin is not None
    worker.stdin.write(json.dumps({"arguments": [*train, *more], "log": str(log)}) + "\n")
    worker.stdin.flush()
    limit = time.monotonic() + 60
    while time.monotonic() < limit and not (log.exists() and "step 1" in log.read_text()):
        select.select([], [], [], 0.05)
    out, _ = worker.communicate(timeout=60)  # closes its input
    assert (worker.returncode, out) == (130, "130\n")
    assert "stopped after step" in log.read_text()
