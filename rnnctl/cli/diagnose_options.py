"""The options of `rnnctl diagnose`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from rnnctl import catalog

TEXT = "Text"
WHAT = "What to measure"


class Spoilt(StrEnum):
    """What is done to the text before the context, in the order and letters of `--beyond`."""

    SHUFFLE = "shuffle"
    REVERSE = "reverse"
    REPLACE = "replace"


def _measurements(incomplete: str) -> list[str]:
    return [name for name in catalog.names("diagnostic") if name.startswith(incomplete)]


NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME]...",
        help="use, first_last, effect, hold, reach, gates, position; all that suit the run by "
        "default. "
        "With --show: more runs.",
        show_default=False,
        autocompletion=_measurements,
    ),
]
PresetOption = Annotated[
    Literal["quick", "full"],
    typer.Option(
        help="How much text is measured: quick takes up to half a minute, full a few minutes.",
        rich_help_panel=WHAT,
    ),
]
TextOption = Annotated[
    str | None,
    typer.Option(
        metavar="CORPUS",
        help="What `train` reads; by default the held-out text that the run keeps.",
        rich_help_panel=TEXT,
    ),
]
TextFieldOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The column with the text, in --text.", rich_help_panel=TEXT),
]
LabelFieldOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="The column with the label, in --text.", rich_help_panel=TEXT
    ),
]
EncodingOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Encoding of plain text in --text; by default that of the training text.",
        rich_help_panel=TEXT,
    ),
]
ItemsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help='Evidence sentences for classifiers: {"labels": [A, B], "pairs": [[a, b], …]}.',
        rich_help_panel=TEXT,
    ),
]
BeyondOption = Annotated[
    list[Spoilt] | None,
    typer.Option(
        help="Also spoil the text beyond the context in this way (USE).",
        rich_help_panel=WHAT,
        show_default=False,
    ),
]
ShowOption = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="Colour this text by how strongly its tokens are kept; measure nothing.",
        rich_help_panel=WHAT,
    ),
]
VerboseOption = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Print everything that was measured: numbers, curves, cross-checks, all warnings. "
        "Without it the table has at most 24 lines.",
        show_default=False,
    ),
]
