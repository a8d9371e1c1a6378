"""Where the learning rates of delayed recall in `rnnctl/tasks/recipes.py` come from.

    python tests/benchmarks/compare_rates.py [text|recall] [DIR]

trains every cell and initialisation at every rate of the grid, on the seed that `compare` never
reports, and prints for each what it reached and the best. Everything else is as `rnnctl compare`
trains it without arguments. Minutes; continues where it was when it is started again.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from rnnctl.__main__ import main
from rnnctl.compare.grid import has_result
from rnnctl.compare.plan import GRID, TUNING_SEED, Planned, Settings, recall_members, tuning
from rnnctl.runs import Run


def planned(kind: str) -> list[Planned]:
    """Every member of the search."""
    settings = Settings(seeds=1, recall_seeds=1)
    if kind == "text":
        return tuning(settings)
    members = []
    for one in recall_members(settings):
        for lr in GRID:
            arguments = list(one.arguments)
            arguments[arguments.index("--lr") + 1] = f"{lr:g}"
            arguments[arguments.index("--seed") + 1] = str(TUNING_SEED)
            name = f"tune-{one.cell}-{one.init}-lr{lr:g}"
            members.append(replace(one, name=name, lr=lr, arguments=tuple(arguments)))
    return members


def reached(path: Path) -> tuple[float, float | None]:
    """Best validation loss (nats), and the last accuracy of a classifier."""
    train = Run.open(path).read_result("train")
    accuracies = [
        split["classification"]["accuracy"]
        for split in train["splits"]
        if split["split"] == "valid" and split.get("classification")
    ]
    return min(point["value"] for point in train["curve"]), (accuracies or [None])[-1]


def run(kind: str, root: Path) -> None:
    """Train what is missing, print everything."""
    best: dict[str, tuple[float, float]] = {}
    for one in planned(kind):
        if not has_result(root / one.name, "train"):
            with contextlib.redirect_stdout(io.StringIO()):
                main([*one.command(root), "--resume", "auto", "--quiet"])
        value, accuracy = reached(root / one.name)
        print(json.dumps({"row": one.row, "lr": one.lr, "nats": value, "accuracy": accuracy}))
        best[one.row] = min(best.get(one.row, (float("inf"), 0.0)), (value, one.lr))
    for row, (value, lr) in best.items():
        print(f"{kind} {row}: {lr:g} ({value:.4f} nats)")


if __name__ == "__main__":
    kind = sys.argv[1] if len(sys.argv) > 1 else "text"
    folder = sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp()
    run(kind, Path(folder))
