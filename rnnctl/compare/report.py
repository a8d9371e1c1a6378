"""From members to the comparison: rows, bench, contrasts, verdicts."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence

from rnnctl import __version__
from rnnctl.compare.alike import diagnosed_apart
from rnnctl.compare.collect import check_comparable, quality_of
from rnnctl.compare.contrasts import contrasts, family, named_pairs, seeds_needed
from rnnctl.compare.evidence import Evidence
from rnnctl.compare.groups import group
from rnnctl.compare.summary import bench_rows, rows_of
from rnnctl.compare.verdicts import verdicts
from rnnctl.results.base import Environment, Warning_
from rnnctl.results.comparison import Comparison, Failure, Member, Row


def compare(
    members: Sequence[Member],
    failures: Sequence[Failure] = (),
    *,
    baselines: Sequence[Row] = (),
    noted: Sequence[Warning_] = (),
    match: str = "as the runs were trained",
    rates: str = "",
) -> Comparison:
    """Everything that can be said of these members. RunError where they cannot be compared.

    Runs on bench tasks (``task:…``) stand beside the others and are compared with each other at
    the same lag; if there are only such runs, they are the text.
    """
    text, bench = _parts(members)
    check_comparable(text)
    unit = next((member.unit for member in text if member.unit), "words")
    warnings: list[Warning_] = [*noted, *diagnosed_apart(text)]
    rows = (*rows_of(group(text, warnings)), *baselines)
    recall = bench_rows(_bench_groups([m for m in (*text, *bench) if m.bench]))
    pairs = named_pairs(rows, recall, text[0].corpus)
    tests, quality = contrasts(pairs), quality_of(text)
    evidence = Evidence(
        rows=rows, members=(*text, *bench), bench=recall, contrasts=tests, quality=quality,
        unit=unit, seeds_needed=seeds_needed(len(pairs)),
    )  # fmt: skip
    return Comparison(
        environment=_environment(),
        corpus_fingerprint=text[0].fingerprint or None,
        warnings=(*warnings, *_ambiguous(rows)),
        task=text[0].task,
        corpus=text[0].corpus,
        quality="accuracy" if quality == "accuracy" else "bits_per_byte",
        horizon_kind="use_neff" if text[0].task == "lm" else "effect_half",
        distance_unit=unit,
        match=match,
        rates=rates or _rates(text),
        rows=rows,
        bench=recall,
        family=len(family(pairs)),
        seeds_needed=evidence.seeds_needed,
        contrasts=tests,
        verdicts=verdicts(evidence),
        members=(*text, *bench),
        failures=tuple(failures),
    )


def _parts(members: Sequence[Member]) -> tuple[list[Member], list[Member]]:
    """Members on the text, and on bench tasks; where all are bench tasks, they are the text."""
    text = [member for member in members if not member.bench]
    bench = [member for member in members if member.bench]
    return (text, bench) if text else (bench, [])


def _environment() -> Environment:
    return Environment(
        rnnctl=__version__, python=sys.version.split()[0], platform=platform.platform()
    )


def _rates(members: Sequence[Member]) -> str:
    rates = sorted({member.lr for member in members if not member.untrained})
    return "learning rates as the runs were trained: " + ", ".join(f"{lr:g}" for lr in rates)


def _ambiguous(rows: Sequence[Row]) -> list[Warning_]:
    """Verdicts speak of cells and initialisations: say which row they take where there are more."""
    alike: dict[tuple[str | None, str | None], list[str]] = {}
    for row in rows:
        if row.kind == "trained":
            alike.setdefault((row.cell, row.init), []).append(row.name)
    return [
        Warning_(
            code="SEVERAL_ROWS",
            text=f"{len(names)} rows are {cell} {init}: the verdicts take the first, {names[0]!r}",
        )
        for (cell, init), names in alike.items()
        if len(names) > 1
    ]


def _bench_groups(
    members: Sequence[Member],
) -> dict[tuple[str, str, int | None], list[Member]]:
    by_task: dict[tuple[int, str], list[Member]] = {}
    for member in members:
        by_task.setdefault((member.lag or 0, member.bench or ""), []).append(member)
    return {
        (name, task, alike[0].lag): alike
        for (_, task), of_task in sorted(by_task.items())
        for name, alike in group(of_task, []).items()
    }
