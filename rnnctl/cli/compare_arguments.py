"""The options of ``rnnctl compare`` as annotated types, in the order of its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

GRID, SIZES, WORK, REPORT = "What is compared", "Sizes and training", "Work", "Report"


def _option(panel: str, name: str, help: str, *, default: bool = True, **more: Any) -> Any:
    return typer.Option(name, help=help, rich_help_panel=panel, show_default=default, **more)


What = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CORPUS|RUN",
        help="A corpus to train on, as for `train`; or finished runs (or folders of them) to "
        "compare without training. The bundled paragraphs if nothing is given.",
        show_default=False,
    ),
]
Cells = Annotated[str, _option(GRID, "--cells", "Which cells.")]
Inits = Annotated[str, _option(GRID, "--inits", "Which initialisations of each.")]
Match = Annotated[
    Literal["parameters", "time", "steps", "hidden"],
    _option(GRID, "--match", "What is held equal beside the tokens."),
]
Seeds = Annotated[
    int | None,
    _option(
        GRID,
        "--seeds",
        "Trainings of each row; 5, or 2 on the bundled paragraphs.",
        default=False,
        min=1,
    ),
]
Rates = Annotated[
    Literal["shipped", "grid"],
    _option(GRID, "--rates", "Learning rates: shipped table, or searched."),
]
Recall = Annotated[bool, _option(GRID, "--recall/--no-recall", "Also the recall task.")]
RecallLags = Annotated[str, _option(GRID, "--recall-lags", "Distances of it, in tokens.")]
RecallSeeds = Annotated[int, _option(GRID, "--recall-seeds", "Trainings of each row on it.", min=1)]
Task = Annotated[Literal["lm", "sentiment"], _option(SIZES, "--task", "What to learn.")]
HiddenSize = Annotated[
    str,
    _option(
        SIZES,
        "--hidden-size",
        "Of the LSTM, which the others are matched to; rnn=N,lstm=N,gru=N with --match steps.",
        metavar="N",
    ),
]
EmbeddingSize = Annotated[int, _option(SIZES, "--embedding-size", "Of all.", min=1)]
Layers = Annotated[int, _option(SIZES, "--layers", "Of all.", min=1)]
Steps = Annotated[
    int | None,
    _option(SIZES, "--steps", "Of each member; 300 if nothing is said.", default=False, min=1),
]
Epochs = Annotated[float | None, _option(SIZES, "--epochs", "Of each member.", default=False)]
Budget = Annotated[
    str | None,
    _option(
        SIZES,
        "--budget",
        "Time for training all members on the text: 20m, 2h.",
        default=False,
        metavar="TIME",
    ),
]
Train = Annotated[
    str,
    _option(
        SIZES,
        "--train",
        'More options of `rnnctl train` for every member, quoted: "--level word --dropout 0.2".',
        metavar="OPTIONS",
    ),
]
Jobs = Annotated[
    int | None, _option(WORK, "--jobs", "Members at a time; one per core.", default=False, min=1)
]
RunRoot = Annotated[
    Path | None,
    _option(WORK, "--run-root", "Where the runs go.", default=False, metavar="DIR"),
]
DryRun = Annotated[bool, _option(WORK, "--dry-run", "Only print the members, one command a line.")]
Measure = Annotated[
    bool,
    _option(
        WORK, "--measure", "Also measure speed and exchange of given runs; needs their corpus."
    ),
]
Html = Annotated[Path | None, _option(REPORT, "--html", "Write an offline page.", metavar="FILE")]
Plot = Annotated[
    Path | None,
    _option(REPORT, "--plot", "Draw the charts in this one .svg or .png file.", metavar="FILE"),
]
Chart = Annotated[str | None, _option(REPORT, "--chart", "Only this chart.", metavar="NAME")]
