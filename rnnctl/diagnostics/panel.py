"""From measurements to what is said about them: headline, panel and verdict; see also `checks`.

Fixed rules on finished records; nothing is measured here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, get_args

from rnnctl import catalog
from rnnctl.reports.numbers import DISTANCE_DIGITS, fixed, horizon, number, percent
from rnnctl.results.base import Estimate
from rnnctl.results.diagnostics import (
    SIGN_CHANGES,
    DiagnosticName,
    EffectRecord,
    FirstLastRecord,
    GatesRecord,
    HeadlineRecord,
    HoldRecord,
    Measurement,
    ModelRecord,
    PanelRow,
    PositionRecord,
    ReachRecord,
    UseRecord,
)
from rnnctl.statistics import no_better_than_counting
from rnnctl.wording import as_sentence, with_unit

if TYPE_CHECKING:
    from rnnctl.diagnostics.measurements import Diagnostic


OWN: tuple[str, ...] = get_args(DiagnosticName)


@dataclass(frozen=True)
class Measured:
    """The records of one diagnosis; None where a measurement was not asked for."""

    use: UseRecord | None = None
    first_last: FirstLastRecord | None = None
    effect: EffectRecord | None = None
    hold: HoldRecord | None = None
    reach: ReachRecord | None = None
    gates: GatesRecord | None = None
    position: PositionRecord | None = None
    others: Mapping[str, Measurement] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Mapping[str, Measurement]) -> Measured:
        """Sort records by name into those that rnnctl knows and those of other packages."""
        own = {name: records[name] for name in OWN if name in records}
        others = {name: record for name, record in records.items() if name not in OWN}
        return cls(**own, others=others)  # type: ignore[arg-type]

    def fields(self) -> dict[str, object]:
        """The same as a `DiagnosticsResult` has it."""
        return {**{name: getattr(self, name) for name in OWN}, "others": dict(self.others)}

    def records(self) -> dict[str, Measurement]:
        """Those that were taken, by name."""
        own = {name: getattr(self, name) for name in OWN}
        taken = {name: record for name, record in own.items() if record is not None}
        return {**taken, **self.others}


def headline(model: ModelRecord, measured: Measured, bptt_words: float | None) -> HeadlineRecord:
    """The memory horizon: USE for language models, EFFECT for classifiers."""
    if model.task == "classifier":
        return _classifier_headline(measured.effect)
    return _language_headline(measured, bptt_words)


def _language_headline(measured: Measured, bptt_words: float | None) -> HeadlineRecord:
    use = measured.use
    found = _scalar(use, "n_eff_foreign", "USE was not measured")
    unit = found.unit or "words"
    # The sentence says "replacing" and not "forgetting": what was measured is wrong text, and not
    # what the state holds.
    if found.estimate == 0:
        sentence = (
            "replacing what the model has read by other text does not measurably raise its "
            "perplexity by more than 1 %, at any context length"
        )
    elif found.status == "ok" and found.estimate is not None:
        sentence = (
            f"replacing all text more than {distance(found.estimate, unit)} back by other text "
            "raises this model's perplexity by less than 1 %"
        )
    elif found.status == "censored":
        sentence = (
            f"replacing all text more than {distance(found.censored_at, unit)} back, the longest "
            "context measured, by other text still raises this model's perplexity by more than 1 %"
        )
    else:
        sentence = f"not measured: {found.note}"
    beside = {} if use is None else {"zero_state": _scalar(use, "n_eff_zero", "not measured")}
    if measured.first_last is not None and measured.first_last.status == "ok":
        beside["first_last"] = measured.first_last.scalars["rise_percent"]
    return _headline("use_neff", found, sentence, beside, bptt_words)


def _classifier_headline(effect: EffectRecord | None) -> HeadlineRecord:
    found = _scalar(effect, "half_distance", "EFFECT was not measured")
    unit = found.unit or "words"
    if found.status == "ok" and found.estimate is not None:
        sentence = (
            f"a telling sentence {distance(found.estimate, unit)} before the end counts half as "
            "much as at the end"
        )
    elif found.status == "censored":
        sentence = (
            f"a telling sentence {distance(found.censored_at, unit)} before the end, the longest "
            "distance measured here, still counts more than half as much as at the end"
        )
    else:
        sentence = f"not measured: {found.note}"
    start = _scalar(effect, "retention_start", found.note or "EFFECT was not measured")
    return _headline("effect_half", found, sentence, {"retention_start": start}, None)


def _headline(
    kind: str,
    found: Estimate,
    sentence: str,
    beside: dict[str, Estimate],
    bptt_words: float | None,
) -> HeadlineRecord:
    extra = {
        "kind": kind,
        "text": horizon(found),
        "sentence": sentence,
        "beside": beside,
        "train_bptt_words": bptt_words,
    }
    return HeadlineRecord.model_validate(found.model_dump() | extra)


def distance(value: float | None, unit: str) -> str:
    """``1 word``, ``5.6 words``, ``120 words``: rounded as every report rounds distances."""
    return with_unit("?" if value is None else number(value, DISTANCE_DIGITS), unit)


def _scalar(record: Measurement | None, name: str, why: str) -> Estimate:
    """A scalar of a record, or one that says why there is none."""
    if record is not None and name in record.scalars:
        return record.scalars[name]
    if record is None:
        return Estimate(estimate=None, status="not_applicable", note=why)
    status = record.status if record.status != "ok" else "undefined"
    return Estimate(estimate=None, status=status, note=record.note or why)


def rows(model: ModelRecord, measured: Measured) -> tuple[PanelRow, ...]:
    """The panel: one row per measurement that applies, and one for the model's quality."""
    found = []
    for name, record in measured.records().items():
        if record.status == "not_applicable":
            continue
        about: Diagnostic = catalog.load("diagnostic", name)
        names = dict(about.numbers)
        if model.task != "classifier":
            names |= about.spoken
        scalars = dict(record.scalars)
        if isinstance(record, ReachRecord) and record.lyapunov is not None:
            scalars["n_slow"] = record.lyapunov.n_slow
        chosen = {key: scalars[key] for key in names if key in scalars}
        # ratios to an effect that does not exist say nothing more than that
        why = record.note
        if record.status == "undefined" and why:
            first = next(iter(names))
            chosen = {k: v for k, v in chosen.items() if k == first or v.note != why}
        if not chosen:
            first = next(iter(names))
            chosen = {first: _scalar(record, first, "not measured")}
        found.append(
            PanelRow(
                name=name,
                question=about.question,
                numbers=chosen,
                title=about.title,
                short=about.short,
                answer=about.answer(record),
                names=names,
            )
        )
    return (*found, _quality(model, measured))


