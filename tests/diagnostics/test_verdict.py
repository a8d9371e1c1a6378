"""The sentences under the headline: fixed rules on finished records."""

from __future__ import annotations

import pytest

from rnnctl.diagnostics import checks
from rnnctl.diagnostics.measurements import FIRST_LAST
from rnnctl.diagnostics.panel import Measured, verdict
from rnnctl.results.base import Curve, Estimate
from rnnctl.results.diagnostics import (
    EffectRecord,
    FirstLastRecord,
    HeadlineRecord,
    HoldRecord,
    ReachRecord,
    UseRecord,
)


def horizon(
    estimate: float | None, low: float | None, high: float | None, *, end: float = 256
) -> HeadlineRecord:
    status = "ok" if estimate is not None else "censored"
    return HeadlineRecord(
        kind="use_neff", sentence="", unit="words", estimate=estimate, ci95=(low, high),
        status=status, censored_at=None if estimate is not None else end,
    )  # fmt: skip


def opinion(low: float, start: float, high: float) -> HeadlineRecord:
    beside = {"retention_start": Estimate(estimate=start, ci95=(low, high))}
    return HeadlineRecord(
        kind="effect_half", sentence="", unit="words", estimate=40, beside=beside
    )  # fmt: skip


def scalar(value: float, unit: str) -> Estimate:
    return Estimate(estimate=value, unit=unit)


def test_what_was_measured_is_said_in_one_sentence() -> None:
    measured = Measured(
        effect=EffectRecord(scalars={"half_distance": scalar(12.3, "words")}),
        hold=HoldRecord(
            scalars={
                "hold_half": Estimate(
                    estimate=None, status="censored", censored_at=128, unit="words"
                )
            }
        ),
        reach=ReachRecord(scalars={"half_life": scalar(9.04, "tokens")}),
    )
    said = verdict(horizon(38, 31, 47), measured, None)
    assert said == (
        "Replacing text more than 38 words back raises perplexity by less than 1 %; how much a "
        "word raises its own chance to return halves within 12 words, beyond 4 to 8 words; a "
        "linear probe can still read more than half as much about a word 128 words later; the "
        "gradient halves within 9.0 tokens."
    )


def test_one_word_is_no_plural() -> None:
    measured = Measured(hold=HoldRecord(scalars={"hold_half": scalar(1, "words")}))
    said = verdict(horizon(1, 0.5, 1), measured, 1)
    assert "more than 1 word back raises" in said and "is gone 1 word later" in said
    assert "A usual paragraph has 1 word here" in said
    assert "1 words" not in said


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (horizon(38, 31, 47), "before the last 47 words changes perplexity by less than 1 %"),
        (horizon(200, 170, 240), "from that far back still counts"),
        (horizon(None, 256, None), "from that far back still counts"),
        (horizon(150, 100, 200), "cannot tell whether text from that far back counts"),
        (opinion(0.01, 0.04, 0.08), "no longer counts"),
        (opinion(0.4, 0.5, 0.6), "less than the end"),
        (opinion(0.95, 1.0, 1.1), "as much as its end"),
        (opinion(0.4, 0.7, 1.1), "the measurement cannot tell how much"),
        (opinion(1.1, 1.2, 1.3), "more than its end"),
        (opinion(-0.3, 0.2, 0.7), "cannot tell whether its beginning counts at its end"),
        (opinion(-0.6, -0.4, -0.2), "its beginning changes the answer against its own direction"),
        (horizon(None, 22, None), "cannot tell whether text from that far back counts"),
        (horizon(None, 120, None, end=128), "further back than was measured"),
    ],
)
def test_the_beginning_of_a_paragraph(head: HeadlineRecord, words: str) -> None:
    said = verdict(head, Measured(), 165)
    what = "text" if head.kind == "effect_half" else "paragraph"
    assert f"A usual {what} has 165 words here" in said and words in said


