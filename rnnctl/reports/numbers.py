"""How numbers, intervals and curves are written in every report."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rnnctl import wording
from rnnctl.results.base import Estimate
from rnnctl.results.comparison import SeedSummary

NOTHING = "-"
DISTANCE_DIGITS = 2
"""Significant digits of distances, in every report and sentence: 0.18, 5.6, 38, 120 words."""
DISTANCE_UNITS = ("words", "chars", "tokens")
SPARKS = "▁▂▃▄▅▆▇█"

STATUS_TEXT = {
    "undefined": "undefined",
    "insufficient_data": "not enough data",
    "exploding": "explodes",
    "not_applicable": "n/a",
    "failed": "failed",
}


def number(value: float | None, digits: int = 3) -> str:
    """`value` with `digits` significant digits, thousands grouped; ``-`` for None.

    >>> number(1234567.0), number(0.012345), number(38.0), number(None)
    ('1,234,567', '0.0123', '38', '-')
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) < 10 ** (digits - 1):
        value = float(f"{value:.{digits - 1}e}")  # 9.97 is 10 with two digits, and not 10.0
    size = abs(value)
    if size >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    if size < 1e-4:
        return f"{value:.{digits - 1}e}"
    decimals = digits - 1 - math.floor(math.log10(size))
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals > digits else text


def count(value: int | None) -> str:
    """A whole number with all of its digits: ``1,234,567``; ``-`` for None."""
    return NOTHING if value is None else f"{value:,}"


def fixed(value: float | None, decimals: int = 3) -> str:
    """`value` with so many decimals; ``-`` for None."""
    if value is None:
        return NOTHING
    return f"{round(value, decimals) + 0.0:,.{decimals}f}"  # + 0.0: no "-0.00"


def percent(value: float | None, decimals: int = 1) -> str:
    """A share in [0, 1] as per cent; ``-`` for None. Less than all is never written as 100 %."""
    if value is None:
        return NOTHING
    shown = 100 * value if value >= 1 else min(100 * value, 100 - 10.0**-decimals)
    return f"{shown:.{decimals}f} %"


def seconds(value: float | None) -> str:
    """A duration: ``0.4 s``, ``75 s``, ``12 min 5 s``, ``3 h 4 min``."""
    if value is None:
        return NOTHING
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def roughly(value: float) -> str:
    """A duration of which no more than its size is known: ``20 s``, ``3 min``, ``4 h 10 min``."""
    if value < 90:
        return seconds(10.0 * max(1, round(value / 10)))
    step = 60 if value < 7200 else 600
    return seconds(float(step * round(value / step)))


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """``[31, 47]``; empty when neither end is known, ``?`` for one that is not."""
    if low is None and high is None:
        return ""
    ends = [("?" if end is None else number(end, digits)) for end in (low, high)]
    return f"[{ends[0]}, {ends[1]}]"


def estimate(value: Estimate | None, digits: int = 0, *, with_unit: bool = False) -> str:
    """An estimate with its interval, or in words why there is none.

    `digits`: significant digits; 0 means `usual_digits`.

    ``38 [31, 47]``, ``> 256`` when censored, ``undefined``, ``n/a``.
    """
    if value is None:
        return NOTHING
    digits = digits or usual_digits(value)  # an interval's ends have as many as the number
    unit = value.unit if with_unit else ""
    if value.status == "censored":
        at = value.censored_at if value.censored_at is not None else value.estimate
        return wording.with_unit(f"> {number(at, digits)}", unit)
    if value.estimate is None:
        return STATUS_TEXT.get(value.status, NOTHING)
    text = wording.with_unit(number(value.estimate, digits), unit)
    ends = interval(*value.ci95, digits)
    return f"{text} {ends}" if ends else text


def horizon(value: Estimate, *, with_unit: bool = True) -> str:
    """A memory horizon as every report writes it: ``38 words [31, 47]``.

    In words where no text that was read is measurably used.
    """
    if value.estimate == 0:
        most = value.ci95[1]
        if not most:
            return "none measurable"
        shown = number(most, DISTANCE_DIGITS)
        return (
            f"none measurable, at most {wording.with_unit(shown, value.unit if with_unit else '')}"
        )
    return estimate(value, DISTANCE_DIGITS, with_unit=with_unit)


def usual_digits(value: Estimate) -> int:
    """Significant digits: two of a distance, three of everything else."""
    return DISTANCE_DIGITS if value.unit in DISTANCE_UNITS else 3


def over_seeds(value: SeedSummary | None, digits: int) -> str:
    """A number over seeds with its interval; ``>`` before one that contains lower bounds, ``<``
    before one with seeds of which nothing was measurable.
    """
    if value is None:
        return NOTHING
    value = with_own_interval(value)
    if digits < 0 and value.estimate is not None:
        lo, hi = (fixed(end, -digits) for end in value.ci95)
        text = fixed(value.estimate, -digits)
        return text if None in value.ci95 else f"{text} [{lo}, {hi}]"
    distance = value.scale == "log" and value.unit in DISTANCE_UNITS
    text = horizon(value, with_unit=False) if distance else estimate(value, digits)
    # With seeds of both kinds the mean may lie on either side of what it would be.
    above, below = bool(value.censored), any(value.upper_bounds)
    if above == below or not value.estimate:
        return text
    return f"{'>' if above else '<'} {text}"


def with_own_interval(value: SeedSummary) -> SeedSummary:
    """Of a single model the interval is the model's own, over the text."""
    return value if value.within is None else value.model_copy(update={"ci95": value.within})


def sparkline(
    values: Sequence[float | None], *, low: float | None = None, high: float | None = None
) -> str:
    """One character per value; a space for None.

    From the smallest (or `low`) to the largest (or `high`); what lies beyond is drawn at the end.
    """
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return " " * len(values)
    bottom = min(known) if low is None else low
    span = (max(known) if high is None else high) - bottom
    return "".join(_spark(value, bottom, span) for value in values)


def _spark(value: float | None, bottom: float, span: float) -> str:
    if value is None or not math.isfinite(value):
        return " "
    return bar(0.0 if span <= 0 else (value - bottom) / span)


def bar(share: float) -> str:
    """The character for a share in [0, 1]; what lies beyond is drawn at the end."""
    return SPARKS[max(0, min(len(SPARKS) - 1, round(share * (len(SPARKS) - 1))))]
