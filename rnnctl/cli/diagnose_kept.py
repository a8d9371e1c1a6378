"""Keeping a diagnosis in its run, or saying why it is not kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rnnctl.cli import console, kept

if TYPE_CHECKING:
    from rnnctl.results.diagnostics import DiagnosticsResult
    from rnnctl.runs import Run


def why_not(run: Run, text: str | None, seed: int, items: Path | None, beyond: bool) -> str:
    """Why what is about to be measured is not for the run to keep; "" if it is."""
    from rnnctl.diagnostics import keep as kept_diagnosis

    other = text is not None and kept_diagnosis.has_own_text(run)
    return kept_diagnosis.why_apart(other_text=other, seed=seed, items=items, beyond=beyond)


def keep(run: Run, result: DiagnosticsResult, why_not: str) -> None:
    """Keep a diagnosis, alone or as a part of the one that is there."""
    from rnnctl.diagnostics import keep as kept_diagnosis

    found = why_not or kept_diagnosis.to_keep(run, result)
    if isinstance(found, str):
        console.note(f"not kept in {run.path}: {found}; `-o FILE` writes it to a file")
        return
    kept.keep(run, "diagnose", found)