QUALITY = {
    "bits_per_byte": ("bits per byte", ""),
    "perplexity": ("perplexity per token", ""),
    "loss_nats": ("loss on the validation text", "nats per token"),
    "loss_here": ("loss on this text", "nats per token"),
    "reference_loss": ("loss of an n-gram on this text", "nats per token"),
    "accuracy": ("accuracy", ""),
    "macro_f1": ("macro-F1", ""),
    "training_tokens_per_s": ("training speed", "tokens/s"),
}


def _quality(model: ModelRecord, measured: Measured) -> PanelRow:
    """How good the model is: what training measured, and the loss on this text."""
    quality = {
        name: Estimate(estimate=value, unit=QUALITY.get(name, ("", ""))[1])
        for name, value in model.quality.items()
    }
    if model.quality_missing:
        name = "accuracy" if model.task == "classifier" else "loss_nats"
        note = model.quality_missing
        quality[name] = Estimate(estimate=None, status="failed", note=note)
    # The loss on this text beside that on the validation text: memory is measured on this one.
    if measured.use is not None:
        for name, key in (("loss_here", "loss"), ("reference_loss", "reference_loss")):
            if key in measured.use.scalars:
                quality[name] = measured.use.scalars[key]
    return PanelRow(
        name="quality",
        question="is the model any good?",
        numbers=quality,
        title="QUALITY: is the model any good?",
        short="Is the model any good?",
        answer=_how_good(quality),
        names={name: said for name, (said, _) in QUALITY.items()},
    )


