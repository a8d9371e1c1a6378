"""``rnnctl compare``: which cell remembers more, is better, is faster, and how sure that is."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnctl.cli import compare_options as options
from rnnctl.cli import console
from rnnctl.cli.idle import Idle, idle
from rnnctl.cli.options import (
    CurvesOption,
    FormatOption,
    LabelOption,
    OutputOption,
    QuietOption,
    labels,
)
from rnnctl.errors import RnnctlError, UsageError

if TYPE_CHECKING:
    from rnnctl.compare.experiment import Machine
    from rnnctl.compare.plan import Settings
    from rnnctl.results.comparison import Comparison
    from rnnctl.results.pictures import Pictures
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rnnctl.nn.cells import find_cell

if TYPE_CHECKING:
    from rnnctl.results.comparison import Comparison


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
        f"one run is no comparison: `rnnctl train --config {run} --cell {cell} --run {other}` "
        f"trains {name} on the same text, `rnnctl compare {run} {other}` compares both"
    )
    if "horizon" not in member.values:
        yield "`rnnctl diagnose RUN` of each measures what they remember, to be compared as well"


# The options that have a meaning where nothing is trained.
_FOR_RUNS = {
    "what", "measure", "html", "plot", "chart", "curves", "label", "format", "output", "quiet",
}  # fmt: skip


@idle(
    Idle(
        ("recall_lags", "recall_seeds"),
        lambda values: not values["recall"],
        "has no effect with --no-recall, which leaves the recall task out",
        "leave out one of them",
    )
)
def compare(
    what: options.What = None,
    cells: options.Cells = "rnn,lstm,gru",
    inits: options.Inits = "torch,good",
    match: options.Match = "parameters",
    seeds: options.Seeds = None,
    rates: options.Rates = "shipped",
    recall: options.Recall = True,
    recall_lags: options.RecallLags = "20",
    recall_seeds: options.RecallSeeds = 5,
    task: options.Task = "lm",
    hidden_size: options.HiddenSize = "128",
    embedding_size: options.EmbeddingSize = 64,
    layers: options.Layers = 1,
    steps: options.Steps = None,
    epochs: options.Epochs = None,
    budget: options.Budget = None,
    train: options.Train = "",
    jobs: options.Jobs = None,
    run_root: options.RunRoot = None,
    dry_run: options.DryRun = False,
    measure: options.Measure = False,
    html: options.Html = None,
    plot: options.Plot = None,
    chart: options.Chart = None,
    curves: CurvesOption = None,
    label: LabelOption = None,
    format: FormatOption = "table",
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> None:
    """Find out which cell remembers more, which is better, which is faster, and how sure that is.

    Trains every cell several times under equal conditions, measures them, and answers with
    verdicts on what lectures claim. `rnnctl compare RUN RUN…` does the same with finished runs,
    in a second. A comparison that was stopped continues where it was.
    """  # fmt: skip
    given = dict(locals())
    console.configure(quiet=quiet)
    _check_plot(plot, chart)
    for path, option in ((html, "--html"), (plot, "--plot"), (output, "-o")):
        console.check_output(path, option)
    result = _result(given)
    if result is None:
        return
    wants_page = html is not None or format == "html"
    pictures = _pictures(result) if wants_page else None
    _write_report(result, pictures, html, plot, chart)
    if curves is not None:
        from rnnctl.reports.curves import save_curves

        console.note(f"curves in {curves}: {', '.join(save_curves(result, curves))}")
    console.emit(result, format, output, pictures=pictures)
    for what_is_missing in advice(result):
        console.hint(what_is_missing)
    if not wants_page and plot is None:
        console.hint(
            "`--html report.html` adds charts and a text word by word; nothing is trained again"
        )


def _result(given: dict[str, Any]) -> Comparison | None:
    """The comparison of runs, or of what is trained now; None after a dry run."""
    runs = _runs(given["what"] or [])
    if runs is not None:
        _refuse_training(given)
        return _compare_runs(runs, given["measure"], given["label"])
    if given["label"]:
        raise UsageError(
            "--label names runs, and here cells are trained",
            hint="leave it out; it names the rows of `rnnctl compare RUN…`",
        )
    from rnnctl.compare.plan import members

    settings = options.read_settings(given)
    root = given["run_root"] or options.run_root(settings)
    machine = options.machine(settings, given["jobs"])
    options.check_members(members(settings), corpus=not given["dry_run"])
    if given["dry_run"]:
        _print_members(settings, root, machine)
        return None
    return _experiment(settings, root, machine)


def _refuse_training(given: Mapping[str, Any]) -> None:
    """UsageError for an option of training where the runs are there already."""
    for name, parameter in inspect.signature(compare).parameters.items():
        if name not in _FOR_RUNS and given[name] != parameter.default:
            option = "--no-recall" if name == "recall" else "--" + name.replace("_", "-")
            raise UsageError(
                f"{option} is for training, and these are runs",
                hint="leave it out, or name a corpus to train on instead of the runs",
            )


def _check_plot(plot: Path | None, chart: str | None) -> None:
    if plot is not None:
        from rnnctl.reports.charts import check_ending

        check_ending(plot)
    if chart is not None and plot is None:
        raise UsageError("--chart needs --plot FILE", hint="for example: --plot chart.svg")


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
            f"{other} is not a run, but others of the arguments are",
            hint="name either runs, or a corpus to train on",
        )
    return folders


def _compare_runs(folders: list[Path], measure: bool, label: list[str] | None) -> Comparison:
    from rnnctl.compare import collect, experiment, resolve

    paths = [
        path
        for path in collect.find_members(folders)
        if not path.name.startswith(("tune-", "trial-"))
    ]
    found = labels(label, paths)
    named = {str(path): found[path.resolve()] for path in paths if path.resolve() in found}
    if measure:
        for what in experiment.measure(paths, options.cores()):
            console.note(what)
    plan = experiment.plan_of(folders[0]) if len(folders) == 1 else None
    if plan is None:
        return experiment.compare_runs(paths, labels=named)
    match, rates = resolve.held_equal(plan, folders[0]), resolve.rates_of(plan, folders[0])
    any_size = plan.match == "steps"
    commands = experiment.commands_of(plan, folders[0])
    return experiment.compare_runs(
        paths, match=match, any_size=any_size, rates=rates, commands=commands, labels=named
    )


def _print_members(settings: Settings, root: Path, machine: Machine) -> None:
    from rnnctl.compare.resolve import planned

    for member in planned(settings, root, machine.workers):
        console.stdout_write(member.line(root) + "\n")


def _experiment(settings: Settings, root: Path, machine: Machine) -> Comparison:
    from rnnctl.cli.compare_display import make_display
    from rnnctl.compare.experiment import Compared, experiment

    console.note(f"runs go to {root}; the same command continues there if it is stopped")
    with make_display(quiet=console.is_quiet()) as display:
        for event in experiment(settings, root, machine):
            if isinstance(event, Compared):
                return event.comparison
            display.show(event)
    raise AssertionError("an experiment ends with a comparison or an error")


def _write_report(
    result: Comparison,
    pictures: Pictures | None,
    html: Path | None,
    plot: Path | None,
    chart: str | None,
) -> None:
    if html is not None:
        from rnnctl.reports import render

        console.write_file(html, render(result, "html", pictures=pictures), "--html")
        console.note(f"the page is {html}")
    if plot is not None:
        from rnnctl.reports.charts import save_plot

        console.note(f"drawn in {plot}: {', '.join(save_plot(result, plot, chart))}")


def _pictures(result: Comparison) -> Pictures | None:
    """What some of the runs do with a text; None where there is no such run or text any more."""
    from rnnctl.compare.report import pictured

    paths = pictured(result)
    if not paths:
        return None
    from rnnctl.diagnostics.pictures import pictures
    from rnnctl.tasks.loading import load

    try:
        return pictures([load(path) for path in paths])
    except RnnctlError as problem:
        console.warn(f"the page shows no text word by word: {problem.message}")
        return None
