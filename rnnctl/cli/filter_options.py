"""The options of the commands that filter text, `score` and `classify`, as annotated types."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

import typer

INPUT: Final = "Input"
STATE: Final = "Reading on"
MAX_LINE: Final = 16_000_000

LineFormat = Literal["auto", "text", "jsonl"]
Unit = Literal["file", "paragraph", "line"]

Files = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[FILE]...", help="Texts; `-` or none: standard input.", show_default=False
    ),
]
Input = Annotated[
    LineFormat,
    typer.Option(
        "--input", help="text, jsonl, or auto: the first line decides.", rich_help_panel=INPUT
    ),
]
Jsonl = Annotated[
    bool,
    typer.Option("--jsonl", help="Every line is a JSON object.", rich_help_panel=INPUT),
]
TextField = Annotated[
    str | None,
    typer.Option(
        "--text-field",
        metavar="NAME",
        help="The JSON field that holds the text; the usual names are found.",
        rich_help_panel=INPUT,
    ),
]
MaxLine = Annotated[
    int,
    typer.Option(
        "--max-line",
        min=1,
        metavar="BYTES",
        help="A longer line gets an error record.",
        rich_help_panel=INPUT,
    ),
]
FailFast = Annotated[
    bool,
    typer.Option(
        "--fail-fast", help="Stop at the first line that holds no text.", rich_help_panel=INPUT
    ),
]
Lines = Annotated[
    bool,
    typer.Option("--lines", help="Every line is a text of its own.", rich_help_panel=INPUT),
]
Documents = Annotated[
    Unit | None,
    typer.Option(
        "--documents", help="What a text of its own is; by default a file.", rich_help_panel=INPUT
    ),
]
PerToken = Annotated[
    bool,
    typer.Option("--per-token", help="The nats of every token.", rich_help_panel=INPUT),
]
StateIn = Annotated[
    Path | None,
    typer.Option(
        "--state-in",
        metavar="FILE",
        help="Go on after the text whose state `score --state-out` kept.",
        rich_help_panel=STATE,
    ),
]
StateOut = Annotated[
    Path | None,
    typer.Option(
        "--state-out",
        metavar="FILE",
        help="Keep the state after the text, to go on another day.",
        rich_help_panel=STATE,
    ),
]
