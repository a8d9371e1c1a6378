"""How good the default recipes are, on real text beside the checkout, as JSON.

    python tests/benchmarks/quality_targets.py characters   # 75 s: tinyshakespeare
    python tests/benchmarks/quality_targets.py words        # one epoch: WikiText-2
    python tests/benchmarks/quality_targets.py sentiment    # at most 10 min: IMDb

Each runs the command that stands in its output, with nothing but defaults where a person would give
nothing, and prints what was to be reached beside what was. Nothing else may run meanwhile. The test
parts are for this number only: no recipe was chosen by them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
SIZES = ("--hidden-size", "200", "--layers", "2", "--tied", "--epochs", "1")


@dataclass(frozen=True)
class Target:
    """A command (after `rnnctl train`), what to reach, and what was measured elsewhere."""

    arguments: tuple[str, ...]
    reach: str
    elsewhere: str


TARGETS = {
    "characters": Target(
        (str(DATA / "tinyshakespeare/input.txt"), "--split", "90/10/0", "--budget", "75s"),
        "validation, streaming: 1.43 nats or less",
        "nanoGPT's CPU recipe 1.886 in 75 s; its GPU recipe 1.470 on an A100 (cold windows)",
    ),
    "words": Target(
        (str(DATA / "wikitext2"), "--level", "word", "--words", "whitespace", *SIZES),
        "validation perplexity 200 or less after one epoch, 1.5 times the tokens/s",
        "pytorch/examples word_language_model: 226.7, about 2,700 tokens/s",
    ),
    "classify": Target(
        (str(DATA / "imdb"), "--task", "classify", "--budget", "10m"),
        "test accuracy 89 % or more",
        "BiLSTM tutorial 86.2 %; naive-Bayes-weighted linear classifier 91.6 %",
    ),
}


def measure(name: str, folder: Path, threads: int | None) -> dict[str, Any]:
    """Run one target's command; its result and what it says of the target."""
    target = TARGETS[name]
    command = [sys.executable, "-m", "rnnctl", "train", *target.arguments]
    command += ["--run", str(folder / name), "--no-diagnose", "--format", "json"]
    if threads is not None:
        command += ["--threads", str(threads)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    result = json.loads(done.stdout)
    return {
        "job": name,
        "command": "rnnctl train " + " ".join(target.arguments),
        "reach": target.reach,
        "elsewhere": target.elsewhere,
        "measured": numbers(result),
        "steps": result["steps"],
        "epochs": result["epochs"],
        "best_step": result["best_step"],
        "parameters": result["parameters"],
        "timing": result["timing"],
        "environment": result["environment"],
    }


def numbers(result: dict[str, Any]) -> dict[str, float]:
    """The losses, perplexities and accuracies of a training's result, by split and protocol."""
    found = {}
    for split in result["splits"]:
        for loss in split["losses"]:
            key = f"{split['split']}.{loss['protocol']}"
            found[f"{key}.nats"] = loss["loss_nats"]
            found[f"{key}.perplexity"] = math.exp(loss["loss_nats"])
        if split["classification"]:
            found[f"{split['split']}.accuracy"] = split["classification"]["accuracy"]
    return found


def machine() -> dict[str, Any]:
    """Where it was measured, and which state of the source."""
    git = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": str(torch.__version__),
        "commit": commit,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jobs", nargs="*", metavar="|".join(TARGETS), default=[])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--keep", type=Path, help="keep the runs in this folder")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        measured = [measure(name, folder, given.threads) for name in given.jobs or TARGETS]
    print(json.dumps({"machine": machine(), "results": measured}, indent=2))


if __name__ == "__main__":
    main()
