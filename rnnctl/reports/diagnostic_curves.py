"""The curves of a diagnosis as rows of bars: by distance, and by place in the text."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rnnctl.reports.blocks import Block, Chart, Heading
from rnnctl.reports.numbers import SPARKS, number, sparkline
from rnnctl.results.base import Curve
from rnnctl.results.diagnostics import DiagnosticsResult
from rnnctl.statistics import interpolated

COLUMNS = 32  # of a curve


def curve_blocks(result: DiagnosticsResult) -> Iterator[Block]:
    """Nothing where no curve was measured."""
    if any(_drawn(result)):
        yield Heading("By distance")
        yield Chart(
            (_axis(result), *_curves(result)), "from near (left) to far; bars: ▁ none to █ full"
        )
    places = list(_places(result))
    if places:
        yield Heading("By place in the text, its first fifth to its last")
        yield Chart(tuple(places), "what a sentence there adds to the right answer")


def _places(result: DiagnosticsResult) -> Iterator[str]:
    """POSITION: a bar per fifth, and beside it those of the bag of words, which are all equal.

    Not of a model that no sentence moves: its bars would be noise.
    """
    position = result.position
    found = position.curves if position is not None and position.status == "ok" else {}
    for name, key in (("this model", "occlusion"), ("bag of words", "reference_occlusion")):
        if key in found:
            curve = found[key]
            values = ", ".join(number(y, 2) for y in curve.y)
            bars = "".join(bar * 3 for bar in sparkline(curve.y, low=0.0))
            yield f"{name:<14}{bars}  {values} nats"


def _curves(result: DiagnosticsResult) -> Iterator[str]:
    """One line per curve, all on one logarithmic axis of words (or characters)."""
    grid = _grid(result)
    for name, curve, scale, low, high, text in _drawn(result):
        line = "".join(_bar(_at(curve, x / scale), low, high) for x in grid)
        yield f"{name:<11}{line}  {text}"


def _drawn(
    result: DiagnosticsResult,
) -> Iterator[tuple[str, Curve, float, float, float, str]]:
    """(name, curve, words per unit of its x, bottom, top, caption); bottom > 0: log scale."""
    unit = result.data.distance_unit
    per_token = result.data.words_per_token if unit == "words" else result.data.chars_per_token
    if result.use is not None and "foreign" in result.use.curves:
        curve = result.use.curves["foreign"]
        seen = zip(curve.x, curve.y, strict=True)  # the axis is logarithmic: 0 is not on it
        top = max((y for x, y in seen if y is not None and x > 0), default=1.0)
        top = max(top, 0.01)
        yield "USE", curve, 1.0, 0.001, top, f"excess, █ {number(top, 2)} {curve.y_unit} (log)"
    if result.effect is not None and "r" in result.effect.curves:
        yield "EFFECT", result.effect.curves["r"], 1.0, 0.0, 1.0, "what still counts, █ all of it"
    if result.hold is not None and "state" in result.hold.curves:
        bits = math.log2(result.hold.choices)
        yield (
            "HOLD",
            result.hold.curves["state"],
            1.0,
            0.0,
            bits,
            f"bits that can be read, █ {bits:g}",
        )
    if result.reach is not None:
        for name, block in result.reach.blocks.items():
            if name in ("h", "c"):
                text = "gradient, █ as at lag 1 (log)"
                yield f"REACH {name}", block.geo, per_token, 1e-4, 1.0, text


def _grid(result: DiagnosticsResult) -> list[float]:
    """Distances of the columns in words, evenly in the logarithm, from one token to the last."""
    drawn = list(_drawn(result))
    last = max(curve.x[-1] * scale for _, curve, scale, *_ in drawn)
    first = min(1.0, result.data.words_per_token)
    if result.data.distance_unit == "chars":
        first = min(1.0, result.data.chars_per_token)
    span = math.log(max(2.0, last / first))
    return [first * math.exp(span * k / (COLUMNS - 1)) for k in range(COLUMNS)]


def _axis(result: DiagnosticsResult) -> str:
    """The axis: 0.3, 1, 3, 10, 30, … over the columns where they are."""
    grid = _grid(result)
    marks = [" "] * (COLUMNS + 4)
    free = 0
    for value in (0.3, 1, 3, 10, 30, 100, 300, 1000, 3000):
        if not grid[0] <= value * 1.001 <= grid[-1] * 1.02:
            continue
        share = math.log(value / grid[0]) / math.log(grid[-1] / grid[0])
        at = max(0, round(share * (COLUMNS - 1)))
        if at >= free:
            marks[at : at + len(str(value))] = str(value)
            free = at + len(str(value)) + 1
    return f"{result.data.distance_unit + ' back':<11}{''.join(marks).rstrip()}"


def _at(curve: Curve, x: float) -> float | None:
    """The curve at x, interpolated in log(1 + x); None outside of it."""
    known = [(a, b) for a, b in zip(curve.x, curve.y, strict=True) if b is not None]
    if not known or x > known[-1][0] * 1.001 or x < known[0][0] * 0.999:
        return None
    return float(interpolated([a for a, _ in known], [b for _, b in known], x))


def _bar(value: float | None, low: float, high: float) -> str:
    if value is None:
        return " "
    if low > 0:
        span = math.log(high / low)
        share = math.log(max(value, low) / low) / span if span > 0 else 0.0
    else:
        share = (value - low) / (high - low)
    return SPARKS[max(0, min(len(SPARKS) - 1, round(share * (len(SPARKS) - 1))))]
