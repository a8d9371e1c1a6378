"""``rnnctl selftest``: is the instrument right on models whose memory is known?"""

from __future__ import annotations

from typing import Annotated

import typer

from rnnctl.cli import console
from rnnctl.cli.options import Output, takes_groups


@takes_groups
def selftest(
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID]...", help="Known answers to check, such as GT01.", show_default="all"
        ),
    ] = None,
    *,
    to: Output,
) -> None:
    """Check the measurements on models with known answers.

    The memory of these models can be calculated: linear networks, gates held at fixed values,
    models that see a fixed window, a text that repeats itself. The measurements must find the
    calculated values. Takes about 30 seconds. The exit code is 1 if one is outside its tolerance.
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
    to.emit(result)
    if result.failed:
        raise typer.Exit(1)
