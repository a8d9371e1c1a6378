"""``rnnctl compare``: which cell remembers more, is better, is faster, and how sure that is."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rnnctl.cli import beside, console
from rnnctl.cli import compare_options as options
from rnnctl.cli.idle import Idle, Values, given, idle, missing
from rnnctl.cli.options import (
    CurvesOption,
    LabelOption,
    Output,
    PlotOption,
    labels,
    takes_groups,
)
from rnnctl.cli.progress import follow
from rnnctl.errors import DataError, UsageError
from rnnctl.nn.cells import find_cell
from rnnctl.tasks.base import find_task

if TYPE_CHECKING:
    from rnnctl.compare.experiment import Machine
    from rnnctl.compare.pairs import Asked
    from rnnctl.compare.plan import Settings
    from rnnctl.results.comparison import Comparison
    from rnnctl.results.pictures import Pictures


# What is missing where there is one run and nothing to compare it with.


def advice(result: Comparison) -> Iterator[str]:
    """The commands that give a single run something to be compared with."""
    if len(result.members) != 1:
        return
    (member,) = result.members
    has_gates = find_cell(member.cell).has_gates
    cell, name = ("rnn", "a plain RNN") if has_gates else ("lstm", "an LSTM")
    run, other = shlex.quote(member.path), shlex.quote(f"{member.path}-{cell}")
    yield (
        f"a comparison needs two runs: `rnnctl train --config {run} --cell {cell} --run {other}` "
        f"trains {name} on the same text, `rnnctl compare {run} {other}` compares both"
    )
    if "horizon" not in member.values:
        yield "`rnnctl diagnose RUN` measures the memory of a run; then it is compared too"


def _names_runs(values: Values) -> bool:
    return _runs(values["what"] or []) is not None


@idle(
    Idle(
        "recall_lags recall_seeds",
        missing("recall"),
        "with --no-recall, which leaves the recall task out",
        "leave out --no-recall",
    ),
    Idle(
        "cells inits match seeds rates recall recall_lags recall_seeds task hidden_size "
        "embedding_size layers steps epochs budget train jobs run_root dry_run",
        _names_runs,
        "on runs, which are already trained",
        "name a corpus instead of runs",
    ),
    Idle(
        "measure label",
        lambda values: not _names_runs(values),
        "without runs: new trainings are always measured, and named after cell and initialisation",
        "name the runs to compare",
    ),
    Idle(
        "steps epochs",
        lambda values: values["match"] == "time",
        "with --match time, which gives all cells the same time",
        "use --budget 20m instead",
    ),
    Idle(
        "pairs",
        lambda values: find_task(values["task"]).labelled and not _names_runs(values),
        "for classifiers: only language models can be tested on pairs",
        "leave out --task",
    ),
    Idle("chart", missing("plot"), "without --plot FILE", "add --plot chart.svg"),
    Idle(
        "html plot curves format output pairs verbose",
        given("dry_run"),
        "with --dry-run, which only prints commands",
        "leave out --dry-run",
    ),
)
@takes_groups
def compare(
    design: options.Design,
    *,
    html: options.Html = None,
    plot: PlotOption = None,
    chart: options.Chart = None,
    verbose: options.Verbose = False,
    curves: CurvesOption = None,
    label: LabelOption = None,
    to: Output,
) -> int:
    """Find out which cell remembers more, which is better, which is faster, and how sure that is.

    Trains every cell several times under equal conditions, measures the models, and gives a
    verdict on each of the usual claims about these cells. `rnnctl compare RUN RUN…` does the same
    with finished runs, in a second. If a comparison was stopped, the same command continues it.
    """
    questions = _questions(design)
    result = _result(design, label, questions)
    if result is None:
        return 0
    from rnnctl.reports.comparison import brief, untested

    for what_is_missing in advice(result):
        console.hint(what_is_missing)
    wants_page = html is not None or to.format == "html"
    pictures = _pictures(result) if wants_page else None
    beside.write_page(html, result, pictures)
    beside.draw(plot, result, chart)
    beside.write_curves(curves, result)
    short = to.format == "table" and not verbose
    to.emit(result, blocks=brief if short else None, pictures=pictures)
    if short and len(result.members) > 1:
        for hint in untested(result):
            console.hint(hint)
    if not wants_page and plot is None and len(result.members) > 1:
        console.hint(
            "`--html report.html` adds charts and a text word by word; nothing is trained again"
        )
    return 1 if questions is not None and questions.problems else 0


def _questions(design: options.Design) -> Asked | None:
    """The minimal pairs of `--pairs`, read before anything trains; each bad record is named."""
    if not design.pairs:
        return None
    from rnnctl.cli import inputs
    from rnnctl.cli.pairs import tell
    from rnnctl.compare import pairs

    command = "compare --pairs -"
    inputs.check(design.pairs, command)
    try:
        found = pairs.read(inputs.opened(design.pairs, command), _encoding(design))
    except DataError as error:
        if "--encoding" not in (error.hint or ""):
            raise
        hint = "pairs are read in the encoding of the corpus; save them in it, or as UTF-8"
        raise DataError(error.message, hint=hint) from error
    tell(found.problems)
    return found


def _encoding(design: options.Design) -> str:
    """The encoding of the corpus: of the first run, or of the members that are planned."""
    from rnnctl.compare import collect
    from rnnctl.compare.plan import members
    from rnnctl.runs import Run

    runs = _runs(design.what or [])
    if runs is not None:
        return Run.open(collect.find_members(runs)[0]).config.corpus.encoding
    return options.config_on_text(members(options.read_settings(design))).corpus.encoding


def _result(
    design: options.Design, label: list[str] | None, questions: Asked | None
) -> Comparison | None:
    """The comparison of runs, or of what is trained now; None after a dry run."""
    runs = _runs(design.what or [])
    if runs is not None:
        return _compare_runs(runs, design.measure, label, questions)
    from rnnctl.compare.plan import members

    settings = options.read_settings(design)
    root = design.run_root or options.run_root(settings)
    machine = options.machine(settings, design.jobs)
    options.check_members(members(settings), corpus=not design.dry_run)
    if design.dry_run:
        _print_members(settings, root, machine)
        return None
    return _experiment(settings, root, machine, questions)


def _runs(what: list[str]) -> list[Path] | None:
    """The runs that are named, or None where a corpus is. UsageError for a mixture."""
    from rnnctl.runs import find_runs

    folders = [Path(name) for name in what]
    are_runs = [folder.is_dir() and any(True for _ in find_runs(folder)) for folder in folders]
    if not any(are_runs):
        return None
    if not all(are_runs):
        other = what[are_runs.index(False)]
        raise UsageError(
            f"{other} is not a run, but other arguments are",
            hint="name either runs or a corpus to train on, not both",
        )
    return folders


def _compare_runs(
    folders: list[Path], measure: bool, label: list[str] | None, questions: Asked | None
) -> Comparison:
    from rnnctl.compare import collect, experiment
    from rnnctl.compare.plan import held_equal, rates_of

    paths = [
        path
        for path in collect.find_members(folders)
        # Trainings that a comparison made to choose rates and steps are no members of it.
        if not path.name.startswith(("tune-", "trial-"))
    ]
    found = labels(label, paths)
    named = {str(path): found[path.resolve()] for path in paths if path.resolve() in found}
    if questions is not None:
        from rnnctl.compare.measure import ask

        collect.check_language_models(paths, "--pairs")
        for what in ask(paths, questions):
            console.note(what)
    if measure:
        from rnnctl.compare.measure import measure as measure_missing
        from rnnctl.machine import available_cores

        for what in measure_missing(paths, available_cores()):
            console.note(what)
    plan = experiment.plan_of(folders[0]) if len(folders) == 1 else None
    if plan is None:
        return experiment.compare_runs(paths, labels=named)
    match, rates = held_equal(plan, folders[0]), rates_of(plan, folders[0])
    any_size = plan.match == "steps"
    commands = experiment.commands_of(plan, folders[0])
    return experiment.compare_runs(
        paths, match=match, any_size=any_size, rates=rates, commands=commands, labels=named
    )


def _print_members(settings: Settings, root: Path, machine: Machine) -> None:
    from rnnctl.compare.duration import expected_seconds
    from rnnctl.compare.plan import needs_trials, planned, trials_in_words
    from rnnctl.reports.numbers import roughly

    for member in planned(settings, root, machine.workers):
        console.stdout_write(member.line(root) + "\n")
    if needs_trials(settings, root):
        console.note(trials_in_words(settings))
    left = expected_seconds(settings, root, machine)
    beside_each_other = f"{machine.workers} at a time" if machine.workers > 1 else "one by one"
    console.note(
        "how long the whole comparison takes depends on the length of the text (--epochs)"
        if left is None
        else f"the whole comparison takes about {roughly(left)}: trainings and diagnoses "
        f"{beside_each_other}, then speed and baselines"
    )


def _experiment(
    settings: Settings, root: Path, machine: Machine, questions: Asked | None
) -> Comparison:
    from rnnctl.cli.compare_display import Clock
    from rnnctl.compare.experiment import Compared, experiment

    console.note(f"runs are saved in {root}; if it is stopped, the same command continues")
    compared: Compared = follow(experiment(settings, root, machine, questions), Clock())
    return compared.comparison


def _pictures(result: Comparison) -> Pictures | None:
    """What some of the runs do with a text; None where there is no such run or text any more."""
    from rnnctl.compare.report import pictured

    paths = pictured(result)
    if not paths:
        return None
    from rnnctl.diagnostics.pictures import pictures
    from rnnctl.tasks.loading import load

    return beside.pictures_or_warning(lambda: pictures([load(path) for path in paths]))