def _how_good(quality: Mapping[str, Estimate]) -> str:
    """The quality in a few words."""
    values = {name: value.estimate for name, value in quality.items()}
    if values.get("accuracy") is not None:
        return f"{percent(values['accuracy'])} of validation texts right"
    if values.get("loss_here") is not None:
        loss, n_gram = values["loss_here"], values.get("reference_loss")
        said = f"loss {number(loss)} nats per token"
        if loss is None or n_gram is None:
            return said
        good = "no better than counting" if no_better_than_counting(loss, n_gram) else "yes"
        return f"{good}: {said}, n-gram {number(n_gram)}"
    if values.get("bits_per_byte") is not None:
        return f"{number(values['bits_per_byte'])} bits per byte on validation text"
    damaged = any(value.status == "failed" for value in quality.values())
    return "not known: the result of its training is damaged" if damaged else ""


# -- the verdict: a diagnosis in two or three sentences ------------------------------------------

SAME = 0.01  # a difference from the end itself that is none
FAINT = 0.1  # of what the same evidence counts at the end: nothing to speak of
SENTENCE_WORDS = 15.0  # about the length of a written English sentence
EARLY_WORDS = 50.0  # so far back text is early; the panel's "gain from beyond" has the same
CHARACTERS_PER_WORD = 5.0  # where distances are in characters
VANISHING_LAG = 100.0  # tokens; less than 1 % of a gradient from there has vanished


def in_unit(words: float, unit: str) -> float:
    """So many words in the unit that distances are measured in."""
    return words * CHARACTERS_PER_WORD if unit == "chars" else words


def stretch(found: Estimate) -> str:
    """A distance in words or characters as a reader pictures it: ``less than a sentence``."""
    if found.status == "censored":
        return "as far as was measured"
    size, word = found.estimate or 0.0, in_unit(1.0, found.unit)
    if size < 3 * word:
        return "a word or two"
    if size < SENTENCE_WORDS * word:
        return "less than a sentence"
    return "a sentence or more" if size < EARLY_WORDS * word else "several sentences"


def early_is_left(half: Estimate) -> str:
    """Whether early text still counts, by the distance at which a half is left: yes, partly or no.

    yes: at least half is left at `EARLY_WORDS`. no: half is gone within a sentence; what falls on
    at that pace has a tenth left at `EARLY_WORDS`.
    """
    if half.status == "censored":
        return "yes"
    size, word = half.estimate or 0.0, in_unit(1.0, half.unit)
    if size < SENTENCE_WORDS * word:
        return "no"
    return "partly" if size < EARLY_WORDS * word else "yes"


def verdict(head: HeadlineRecord, measured: Measured, paragraph_words: float | None) -> str:
    """What the numbers say together; and what of a usual paragraph's beginning is left at its end.

    `paragraph_words`: their usual length, in the headline's unit; None where there are none.
    """
    parts = list(_parts(head, measured))
    said = [as_sentence("; ".join(parts))] if parts else []
    if paragraph_words is not None and paragraph_words >= 1:
        said += _beginning(head, measured, paragraph_words)
    return " ".join(said)


