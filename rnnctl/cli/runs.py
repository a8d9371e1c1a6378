"""``rnnctl runs``: which runs there are, and whether their files are whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rnnctl.cli import console
from rnnctl.cli.options import Output, takes_groups
from rnnctl.errors import RunError

if TYPE_CHECKING:
    from rnnctl.results.training import RunLine
    from rnnctl.runs import Run, RunSummary


@takes_groups
def runs(
    root: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder to search, with all folders in it.")
    ] = Path("runs"),
    *,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check every file of every run.")
    ] = False,
    to: Output,
) -> None:
    """List the runs in a folder, including unfinished and damaged ones.

    With `--verify` every file is compared with its checksum; the exit code is 1 if a file is
    damaged.
    """
    from rnnctl import machine
    from rnnctl.results.base import Environment
    from rnnctl.results.training import RunsResult
    from rnnctl.runs import find_runs, summarize

    if not root.is_dir():
        # The default folder is made by the first training; that it is not there yet is no mistake.
        if root != Path("runs"):
            what = "is not a folder" if root.exists() else "does not exist"
            raise RunError(f"{root} {what}", hint="name the folder that holds the runs")
        console.note("no runs here yet; `rnnctl train` makes one")
    found = [summarize(path) for path in find_runs(root)]
    whole = [summary.run for summary in found if verify and summary.run is not None]
    problems = [problem.what for run in whole for problem in run.verify()]
    result = RunsResult(
        environment=Environment(**machine.facts()),
        root=str(root),
        runs=tuple(_line(summary) for summary in found),
        verified=verify,
        problems=tuple(problems),
    )
    to.emit(result)
    if verify and (problems or any(summary.problem for summary in found)):
        raise typer.Exit(1)


def _line(summary: RunSummary) -> RunLine:
    from rnnctl.results.training import RunLine

    if summary.run is None:
        return RunLine(run=str(summary.path), state=summary.state, problem=summary.problem)
    model, result = summary.run.config.model, summary.result or {}
    if summary.state == "finished":
        steps, best = result.get("steps"), best_number(result)
    else:  # a result that is there was made before it went on
        steps, nats = summary.progress()
        best = "" if nats is None else f"{nats:.3f} nats"
    return RunLine(
        run=str(summary.path),
        state=summary.state,
        task=model.task,
        cell=model.cell,
        size=f"{model.num_layers}x{model.hidden_size}",
        corpus=str(result.get("corpus", "")),
        steps=steps,
        best=best,
        horizon=horizon_of(summary.run, result),
    )


def horizon_of(run: Run, result: dict[str, Any]) -> str:
    """The memory horizon of the run's present weights: of `diagnose`, else of the training.

    "" where none was found, whatever the reason: `rnnctl diagnose` has room to say it.
    """
    from rnnctl.reports.numbers import horizon
    from rnnctl.results.base import Estimate

    try:
        found = (run.present_result("diagnose") or {}).get("headline") or result.get("diagnosis")
    except RunError:  # damaged, which --verify tells of
        return ""
    if not found:
        return ""
    value = Estimate(**{key: found[key] for key in Estimate.model_fields if key in found})
    return horizon(value) if value.estimate is not None or value.status == "censored" else ""


def best_number(result: dict[str, Any]) -> str:
    """The validation number by which the weights were chosen, with its unit."""
    for split in result.get("splits", ()):
        if split["split"] != "valid":
            continue
        if split["classification"] is not None:
            return f"{100 * split['classification']['accuracy']:.1f} % right"
        loss = split["losses"][0]
        if loss["bits_per_byte"] is not None:
            return f"{loss['bits_per_byte']:.3f} bits/byte"
    return ""
