"""`classify` and `score` as filters that never end: a million lines in constant memory.

All of them: `python tests/benchmarks/trust.py filters`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

import psutil
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
ROOT = Path(__file__).parents[2]
LINES = 1_000_000
SETTLED = LINES // 10  # lines after which memory should grow no more
GROWTH = 20_000_000  # bytes
WINDOW = 10_000
TEXT = "good film, bad film, naïve 猫 film. " * 5


def numbered(number: int) -> bytes:
    return b"bad film %d\n" % number


def objects(number: int) -> bytes:
    return b'{"text": "bad film", "id": %d}\n' % number


def letters(number: int) -> bytes:
    """Three letters: whole texts are read token by token, which takes its time."""
    return bytes(b"abdefgilmno"[number // 11**place % 11] for place in range(3)) + b"\n"


# What to call, what its lines are, and how many lines it answers to each (0: one in all).
MODES: dict[str, tuple[list[str], Callable[[int], bytes], int]] = {
    "classify": (["classify"], numbered, 1),
    "classify new words": (["classify"], numbered, 1),
    "classify as JSON": (["classify", "--format", "json"], objects, 1),
    "score": (["score"], letters, 0),
    "score --lines": (["score", "--lines"], numbered, 1),
    "score --per-token": (["score", "--per-token"], letters, 4),
}


def feed(
    pipe: IO[bytes], line: Callable[[int], bytes], watched: psutil.Process, memory: list[int]
) -> None:
    """Write all lines; note the memory in use whenever a window of them went through."""
    with pipe:
        for start in range(0, LINES, WINDOW):
            pipe.write(b"".join(map(line, range(start, start + WINDOW))))
            memory.append(watched.memory_info().rss)


@pytest.mark.parametrize("mode", MODES)
def test_a_million_lines(mode: str, make_run: Callable[..., Path]) -> None:
    (command, *options), line, answers = MODES[mode]
    level = "word" if "words" in mode else "char"
    run = make_run(TEXT, level=level, labels=("bad", "good") if command == "classify" else ())
    process = subprocess.Popen(
        [sys.executable, "-m", "rnnctl", command, str(run), *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert process.stdin is not None and process.stdout is not None
    memory: list[int] = []
    watched = psutil.Process(process.pid)
    feeder = threading.Thread(target=feed, args=(process.stdin, line, watched, memory))
    feeder.start()
    seen = sum(chunk.count(b"\n") for chunk in iter(lambda: process.stdout.read1(1 << 20), b""))  # type: ignore[union-attr]
    feeder.join()
    process.stdout.close()
    assert process.wait(60) == 0
    assert not answers or seen == answers * LINES
    settled, highest = memory[SETTLED // WINDOW], max(memory[SETTLED // WINDOW :])
    print(f"{mode}: {settled / 1e6:.0f} MB, growth {(highest - settled) / 1e6:.1f} MB")
    assert highest - settled < GROWTH
