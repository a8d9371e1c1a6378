"""`rnnctl diagnose`: how much early context does a model retain?"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from rnnctl.cli import console, inputs
from rnnctl.cli.options import (
    FormatOption,
    OutputOption,
    QuietOption,
    RunArgument,
    SeedOption,
    ThreadsOption,
)


class Spoilt(StrEnum):
    """What is done to the text before the context, in the order and letters of `--beyond`."""

    SHUFFLE = "shuffle"
    REVERSE = "reverse"
    REPLACE = "replace"


TEXT = "Text"
WHAT = "What to measure"


def diagnose(
    run: RunArgument,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="use, effect, hold, reach, gates, position; all that suit the run by default. "
            "With --show: more runs.",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        Literal["quick", "full"],
        typer.Option(help="quick: half a minute; full: a few minutes.", rich_help_panel=WHAT),
    ] = "quick",
    text: Annotated[
        str | None,
        typer.Option(
            metavar="CORPUS",
            help="What `train` reads; by default the held-out text that the run keeps.",
            rich_help_panel=TEXT,
        ),
    ] = None,
    items: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help='Evidence sentences for classifiers: {"labels": [A, B], "pairs": [[a, b], …]}.',
            rich_help_panel=TEXT,
        ),
    ] = None,
    beyond: Annotated[
        list[Spoilt] | None,
        typer.Option(
            help="Also spoil the text beyond the context in this way (USE).",
            rich_help_panel=WHAT,
            show_default=False,
        ),
    ] = None,
    show: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Colour this text by how strongly its tokens are kept; measure nothing.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    format: FormatOption = "table",
    output: OutputOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = None,
    quiet: QuietOption = False,
) -> None:
    """Measure how much early context a run retains.

    Ends in one number, the memory horizon in words with a 95 % interval, and a panel: USE (how
    much text the loss needs), EFFECT (whether early evidence still pushes the answer), HOLD (what
    can be read out of the state), REACH (whether the learning signal gets back), GATES (what the
    gates suggest), POSITION (classifiers: whether a sentence counts the same wherever it stands).
    The result is kept in the run as well.
    """
    console.configure(quiet=quiet)
    from rnnctl.tasks.loading import load
    from rnnctl.tasks.machine import set_threads

    set_threads(threads)
    if show is not None:
        from rnnctl.cli.diagnose_show import show_text

        show_text([run, *(Path(name) for name in names or ())], show, output)
        return
    from rnnctl.workflow.diagnose import diagnose as measure
    from rnnctl.workflow.text import read_text

    stdin = inputs.stdin(f"diagnose {run} --text -") if text == "-" else None
    loaded = load(run)
    result = measure(
        loaded,
        names=[name.lower() for name in names or ()],
        preset=preset,
        text=None if text is None else read_text(loaded, text, stdin),
        seed=seed,
        items=items,
        arms=("foreign", "zero", *(way.value for way in beyond or ())),
        tell=lambda name: console.note(f"measuring {name.upper()} …"),
    )
    if os.access(loaded.run.path, os.W_OK):
        loaded.run.write_result("diagnose", result)
    console.emit(result, format, output)
