"""The options that mean the same in every command, as annotated types.

Use them as ``format: FormatOption = "table"``. The long help of a command groups its options by
`rich_help_panel`; what concerns the output stands in the panel named OUTPUT.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

import typer

OUTPUT: Final = "Output"
MACHINE: Final = "Machine"

Format = Literal["table", "json", "markdown"]

FormatOption = Annotated[
    Format,
    typer.Option("--format", help="How to write the result.", rich_help_panel=OUTPUT),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write the result to this file instead of standard output.",
        rich_help_panel=OUTPUT,
    ),
]
QuietOption = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="No progress, notes or hints; warnings and errors still come.",
        rich_help_panel=OUTPUT,
    ),
]
SeedOption = Annotated[
    int,
    typer.Option("--seed", min=0, help="Start of all randomness.", rich_help_panel=MACHINE),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device", help="auto, cpu, cuda, cuda:1, mps, …", rich_help_panel=MACHINE, metavar="NAME"
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads", min=1, help="CPU threads; all cores by default.", rich_help_panel=MACHINE
    ),
]
RunArgument = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="The directory of a trained run.", show_default=False),
]
