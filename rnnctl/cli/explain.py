"""`rnnctl explain`: what a word of the reports means."""

from __future__ import annotations

from typing import Annotated

import typer

from rnnctl.cli import console
from rnnctl.cli.options import FormatOption, OutputOption


def _completed(incomplete: str) -> list[str]:
    from rnnctl.reports.glossary import entries

    names = [name for term in entries() for name in (term.term, *term.also)]
    return [name for name in names if name.casefold().startswith(incomplete.casefold())]


TermArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[TERM]",
        help="A word from a report: a measurement, a column, a gate, a verdict or a warning. "
        "Without one, all terms are listed.",
        autocompletion=_completed,
    ),
]


def explain(
    term: TermArgument = None,
    format: FormatOption = "table",
    output: OutputOption = None,
) -> None:
    """Explain a word of the reports: what it is, how to read it, what it does not say.

    Capitals, units and numbers are ignored: `rnnctl explain F1`, `rnnctl explain forget gate`,
    `rnnctl explain "accuracy at lag 60"`.
    """
    import platform

    from rnnctl import __version__
    from rnnctl.reports.glossary import entries, entry
    from rnnctl.results.base import Environment
    from rnnctl.results.teaching import GlossaryResult

    asked = " ".join(term) if term else None
    found = entries() if asked is None else (entry(asked),)
    result = GlossaryResult(
        environment=Environment(rnnctl=__version__, python=platform.python_version()),
        asked=asked,
        terms=found,
    )
    console.emit(result, format, output)
