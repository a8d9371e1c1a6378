"""Two processes with one thread each against one process with two threads, by whole trainings.

    python tests/benchmarks/speed_workers.py [--pairs 5] [--steps 200]

Characters of the bundled paragraphs, the default model, the same batch and steps on both sides, one
training after the other. Prints JSON: tokens a second of both (by the log, from the fifth step on),
the ratio of each pair, and the validation losses on the way, which tell that both learn alike.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from speed_harness import ratios, report

SIDES = {"one process": ["--threads", "2"], "two workers": ["--workers", "2", "--threads", "1"]}
FIRST = 5  # steps before it load and compile


def training(folder: Path, options: list[str], steps: int) -> tuple[float, list[float]]:
    """Seconds for 1,000 tokens, and the validation losses."""
    run = folder / "run"
    command = [sys.executable, "-m", "rnnctl", "train", "--run", str(run), "--overwrite"]
    command += ["--steps", str(steps), "--evaluate-every", str(steps // 4), "--no-diagnose"]
    subprocess.run([*command, "--quiet", *options], check=True, stdout=subprocess.DEVNULL)
    records = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    taken = [r for r in records if r["event"] == "step"]
    losses = [round(r["value"], 4) for r in records if r["event"] == "evaluated"]
    seconds = tokens = 0.0
    for before, after in zip(taken[FIRST:], taken[FIRST + 1 :], strict=False):
        if after["step"] % (steps // 4) != 1:  # what a validation takes is no training
            seconds += after["timing"]["elapsed_s"] - before["timing"]["elapsed_s"]
            tokens += after["tokens"] - before["tokens"]
    return 1e3 * seconds / tokens, losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    pairs, losses = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.pairs):
            times = []
            for name, side in SIDES.items():
                time, losses[name] = training(Path(folder), side, options.steps)
                times.append(time)
            pairs.append((times[1], times[0]))
    row: dict[str, Any] = ratios(pairs)
    row["two_workers_tokens_per_s"] = round(1e6 / row.pop("ours_ms"))
    row["one_process_tokens_per_s"] = round(1e6 / row.pop("theirs_ms"))
    report("workers", [{**row, "validation_nats": losses}])


if __name__ == "__main__":
    main()
