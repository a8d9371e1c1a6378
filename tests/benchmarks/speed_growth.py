"""What training costs as the work grows: sizes that are awkward, small and large, and no cliffs.

    python tests/benchmarks/speed_growth.py [--quick] [--axes hidden,batch,bptt,vocabulary,corpus]
                                            [--cells lstm,gru,rnn] [--precision bf16]

One step of a language model of one layer (model, loss, optimizer; the engine that `auto` chooses),
each point in a process of its own: 32 streams of 64 tokens, 256 units, 100 characters, but for one
of these. The corpus grows through whole trainings by the command line. Prints JSON: tokens a
second, GFLOP/s of the matrix products, the peak of the process's memory, and for each axis the
lowest ratio of a point's GFLOP/s (for the corpus, tokens a second) to the point before it: a cliff
is a low number.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from speed_harness import peak_bytes, report, timed
from speed_store import synthetic

from rnnctl.config import ModelConfig, TrainingConfig
from rnnctl.machine import described, has_fast_bf16, keep_memory
from rnnctl.tasks.loading import build_model
from rnnctl.training.optimizer import clip, make_optimizer

BASE = {"hidden": 256, "batch": 32, "bptt": 64, "vocabulary": 100}
AXES: dict[str, tuple[int, ...]] = {
    "hidden": (32, 64, 100, 128, 200, 256, 257, 384, 512, 768, 1024),
    "batch": (1, 2, 4, 8, 13, 16, 20, 32, 64, 128, 256),
    "bptt": (8, 16, 32, 64, 128, 256, 512, 1024),
    "vocabulary": (30, 100, 1000, 4000, 4200, 10_000, 33_278, 100_000),
    "corpus": (1, 10, 100),  # megabytes
}
QUICK: dict[str, tuple[int, ...]] = {"hidden": (64, 128), "corpus": (1,)}
GATES = {"lstm": 4, "gru": 3, "rnn": 1}
ENOUGH_S = 1.0
STEPS = 60


def step_seconds(point: dict[str, Any]) -> float:
    """A training step, the median of a second's worth."""
    torch.manual_seed(0)
    config = ModelConfig(
        cell=point["cell"], hidden_size=point["hidden"], embedding_size=point["hidden"]
    )
    model = build_model(config, vocab_size=point["vocabulary"])
    optimizer = make_optimizer(model, TrainingConfig())
    ids = torch.randint(point["vocabulary"], (point["bptt"] + 1, point["batch"]))
    state = model.recurrent.initial_state(point["batch"])

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=point["precision"] == "bf16"):
            nats, _ = model.loss(ids[:-1], ids[1:], state)
        (nats / (point["bptt"] * point["batch"])).backward()
        clip(model.parameters(), 1.0)
        optimizer.step()

    timed(step, 3)
    repeats = max(5, round(ENOUGH_S / timed(step, 1)))
    return sorted(timed(step, 1) for _ in range(repeats))[repeats // 2]


def worker(point: dict[str, Any]) -> None:
    keep_memory()
    seconds = step_seconds(point)
    tokens, hidden = point["batch"] * point["bptt"], point["hidden"]
    weights = hidden * (GATES[point["cell"]] * 2 * hidden + point["vocabulary"])
    found = {
        "tokens_per_s": round(tokens / seconds),
        "gflops": round(6e-9 * weights * tokens / seconds, 1),
        "peak_mb": peak_bytes() >> 20,
    }
    print(json.dumps(found))


def trained(megabytes: int, cell: str, precision: str) -> dict[str, Any]:
    """A short training by the command line on so much text."""
    with tempfile.TemporaryDirectory() as folder:
        text, run = Path(folder, "text.txt"), Path(folder, "run")
        synthetic(text, megabytes)
        command = [sys.executable, "-m", "rnnctl", "train", str(text), "--run", str(run)]
        command += ["--cell", cell, "--precision", precision, "--split", "98/1/1", "--quiet"]
        command += ["--steps", str(STEPS), "--evaluate-every", str(STEPS), "--no-diagnose"]
        environment = {**os.environ, "RNNCTL_CACHE": str(Path(folder, "cache"))}
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{' '.join(command)} failed")
        log = (run / "log.jsonl").read_text("utf-8").splitlines()
    steps = [record for record in map(json.loads, log) if record["event"] == "step"]
    first, last = steps[STEPS // 3], steps[-1]
    seconds = last["timing"]["elapsed_s"] - first["timing"]["elapsed_s"]
    return {
        "tokens_per_s": round((last["tokens"] - first["tokens"]) / seconds),
        "peak_mb": used.ru_maxrss >> 10,
    }


def measured(axis: str, value: int, cell: str, precision: str) -> dict[str, Any]:
    if axis == "corpus":
        return trained(value, cell, precision)
    point = {**BASE, axis: value, "cell": cell, "precision": precision}
    command = [sys.executable, __file__, "--worker", json.dumps(point)]
    found: dict[str, Any] = json.loads(subprocess.check_output(command))
    return found


def rows(cell: str, precision: str, axes: dict[str, tuple[int, ...]]) -> list[dict[str, Any]]:
    made = []
    for axis, values in axes.items():
        points = [{axis: value, **measured(axis, value, cell, precision)} for value in values]
        rates = [point.get("gflops", point["tokens_per_s"]) for point in points]
        ratios = [after / before for before, after in pairwise(rates)]
        lowest = round(min(ratios, default=1.0), 2)
        made.append({"cell": cell, "axis": axis, "lowest_ratio": lowest, "points": points})
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--worker", type=json.loads, metavar="POINT")
    parser.add_argument("--quick", action="store_true", help="three points")
    parser.add_argument("--axes", default=",".join(AXES))
    parser.add_argument("--cells", default="lstm,gru,rnn")
    parser.add_argument("--precision", default="bf16", choices=["fp32", "bf16"])
    options = parser.parse_args()
    if options.worker:
        worker(options.worker)
        return
    if options.precision == "bf16" and not has_fast_bf16():
        print(f"in fp32: this machine is used as {described()}, without bf16", file=sys.stderr)
        options.precision = "fp32"
    chosen = QUICK if options.quick else {axis: AXES[axis] for axis in options.axes.split(",")}
    found = [
        row for cell in options.cells.split(",") for row in rows(cell, options.precision, chosen)
    ]
    report("growth", found, precision=options.precision)


if __name__ == "__main__":
    main()
