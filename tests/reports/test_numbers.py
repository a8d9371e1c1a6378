"""Numbers, intervals and curves as text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnctl.reports import numbers
from rnnctl.results.base import Estimate


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"), (math.nan, "-"), (math.inf, "-"), (0.0, "0"), (38.0, "38"),
        (1234567.0, "1,234,567"), (0.012345, "0.0123"), (1.5, "1.50"), (0.00001234, "1.23e-05"),
        (-0.5, "-0.500"), (999.6, "1,000"), (12.34, "12.3"),
    ],
)  # fmt: skip
def test_numbers_have_three_digits(value: float | None, text: str) -> None:
    assert numbers.number(value) == text


@given(st.floats(1e-3, 1e12), st.integers(2, 6))
def test_a_number_reads_back_to_its_digits(value: float, digits: int) -> None:
    read = float(numbers.number(value, digits).replace(",", ""))
    assert read == pytest.approx(value, rel=0.51 * 10 ** (1 - digits), abs=0.5 * (value >= 100))


@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3))
def test_an_estimate_is_never_shown_outside_of_its_interval(values: list[float]) -> None:
    shown = [float(numbers.number(value).replace(",", "")) for value in sorted(values)]
    assert shown == sorted(shown)


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (1.0, 2, "100.00 %"), (0.99996, 2, "99.99 %"), (0.9996, 1, "99.9 %"), (0.9, 0, "90 %"),
        (1.25, 1, "125.0 %"), (-0.5, 0, "-50 %"),
    ],
)  # fmt: skip
def test_only_all_is_a_hundred_per_cent(value: float, decimals: int, text: str) -> None:
    assert numbers.percent(value, decimals) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (Estimate(estimate=38, ci95=(31, 47)), "38 [31, 47]"),
        (Estimate(estimate=38, ci95=(31, None)), "38 [31, ?]"),
        (Estimate(estimate=38), "38"),
        (Estimate(estimate=None, status="undefined"), "undefined"),
        (Estimate(estimate=None, status="censored", censored_at=256), "> 256"),
        (Estimate(estimate=None, status="not_applicable"), "n/a"),
    ],
)
def test_estimates_say_why_they_have_no_number(value: Estimate | None, text: str) -> None:
    assert numbers.estimate(value) == text


def test_fixed_decimals_have_no_negative_nothing() -> None:
    assert (numbers.fixed(-0.001, 2), numbers.fixed(-1.236, 2)) == ("0.00", "-1.24")


def test_units_stand_behind_the_number() -> None:
    value = Estimate(estimate=38, ci95=(31, 47), unit="words")
    assert numbers.estimate(value, with_unit=True) == "38 words [31, 47]"
    one = Estimate(estimate=1, unit="words", status="censored", censored_at=1)
    assert numbers.estimate(one, with_unit=True) == "> 1 word"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.4, "0.4 s"), (75, "75 s"), (725, "12 min 5 s"), (720, "12 min"), (11040, "3 h 4 min")],
)
def test_durations(value: float, text: str) -> None:
    assert numbers.seconds(value) == text


def test_sparklines_rise_with_their_values_and_leave_gaps() -> None:
    line = numbers.sparkline([0.0, 1.0, None, 2.0, math.nan, 3.0])
    assert line == "▁▃ ▆ █"
    assert numbers.sparkline([2.0, 2.0]) == "▁▁"
    assert numbers.sparkline([None, None]) == "  "
    assert numbers.sparkline([-406.0, 0.5, 9.0], low=0.0, high=1.0) == "▁▅█"


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_a_sparkline_keeps_the_order(values: list[float]) -> None:
    line = numbers.sparkline(values)
    assert len(line) == len(values)
    for (a, drawn_a), (b, drawn_b) in zip(
        zip(values, line, strict=True), zip(values[1:], line[1:], strict=True), strict=False
    ):
        assert (a <= b) <= (drawn_a <= drawn_b)
