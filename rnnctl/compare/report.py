"""From members to the comparison: rows, bench, contrasts, verdicts."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence

from rnnctl import __version__
from rnnctl.compare.collect import check_comparable, quality_of
from rnnctl.compare.contrasts import contrasts, family, named_pairs, seeds_needed
from rnnctl.compare.evidence import Evidence
from rnnctl.compare.summary import bench_rows, rows_of
from rnnctl.compare.verdicts import verdicts
from rnnctl.results.base import Environment, Warning_
from rnnctl.results.comparison import BenchRow, Comparison, Failure, Member, Row

CELL_ORDER = {"rnn": 0, "lstm": 1, "gru": 2}
INIT_ORDER = {"torch": 0, "good": 1, "chrono": 2}


def compare(
    members: Sequence[Member],
    failures: Sequence[Failure] = (),
    *,
    baselines: Sequence[Row] = (),
    match: str = "as the runs were trained",
    rates: str = "",
) -> Comparison:
    """Everything that can be said of these members. RunError where they cannot be compared.

    Runs on bench tasks (``task:…``) stand beside the others and are compared with each other at
    the same lag; if there are only such runs, they are the text.
    """
    text, bench = _parts(members)
    check_comparable(text)
    warnings: list[Warning_] = []
    rows = (*rows_of(_groups(text, warnings)), *baselines)
    recall = bench_rows(_bench_groups([m for m in (*text, *bench) if m.bench]))
    pairs = named_pairs(rows, recall, text[0].corpus)
    tests, quality = contrasts(pairs), quality_of(text)
    evidence = Evidence(
        rows=rows, members=(*text, *bench), bench=recall, contrasts=tests, quality=quality,
        unit=text[0].unit, seeds_needed=seeds_needed(len(pairs)),
    )  # fmt: skip
    return Comparison(
        environment=_environment(),
        corpus_fingerprint=text[0].fingerprint or None,
        warnings=tuple(warnings),
        task=text[0].task,
        corpus=text[0].corpus,
        quality="accuracy" if quality == "accuracy" else "bits_per_byte",
        horizon_kind="use_neff" if text[0].task == "lm" else "effect_half",
        distance_unit=text[0].unit,
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


def _groups(members: Sequence[Member], warnings: list[Warning_]) -> dict[str, list[Member]]:
    """Members that differ in nothing but their seed, under names that tell the groups apart."""
    found: dict[tuple[object, ...], list[Member]] = {}
    for member in sorted(members, key=_order):
        group = found.setdefault(_identity(member), [])
        if any(other.seed == member.seed for other in group):
            text = f"{member.path} repeats seed {member.seed} and is left out"
            warnings.append(Warning_(code="SEED_TWICE", text=text))
        else:
            group.append(member)
    plain = [_name(group[0]) for group in found.values()]
    return {
        name if plain.count(name) == 1 else _long_name(group[0]): group
        for name, group in zip(plain, found.values(), strict=True)
    }


def _order(member: Member) -> tuple[object, ...]:
    return (
        member.untrained, CELL_ORDER.get(member.cell, 9), INIT_ORDER.get(member.init, 9),
        member.hidden_size, member.lr, member.seed,
    )  # fmt: skip


def _identity(member: Member) -> tuple[object, ...]:
    return (
        member.cell, member.init, member.untrained, member.hidden_size, member.embedding_size,
        member.layers, member.level, member.lr,
    )  # fmt: skip


def _name(member: Member) -> str:
    return f"untrained {member.cell}" if member.untrained else f"{member.cell} {member.init}"


def _long_name(member: Member) -> str:
    size = f"{member.layers}x{member.hidden_size}" if member.layers > 1 else f"{member.hidden_size}"
    return f"{_name(member)} {member.level} H={size} lr={member.lr:g}"


def _bench_groups(
    members: Sequence[Member],
) -> dict[tuple[str, str, int | None], list[Member]]:
    found: dict[tuple[str, str, int | None], list[Member]] = {}
    for member in sorted(members, key=lambda one: (one.lag or 0, *map(str, _order(one)))):
        group = found.setdefault((_name(member), member.bench or "", member.lag), [])
        if all(other.seed != member.seed for other in group):
            group.append(member)
    return found


def bench_table(rows: Sequence[BenchRow]) -> dict[str, list[BenchRow]]:
    """Bench rows by task, in order of lag."""
    tables: dict[str, list[BenchRow]] = {}
    for row in rows:
        tables.setdefault(row.task.split(":")[1], []).append(row)
    return tables
