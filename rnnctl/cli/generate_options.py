"""The options of `generate`, as annotated types."""

from __future__ import annotations

from typing import Annotated, Final

import typer

CHOICE: Final = "Choice of tokens"
LENGTH: Final = "Length and number"

Prompt = Annotated[
    str | None,
    typer.Argument(
        metavar="[PROMPT]", help="The text to continue; `-`: standard input.", show_default=False
    ),
]
Length = Annotated[
    int,
    typer.Option("--length", min=0, help="Most tokens to add.", rich_help_panel=LENGTH),
]
Count = Annotated[
    int,
    typer.Option("--count", min=1, help="How many continuations.", rich_help_panel=LENGTH),
]
Stop = Annotated[
    list[str] | None,
    typer.Option(
        "--stop",
        metavar="TEXT",
        help="Stop before this text; repeatable.",
        rich_help_panel=LENGTH,
        show_default=False,
    ),
]
End = Annotated[
    bool | None,
    typer.Option(
        "--end/--no-end",
        help="Stop where the model ends the document; so do runs trained on documents.",
        rich_help_panel=LENGTH,
        show_default=False,
    ),
]
Lines = Annotated[
    bool,
    typer.Option(
        "--lines",
        help="Every line of standard input is a prompt; one continuation per line.",
        rich_help_panel=LENGTH,
    ),
]
Temperature = Annotated[
    float,
    typer.Option("--temperature", help="0 takes the most probable token.", rich_help_panel=CHOICE),
]
TopK = Annotated[
    int,
    typer.Option("--top-k", help="The k most probable tokens; 0 is off.", rich_help_panel=CHOICE),
]
TopP = Annotated[
    float,
    typer.Option(
        "--top-p",
        help="The most probable tokens that reach p together; 1 is off.",
        rich_help_panel=CHOICE,
    ),
]
MinP = Annotated[
    float,
    typer.Option(
        "--min-p",
        help="Tokens at least p times as probable as the best; 0 is off.",
        rich_help_panel=CHOICE,
    ),
]
RepetitionPenalty = Annotated[
    float,
    typer.Option(
        "--repetition-penalty",
        help="Over 1 makes the last 64 tokens, the prompt's too, less likely; 1 is off.",
        rich_help_panel=CHOICE,
    ),
]
Copied = Annotated[
    bool,
    typer.Option(
        "--copied",
        help="Find the longest stretch copied from the training text; JSON always does.",
        rich_help_panel="Output",
    ),
]
