"""Training steps of this version against those of another checkout, one after the other.

    git worktree add ../before COMMIT
    python tests/benchmarks/speed_versions.py ../before [--rounds 9] [--engine auto]

Shows whether a change made the passes slower. Each version steps in a process of its own with the
same random weights; in each round both take their turn, in alternating order. Prints a line a row
as it is measured: median milliseconds of both, and the median of the rounds' ratios (the other
version's time over this one's: above 1, this one is faster) with the second and the last but one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

SIZES = {128: (128, 32), 256: (128, 32), 512: (64, 64)}  # hidden size: steps, streams
SAMPLE_SECONDS = 0.25
MOST_REPEATS = 40


def serve() -> None:
    """One version: reads what to step and how often, answers with the median seconds of a step."""
    import torch

    try:
        from rnnctl.machine import keep_memory
    except ImportError:  # where versions of before December 2026 have it
        from rnnctl.nn.allocator import keep_memory  # type: ignore[import-not-found,no-redef]
    from rnnctl.nn.recurrent import Recurrent

    keep_memory()
    current, model, inputs = None, None, None
    for line in sys.stdin:
        cell, hidden, dtype, engine, repeats = line.split()
        if current != (cell, hidden, dtype, engine):
            torch.manual_seed(0)
            units = int(hidden)
            steps, streams = SIZES[units]
            inputs = torch.randn(steps, streams, units, requires_grad=True)
            model = Recurrent(cell, units, units, 2, engine=engine)
            current = (cell, hidden, dtype, engine)
        assert model is not None and inputs is not None
        seconds = []
        for _ in range(int(repeats)):
            inputs.grad = None
            model.zero_grad()
            begin = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16"):
                outputs, _ = model(inputs)
            outputs.float().square().sum().backward()
            seconds.append(time.perf_counter() - begin)
        print(json.dumps(statistics.median(seconds)), flush=True)


class Version:
    """One checkout, in a process of its own."""

    def __init__(self, root: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(root.resolve())},
        )

    def seconds(self, row: tuple[str, int, str, str], repeats: int) -> float:
        assert self.process.stdin is not None and self.process.stdout is not None
        print(*row, repeats, file=self.process.stdin, flush=True)
        return float(json.loads(self.process.stdout.readline()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("other", type=Path, nargs="?", help="the root of the other checkout")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each version (9)")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve()
        return
    from rnnctl.machine import has_fast_bf16

    this, other = Version(Path(__file__).parents[2]), Version(args.other)
    for dtype in ("fp32", "bf16") if has_fast_bf16() else ("fp32",):
        for cell in ("lstm", "gru", "rnn"):
            for hidden in SIZES:
                row = (cell, hidden, dtype, args.engine)
                repeats = {v: _repeats(v.seconds(row, 4)) for v in (this, other)}
                turns: dict[Version, list[float]] = {this: [], other: []}
                for number in range(args.rounds):
                    for version in (this, other) if number % 2 else (other, this):
                        turns[version].append(version.seconds(row, repeats[version]))
                ratios = sorted(b / a for a, b in zip(turns[this], turns[other], strict=True))
                mine, theirs = (1e3 * statistics.median(turns[v]) for v in (this, other))
                print(
                    f"{dtype} {cell} {hidden}: {mine:.1f} ms, the other version {theirs:.1f} ms: "
                    f"{statistics.median(ratios):.3f} [{ratios[1]:.3f}, {ratios[-2]:.3f}]",
                    flush=True,
                )


def _repeats(seconds: float) -> int:
    return max(3, min(MOST_REPEATS, round(SAMPLE_SECONDS / seconds)))


if __name__ == "__main__":
    main()
