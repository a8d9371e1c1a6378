"""How much of its speed a training keeps beside other work, as JSON.

    python tests/benchmarks/speed_neighbours.py [--seconds 4] [--rounds 2] [--set NAME=VALUE …]

Trains characters of the bundled paragraphs, an RNN of 128 and an LSTM of 256 units, and measures
tokens a second in turns: alone, beside one and two processes that compute without end at usual and
at low priority, and two trainings at once; and alone with the libraries' own way of waiting
(`libraries_own`; `quiet_over_libraries_own` is the ratio). `--set` gives the trainings a variable
of the environment, such as OMP_WAIT_POLICY=PASSIVE; without it the variables that say how threads
wait are taken away, so that rnnctl's own choice is measured. Nothing else may run meanwhile.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from speed_harness import report

MODELS = (("rnn", 128), ("lstm", 256))
WARM_UP_STEPS = 30
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS")
BUSY = "import os, sys\nos.nice(int(sys.argv[1]))\nwhile True:\n    sum(range(100_000))"


class Training:
    """This script again, as a training that goes on when it is asked to."""

    def __init__(
        self,
        cell: str,
        size: int,
        folder: Path,
        environment: dict[str, str],
        *,
        policy: bool = True,
    ) -> None:
        command = [sys.executable, __file__, "--worker", cell, str(size), str(folder)]
        command += ["policy"] * policy
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.begin(0.0)
        self.tokens_per_s()

    def begin(self, seconds: float) -> None:
        """Train for so long."""
        assert self.process.stdin is not None
        print(seconds, file=self.process.stdin, flush=True)

    def tokens_per_s(self) -> float:
        """The rate of what was begun, when it is over."""
        assert self.process.stdout is not None
        return float(self.process.stdout.readline())

    def measure(self, seconds: float) -> float:
        self.begin(seconds)
        return self.tokens_per_s()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def work(cell: str, size: int, folder: str, *, policy: bool) -> None:
    """A training that is asked on standard input for how many seconds it shall go on."""
    if policy:
        from rnnctl.openmp import set_up_threads

        set_up_threads()
    from rnnctl.tasks.recipes import resolve
    from rnnctl.training.events import Step
    from rnnctl.training.train import train

    settings = resolve(
        {
            "model": {"cell": cell, "hidden_size": size},
            "training": {"steps": 10**6, "evaluate_every": 10**6, "checkpoint_every_s": 1e6},
        }
    )
    steps = (event for event in train(settings, Path(folder)) if isinstance(event, Step))
    for _ in range(WARM_UP_STEPS):
        before = next(steps)
    for line in sys.stdin:
        start, last = time.perf_counter(), before
        while (taken := time.perf_counter() - start) < float(line):
            last = next(steps)
        print((last.tokens - before.tokens) / max(taken, 1e-9), flush=True)
        before = last


@contextmanager
def neighbours(count: int, niceness: int) -> Iterator[None]:
    """So many processes that compute without end."""
    busy = [subprocess.Popen([sys.executable, "-c", BUSY, str(niceness)]) for _ in range(count)]
    time.sleep(0.3)
    try:
        yield
    finally:
        for process in busy:
            process.send_signal(signal.SIGKILL)
            process.wait()


def measure(cell: str, size: int, seconds: float, rounds: int, extra: list[str]) -> dict[str, Any]:
    """Median rates in tokens a second, and what share of the quiet rate they are."""
    environment = {k: v for k, v in os.environ.items() if k not in WAITING}
    environment |= dict(entry.split("=", 1) for entry in extra)
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        one = Training(cell, size, Path(name) / "one", environment)
        two = Training(cell, size, Path(name) / "two", environment)
        plain = Training(cell, size, Path(name) / "plain", environment, policy=False)
        for _ in range(rounds):
            for _ in range(2):
                found.setdefault("quiet", []).append(one.measure(seconds / 2))
                found.setdefault("libraries_own", []).append(plain.measure(seconds / 2))
            for count in (1, 2):
                for label, niceness in (("usual", 0), ("low", 19)):
                    with neighbours(count, niceness):
                        rate = one.measure(seconds)
                    found.setdefault(f"beside_{count}_{label}", []).append(rate)
            one.begin(seconds)
            two.begin(seconds)
            rate = one.tokens_per_s() + two.tokens_per_s()
            found.setdefault("two_at_once", []).append(rate)
        for training in (one, two, plain):
            training.end()
    rates = {key: statistics.median(values) for key, values in found.items()}
    shares = {
        key: round(rate / rates["quiet"], 3)
        for key, rate in rates.items()
        if key.startswith(("beside", "two"))
    }
    own = zip(found["quiet"], found["libraries_own"], strict=True)
    return {
        "cell": cell,
        "hidden_size": size,
        "tokens_per_s": {key: round(rate) for key, rate in rates.items()},
        "share_of_quiet": shares,
        "quiet_over_libraries_own": round(statistics.median(a / b for a, b in own), 3),
    }


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        work(sys.argv[2], int(sys.argv[3]), sys.argv[4], policy="policy" in sys.argv)
        return
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    rows = [measure(*m, options.seconds, options.rounds, options.set) for m in MODELS]
    report("neighbours", rows, set=options.set)


if __name__ == "__main__":
    main()
