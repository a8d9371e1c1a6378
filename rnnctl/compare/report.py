"""From members to the comparison: rows, bench, contrasts, verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from rnnctl import machine
from rnnctl.compare import pairs as minimal
from rnnctl.compare.collect import check_comparable, quality_of
from rnnctl.compare.contrasts import (
    contrasts,
    family,
    named_pairs,
    pairs_on_pairs,
    seeds_needed,
)
from rnnctl.compare.groups import (
    Groups,
    diagnosed_apart,
    different_tokens,
    group,
    measured_apart,
    trained_apart,
)
from rnnctl.compare.summary import MEASURES, TOKEN_CURVES, bench_rows, rows_of
from rnnctl.compare.verdicts import verdicts
from rnnctl.compare.verdicts.evidence import Commands, Evidence
from rnnctl.results.base import Environment, Warning_
from rnnctl.results.comparison import BenchRow, Comparison, Failure, Member, Row, SeedSummary
from rnnctl.tasks.base import find_task

BenchGroups = dict[tuple[str, str, int | None], list[Member]]


def compare(
    members: Sequence[Member],
    failures: Sequence[Failure] = (),
    *,
    baselines: Sequence[Row] = (),
    noted: Sequence[Warning_] = (),
    match: str = "nothing: each run as it was trained",
    any_size: bool = False,
    rates: str = "",
    commands: Commands | None = None,
    labels: Mapping[str, str] | None = None,
) -> Comparison:
    """Everything that can be said of these members. RunError where they cannot be compared.

    Runs on bench tasks (``task:…``) stand beside the others, compared at the same lag; if there are
    only such runs, they are the text. Cells must have been trained alike, but with `any_size`.
    `commands` are the command lines that verdicts name as those that would test a claim. `labels`:
    names of rows, by the path of any of a row's runs.
    """
    text = [member for member in members if not member.bench]
    bench = [member for member in members if member.bench]
    if not text:
        text, bench = bench, []
    check_comparable(text)
    warnings: list[Warning_] = [*noted, *diagnosed_apart(text)]
    text = minimal.asked_alike(text, warnings)
    groups = group(text, warnings, labels)
    bench_groups = _bench_groups([m for m in (*text, *bench) if m.bench], labels)
    rows, recall = (*rows_of(groups), *baselines), bench_rows(bench_groups)

    def members_of(row: Row | BenchRow) -> Sequence[Member]:
        return (
            groups[row.name] if isinstance(row, Row) else bench_groups[row.name, row.task, row.lag]
        )

    def trained(first: Row | BenchRow, second: Row | BenchRow) -> str:
        return trained_apart(members_of(first), members_of(second), any_size=any_size)

    def measured(first: Row | BenchRow, second: Row | BenchRow) -> str:
        return measured_apart(members_of(first), members_of(second))

    pairs = named_pairs(rows, recall, text[0].corpus, trained=trained, measured=measured)
    on_pairs = pairs_on_pairs(rows, trained=trained)
    evidence = Evidence(
        rows=rows, members=(*text, *bench), bench=recall, contrasts=contrasts(pairs),
        quality=quality_of(text),
        unit=next((member.unit for member in text if member.unit), "words"),
        # By all pairs that can be compared, also those with too few seeds: with enough of them all
        # would be in the family.
        seeds_needed=seeds_needed(sum(not pair.apart for pair in pairs)),
        trained=trained, commands=commands or Commands(),
    )  # fmt: skip
    mixed = _mixed_tokens(text)
    return Comparison(
        environment=Environment(**machine.facts()),
        corpus_fingerprint=text[0].fingerprint or None,
        warnings=(*warnings, *_ambiguous(rows), *mixed, *_early_models(groups)),
        task=text[0].task,
        corpus=text[0].corpus,
        quality="accuracy" if evidence.quality == "accuracy" else "bits_per_byte",
        horizon_kind="effect_half" if find_task(text[0].task).labelled else "use_neff",
        distance_unit=evidence.unit,
        match=match,
        rates=rates or _rates(text),
        rows=tuple(without_tokens(row) for row in rows) if mixed else rows,
        bench=recall,
        pairs=minimal.rows(groups),
        family=len(family(pairs)),
        pairs_family=len(family(on_pairs)),
        seeds_needed=evidence.seeds_needed,
        contrasts=(*evidence.contrasts, *contrasts(on_pairs)),
        verdicts=verdicts(evidence),
        members=(*text, *bench),
        failures=tuple(failures),
    )


def _rates(members: Sequence[Member]) -> str:
    rates = sorted({member.lr for member in members if not member.untrained})
    return "as the runs were trained: " + ", ".join(f"{lr:g}" for lr in rates)


def _ambiguous(rows: Sequence[Row]) -> list[Warning_]:
    """Verdicts speak of cells and initialisations: say which row they take where there are more."""
    alike: dict[tuple[str | None, str | None], list[str]] = {}
    for row in rows:
        if row.kind == "trained":
            alike.setdefault((row.cell, row.init), []).append(row.name)
    return [
        Warning_(
            code="SEVERAL_ROWS",
            text=f"{len(names)} rows are {cell} {init}: the verdicts use the first, {names[0]!r}, "
            "and for two cells the first two that were trained in the same way",
        )
        for (cell, init), names in alike.items()
        if len(names) > 1
    ]


def _early_models(groups: Groups) -> Iterator[Warning_]:
    """Rows whose training should have been longer before anything is said of their cells."""
    # What a model remembers that an n-gram beats says little of its cell.
    if found := _named(groups, lambda member: member.no_better_than_counting):
        text = f"no better than counting (an n-gram has a lower loss): {found}; train longer"
        yield Warning_(code="NO_BETTER_THAN_COUNTING", text=text)
    if found := _named(groups, lambda member: member.still_improving):
        text = (
            f"still improving when the training ended: {found}; with a longer --budget the cells "
            "may compare differently"
        )
        yield Warning_(code="STILL_IMPROVING", text=text)


def _named(groups: Groups, holds: Callable[[Member], bool]) -> str:
    """The rows with trained members of which something holds, and of how many of them."""
    found = []
    for name, alike in groups.items():
        count = sum(holds(member) for member in alike if not member.untrained)
        if count:
            found.append(name if count == len(alike) else f"{name} ({count} of {len(alike)})")
    return ", ".join(found)


def _mixed_tokens(members: Sequence[Member]) -> list[Warning_]:
    """A note on what is left out where members read different tokens."""
    kinds = different_tokens(members)
    if not kinds:
        return []
    text = (
        f"the runs read different tokens ({kinds}): numbers per token or in tokens are left out "
        "(perplexity, gradients, the gates' τ, learning curves)"
    )
    return [Warning_(code="DIFFERENT_TOKENS", text=text)]


def without_tokens(row: Row) -> Row:
    """A row without what is per token, or in tokens."""
    numbers = {key: value for key, value in row.numbers.items() if not MEASURES[key].in_tokens}
    curves = {key: value for key, value in row.curves.items() if key not in TOKEN_CURVES}
    return row.model_copy(update={"numbers": numbers, "curves": curves})


def _bench_groups(members: Sequence[Member], labels: Mapping[str, str] | None) -> BenchGroups:
    by_task: dict[tuple[int, str], list[Member]] = {}
    for member in members:
        by_task.setdefault((member.lag or 0, member.bench or ""), []).append(member)
    return {
        (name, task, alike[0].lag): alike
        for (_, task), of_task in sorted(by_task.items())
        for name, alike in group(of_task, [], labels).items()
    }


MOST_PICTURED = 4
"""Runs that a page shows beside each other."""


def pictured(result: Comparison) -> list[str]:
    """The runs whose pictures stand for the comparison: one of each cell and its initial weights,
    at most four, every cell before a cell's second one. None of a bench task.

    Of several seeds it is the one whose memory horizon is nearest to the row's.
    """
    chosen: dict[tuple[str, str], Member] = {}
    trained = [row for row in result.rows if row.kind == "trained"]
    of_row = {(row.cell, row.init): row.numbers.get("horizon") for row in trained}
    for member in result.members:
        if member.task != result.task or member.bench is not None or member.untrained:
            continue
        key = (member.cell, member.init)
        best = chosen.get(key)
        # The most usual seed, not the best one: a picture stands for its row.
        if best is None or _apart(member, of_row.get(key)) < _apart(best, of_row.get(key)):
            chosen[key] = member
    seen: dict[str, int] = {}
    order = []
    for place, member in enumerate(chosen.values()):
        seen[member.cell] = seen.get(member.cell, -1) + 1
        order.append((seen[member.cell], place, member))
    first = sorted(order, key=lambda one: one[:2])[:MOST_PICTURED]
    return [member.path for _, _, member in sorted(first, key=lambda one: one[1])]


def _apart(member: Member, row: SeedSummary | None) -> float:
    """How far a member's horizon is from its row's, in the logarithm; infinite where unknown."""
    own = member.values.get("horizon")
    if own is None or row is None or not own.estimate or not row.estimate:
        return math.inf
    return abs(math.log(own.estimate / row.estimate))
