"""What ``rnnctl selftest`` does: every known answer, one after the other, as one result.

How it went is remembered, so that each diagnosis can say whether the instrument was checked.
"""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

from pydantic import ValidationError

from rnnctl import __version__, catalog, machine
from rnnctl.data import cache
from rnnctl.diagnostics import known_answers
from rnnctl.diagnostics.known_answers import Check
from rnnctl.errors import StorageError, UsageError
from rnnctl.results.base import Environment, Warning_
from rnnctl.results.diagnostics import (
    DiagnosticsResult,
    InstrumentCheck,
    KnownAnswer,
    SelftestResult,
)

GROUPS = ("derivatives", "behaviour", "trust", "hand_made_runs")
_ID = re.compile(r"((?:GT|RD)\d\d): ")  # what the docstring of a known answer begins with
REMEMBERED = "selftest.json"

Diagnose = Callable[[Path, Sequence[str], Path | None], DiagnosticsResult]
"""What measures a run directory as ``rnnctl diagnose`` does: path, names, file of evidence."""


def known_ids() -> list[str]:
    """GT01, GT02, …, RD01, RD02, …"""
    return sorted(_functions())


def _functions() -> dict[str, Callable[..., Iterator[Check]]]:
    """id -> check, by what their docstrings begin with."""
    found: dict[str, Callable[..., Iterator[Check]]] = {}
    for group in GROUPS:
        module = import_module(f"{known_answers.__name__}.{group}")
        for _, function in inspect.getmembers(module, inspect.isfunction):
            if title := _ID.match(inspect.getdoc(function) or ""):
                found[title[1]] = function
    return found


def answers(diagnose: Diagnose, ids: Sequence[str] = ()) -> Iterator[KnownAnswer]:
    """Measure the known answers `ids` (all of them if empty), one by one.

    Those that go through a run directory use `diagnose`.
    """
    for name, check in sorted(_functions().items()):
        if ids and name not in ids:
            continue
        said = (inspect.getdoc(check) or "").split("\n\n")[0].replace("\n", " ")
        title = said.split(": ", 1)[-1].rstrip(".")
        items = tuple(check(diagnose) if name.startswith("RD") else check())
        passed = bool(items) and all(item.passed for item in items)
        yield KnownAnswer(id=name, title=title, passed=passed, items=items)


def remember(passed: int, failed: int) -> None:
    """Keep the outcome for this version of rnnctl in the cache directory.

    A cache that cannot be written is not an error: the outcome is then unknown next time.
    """
    kept = _kept() | {__version__: {"passed": passed, "failed": failed}}
    with suppress(StorageError):
        cache.remember(cache.cache_directory() / REMEMBERED, kept)


def remembered() -> InstrumentCheck | None:
    """The outcome of the last selftest of this version; None where there was none."""
    try:
        return InstrumentCheck.model_validate(_kept().get(__version__))
    except ValidationError:  # no outcome, or a file that somebody has changed
        return None


def _kept() -> dict[str, object]:
    return cache.recall(cache.cache_directory() / REMEMBERED) or {}


# -- as one result -------------------------------------------------------------------------------


def selftest(ids: Sequence[str] = ()) -> Iterator[KnownAnswer | SelftestResult]:
    """Yield each known answer as it is measured, and the result at the end.

    The outcome is remembered when all of them were measured. Raises UsageError for unknown ids.
    """
    unknown = [name for name in ids if name not in known_ids()]
    if unknown:
        raise UsageError(
            f"there is no known answer {unknown[0]!r}", hint="known: " + ", ".join(known_ids())
        )
    found: list[KnownAnswer] = []
    timing: dict[str, float] = {}
    with _one_thread():
        began = time.perf_counter()
        for answer in answers(diagnose_run, ids):
            found.append(answer)
            timing[answer.id] = time.perf_counter() - began
            yield answer
            began = time.perf_counter()
    result = as_result(found, timing)
    if not ids:
        remember(result.passed, result.failed)
    yield result


def diagnose_run(path: Path, names: Sequence[str], items: Path | None) -> DiagnosticsResult:
    """Measure the run at `path` on the text that it keeps, as ``rnnctl diagnose`` does."""
    from rnnctl.diagnostics.diagnose import diagnose
    from rnnctl.tasks.loading import load

    return diagnose(load(path), names, items=items)


@contextmanager
def _one_thread() -> Iterator[None]:
    """The models are tiny: threads would wait for each other most of the time."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def as_result(found: Sequence[KnownAnswer], timing: dict[str, float]) -> SelftestResult:
    """The record of measured answers, with the seconds that each took."""
    passed = sum(answer.passed for answer in found)
    failed = [answer for answer in found if not answer.passed]
    return SelftestResult(
        environment=Environment(threads=1, device="cpu", dtype="float64", **machine.facts()),
        seed=0,
        passed=passed,
        failed=len(failed),
        answers=tuple(found),
        warnings=tuple(Warning_(code="INSTRUMENT", text=text) for text in _distrust(failed)),
        timing=timing,
    )


def _distrust(failed: Sequence[KnownAnswer]) -> Iterator[str]:
    """What is not to be trusted: this installation, or only a cell that another package adds."""
    from rnnctl.diagnostics.known_answers.derivatives import REFERENCES

    ours: list[str] = []
    added: set[str] = set()
    for answer in failed:
        wrong = [item.name.partition(": ")[0] for item in answer.items if not item.passed]
        foreign = {name for name in wrong if name in catalog.names("cell")} - REFERENCES.keys()
        added |= foreign
        if not foreign.issuperset(wrong):
            ours.append(answer.id)
    if ours:
        yield f"{', '.join(ours)}: measured outside the tolerance; do not trust this installation"
    for name in sorted(added):
        yield (
            f"the cell {name}, which another package adds, contradicts its own step (GT09); do not "
            "trust what is measured of it"
        )