def test_of_a_longer_text_than_was_measured_only_the_measured_part_is_spoken_of() -> None:
    reached = Curve(x_unit="words", y_unit="ratio", x=(0, 100), y=(1.0, 0.5))
    measured = Measured(effect=EffectRecord(curves={"r": reached}))
    said = verdict(opinion(0.4, 0.5, 0.6), measured, 165)
    assert "here: text 100 words before its end still counts at its end, but" in said
    assert "its beginning" in verdict(opinion(0.4, 0.5, 0.6), measured, 100)


def test_a_tiny_horizon_is_not_called_nothing() -> None:
    assert "more than 0.031 words back" in verdict(horizon(0.0312, 0.02, 0.04), Measured(), None)


def test_no_horizon_is_said_to_be_none() -> None:
    said = verdict(horizon(0.0, 0.0, 4.2), Measured(), None)
    assert said == "No measurable part of the loss depends on what was read before."


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        (
            (4.0, 12.0),
            "raises the perplexity of the last by 8.0 % [4.0, 12.0]",
        ),
        ((-1.0, 12.0), "does not measurably change the last (8.0 % [-1.0, 12.0] of perplexity)"),
    ],
)
def test_the_last_sentence_speaks_for_the_beginning(ends: tuple[float, float], words: str) -> None:
    rise = Estimate(estimate=8.0, ci95=ends, unit="% perplexity")
    measured = Measured(first_last=FirstLastRecord(scalars={"rise_percent": rise}))
    said = verdict(horizon(3, 2, 4), measured, 90)
    assert f"A usual paragraph has 90 words here: another first sentence {words}" in said


def test_a_hundred_thousandth_is_no_less() -> None:
    said = verdict(opinion(0.99996, 0.99997, 0.99998), Measured(), 165)
    assert "as much as its end" in said


def test_an_undefined_effect_is_no_number() -> None:
    measured = Measured(effect=EffectRecord(status="undefined", note="…"))
    assert "does not measurably change" in verdict(horizon(38, 31, 47), measured, None)


def test_nothing_measured_says_nothing() -> None:
    head = HeadlineRecord(
        kind="use_neff", sentence="not measured", estimate=None, status="not_applicable"
    )
    assert verdict(head, Measured(), None) == ""
    assert verdict(head, Measured(), 50) == ""


def test_a_diagnosis_of_an_older_version_can_be_added_to() -> None:
    """HOLD as it was kept before it said how far bits can be measured."""
    bits = Curve(x_unit="words", y_unit="bits", x=(0, 8), y=(4.0, 0.0), lo=(3.9, -0.1), hi=(4, 0.1))
    measured = Measured(
        use=UseRecord(scalars={"n_eff_foreign": scalar(9.0, "words")}),
        hold=HoldRecord(curves={"state": bits}, scalars={"hold_half": scalar(2.0, "words")}),
    )
    (check,) = checks.cross_checks(measured)
    assert check.passed is None and "older version" in check.text


@pytest.mark.parametrize(
    ("rise", "interval", "answer"),
    [
        (66.2, (60.7, 72.0), "yes: perplexity +66.2 % [60.7, 72.0] without it"),
        (4.0, (3.0, 5.0), "a little: perplexity +4.0 % [3.0, 5.0] without it"),
        (0.02, (0.01, 0.03), "hardly: perplexity +0.0 % [0.0, 0.0] without it"),
        (2.0, (-1.0, 5.0), "not measurably: 2.0 % [-1.0, 5.0]"),
        (-2.0, (-3.0, -1.0), "no: another first sentence even helps, -2.0 % [-3.0, -1.0]"),
    ],
)
def test_the_beginning_counts_where_it_matters(
    rise: float, interval: tuple[float, float], answer: str
) -> None:
    """A rise beyond chance is no yes where it is below what the horizon takes for nothing."""
    record = FirstLastRecord(scalars={"rise_percent": Estimate(estimate=rise, ci95=interval)})
    assert FIRST_LAST.answer(record) == answer
