"""What asking a scorer costs: contexts a second when the scorer itself takes no time.

    python tests/benchmarks/speed_scorer.py [--questions N] [--rounds N]

`overhead`: a program that answers every question with the same number is asked N questions, with
contexts of 20, 100 and 400 words; what is timed is everything but a model: writing the questions,
the pipe, reading and checking the answers, and the program's own reading of JSON. `run`: the same
questions to `rnnctl score RUN --answer` with a model of random weights, which reads the contexts.
The median of the rounds is given. Prints JSON.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from speed_harness import report
from speed_inference import CASES, make_run, words

from rnnctl.diagnostics.scorer import Conversation

SCORER = """
import json, sys
sys.stdin.readline()
print('{"protocol": "rnnctl-scorer", "version": 1, "name": "constant"}', flush=True)
held = []
for line in sys.stdin:
    if line.strip():
        held.append('{"id": %d, "nats": 1.5}\\n' % json.loads(line)["id"])
    else:
        sys.stdout.write("".join(held))
        sys.stdout.flush()
        held = []
"""
LENGTHS = (20, 100, 400)


def questions(count: int, length: int) -> list[dict[str, object]]:
    """Contexts of so many words, and a word that follows."""
    draw, known = np.random.default_rng(0), words(2000)
    picked = [known[k] for k in draw.integers(len(known), size=count + length + 1)]
    return [
        {"context": " ".join(picked[k : k + length]) + " ", "target": picked[k + length]}
        for k in range(count)
    ]


def rate(command: str, asked: list[dict[str, object]], rounds: int) -> float:
    """Contexts a second, the median of the rounds."""
    found = []
    with Conversation(command) as talk:
        talk.nats(asked[:64])
        for _ in range(rounds):
            begin = time.perf_counter()
            talk.nats(asked)
            found.append(len(asked) / (time.perf_counter() - begin))
        talk.finish()
    return statistics.median(found)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    made: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "constant.py"
        path.write_text(SCORER)
        for length in LENGTHS:
            asked = questions(arguments.questions, length)
            each = rate(f"{sys.executable} {path}", asked, arguments.rounds)
            made.append({"what": "overhead", "words": length, "contexts_per_s": round(each)})
        run = make_run(Path(folder), CASES["words-2x200"], ())
        command = f"{sys.executable} -m rnnctl score {run} --answer"
        asked = questions(min(2000, arguments.questions), 20)
        each = rate(command, asked, 3)
        made.append({"what": "run", "words": 20, "contexts_per_s": round(each)})
    report("scorer", made)


if __name__ == "__main__":
    main()
