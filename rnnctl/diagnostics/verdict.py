"""A diagnosis in two or three sentences, by fixed rules on finished records."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rnnctl.diagnostics.panel import Measured, distance
from rnnctl.reports.numbers import fixed
from rnnctl.results.base import Estimate
from rnnctl.results.diagnostics import HeadlineRecord, Measurement

SAME = 0.01  # a difference from the end itself that is none
FAINT = 0.1  # of what the same evidence counts at the end: nothing to speak of


def verdict(head: HeadlineRecord, measured: Measured, paragraph_words: float | None) -> str:
    """What the numbers say together; and what of a usual paragraph's beginning is left at its end.

    `paragraph_words`: their usual length, in the headline's unit; None where there are none.
    """
    parts = list(_parts(head, measured))
    said = [_sentence("; ".join(parts))] if parts else []
    if paragraph_words is not None and paragraph_words >= 1:
        said += _beginning(head, measured, paragraph_words)
    return " ".join(said)


def _parts(head: HeadlineRecord, measured: Measured) -> Iterator[str]:
    unit = head.unit or "words"
    if head.kind == "use_neff" and head.estimate == 0:
        yield "no measurable part of the loss depends on what was read before"
    elif head.kind == "use_neff" and head.estimate is not None:
        far = distance(head.estimate, unit)
        yield f"other text further back than {far} raises perplexity by less than 1 %"
    elif head.kind == "use_neff" and head.status == "censored":
        far = distance(head.censored_at, unit)
        yield f"other text further back than {far} still raises perplexity by more than 1 %"
    yield from _effect(head, measured)
    yield from _halves(
        measured.hold,
        "hold_half",
        "a linear probe reads half as much about a word {x} later",
        "a linear probe still reads more than half as much about a word {x} later",
    )
    yield from _halves(
        measured.reach,
        "half_life",
        "the learning signal halves within {x}",
        "the learning signal has not halved {x} back",
    )


def _effect(head: HeadlineRecord, measured: Measured) -> Iterator[str]:
    if measured.effect is not None and measured.effect.status == "undefined":
        near = "evidence leaves no measurable trace in the answer, even at the very end"
        far = "a word read 4 to 8 words ago does not measurably change how likely it is to return"
        yield near if head.kind == "effect_half" else far
        return
    if head.kind == "effect_half":
        reached = "evidence counts half as much {x} later"
        censored = "evidence still counts more than half {x} later"
    else:
        what = "a word's pull on its own return"
        reached = f"{what} halves within {{x}}, from 4 to 8 words back on"
        censored = f"{what} has not halved {{x}} after the nearest 4 to 8"
    yield from _halves(measured.effect, "half_distance", reached, censored)


def _halves(record: Measurement | None, name: str, reached: str, censored: str) -> Iterator[str]:
    """`reached` or `censored` with the distance in the place of {x}; nothing if there is none."""
    found = None if record is None else record.scalars.get(name)
    if found is None:
        return
    if found.estimate is not None:
        yield reached.format(x=distance(found.estimate, found.unit))
    elif found.status == "censored" and found.censored_at is not None:
        yield censored.format(x=distance(found.censored_at, found.unit))


def _beginning(head: HeadlineRecord, measured: Measured, words: float) -> Iterator[str]:
    """Whether the beginning of a paragraph of usual length counts at its end."""
    unit = head.unit or "words"
    what = "text" if head.kind == "effect_half" else "paragraph"
    usual = f"A usual {what} has {distance(words, unit)} here"
    if head.kind == "effect_half":
        yield from _heard(usual, head.beside.get("retention_start"), _start(measured, words, unit))
        return
    if measured.first_last is not None and measured.first_last.status == "ok":
        yield f"{usual}: {_last_sentence(measured.first_last.scalars['rise_percent'])}."
        return
    if head.estimate is None and head.status != "censored":
        return
    low, high = head.ci95
    low = (head.censored_at if head.status == "censored" else 0.0) if low is None else low
    if high is not None and high < words:
        last = f"the last {distance(high, unit)}"
        yield f"{usual}: what stands before {last} counts for less than 1 % of perplexity."
    elif (low or 0.0) >= words:
        yield f"{usual}: text from that far back still counts."
    elif head.status == "censored" and (head.censored_at or 0.0) < words:
        yield f"{usual}: its beginning is further back than was measured."
    else:
        yield f"{usual}: whether text from that far back counts is within the error."


def _last_sentence(rise: Estimate) -> str:
    """What exchanging a document's first sentence did to the perplexity of its last."""
    low, high = rise.ci95
    shown = f"{fixed(rise.estimate, 1)} % [{fixed(low, 1)}, {fixed(high, 1)}]"
    if low is not None and low > 0:
        return f"another first sentence raises the perplexity of the last by {shown}"
    if high is not None and high < 0:
        return f"another first sentence lowers the perplexity of the last, by {shown}"
    return f"another first sentence does not measurably change the last ({shown} of perplexity)"


def _start(measured: Measured, words: float, unit: str) -> str:
    """What stands where retention was measured for the beginning of a text of usual length."""
    curve = None if measured.effect is None else measured.effect.curves.get("r")
    if curve is not None and curve.x and curve.x[-1] < 0.95 * words:
        return f"what stands {distance(curve.x[-1], unit)} before its end"
    return "its beginning"


def _heard(usual: str, start: Estimate | None, what: str) -> Iterator[str]:
    if start is None or start.estimate is None:
        return
    low, high = (
        end if end is not None else far
        for end, far in zip(start.ci95, (-math.inf, math.inf), strict=True)
    )
    if high < -FAINT:
        said = f"{what} counts against what it says"
    elif high < FAINT:
        said = f"{what} no longer counts at its end"
    elif low <= 0:
        said = f"whether {what} counts at its end is within the error"
    elif high < 1 - SAME:
        said = f"{what} still counts at its end, but less than the end itself"
    elif low > 1 + SAME:
        said = f"{what} counts more than its end"
    elif low > 1 - FAINT:
        said = f"{what} counts as much as its end, within the error"
    else:
        said = f"{what} still counts at its end, how much is within the error"
    yield f"{usual}: {said}."


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
