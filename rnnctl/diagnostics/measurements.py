"""The diagnostics that `rnnctl diagnose` has: each one with all that is particular to it.

`rnnctl.catalog` lists them by name, and packages may add others by an entry point of the group
``rnnctl.diagnostic``. `diagnose`, the panel and the reports ask the `Diagnostic` and know no names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeGuard

from rnnctl.diagnostics import effect, first_last, gates, hold, lyapunov, position, reach, use
from rnnctl.diagnostics.material import Material
from rnnctl.diagnostics.panel import FAINT, VANISHING_LAG, early_is_left, stretch
from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.settings import Settings
from rnnctl.diagnostics.subject import ExactModel
from rnnctl.reports.numbers import DISTANCE_DIGITS, estimate, fixed, number
from rnnctl.results.base import Estimate
from rnnctl.results.diagnostics import (
    SIGN_CHANGES,
    EffectRecord,
    FirstLastRecord,
    GatesRecord,
    HoldRecord,
    Measurement,
    PositionRecord,
    ReachRecord,
    UseRecord,
)
from rnnctl.wording import with_unit

LANGUAGE, CLASSIFIER = "language model", "classifier"


def no_answer(record: Measurement) -> str:
    """Says nothing: the panel then shows the first number."""
    return ""


@dataclass(frozen=True)
class Diagnostic:
    """One way to measure memory.

    `title` heads its part of the panel; `question` is a full sentence, `short` the same in at most
    26 characters. `measure` takes the material and how much to measure, and returns a record;
    what cannot be measured has a status and a note. `of`: the kinds of model it is measured of by
    default. `numbers`: the scalars of the record that the panel shows, with what they are called;
    `spoken` replaces some of these names for language models. `answer` sums a record up in at most
    52 characters. `glossary` explains one of another package to a reader who does not know it;
    docs/glossary.md explains ours.
    """

    title: str
    question: str
    short: str
    measure: Callable[[Material, Settings], Measurement]
    numbers: Mapping[str, str]
    of: tuple[str, ...] = (LANGUAGE, CLASSIFIER)
    spoken: Mapping[str, str] = field(default_factory=dict)
    answer: Callable[[Measurement], str] = no_answer
    glossary: str = ""


ONE_DIRECTION = "the model reads in both directions, so no text is early for both"


def _use(material: Material, settings: Settings) -> UseRecord:
    subject = material.language_model
    if subject is None:
        return UseRecord(status="not_applicable", note="USE is about the loss of language models")
    if not settings.reference:
        return use.measure(subject, material.sample, settings)
    found = material.n_gram
    if isinstance(found, str):
        record = use.measure(subject, material.sample, settings)
        return record.model_copy(update={"reference": f"not known: {found}"})
    return use.measure(subject, material.sample, settings, found)


def _first_last(material: Material, settings: Settings) -> FirstLastRecord:
    subject = material.language_model
    if subject is None:
        note = "FIRST→LAST is about the loss of language models"
        return FirstLastRecord(status="not_applicable", note=note)
    return first_last.measure(subject, material.sample, settings)


def _effect(material: Material, settings: Settings) -> EffectRecord:
    subject = material.language_model
    if subject is not None:
        return effect.measure(subject, material.sample, settings)
    return effect.measure_evidence(
        material.classifier, material.sample, settings, material.evidence
    )


def _hold(material: Material, settings: Settings) -> HoldRecord:
    if _both_ways(material):
        return HoldRecord(status="not_applicable", note=ONE_DIRECTION)
    subject = material.language_model
    if subject is not None:
        begins = subject.boundary_id
        return hold.measure(subject, material.sample, settings, begins=begins)
    found = hold.measure(material.classifier, material.sample, settings)
    # A classifier need not keep which word it was, only for which label it speaks.
    pairs = material.evidence.pairs if material.evidence is not None else ()
    told = hold.polarity(material.classifier, material.sample, settings, pairs)
    return (
        found
        if told is None
        else found.model_copy(update={"curves": {**found.curves, "polarity": told}})
    )


def _reach(material: Material, settings: Settings) -> ReachRecord:
    if _both_ways(material):
        return ReachRecord(status="not_applicable", note=ONE_DIRECTION)
    # In float64: a gradient of 1e-30 of the first is still one, and not the rounding of float32.
    exact, sample = ExactModel(material.loaded.model), material.sample
    read = _to_the_answer(material, sample) if material.loaded.labels else sample
    found = reach.measure(exact, read, settings)
    spectrum = lyapunov.measure(exact, sample, settings)
    return found.model_copy(update={"lyapunov": spectrum})


def _to_the_answer(material: Material, sample: Sample) -> Sample:
    """Documents as a classifier reads them, with labels: its own answers where there are none."""
    if sample.labels is None:
        answers = effect.batched_logits(material.classifier, sample.ids).argmax(1)
        sample = replace(sample, labels=answers)
    return sample.ended(material.classifier.boundary_id)


def _gates(material: Material, settings: Settings) -> GatesRecord:
    if _both_ways(material):
        return GatesRecord(status="not_applicable", note=ONE_DIRECTION)
    return gates.measure(ExactModel(material.loaded.model), material.sample, settings)


def _position(material: Material, settings: Settings) -> PositionRecord:
    if not material.loaded.labels:
        return PositionRecord(status="not_applicable", note="POSITION is about classifiers")
    return position.measure(
        material.classifier, material.sample, settings, material.filler, material.reference
    )


def _both_ways(material: Material) -> bool:
    return bool(material.loaded.config.model.bidirectional)


def _answer_use(record: Measurement) -> str:
    found = record.scalars.get("n_eff_foreign")
    if not _exists(found):
        return ""
    if found.estimate == 0:  # nothing that was read is measurably used
        if not found.ci95[1]:
            return "not measurably"
        most = with_unit(number(found.ci95[1], DISTANCE_DIGITS), found.unit)
        return f"not measurably: at most {most}"
    return f"{stretch(found)}: {estimate(found, with_unit=True)}"


def _exists(value: Estimate | None) -> TypeGuard[Estimate]:
    """Whether there is a number, or at least a bound."""
    return value is not None and value.is_known


COUNTS_PERCENT = 10.0  # of perplexity
HARDLY_PERCENT = 1.0  # the memory horizon has the same threshold


def _answer_first_last(record: Measurement) -> str:
    rise = record.scalars.get("rise_percent")
    if rise is None or rise.estimate is None:
        return ""
    low, high = (fixed(end, 1) for end in rise.ci95)
    size = f"{fixed(rise.estimate, 1)} % [{low}, {high}]"
    if rise.ends[0] > 0:
        # Beyond chance, but perhaps by less than what the memory horizon counts as nothing.
        how = "a little" if rise.estimate >= HARDLY_PERCENT else "hardly"
        how = "yes" if rise.estimate >= COUNTS_PERCENT else how
        return f"{how}: perplexity +{size} without it"
    if rise.ends[1] < 0:
        return f"no: another first sentence even helps, {size}"
    return f"not measurably: {size}"


def _answer_effect(record: Measurement) -> str:
    start = record.scalars.get("retention_start")
    if record.status == "undefined":
        if SIGN_CHANGES in record.note:
            return "not steadily: its sign changes"
        return "not measurably, not even nearby text"
    if start is not None and start.estimate is not None:  # classifiers: the start of a usual text
        return f"{_counts(start)}: start / end {estimate(start, 2)}"
    return _halved(record.scalars.get("half_distance"))


def _counts(share: Estimate) -> str:
    """Whether evidence that counts so much of what it counts at the end still counts."""
    low, high = share.ends
    if high < FAINT:
        return "no"
    if -math.inf < low <= 0:
        return "not measurably"
    return "yes" if (share.estimate or 0.0) >= 0.5 else "partly"


def _halved(half: Estimate | None) -> str:
    """``no: halved after 6.7 words [5.1, 8.8]``."""
    if not _exists(half):
        return ""
    left = early_is_left(half)
    return (
        f"{left}: halved {'only ' if left == 'yes' else ''}after {estimate(half, with_unit=True)}"
    )


def _answer_hold(record: Measurement) -> str:
    half, at_once = (record.scalars.get(name) for name in ("hold_half", "bits_0"))
    if half is not None and half.status == "undefined" and at_once is not None:
        return "not measurably, not even the word just read"
    if not _exists(half):
        return ""
    return f"{early_is_left(half)}: half gone after {estimate(half, with_unit=True)}"


def _answer_reach(record: Measurement) -> str:
    half, last = record.scalars.get("half_life"), record.scalars.get("reach_1pct")
    block = record.blocks.get(record.main_block) if isinstance(record, ReachRecord) else None
    if block is not None and block.explodes:
        return "it grows on the way back: it explodes"
    if not _exists(half) or not _exists(last):
        return ""
    # Not the half-life, which the many fast directions decide: what matters for learning is whether
    # anything arrives.
    arrives = last.status == "censored" or (last.estimate or 0.0) >= VANISHING_LAG
    shown = [estimate(value.without_interval(), with_unit=True) for value in (half, last)]
    return f"{'yes' if arrives else 'no'}: half left at {shown[0]}, 1 % at {shown[1]}"


def _answer_gates(record: Measurement) -> str:
    median, slow = record.scalars.get("tau_p50"), record.scalars.get("tau_p90")
    if not _exists(median) or not _exists(slow):
        return ""
    slowest = estimate(slow.without_interval(), with_unit=True)
    return f"median unit keeps {estimate(median.without_interval())}, slowest tenth {slowest}"


def _answer_position(record: Measurement) -> str:
    ratio = record.scalars.get("first_over_last")
    if ratio is None:
        return ""
    if ratio.status == "undefined":
        return "not defined: the last fifth has no effect"
    if ratio.estimate is None:
        return ""
    # In either direction: evidence may count less at the beginning, or more.
    decided = ratio.ends[0] > 1 or ratio.ends[1] < 1
    return f"{'yes' if decided else 'not clearly'}: first / last fifth {estimate(ratio, 2)}"


USE = Diagnostic(
    title="USE: text that the loss needs",
    question="how much text does the loss really need?",
    short="How far back does it look?",
    measure=_use,
    of=(LANGUAGE,),
    numbers={
        "n_eff_foreign": "horizon, with other text beyond",
        "n_eff_zero": "horizon, with no text beyond",
        "early_gain_50": "gain from beyond 50 words",
        "overtakes_reference": "context to predict like an n-gram",
    },
    answer=_answer_use,
)
FIRST_LAST = Diagnostic(
    title="FIRST→LAST: what the beginning counts",
    question="does the first sentence of a document still count in its last?",
    short="Does the beginning count?",
    measure=_first_last,
    of=(LANGUAGE,),
    numbers={
        "rise": "rise of the last sentence's loss",
        "rise_percent": "rise of its perplexity",
        "worse": "share of documents predicted worse",
        "right": "words that return: predicted right",
        "right_otherwise": "the same, after another first sentence",
        "distance": "distance of the two (median document)",
    },
    answer=_answer_first_last,
)
EFFECT = Diagnostic(
    title="EFFECT: weight of early evidence",
    question="does early evidence still change the answer in its own direction?",
    short="Does early evidence count?",
    measure=_effect,
    numbers={
        "half_distance": "evidence counts half as much after",
        "retention_10": "weight 10 words back (near: 1)",
        "retention_30": "weight 30 words back (near: 1)",
        "retention_100": "weight 100 words back (near: 1)",
        "b_near": "effect when near",
    },
    spoken={
        "half_distance": "beyond 4 to 8 words it halves within",
        "b_near": "effect 4 to 8 words back",
    },
    answer=_answer_effect,
)
HOLD = Diagnostic(
    title="HOLD: what the state still holds",
    question="what could be read out of the state?",
    short="Is a random word kept?",
    measure=_hold,
    numbers={
        "hold_half": "half of the bits are gone after",
        "bits_0": "bits about the word just read",
        "bits_100": "bits about a word 100 words back",
    },
    answer=_answer_hold,
)
REACH = Diagnostic(
    title="REACH: how far back learning gets",
    question="does the learning signal get back there?",
    short="Does the gradient arrive?",
    measure=_reach,
    numbers={
        "half_life": "gradient halves within",
        "tail_tau": "far back it falls to 1/e every",
        "reach_1pct": "1 % of it is left at",
        "n_slow": "directions that outlive 100 tokens",
    },
    answer=_answer_reach,
)
GATES = Diagnostic(
    title="GATES: implied, not measured",
    question="what do the gates suggest?",
    short="What do the gates suggest?",
    measure=_gates,
    numbers={
        "tau_p50": "time constant of the median unit",
        "tau_p90": "… of the slowest tenth of units",
        "reset_rate": "share of gates that erase (< 0.1)",
    },
    answer=_answer_gates,
)
POSITION = Diagnostic(
    title="POSITION: does place matter?",
    question="does a sentence count the same wherever it stands?",
    short="Does the place matter?",
    measure=_position,
    of=(CLASSIFIER,),
    numbers={
        "first_over_last": "weight of a first fifth over a last",
        "reference_first_over_last": "the same of a bag of words (truly 1)",
        "first_opposite_flips": "answers flipped by another beginning",
        "last_opposite_flips": "answers flipped by another end",
    },
    answer=_answer_position,
)
