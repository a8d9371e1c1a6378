"""Run the known answers and remember how it went."""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

from rnnctl import __version__
from rnnctl.data.cache import cache_directory, write_cached
from rnnctl.diagnostics.known_answers.check import Check
from rnnctl.errors import StorageError
from rnnctl.results.diagnostics import DiagnosticsResult

GROUPS = ("flow", "parity", "context", "content", "gating", "classifiers", "trust")
THROUGH_RUNS = "hand_made_runs"
REMEMBERED = "selftest.json"

Checks = dict[str, Callable[[], Iterator[Check]]]
Diagnose = Callable[[Path, Sequence[str], Path | None], DiagnosticsResult]
"""What measures a run directory as ``rnnctl diagnose`` does: path, names, file of evidence."""


@dataclass(frozen=True)
class Answer:
    """One known answer: its id, what it says, its checks, and the seconds it took."""

    id: str
    title: str
    checks: tuple[Check, ...]
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether there were checks and all are within tolerance."""
        return bool(self.checks) and all(check.passed for check in self.checks)


def table(diagnose: Diagnose) -> Checks:
    """All known answers by id, in order; those that go through a run directory use `diagnose`."""
    found: Checks = {}
    for group in GROUPS:
        found |= import_module(f"{__package__}.{group}").CHECKS
    for name, checks in import_module(f"{__package__}.{THROUGH_RUNS}").CHECKS.items():
        found[name] = partial(checks, diagnose)
    return dict(sorted(found.items()))


def known_ids() -> list[str]:
    """GT01, GT02, …, RD01, RD02, …"""
    groups = (*GROUPS, THROUGH_RUNS)
    return sorted(
        name for group in groups for name in import_module(f"{__package__}.{group}").CHECKS
    )


def answers(diagnose: Diagnose, ids: Sequence[str] = ()) -> Iterator[Answer]:
    """Measure the known answers `ids` (all of them if empty), one by one."""
    for name, checks in table(diagnose).items():
        if ids and name not in ids:
            continue
        described = checks.func if isinstance(checks, partial) else checks
        title = (inspect.getdoc(described) or "").split("\n\n")[0].replace("\n", " ")
        began = time.perf_counter()
        yield Answer(
            name, title.split(": ", 1)[-1].rstrip("."), tuple(checks()), time.perf_counter() - began
        )


def remember(passed: int, failed: int) -> None:
    """Keep the outcome for this version of rnnctl in the cache directory.

    A cache that cannot be written is not an error: the outcome is then unknown next time.
    """
    kept = _kept() | {__version__: {"passed": passed, "failed": failed}}
    text = json.dumps(kept, indent=2) + "\n"
    with suppress(StorageError):
        write_cached(cache_directory() / REMEMBERED, text.encode())


def remembered() -> tuple[int, int] | None:
    """(passed, failed) of the last selftest of this version; None where there was none."""
    outcome = _kept().get(__version__)
    if not isinstance(outcome, dict):
        return None
    passed, failed = outcome.get("passed"), outcome.get("failed")
    if not isinstance(passed, int) or not isinstance(failed, int):
        return None
    return passed, failed


def _kept() -> dict[str, object]:
    try:
        kept = json.loads((cache_directory() / REMEMBERED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}
