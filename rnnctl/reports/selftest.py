"""The outcome of ``rnnctl selftest`` as blocks."""

from __future__ import annotations

from rnnctl.reports.blocks import Block, Heading, Paragraph, table
from rnnctl.results.diagnostics import KnownAnswer, SelftestResult


def blocks(result: SelftestResult) -> list[Block]:
    """One row per known answer, every item of those that failed, and one sentence."""
    made: list[Block] = [Heading("Instrument check", 1)]
    rows = [_row(answer) for answer in result.answers]
    made.append(
        table(("id", "known answer", "expected", "measured", "within", ""), rows, align="llrrrl")
    )
    failed = [answer for answer in result.answers if not answer.passed]
    for answer in failed:
        made.append(Heading(f"{answer.id} failed: {answer.title}", 2))
        items = [
            (item.name, item.expected, item.measured, item.tolerance, _mark(item.passed))
            for item in answer.items
        ]
        made.append(table(("check", "expected", "measured", "within", ""), items, align="lrrrl"))
    total = result.passed + result.failed
    seconds = sum(result.timing.values())
    sentence = f"{result.passed}/{total} known answers reproduced in {seconds:.1f} s"
    made.append(Paragraph(sentence, "strong"))
    made.extend(Paragraph(warning.text, "warning") for warning in result.warnings)
    return made


def _row(answer: KnownAnswer) -> tuple[str, ...]:
    """The answer with the item to look at: the first that failed, or the first."""
    item = next((item for item in answer.items if not item.passed), answer.items[0])
    name = answer.title
    return (answer.id, name, item.expected, item.measured, item.tolerance, _mark(answer.passed))


def _mark(passed: bool) -> str:
    return "✓" if passed else "FAILED"
