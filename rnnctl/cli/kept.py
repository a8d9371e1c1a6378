"""Keeping what a command measured in the run that it measured."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rnnctl.cli import console

if TYPE_CHECKING:
    from rnnctl.results.base import Result
    from rnnctl.runs import Run


def keep(run: Run, name: str, result: Result) -> None:
    """Write a result into a run, where that may be written to and still is what was measured."""
    if os.access(run.path, os.W_OK) and not run.keep_result(name, result):
        console.warn(f"the result is not kept: {run.path} has other weights by now")
