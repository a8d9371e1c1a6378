"""Minimal pairs in BLiMP's number with a trained model: how long it takes, and who is right.

    python tests/benchmarks/speed_pairs.py RUN [--pairs 1000]

RUN is a language model of words, trained on WikiText-2 for the numbers in RESULTS.md. 67 kinds of
1,000 pairs (`blimp_shaped.py`) are asked by command, once as whole sentences, and once more with
the 5-gram of the run's training text beside. Timed from the start of the process to its end. Prints
JSON: seconds, the share of right pairs of both, and each kind's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from blimp_shaped import write
from speed_harness import report


def asked(run: Path, folder: Path, *options: str) -> tuple[float, dict[str, Any]]:
    """Seconds, and what the command says."""
    command = [sys.executable, "-m", "rnnctl", "pairs", str(run), str(folder), "--format", "json"]
    begin = time.perf_counter()
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    return time.perf_counter() - begin, json.loads(done.stdout)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--pairs", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        count = write(Path(name) / "pairs", arguments.pairs)
        seconds, _ = asked(arguments.run, Path(name) / "pairs")
        with_ngram, found = asked(arguments.run, Path(name) / "pairs", "--baseline")
    kinds = {
        one["name"]: [
            round(one["accuracy"]["estimate"], 3), round(one["baseline_accuracy"]["estimate"], 3)
        ]
        for one in found["phenomena"]
    }  # fmt: skip
    report(
        "pairs",
        [
            {
                "pairs": count,
                "seconds": round(seconds, 1),
                "seconds_with_ngram": round(with_ngram, 1),
                "accuracy": found["total"]["accuracy"]["estimate"],
                "ngram_accuracy": found["total"]["baseline_accuracy"]["estimate"],
                "ngram": found["baseline"],
                "with_unknown_words": found["unknown"],
                "kinds": kinds,
            }
        ],
    )


if __name__ == "__main__":
    main()
