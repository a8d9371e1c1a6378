"""Where the default sizes and learning rates of character models come from.

    python tests/benchmarks/fit_recipes.py measure POINTS.jsonl [CORPORA]
    python tests/benchmarks/fit_recipes.py fit [POINTS.jsonl]

`measure` trains each entry of the grid that POINTS.jsonl does not hold yet, for a fixed number of
steps, and adds a line with the validation loss that it reached. A loss for a number of tokens does
not depend on how fast the machine is, so this may run beside other work. It reads the training and
validation text of the bundled corpus and of the corpora in the folder CORPORA; no test text.

`fit` prints the constants of `rnnctl.tasks.sizes` that fit those points, and how far the fitted
loss is from the measured one. The points it was last fitted to are in `recipe_points.jsonl`.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares

ROOT = Path(__file__).resolve().parents[2]
POINTS = Path(__file__).with_name("recipe_points.jsonl")
CORPORA = {
    "tinyshakespeare": ("tinyshakespeare/input.txt", "--split", "90/10/0"),
    "war_and_peace": ("war_and_peace",),
    "wikitext2": ("wikitext2",),
}
TRAIN_TOKENS = {
    "tinyshakespeare": 1_003_854,
    "war_and_peace": 2_910_000,
    "wikitext2": 10_700_000,
    "bundled": 999_034,
}


class Point(NamedTuple):
    """One training: what was trained, on what, and for how many steps."""

    corpus: str
    cell: str
    hidden_size: int
    lr: float
    steps: int


# The best rate of each cell at 256 units, and rates below and above it.
RATES = {"lstm": (0.008, 0.015, 0.03), "gru": (0.005, 0.01, 0.02), "rnn": (0.005, 0.01, 0.02)}
USUAL = {
    ("lstm", 128): 0.02, ("lstm", 256): 0.015, ("lstm", 512): 0.01,
    ("gru", 128): 0.01, ("gru", 256): 0.007, ("gru", 512): 0.005,
    ("rnn", 128): 0.01, ("rnn", 256): 0.007, ("rnn", 512): 0.005,
}  # fmt: skip
# The largest size that is chosen from, by the rule for larger sizes.
LARGEST = {("lstm", 768): 0.0085, ("gru", 768): 0.0045, ("rnn", 768): 0.0045}


def grid() -> Iterator[Point]:
    """All trainings, the most telling ones first."""
    for steps in (300, 1000):
        for size in (256, 512, 128):
            for cell, rates in RATES.items():
                for lr in rates:
                    yield Point("tinyshakespeare", cell, size, lr, steps)
    for steps in (300, 1000):
        for (cell, size), lr in LARGEST.items():
            yield Point("tinyshakespeare", cell, size, lr, steps)
    for (cell, size), lr in {**USUAL, **LARGEST}.items():
        if size > 128:
            yield Point("war_and_peace", cell, size, lr, 700)
    for (cell, size), lr in USUAL.items():
        yield Point("tinyshakespeare", cell, size, lr, 3000)
    for (cell, size), lr in USUAL.items():
        yield Point("bundled", cell, size, lr, 500)
        yield Point("wikitext2", cell, size, lr, 500)


def measure(out: Path, corpora: Path) -> None:
    """Train what is missing."""
    done = {point for point, _ in read(out)}
    for point in dict.fromkeys(grid()):
        where = CORPORA.get(point.corpus)
        if point in done or (where is not None and not (corpora / where[0]).exists()):
            continue
        with tempfile.TemporaryDirectory() as folder:
            loss, tokens = train(point, corpora, Path(folder) / "run")
        line = {**point._asdict(), "tokens": tokens, "nats": round(loss, 4)}
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)


def train(point: Point, corpora: Path, run: Path) -> tuple[float, int]:
    """Best validation loss (nats a token), and tokens read."""
    source, *options = CORPORA.get(point.corpus, ("",))
    command = [
        sys.executable,
        "-m",
        "rnnctl",
        "train",
        *([str(corpora / source)] if source else []),
    ]
    command += [*options, "--cell", point.cell, "--hidden-size", str(point.hidden_size)]
    command += ["--lr", f"{point.lr:g}", "--steps", str(point.steps), "--threads", "1"]
    command += ["--evaluate-every", str(point.steps // 2), "--no-diagnose", "--no-keep-text"]
    command += ["--run", str(run), "--quiet", "--format", "json"]
    done = subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    result = json.loads(done.stdout)
    return min(point["value"] for point in result["curve"]), result["tokens"]


def read(path: Path) -> list[tuple[Point, tuple[int, float]]]:
    """Points with the tokens that were read and the loss that was reached."""
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [
        (Point(*(line[name] for name in Point._fields)), (line["tokens"], line["nats"]))
        for line in lines
    ]


def fit(path: Path) -> None:
    """Print the constants of `rnnctl.tasks.sizes` that fit the best rate of each training."""
    best: dict[tuple[str, str, int, int], float] = {}
    for point, (tokens, nats) in read(path):
        key = (point.corpus, point.cell, point.hidden_size, tokens)
        best[key] = min(nats, best.get(key, math.inf))
    texts = sorted({key[0] for key in best})
    cells = ("lstm", "gru", "rnn")

    def expected(constants: Sequence[float], key: tuple[str, str, int, int]) -> float:
        text, cell, size, tokens = key
        gain, bend, repeat, power, *rest = constants
        weights, offsets = rest[:3], rest[3:]
        number = cells.index(cell)
        of_cell = 0.0 if number == 0 else offsets[number - 1]
        wider = math.log(size / 256)
        larger = (gain - repeat * tokens / TRAIN_TOKENS[text] - bend * wider) * wider
        longer = weights[number] * (tokens / 2e6) ** -power
        return offsets[2 + texts.index(text)] + of_cell - larger + longer

    def errors(constants: Sequence[float]) -> list[float]:
        return [expected(constants, key) - nats for key, nats in best.items()]

    start = [0.1, 0.01, 0.01, 0.4, 0.2, 0.2, 0.2, 0.0, 0.1, *[1.2] * len(texts)]
    found = least_squares(errors, start).x
    left = np.array(errors(found))
    gain, bend, repeat, power, *weights = found[:7]
    print(f"SIZE_GAIN {gain:.3f}  SIZE_BEND {bend:.3f}  REPEAT_LOSS {repeat:.4f}")
    print(f"TOKENS_POWER {power:.3f}")
    print("TOKENS_LOSS", dict(zip(cells, [round(float(w), 3) for w in weights], strict=True)))
    error = math.sqrt(float((left**2).mean()))
    print(
        f"{len(best)} trainings: root mean square error {error:.4f}, largest {abs(left).max():.4f}"
    )


if __name__ == "__main__":
    if sys.argv[1] == "measure":
        measure(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        fit(Path(sys.argv[2]) if len(sys.argv) > 2 else POINTS)
