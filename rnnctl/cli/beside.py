"""What commands write beside their result: pictures, curves, pages, and what the run keeps."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rnnctl.cli import console
from rnnctl.errors import RnnctlError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rnnctl.reports.curves import Measured
    from rnnctl.results.base import Result
    from rnnctl.results.pictures import Pictures
    from rnnctl.runs import Run


def draw(place: Path | None, result: Measured, chart: str | None = None) -> None:
    """--plot: the charts, or that one alone, in a file."""
    if place is not None:
        from rnnctl.reports.charts import save_plot

        console.note(f"drawn in {place}: {', '.join(save_plot(result, place, chart))}")


def write_curves(place: Path | None, result: Measured) -> None:
    """--curves: every curve as rows."""
    if place is not None:
        from rnnctl.reports.curves import save_curves

        console.note(f"curves in {place}: {', '.join(save_curves(result, place))}")


def write_page(place: Path | None, result: Result, pictures: Pictures | None = None) -> None:
    """--html: the result as a page that works offline, with pictures where there are any."""
    if place is not None:
        from rnnctl.reports import render

        console.write_file(place, render(result, "html", pictures=pictures), "--html")
        console.note(f"the page is {place}")


def pictures_or_warning(make: Callable[[], Pictures]) -> Pictures | None:
    """What models do with a text, for a page; None, with a warning, where there is no such text."""
    try:
        return make()
    except RnnctlError as problem:
        console.warn(f"the page shows no text word by word: {problem.message}")
        return None


def keep(run: Run, name: str, result: Result) -> None:
    """Write a result into a run, where that may be written to and still is what was measured."""
    # A run on a read-only disk can be measured all the same; then nothing is kept.
    if os.access(run.path, os.W_OK) and not run.keep_result(name, result):
        console.warn(f"the result is not saved in {run.path}: the run has changed in the meantime")
