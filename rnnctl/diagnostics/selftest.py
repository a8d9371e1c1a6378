"""What ``rnnctl selftest`` does: every known answer, one after the other, as one result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rnnctl import machine
from rnnctl.diagnostics.known_answers import answers, known_ids, remember
from rnnctl.diagnostics.known_answers.run import Answer
from rnnctl.errors import UsageError
from rnnctl.results.base import Environment, Warning_
from rnnctl.results.diagnostics import (
    DiagnosticsResult,
    KnownAnswer,
    KnownAnswerItem,
    SelftestResult,
)


def selftest(ids: Sequence[str] = ()) -> Iterator[Answer | SelftestResult]:
    """Yield each known answer as it is measured, and the result at the end.

    The outcome is remembered when all of them were measured. Raises UsageError for unknown ids.
    """
    unknown = [name for name in ids if name not in known_ids()]
    if unknown:
        raise UsageError(
            f"there is no known answer {unknown[0]!r}", hint="known: " + ", ".join(known_ids())
        )
    found = []
    with _one_thread():
        for answer in answers(diagnose_run, ids):
            found.append(answer)
            yield answer
    result = as_result(found)
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


def as_result(found: Sequence[Answer]) -> SelftestResult:
    """The record of measured answers."""
    passed = sum(answer.passed for answer in found)
    failed = [answer.id for answer in found if not answer.passed]
    text = f"{', '.join(failed)}: measured outside the tolerance; do not trust this installation"
    return SelftestResult(
        environment=Environment(threads=1, device="cpu", dtype="float64", **machine.facts()),
        seed=0,
        passed=passed,
        failed=len(failed),
        answers=tuple(_record(answer) for answer in found),
        warnings=(Warning_(code="INSTRUMENT", text=text),) if failed else (),
        timing={answer.id: answer.seconds for answer in found},
    )


def _record(answer: Answer) -> KnownAnswer:
    return KnownAnswer(
        id=answer.id,
        title=answer.title,
        passed=answer.passed,
        items=tuple(
            KnownAnswerItem(
                name=check.name,
                expected=check.expected,
                measured=check.measured,
                tolerance=check.tolerance,
                passed=check.passed,
            )
            for check in answer.checks
        ),
    )
