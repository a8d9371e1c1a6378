"""Tasks of known difficulty in a comparison: one table for each, with its own chance."""

from __future__ import annotations

from collections.abc import Sequence

from rnnctl.reports import numbers
from rnnctl.reports.blocks import Block, Heading, Table, table
from rnnctl.results.comparison import BenchRow


def tasks(rows: Sequence[BenchRow]) -> dict[str, list[BenchRow]]:
    """Rows by task, whatever the lag: ``recall``, or ``recall symbols=4`` where there are two."""
    found: dict[tuple[str, str], list[BenchRow]] = {}
    for row in rows:
        kind, *options = row.task.removeprefix("task:").replace(",", ":").split(":")
        others = " ".join(one for one in options if not one.startswith("lag="))
        found.setdefault((kind, others), []).append(row)
    kinds = [kind for kind, _ in found]
    return {
        f"{kind} {others}".strip() if kinds.count(kind) > 1 else kind: alike
        for (kind, others), alike in found.items()
    }


def title(task: str) -> str:
    """``Temporal order`` for ``temporal-order``."""
    kind, _, options = task.partition(" ")
    said = kind.replace("-", " ").capitalize()
    return f"{said} ({options})" if options else said


def blocks(bench: Sequence[BenchRow]) -> list[Block]:
    """A table for each task."""
    return [
        block
        for task, rows in tasks(bench).items()
        for block in (Heading(f"{title(task)} by distance"), _table(rows))
    ]


def _table(bench: Sequence[BenchRow]) -> Table:
    lags = sorted({row.lag or 0 for row in bench})
    rows = []
    for name in dict.fromkeys(row.name for row in bench):
        mine = {row.lag or 0: row for row in bench if row.name == name}
        cells = [
            numbers.over_seeds(mine[lag].accuracy, 3) if lag in mine else numbers.NOTHING
            for lag in lags
        ]
        last = mine[max(mine)]
        rows.append((name, *cells, f"{last.solved} of {len(last.accuracy.seeds)}"))
    heads = ("", *(f"accuracy at lag {lag}" for lag in lags), f"solved at {lags[-1]}")
    caption = f"chance {numbers.number(_chance(bench))}; solved means at least 95 %"
    return table(heads, rows, caption=caption)


def _chance(bench: Sequence[BenchRow]) -> float | None:
    return next((row.chance for row in bench if row.chance is not None), None)
