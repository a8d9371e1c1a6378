"""Which runs there are, and what each of them holds, without opening any weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnctl.errors import RunError
from rnnctl.runs.checkpoints import CURRENT_NAME, read_values
from rnnctl.runs.run import Run


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One line about a run. `problem` says why it cannot be read, then the rest is empty."""

    path: Path
    run: Run | None
    result: dict[str, Any] | None
    problem: str = ""

    @property
    def state(self) -> str:
        """finished, resumable, best weights only, empty (no weights yet), or damaged.

        Best weights alone are what a disk leaves that is full before the first checkpoint: they can
        be used, and training begins again.
        """
        if self.run is None:
            return "damaged"
        current = self.run.current
        if current.finished:
            return "finished"
        if current.newest:
            return "resumable"
        return "best weights only" if current.best else "empty"

    def progress(self) -> tuple[int | None, float | None]:
        """Steps and best validation (nats) of the newest checkpoint, as far as it has them."""
        if self.run is None or self.run.current.newest is None:
            return None, None
        try:
            counters = read_values(self.run.path, self.run.current.newest)["counters"]
            best = counters["best_value"]
            return int(counters["step"]), None if best is None else float(best)
        except (RunError, KeyError, TypeError, ValueError, OverflowError):
            return None, None


def find_runs(root: Path) -> Iterator[Path]:
    """Folders under `root` (itself included) that hold a run, sorted, hidden ones left out.

    Links are followed. A folder that is reached twice, also by a circle of links, counts once.
    """
    yield from _find(root, set())


def _find(folder: Path, seen: set[Path]) -> Iterator[Path]:
    if not folder.is_dir() or folder.resolve() in seen:
        return
    seen.add(folder.resolve())
    if (folder / CURRENT_NAME).is_file():
        yield folder
        return
    # Folders before links, so that a run that is reached both ways has its own name.
    inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
    found = [run for path in sorted(inside, key=_links_last) for run in _find(path, seen)]
    yield from sorted(found)


def _links_last(path: Path) -> tuple[bool, Path]:
    return path.is_symlink(), path


def summarize(path: Path) -> RunSummary:
    """What a run says about itself; a damaged one becomes a summary with its problem."""
    try:
        run = Run.open(path)
        result = run.read_result("train") if "train" in run.results() else None
    except RunError as error:
        return RunSummary(path, None, None, error.message)
    return RunSummary(path, run, result)
