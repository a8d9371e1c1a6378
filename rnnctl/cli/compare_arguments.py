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
Cells = Annotated[
    str, _option(GRID, "--cells", "Cells to compare, separated by commas.", metavar="NAMES")
]
Inits = Annotated[
    str,
    _option(
        GRID,
        "--inits",
        "Initialisations to train each cell with, separated by commas: torch, good or chrono.",
        metavar="NAMES",
    ),
]
Match = Annotated[
    Literal["parameters", "time", "steps", "hidden"],
    _option(
        GRID,
        "--match",
        "What the cells are matched on: equal numbers of recurrent parameters, equal training "
        "time, equal optimizer steps, or equal hidden sizes. All train on the same text.",
    ),
]
Seeds = Annotated[
    int | None,
    _option(
        GRID,
        "--seeds",
        "Trainings of each row, each with a seed of its own.  [default: 5, or 2 on the bundled "
        "paragraphs]",
        default=False,
        min=1,
    ),
]
Rates = Annotated[
    Literal["shipped", "grid"],
    _option(
        GRID,
        "--rates",
        "Learning rates: from the shipped table, or from a search for each row (grid).",
    ),
]
Recall = Annotated[
    bool,
    _option(
        GRID,
        "--recall/--no-recall",
        "Train and test each row on the task of recalling a symbol as well.",
    ),
]
RecallLags = Annotated[
    str,
    _option(
        GRID,
        "--recall-lags",
        "Distances over which the symbol is to be recalled, in tokens, separated by commas.",
        metavar="N,…",
    ),
]
RecallSeeds = Annotated[
    int, _option(GRID, "--recall-seeds", "Trainings of each row on the recall task.", min=1)
]
Task = Annotated[
    Literal["lm", "sentiment"],
    _option(SIZES, "--task", "What to learn: the next token (lm) or a label (sentiment)."),
]
HiddenSize = Annotated[
    str,
    _option(
        SIZES,
        "--hidden-size",
        "Units in each recurrent layer of the LSTM; the other cells are matched to it. With "
        "--match steps also one size for each cell: rnn=N,lstm=N,gru=N.",
        metavar="N",
    ),
]
EmbeddingSize = Annotated[
    int, _option(SIZES, "--embedding-size", "Length of a token's embedding vector.", min=1)
]
Layers = Annotated[int, _option(SIZES, "--layers", "Number of recurrent layers.", min=1)]
Steps = Annotated[
    int | None,
    _option(
        SIZES,
        "--steps",
        "Optimizer steps of each training.  [default: 300, if neither --epochs nor --budget "
        "is given]",
        default=False,
        min=1,
    ),
]
Epochs = Annotated[
    float | None,
    _option(SIZES, "--epochs", "Passes of each training over the training text.", default=False),
]
Budget = Annotated[
    str | None,
    _option(
        SIZES,
        "--budget",
        "Time for all trainings on the text together, such as 20m or 2h.",
        default=False,
        metavar="TIME",
    ),
]
Train = Annotated[
    str,
    _option(
        SIZES,
        "--train",
        "More options of `rnnctl train` for every training, in quotes: "
        '"--level word --dropout 0.2".',
        metavar="OPTIONS",
    ),
]
Jobs = Annotated[
    int | None,
    _option(
        WORK,
        "--jobs",
        "Trainings that run at the same time.  [default: one for each core]",
        default=False,
        min=1,
    ),
]
RunRoot = Annotated[
    Path | None,
    _option(
        WORK, "--run-root", "Folder for the runs of this comparison.", default=False, metavar="DIR"
    ),
]
DryRun = Annotated[
    bool, _option(WORK, "--dry-run", "Only print the commands of all trainings, one a line.")
]
Measure = Annotated[
    bool,
    _option(
        WORK,
        "--measure",
        "Measure speed and the exchange of states of given runs as well. Needs their corpus.",
    ),
]
Html = Annotated[
    Path | None,
    _option(REPORT, "--html", "Write the report as one page that works offline.", metavar="FILE"),
]
Plot = Annotated[
    Path | None,
    _option(REPORT, "--plot", "Draw the charts in this one .svg or .png file.", metavar="FILE"),
]
Chart = Annotated[
    str | None, _option(REPORT, "--chart", "Draw only the chart of this name.", metavar="NAME")
]
