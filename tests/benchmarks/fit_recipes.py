"""Where the default sizes and learning rates of character models come from.

    python tests/benchmarks/fit_recipes.py measure POINTS.jsonl [CORPORA]
    python tests/benchmarks/fit_recipes.py fit [POINTS.jsonl]

`measure` trains each entry of the grid that POINTS.jsonl does not hold yet, for a fixed number of
steps, and adds a line with the validation loss that it reached. A loss for a number of tokens does
not depend on how fast the machine is, so this may run beside other work. It reads the training and
validation text of the bundled corpus and of the corpora in the folder CORPORA; no test text.

`fit` fits `rnnctl.tasks.recipes` to those points and prints the constants, and how far the fitted
loss is from the measured one. The points it was last fitted to are in `recipe_points.jsonl`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
POINTS = Path(__file__).with_name("recipe_points.jsonl")
CORPORA = {
    "tinyshakespeare": ("tinyshakespeare/input.txt", "--split", "90/10/0"),
    "war_and_peace": ("war_and_peace",),
    "wikitext2": ("wikitext2",),
}


class Point(NamedTuple):
    """One training: what was trained, on what, and for how many steps."""

    corpus: str
    cell: str
    hidden_size: int
    lr: float
    steps: int


def grid() -> Iterator[Point]:
    """All trainings, the most telling ones first."""
    cells = ("lstm", "gru", "rnn")
    usual = {"lstm": 0.015, "gru": 0.005, "rnn": 0.005}
    for cell, rates in (
        ("gru", (0.005, 0.01, 0.003)),
        ("rnn", (0.005, 0.0025, 0.01)),
        ("lstm", (0.015, 0.008)),
    ):
        for lr in rates:
            yield Point("tinyshakespeare", cell, 256, lr, 1000)
    for steps in (300, 1000):
        for cell in cells:
            for size in (512, 128, 256):
                yield Point("tinyshakespeare", cell, size, usual[cell], steps)
    for cell, lr in (("lstm", 0.008), ("gru", 0.003), ("gru", 0.008), ("rnn", 0.0025)):
        yield Point("tinyshakespeare", cell, 512, lr, 1000)
    for cell, lr in (("lstm", 0.025), ("gru", 0.01), ("rnn", 0.01)):
        yield Point("tinyshakespeare", cell, 128, lr, 1000)
    for cell in cells:
        for size in (256, 512):
            yield Point("war_and_peace", cell, size, usual[cell], 700)
    for size in (256, 128, 512):
        for cell in cells:
            yield Point("tinyshakespeare", cell, size, usual[cell], 3000)
    for cell in cells:
        for size in (128, 256, 512):
            yield Point("bundled", cell, size, usual[cell], 500)
            yield Point("wikitext2", cell, size, usual[cell], 500)


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


if __name__ == "__main__":
    measure(Path(sys.argv[2]), Path(sys.argv[3]))
