"""``rnnctl compare``: which cell remembers more, is better, is faster, and how sure that is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rnnctl.cli import compare_options as options
from rnnctl.cli import console
from rnnctl.cli.options import FormatOption, OutputOption, QuietOption
from rnnctl.errors import UsageError

if TYPE_CHECKING:
    from rnnctl.compare.experiment import Machine
    from rnnctl.compare.plan import Settings
    from rnnctl.results.comparison import Comparison

GRID, SIZES, WORK, REPORT = "What is compared", "Sizes and training", "Work", "Report"

Match = Literal["parameters", "time", "steps", "hidden"]


def _option(*names: str, help: str, panel: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


def compare(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CORPUS|RUN",
            help="A corpus to train on, as for `train`; or finished runs (or folders of them) to "
            "compare without training. The bundled paragraphs if nothing is given.",
            show_default=False,
        ),
    ] = None,
    cells: Annotated[str, _option("--cells", help="Which cells.", panel=GRID)] = "rnn,lstm,gru",
    inits: Annotated[
        str, _option("--inits", help="Which initialisations of each.", panel=GRID)
    ] = "torch,good",
    match: Annotated[
        Match, _option("--match", help="What is held equal beside the tokens.", panel=GRID)
    ] = "parameters",
    seeds: Annotated[
        int | None,
        _option(
            "--seeds",
            min=1,
            panel=GRID,
            show_default=False,
            help="Trainings of each row; 5, or 2 on the bundled paragraphs.",
        ),
    ] = None,
    rates: Annotated[
        Literal["shipped", "grid"],
        _option("--rates", help="Learning rates: shipped table, or searched.", panel=GRID),
    ] = "shipped",
    recall: Annotated[
        bool, _option("--recall/--no-recall", help="Also the recall task.", panel=GRID)
    ] = True,
    recall_lags: Annotated[
        str, _option("--recall-lags", help="Distances of it, in tokens.", panel=GRID)
    ] = "20",
    recall_seeds: Annotated[
        int, _option("--recall-seeds", min=1, help="Trainings of each row on it.", panel=GRID)
    ] = 5,
    task: Annotated[
        Literal["lm", "sentiment"], _option("--task", help="What to learn.", panel=SIZES)
    ] = "lm",
    hidden_size: Annotated[
        str,
        _option(
            "--hidden-size",
            panel=SIZES,
            metavar="N",
            help="Of the LSTM, which the others are matched to; rnn=N,lstm=N,gru=N with "
            "--match steps.",
        ),
    ] = "128",
    embedding_size: Annotated[
        int, _option("--embedding-size", min=1, help="Of all.", panel=SIZES)
    ] = 64,
    layers: Annotated[int, _option("--layers", min=1, help="Of all.", panel=SIZES)] = 1,
    steps: Annotated[
        int | None,
        _option(
            "--steps",
            min=1,
            help="Of each member; 300 if nothing is said.",
            panel=SIZES,
            show_default=False,
        ),
    ] = None,
    epochs: Annotated[
        float | None, _option("--epochs", help="Of each member.", panel=SIZES, show_default=False)
    ] = None,
    budget: Annotated[
        str | None,
        _option(
            "--budget",
            panel=SIZES,
            metavar="TIME",
            show_default=False,
            help="Time for training all members on the text: 20m, 2h.",
        ),
    ] = None,
    train: Annotated[
        str,
        _option(
            "--train",
            panel=SIZES,
            metavar="OPTIONS",
            help="More options of `rnnctl train` for every member, quoted: "
            '"--level word --dropout 0.2".',
        ),
    ] = "",
    jobs: Annotated[
        int | None,
        _option(
            "--jobs", min=1, help="Members at a time; one per core.", panel=WORK, show_default=False
        ),
    ] = None,
    run_root: Annotated[
        Path | None,
        _option(
            "--run-root", help="Where the runs go.", panel=WORK, show_default=False, metavar="DIR"
        ),
    ] = None,
    dry_run: Annotated[
        bool, _option("--dry-run", help="Only print the members, one command a line.", panel=WORK)
    ] = False,
    measure: Annotated[
        bool,
        _option(
            "--measure",
            panel=WORK,
            help="Also measure speed and exchange of given runs; needs their corpus.",
        ),
    ] = False,
    html: Annotated[
        Path | None,
        _option("--html", help="Write an offline page.", panel=REPORT, metavar="FILE"),
    ] = None,
    plot: Annotated[
        Path | None,
        _option("--plot", help="Write the charts as .svg or .png.", panel=REPORT, metavar="FILE"),
    ] = None,
    chart: Annotated[
        str | None, _option("--chart", help="Only this chart.", panel=REPORT, metavar="NAME")
    ] = None,
    format: FormatOption = "table",
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> None:
    """Find out which cell remembers more, which is better, which is faster, and how sure that is.

    Trains every cell several times under equal conditions, measures them, and answers with
    verdicts on what lectures claim. `rnnctl compare RUN RUN…` does the same with finished runs,
    in a second. A comparison that was stopped continues where it was.
    """  # fmt: skip
    console.configure(quiet=quiet)
    _check_plot(plot, chart)
    runs = _runs(what or [])
    if runs is not None:
        result = _compare_runs(runs, measure, dry_run)
    else:
        from rnnctl.compare.plan import members

        settings = options.read_settings(locals())
        root = run_root or options.run_root(settings)
        machine = options.machine(settings, jobs)
        options.check_members(members(settings), corpus=not dry_run)
        if dry_run:
            _print_members(settings, root, machine)
            return
        result = _experiment(settings, root, machine)
    _write_report(result, html, plot, chart)
    console.emit(result, format, output)
    if html is None and plot is None:
        console.hint("`--html report.html` adds charts; the runs need not be trained again")


def _check_plot(plot: Path | None, chart: str | None) -> None:
    if plot is not None and plot.suffix not in (".svg", ".png"):
        raise UsageError(f"--plot {plot}: not .svg or .png", hint="for example: --plot chart.svg")
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


def _compare_runs(folders: list[Path], measure: bool, dry_run: bool) -> Comparison:
    from rnnctl.compare import collect, experiment

    if dry_run:
        raise UsageError("--dry-run is for training; these are runs", hint="leave it out")
    paths = [
        path
        for path in collect.find_members(folders)
        if not path.name.startswith(("tune-", "trial-"))
    ]
    if measure:
        for what in experiment.measure(paths, options.cores()):
            console.note(what)
    plan = experiment.plan_of(folders[0]) if len(folders) == 1 else None
    match = experiment.held_equal(plan, folders[0]) if plan else "as the runs were trained"
    return experiment.compare_runs(paths, match=match)


def _print_members(settings: Settings, root: Path, machine: Machine) -> None:
    from rnnctl.compare.experiment import planned

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
    result: Comparison, html: Path | None, plot: Path | None, chart: str | None
) -> None:
    if html is not None:
        from rnnctl.reports.page import page

        console.write_file(html, page(result))
        console.note(f"the page is {html}")
    if plot is not None:
        from rnnctl.reports.charts import save_plots

        for path in save_plots(result, plot, chart):
            console.note(f"drawn: {path}")
