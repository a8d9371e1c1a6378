"""States as arrays against scoring the same text; what snapshots cost a training; memory.

    python tests/benchmarks/speed_states.py [--rounds N] [--only states,snapshots,memory]

`states`: tokens a second of `score` and of `states`, both in this process, on the same weights and
text, as many lines and as one long text; with the file written (.npz), all parts or h alone, and
pooled. Each round gives one ratio (states / score; 1 is as fast); the median is given.
`snapshots`: the share of a training of 150 steps that keeping 10 snapshots takes, measured by the
time spent in it. `memory`: the highest RssAnon of `rnnctl states` on a text of 4 and of 40 MB.
The weights are random: speed does not depend on them. Prints JSON.
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
from speed_inference import CASES, make_run, texts

from rnnctl import api
from rnnctl.inference.arrays import Facts, writer
from rnnctl.inference.inside import Inside, Pooled, Stretch
from rnnctl.inference.score import Reading, Scorer
from rnnctl.tasks.loading import load
from rnnctl.training import checkpoint

NAMES = ("lstm-512", "gru-512", "words-2x200")
LONG = 4_000  # tokens, about
LINES = 24
# What is written: its name, the parts, and whether they are pooled.
WAYS: tuple[tuple[str, list[str] | None, bool], ...] = (
    ("all", None, False),
    ("h", ["h"], False),
    ("pool", None, True),
)


def written(stretches: Any, inside: Inside, path: Path, *, pooled: bool) -> int:
    """Write what comes to a file as the command does; how many rows there were."""
    pool = Pooled("mean") if pooled else None
    facts = Facts(inside.layers, () if pooled else ("",))
    rows, item = 0, -1
    with writer(path, "npz", facts) as out:
        one: Stretch
        for one in stretches:
            item = out.item(rows) if item < 0 else item
            rows += len(one.read.ids)
            if pool is None and len(one.read.ids):
                out.rows(item, {"id": one.read.ids, "place": one.read.places, **one.values})
            elif pool is not None and (found := pool.add(one)) is not None:
                out.rows(item, {name: value[None] for name, value in found[1].items()})
            item = -1 if one.last else item
    return rows


def rate(work: Callable[[], int]) -> float:
    """Tokens a second of one call."""
    begin = time.perf_counter()
    return work() / (time.perf_counter() - begin)


def compared(name: str, rounds: int, folder: Path) -> list[dict[str, Any]]:
    """One model: lines and a long text, each in three ways."""
    run = make_run(folder, CASES[name], ())
    loaded = load(run)
    scorer = Scorer(loaded)
    loaded.model.recurrent.engine = "auto"
    some = texts(CASES[name])[:LINES]
    long = (" ".join(some) * 9)[: LONG * (6 if CASES[name]["level"] == "word" else 1)].encode()
    path = folder / "states.npz"

    def score_lines() -> int:
        return sum(tally.tokens for tally in scorer.tally_texts(some))

    def score_long() -> int:
        return sum(len(part.ids) for part in Reading(scorer).feed(long))

    made = []
    for kind, scoring in (("lines", score_lines), ("one text", score_long)):
        for what, parts, pooled in WAYS:
            inside = Inside(loaded, parts)
            loaded.model.recurrent.engine = "auto"

            def states(inside: Inside = inside, pooled: bool = pooled, kind: str = kind) -> int:
                found = inside.texts(some) if kind == "lines" else inside.stream([long])
                return written(found, inside, path, pooled=pooled)

            scoring()
            states()
            pairs = []
            for _ in range(rounds):
                path.unlink()  # a new file is the usual case
                pairs.append((rate(scoring), rate(states)))
            made.append({
                "model": name, "text": kind, "parts": what,
                "score_tokens_per_s": round(statistics.median(a for a, _ in pairs)),
                "states_tokens_per_s": round(statistics.median(b for _, b in pairs)),
                "ratio": round(statistics.median(b / a for a, b in pairs), 3),
            })  # fmt: skip
    return made


def kept(folder: Path) -> dict[str, Any]:
    """The share of a training's time that its snapshots take."""
    spent = 0.0

    def clocked(work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal spent
            begin = time.perf_counter()
            try:
                return work(*arguments)
            finally:
                spent += time.perf_counter() - begin

        return call

    for name in ("begin", "after_step", "end"):
        setattr(checkpoint.Keeper, name, clocked(getattr(checkpoint.Keeper, name)))
    step = 32 * 64
    numbers = ",".join(str(step * n) for n in (1, 2, 4, 8, 16, 32, 64, 128))
    result = api.train(run=folder / "run", steps=150, hidden_size=512, snapshots=numbers)
    seconds = result.timing["training_s"]
    return {"snapshots": 10, "training_s": seconds, "seconds": spent, "share": spent / seconds}


def memory(folder: Path, megabytes: int) -> dict[str, Any]:
    """The highest RssAnon of the command on a text of so many MB, line by line."""
    run = make_run(folder, {"cell": "gru", "hidden_size": 8, "level": "char"}, ())
    line = "the quick brown fox jumps over the lazy dog, and nobody knows why.\n".upper() * 1000
    source = folder / "text.txt"
    with source.open("w") as file:
        for _ in range(megabytes * 1_000_000 // len(line)):
            file.write(line)
    command = [sys.executable, "-m", "rnnctl", "states", str(run), str(source), "--lines"]
    command += ["-o", str(folder / "s.npz"), "--parts", "h", "-q"]
    process = subprocess.Popen(command)
    highest = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            break
        found = [one.split()[1] for one in status.splitlines() if one.startswith("RssAnon")]
        highest = max(highest, *map(int, found), 0)
        time.sleep(0.05)
    assert process.wait() == 0
    return {"megabytes": megabytes, "rss_anon_mb": highest / 1024}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="states,snapshots,memory")
    parser.add_argument("--models", default=",".join(NAMES))
    arguments = parser.parse_args()
    only = arguments.only.split(",")
    made: list[dict[str, Any]] = []
    for name in arguments.models.split(",") if "states" in only else ():
        with tempfile.TemporaryDirectory() as folder:
            made += compared(name, arguments.rounds, Path(folder))
    if "snapshots" in only:
        with tempfile.TemporaryDirectory() as folder:
            made.append(kept(Path(folder)))
    for megabytes in (4, 40) if "memory" in only else ():
        with tempfile.TemporaryDirectory() as folder:
            made.append(memory(Path(folder), megabytes))
    report("states", made)


if __name__ == "__main__":
    main()
