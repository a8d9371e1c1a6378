"""``rnnctl selftest``: is the instrument right on models whose memory is known?"""

from __future__ import annotations

from typing import Annotated

import typer

from rnnctl.cli import console
from rnnctl.cli.options import FormatOption, OutputOption, QuietOption


def selftest(
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID]...", help="Known answers to check, such as GT01.", show_default="all"
        ),
    ] = None,
    format: FormatOption = "table",
    output: OutputOption = None,
    quiet: QuietOption = False,
) -> None:
    """Check the measurements on models with known answers.

    Linear networks, gates held still, a model that sees a fixed window, a source that copies: their
    memory is known on paper, and the code that measures a user's model must find it. Takes about
    30 seconds. Ends with exit code 1 if one is outside its tolerance.
    """
    from rnnctl.diagnostics import selftest as workflow
    from rnnctl.results.diagnostics import SelftestResult

    result: SelftestResult | None = None
    for event in workflow.selftest([name.upper() for name in ids or ()]):
        if isinstance(event, SelftestResult):
            result = event
        elif not event.passed:
            console.note(f"{event.id} FAILED  {event.title}")
        else:
            console.note(f"{event.id} ok  {event.title}")
    assert result is not None
    console.emit(result, format, output)
    if result.failed:
        raise typer.Exit(1)
