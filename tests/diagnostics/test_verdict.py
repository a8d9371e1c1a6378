"""The sentences under the headline: fixed rules on finished records."""

from __future__ import annotations

import pytest

from rnnctl.diagnostics.panel import Measured
from rnnctl.diagnostics.verdict import verdict
from rnnctl.results.base import Curve, Estimate
from rnnctl.results.diagnostics import EffectRecord, HeadlineRecord, HoldRecord, ReachRecord


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
        "The loss stops needing text beyond 38 words; a word's pull on its own return halves "
        "within 12 words, from 4 to 8 words back on; more than half of what the state knew about "
        "a word is still there "
        "128 words later; the learning signal halves within 9.0 tokens."
    )


def test_one_word_is_no_plural() -> None:
    measured = Measured(hold=HoldRecord(scalars={"hold_half": scalar(1, "words")}))
    said = verdict(horizon(1, 0.5, 1), measured, 1)
    assert "beyond 1 word;" in said and "gone 1 word later" in said
    assert "A usual paragraph has 1 word here" in said
    assert "1 words" not in said


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (horizon(38, 31, 47), "before the last 47 words no longer counts"),
        (horizon(200, 170, 240), "its beginning still counts"),
        (horizon(None, 256, None), "its beginning still counts"),
        (horizon(150, 100, 200), "within the error"),
        (opinion(0.01, 0.04, 0.08), "no longer counts"),
        (opinion(0.4, 0.5, 0.6), "less than the end"),
        (opinion(0.95, 1.0, 1.1), "as much as its end"),
        (opinion(0.4, 0.7, 1.1), "within the error"),
        (opinion(1.1, 1.2, 1.3), "more than its end"),
        (opinion(-0.3, 0.2, 0.7), "whether its beginning counts at its end is within the error"),
        (opinion(-0.6, -0.4, -0.2), "its beginning counts against what it says"),
        (horizon(None, 22, None), "whether its beginning still counts is within the error"),
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
    assert "here: what stands 100 words before its end still counts at its end, but" in said
    assert "its beginning" in verdict(opinion(0.4, 0.5, 0.6), measured, 100)


def test_a_tiny_horizon_is_not_called_nothing() -> None:
    assert "beyond 0.031 words" in verdict(horizon(0.0312, 0.02, 0.04), Measured(), None)


def test_an_undefined_effect_is_no_number() -> None:
    measured = Measured(effect=EffectRecord(status="undefined", note="…"))
    assert "no measurable trace" in verdict(horizon(38, 31, 47), measured, None)


def test_nothing_measured_says_nothing() -> None:
    head = HeadlineRecord(
        kind="use_neff", sentence="not measured", estimate=None, status="not_applicable"
    )
    assert verdict(head, Measured(), None) == ""
    assert verdict(head, Measured(), 50) == ""
