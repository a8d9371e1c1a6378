"""The whole experiment: train the grid, measure, compare; told as events.

Order: rates are tuned where asked for; members are trained in parallel; what each remembers is
measured in parallel; then, with nothing else running, speed, the exchange of states and the
baselines. Everything is kept in the members' runs, so that killing it at any time loses at most
what was being done, and comparing the runs later gives the same report without training.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from rnnctl import storage
from rnnctl.compare import collect, pairs, report
from rnnctl.compare.grid import Failed, GridEvent, Job, run_all
from rnnctl.compare.measure import kept_baselines, measure
from rnnctl.compare.plan import (
    CLAIMED,
    Planned,
    Settings,
    best_rates,
    command_line,
    match_in_words,
    members,
    needs_steps,
    rates_in_words,
    rates_provenance,
    resolved,
    trials,
    tuning,
)
from rnnctl.compare.verdicts.evidence import Commands
from rnnctl.config import RunConfig, option
from rnnctl.errors import RunError, UsageError
from rnnctl.nn.cells import find_cell
from rnnctl.results.comparison import Comparison, Failure
from rnnctl.runs import Run
from rnnctl.tasks.base import find_task

PLAN_NAME = "plan.json"


@dataclass(frozen=True)
class Planning:
    """The whole experiment as it begins: how many jobs of each kind, how many at a time.

    Kinds are the stages of members, ``diagnose``, and ``measure`` for what runs alone at the end.
    """

    work: Mapping[str, int]
    workers: int


@dataclass(frozen=True)
class Measuring:
    """A measurement that nothing else runs beside."""

    what: str


@dataclass(frozen=True)
class Compared:
    """The result."""

    comparison: Comparison


Event = Planning | Measuring | Compared | GridEvent


@dataclass(frozen=True)
class Machine:
    """How the work is spread: members at a time, threads for each, threads for speed."""

    workers: int
    threads: int
    cores: int


def experiment(
    settings: Settings, root: Path, machine: Machine, asked: pairs.Asked | None = None
) -> Iterator[Event]:
    """Do all of it under `root` and end with `Compared`. Raises what its parts raise.

    `asked`: minimal pairs that every member on the text is asked.

    UsageError where `root` belongs to another plan; RunError where no member could be trained.
    """
    claim(root, settings)
    commands = commands_of(settings, root)
    yield Planning(work_ahead(settings, asked), machine.workers)
    failed: list[Failed] = []
    if needs_steps(settings):
        # How many steps a budget buys is known once each cell has trained for some seconds.
        yield from _work([Job(one) for one in trials(settings)], root, machine, [])
    settings = resolved(settings, root, machine.workers)
    chosen = None
    if settings.rates == "grid":
        yield from _work([Job(one) for one in tuning(settings)], root, machine, failed)
        chosen = best_rates(tuning(settings), root)
    grid = members(settings, chosen)
    # Closed at once where nothing is left to train for: the other members need not end first.
    with closing(_work([Job(one) for one in grid], root, machine, failed)) as working:
        for event in working:
            yield event
            if isinstance(event, Failed):
                _check_some_are_left(grid, failed, root)
    # One that failed is named in the report, and the others are compared without it.
    lost = {event.job.member.name for event in failed}
    there = [one for one in grid if one.name not in lost]
    diagnoses = [Job(one, "diagnose") for one in there if one.is_diagnosed]
    yield from _work(diagnoses, root, machine, failed)
    paths = [root / one.name for one in there]
    # Alone on the machine: speed means nothing beside other work.
    for what in measure(paths, machine.cores, asked):
        yield Measuring(what)
    comparison = compare_runs(
        paths,
        [_failure(event, root) for event in failed],
        match=match_in_words(settings),
        any_size=settings.match == "steps",
        rates=rates_provenance(settings) if chosen is None else rates_in_words(chosen),
        commands=commands,
    )
    yield Compared(comparison)


def _check_some_are_left(grid: Sequence[Planned], failed: Sequence[Failed], root: Path) -> None:
    """RunError where no member on the text is left: the recall task alone would not answer."""
    lost = {event.job.member.name for event in failed}
    if failed[-1].job.member.stage == "text" and all(
        one.name in lost for one in grid if one.stage == "text"
    ):
        raise RunError(
            f"no member could be trained on the text: {failed[-1].reason}",
            hint=f"the messages of each training are in {root / 'logs'}",
        )


def work_ahead(settings: Settings, asked: pairs.Asked | None = None) -> Mapping[str, int]:
    """How many jobs of each kind an experiment has, whatever of them is done already."""
    reported = members(settings)
    work: Counter[str] = Counter(one.stage for one in reported)
    work["diagnose"] = sum(one.is_diagnosed for one in reported)
    work["trial"] = len(trials(settings)) if needs_steps(settings) else 0
    work["tune"] = len(tuning(settings)) if settings.rates == "grid" else 0
    exchanged = sum(
        find_cell(one.cell).has_cell_state for one in reported if one.stage != "untrained"
    )
    questions = sum(one.is_diagnosed for one in reported) if asked is not None else 0
    work["measure"] = exchanged + questions + 2  # and the speed of all, and the baselines
    return work


def _work(
    jobs: Sequence[Job], root: Path, machine: Machine, failed: list[Failed]
) -> Generator[Event, None, None]:
    """Do the jobs; what fails is noted in `failed`."""
    for event in run_all(jobs, root, workers=machine.workers, threads=machine.threads):
        if isinstance(event, Failed):
            failed.append(event)
        yield event


def _failure(event: Failed, root: Path) -> Failure:
    member = event.job.member
    name = member.name if event.job.kind == "train" else f"the diagnosis of {member.name}"
    return Failure(name=name, reason=event.reason, command=member.line(root))


def claim(root: Path, settings: Settings) -> None:
    """Write the plan into `root`, or check that it is the one that is there. UsageError if not."""
    there = plan_of(root)
    if there == settings:
        return
    if there is not None and not _continues(there, settings):
        mine, old = settings.model_dump(), there.model_dump()
        apart = ", ".join(sorted(key for key in mine if mine[key] != old[key]))
        raise UsageError(
            f"{root} already holds another comparison, with different settings: {apart}",
            hint="choose another --run-root, or use the same options to continue it",
        )
    with storage.storing(root):
        root.mkdir(parents=True, exist_ok=True)
    storage.write_atomic(root / PLAN_NAME, (settings.model_dump_json(indent=2) + "\n").encode())


def _continues(there: Settings, settings: Settings) -> bool:
    """Whether `settings` only ask for more seeds, so that all members of `there` stay.

    Of a budget each member gets a share, which more members would change.
    """
    more = {"seeds": settings.seeds, "recall_seeds": settings.recall_seeds}
    enough = settings.seeds >= there.seeds and settings.recall_seeds >= there.recall_seeds
    same = there.model_copy(update=more) == settings
    return enough and same and settings.limit[0] != "--budget"


def commands_of(settings: Settings, root: Path) -> Commands:
    """The commands with which this comparison goes on: more seeds, or what is not measured yet."""

    def train(seeds: int) -> str:
        more = {"seeds": max(seeds, settings.seeds)}
        if settings.recall_lags:
            more["recall_seeds"] = max(seeds, settings.recall_seeds)
        wanted = settings.model_copy(update=more)
        cells = tuple(dict.fromkeys((*settings.cells, *CLAIMED)))
        # Such a plan has other members than this one, so that it needs a folder of its own.
        if wanted.limit[0] == "--budget" or cells != settings.cells:
            return command_line(wanted.model_copy(update={"cells": cells}))
        return command_line(wanted, root)

    return Commands(train, lambda: f"rnnctl compare {shlex.quote(str(root))} --measure")


def commands_for_runs(paths: Sequence[Path]) -> Commands:
    """The commands that test with training what these runs alone cannot show.

    On the text as it was read for the first of them, with the sizes of all of them and as many
    steps as the longest took.
    """
    runs_there = [Run.open(path) for path in paths]
    run = runs_there[0]
    model = run.config.model
    level = run.config.tokenizer.level
    usual = find_task(model.task).level
    # Only what is not usual: the command is to be read, and to be typed again.
    options: tuple[str, ...] = ("--level", level) if level != usual else ()
    options += tuple(_reading(run.config))
    options += ("--horizon", str(model.horizon)) if model.init == "chrono" else ()
    sizes = {one.config.model.cell: one.config.model.hidden_size for one in reversed(runs_there)}
    same = len(set(sizes.values())) == 1
    steps = max((one.present_result("train") or {}).get("steps") or 0 for one in runs_there)
    settings = Settings(
        sources=tuple(str(one) for one in run.config.corpus.sources),
        task=model.task,
        inits=(model.init,),
        match="hidden" if same else "steps",
        sizes=(("", model.hidden_size),) if same else tuple(sizes.items()),
        embedding_size=model.embedding_size or model.hidden_size,
        layers=model.num_layers,
        limit=("--steps", str(steps or 600)),
        options=options,
    )

    def train(seeds: int) -> str:
        return command_line(settings.model_copy(update={"seeds": seeds}))

    runs = " ".join(shlex.quote(str(path)) for path in paths)
    return Commands(train, lambda: f"rnnctl compare {runs} --measure")


def _reading(made_with: RunConfig) -> Iterator[str]:
    """The options of `train` that say how a run's text was read, where they are not the usual."""
    for section in (made_with.corpus, made_with.tokenizer):
        for name, field in type(section).model_fields.items():
            value, known = getattr(section, name), option(name, field)
            if known is None or name == "level" or value in (None, field.default):
                continue
            if isinstance(value, bool):
                yield known.name if value else f"--no-{known.name.removeprefix('--')}"
            else:
                yield from (known.name, str(value))


def plan_of(root: Path) -> Settings | None:
    """The settings that a run root was made with; None where it is none."""
    try:
        return Settings.model_validate_json((root / PLAN_NAME).read_bytes())
    except (OSError, ValidationError):
        return None


def compare_runs(
    paths: Sequence[Path],
    failures: Sequence[Failure] = (),
    *,
    match: str = "nothing: each run as it was trained",
    any_size: bool = False,
    rates: str = "",
    commands: Commands | None = None,
    labels: Mapping[str, str] | None = None,
) -> Comparison:
    """The comparison of finished runs, without torch. RunError where they cannot be compared.

    `any_size`: cells of different sizes are to be compared as they are. `labels`: names of rows, by
    the path of any of a row's runs.
    """
    found, unread = collect.read_all(paths)
    if not found and unread:
        raise collect.nothing_left(unread)
    every = (*failures, *unread)
    baselines, noted = kept_baselines(paths)
    return report.compare(
        found, every, baselines=baselines, noted=noted, match=match, any_size=any_size,
        rates=rates, labels=labels,
        commands=commands or commands_for_runs([Path(one.path) for one in found]),
    )  # fmt: skip
