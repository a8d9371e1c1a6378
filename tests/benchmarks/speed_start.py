"""How long until something happens: help, an answer to one line, the first step of a training.

    python tests/benchmarks/speed_start.py [--repeats 9]

Each in a new process, by the clock of whoever waits for it; the models are trained for one step
beforehand, which also compiles and caches what is compiled once per machine. Beside them
`import torch` alone, of which most of the others consists. Prints JSON: seconds.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from speed_harness import report

from rnnctl.data.sources import bundled

RNNCTL = [sys.executable, "-m", "rnnctl"]
TEXT_BYTES = 60_000


def whole(command: list[str], line: str = "") -> float:
    """Until the process has ended."""
    begin = time.perf_counter()
    subprocess.run(command, input=line, text=True, check=True, capture_output=True)
    return time.perf_counter() - begin


def first_step(command: list[str]) -> float:
    """Until a training says that it has taken its first step."""
    begin = time.perf_counter()
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as it:
        assert it.stderr is not None
        said = next(line for line in it.stderr if "step 1 " in line)
        seconds = time.perf_counter() - begin
        assert "loss" in said
        it.communicate()
    return seconds


def row(what: str, measure: Callable[[], float], repeats: int) -> dict[str, Any]:
    measure()
    seconds = [round(measure(), 3) for _ in range(repeats)]
    return {
        "what": what,
        "median_s": statistics.median(seconds),
        "fastest_s": min(seconds),
        "slowest_s": max(seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        text, runs = Path(folder) / "tiny.txt", Path(folder) / "runs"
        text.write_bytes((bundled() / "train.txt").read_bytes()[:TEXT_BYTES])
        options = ["--steps", "1", "--no-diagnose", "--overwrite", "--run"]
        reviews = str(bundled("reviews"))
        classifier = [*RNNCTL, "train", reviews, "--task", "classify", *options, f"{runs}/reviews"]
        whole(classifier)
        training = [*RNNCTL, "train", str(text), *options, f"{runs}/tiny"]
        classify = [*RNNCTL, "classify", f"{runs}/reviews"]
        rows = [
            row("import torch", lambda: whole([sys.executable, "-c", "import torch"]), repeats),
            row("rnnctl --help", lambda: whole([*RNNCTL, "--help"]), repeats),
            row("echo text | rnnctl classify", lambda: whole(classify, "a good film\n"), repeats),
            row("rnnctl train tiny.txt, step 1", lambda: first_step(training), repeats),
        ]
    report("start", rows)


if __name__ == "__main__":
    main()
