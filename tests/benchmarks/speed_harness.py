"""What the speed benchmarks share: pairs of timings against another process, and the report.

Ours runs in this process, the other side in one of its own, one after the other, never at the same
time; every pair gives one ratio (theirs / ours, above 1 is faster). A pair during which other
programs took more than a tenth of the machine is thrown away and repeated, as far as time allows.
"""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rnnctl import machine

if caps := {k: v for k, v in machine.library_caps().items() if k not in os.environ}:
    # RNNCTL_CPU caps both sides of a comparison; PyTorch may have been loaded without knowing it.
    os.execve(sys.executable, sys.orig_argv, {**os.environ, **caps})

T_95 = {5: 2.776, 10: 2.262, 15: 2.145, 20: 2.093, 30: 2.045}  # two-sided, by number of pairs
SAMPLE_SECONDS = 0.15
OTHERS = 0.10


class Other:
    """The other side: this script again, in a process of its own, which steps when told to."""

    def __init__(self, *arguments: str, script: str) -> None:
        command = [sys.executable, script, "--worker", *arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.facts: dict[str, Any] = self._line()

    def _line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the other side died")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def seconds(self, repeats: int) -> float:
        assert self.process.stdin is not None
        print(repeats, file=self.process.stdin, flush=True)
        return float(self._line()["seconds"])

    def close(self) -> int:
        """Ends it; returns its peak resident memory in bytes."""
        assert self.process.stdin is not None
        print(0, file=self.process.stdin, flush=True)
        peak = int(self._line()["peak_bytes"])
        self.process.wait()
        return peak


def serve(step: Callable[[], None], facts: dict[str, Any]) -> None:
    """The worker's side of `Other`: reads how many steps to make, answers with the time taken."""
    timed(step, 2)
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        if int(line) == 0:
            print(json.dumps({"peak_bytes": peak_bytes()}), flush=True)
            return
        print(json.dumps({"seconds": timed(step, int(line))}), flush=True)


def timed(step: Callable[[], None], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        step()
    return time.perf_counter() - start


def peak_bytes() -> int:
    """Peak resident memory of this process (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


def _busy_seconds() -> float:
    """CPU seconds that the whole machine has worked since it started; 0 where not known."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    fields = [int(field) for field in stat.read_text().split("\n", 1)[0].split()[1:]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def _own_seconds(pids: list[int]) -> float:
    total = 0.0
    for pid in pids:
        path = Path(f"/proc/{pid}/stat")
        if path.exists():
            fields = path.read_text().rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def compare(
    ours: Callable[[], None], other: Other, pairs: int, patience: float = 60.0
) -> dict[str, Any]:
    """At least `pairs` quiet pairs, or what `patience` seconds give; see the module's text."""
    timed(ours, 2)
    mine = max(1, round(SAMPLE_SECONDS / max(timed(ours, 2) / 2, 1e-6)))
    theirs = max(1, round(SAMPLE_SECONDS / max(other.seconds(2) / 2, 1e-6)))
    pids, end = [os.getpid(), other.process.pid], time.monotonic() + patience
    quiet: list[tuple[float, float]] = []
    noisy: list[tuple[float, float]] = []
    while len(quiet) < pairs and (time.monotonic() < end or len(quiet) + len(noisy) < pairs):
        busy, own, start = _busy_seconds(), _own_seconds(pids), time.perf_counter()
        turns = [timed(ours, mine) / mine, other.seconds(theirs) / theirs]
        wall = (time.perf_counter() - start) * (os.cpu_count() or 1)
        others = (_busy_seconds() - busy) - (_own_seconds(pids) - own)
        (quiet if others <= OTHERS * wall else noisy).append((turns[0], turns[1]))
    used = quiet if len(quiet) >= min(5, pairs) else noisy + quiet
    return {**ratios(used), "quiet": used is quiet, "thrown_away": len(noisy)}


def ratios(pairs: list[tuple[float, float]]) -> dict[str, Any]:
    """Medians in ms; the geometric mean of theirs / ours with its 95 % interval (t, on logs)."""
    logs = [math.log(theirs / ours) for ours, theirs in pairs]
    centre, n = statistics.fmean(logs), len(logs)
    t = T_95[max((k for k in T_95 if k <= n), default=5)]
    half = t * statistics.stdev(logs) / math.sqrt(n) if n > 1 else math.inf
    return {
        "ours_ms": round(1e3 * statistics.median(p[0] for p in pairs), 3),
        "theirs_ms": round(1e3 * statistics.median(p[1] for p in pairs), 3),
        "ratio": round(math.exp(centre), 3),
        "ratio_95": [round(math.exp(centre - half), 3), round(math.exp(centre + half), 3)],
        "pairs": n,
    }


def surroundings() -> dict[str, Any]:
    """Where and with what: processor, cores, versions, commit."""
    import torch

    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "cpu": machine.processor(),
        "level": machine.described(),
        "cpus": os.cpu_count(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch_threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numba", "numpy")},
        },
        "commit": commit.stdout.strip(),
        "load": os.getloadavg()[0],
    }


def report(name: str, rows: list[dict[str, Any]], **more: Any) -> None:
    print(
        json.dumps({"benchmark": name, "machine": surroundings(), "rows": rows, **more}, indent=2)
    )