def _parts(head: HeadlineRecord, measured: Measured) -> Iterator[str]:
    unit = head.unit or "words"
    if head.kind == "use_neff" and head.estimate == 0:
        yield "no measurable part of the loss depends on what was read before"
    elif head.kind == "use_neff" and head.estimate is not None:
        far = distance(head.estimate, unit)
        yield f"replacing text more than {far} back raises perplexity by less than 1 %"
    elif head.kind == "use_neff" and head.status == "censored":
        far = distance(head.censored_at, unit)
        yield f"replacing text more than {far} back still raises perplexity by more than 1 %"
    yield from _effect(head, measured)
    yield from _halves(
        measured.hold,
        "hold_half",
        "half of what a linear probe can read about a word is gone {x} later",
        "a linear probe can still read more than half as much about a word {x} later",
    )
    yield from _halves(
        measured.reach,
        "half_life",
        "the gradient halves within {x}",
        "the gradient has not halved {x} back",
    )


def _effect(head: HeadlineRecord, measured: Measured) -> Iterator[str]:
    if measured.effect is not None and measured.effect.status == "undefined":
        near = "evidence does not measurably change the answer, even at the very end"
        far = "a word read 4 to 8 words ago does not measurably change how likely it is to return"
        if SIGN_CHANGES in measured.effect.note:
            far = "a word makes its return likelier at one distance and less likely at the next"
        yield near if head.kind == "effect_half" else far
        return
    if head.kind == "effect_half":
        reached = "evidence counts half as much {x} later"
        censored = "evidence still counts more than half {x} later"
    else:
        what = "how much a word raises its own chance to return"
        reached = f"{what} halves within {{x}}, beyond 4 to 8 words"
        censored = f"{what} has not halved {{x}} beyond 4 to 8 words"
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
    if not head.is_known:
        return
    # By the interval and not by the estimate: whether it counts has to be beyond chance.
    low, high = head.ends
    if low == -math.inf:
        low = (head.censored_at or 0.0) if head.status == "censored" else 0.0
    if high < words:
        last = f"the last {distance(high, unit)}"
        yield f"{usual}: text before {last} changes perplexity by less than 1 %."
    elif low >= words:
        yield f"{usual}: text from that far back still counts."
    elif head.status == "censored" and (head.censored_at or 0.0) < words:
        yield f"{usual}: its beginning is further back than was measured."
    else:
        yield f"{usual}: the measurement cannot tell whether text from that far back counts."


def _last_sentence(rise: Estimate) -> str:
    """What exchanging a document's first sentence did to the perplexity of its last."""
    low, high = (fixed(end, 1) for end in rise.ci95)
    shown = f"{fixed(rise.estimate, 1)} % [{low}, {high}]"
    if rise.ends[0] > 0:
        return f"another first sentence raises the perplexity of the last by {shown}"
    if rise.ends[1] < 0:
        return f"another first sentence lowers the perplexity of the last, by {shown}"
    return f"another first sentence does not measurably change the last ({shown} of perplexity)"


def _start(measured: Measured, words: float, unit: str) -> str:
    """What stands where retention was measured for the beginning of a text of usual length."""
    curve = None if measured.effect is None else measured.effect.curves.get("r")
    if curve is not None and curve.x and curve.x[-1] < 0.95 * words:
        return f"text {distance(curve.x[-1], unit)} before its end"
    return "its beginning"


def _heard(usual: str, start: Estimate | None, what: str) -> Iterator[str]:
    if start is None or start.estimate is None:
        return
    low, high = start.ends
    if high < -FAINT:
        said = f"{what} changes the answer against its own direction"
    elif high < FAINT:
        said = f"{what} no longer counts at its end"
    elif low <= 0:
        said = f"the measurement cannot tell whether {what} counts at its end"
    elif high < 1 - SAME:
        said = f"{what} still counts at its end, but less than the end itself"
    elif low > 1 + SAME:
        said = f"{what} counts more than its end"
    elif low > 1 - FAINT:
        said = f"{what} counts as much as its end, within the error"
    else:
        said = f"{what} still counts at its end; the measurement cannot tell how much"
    yield f"{usual}: {said}."
