"""From measurements to what is said about them: headline and panel; see also `checks`.

Fixed rules on finished records; nothing is measured here.
"""

from __future__ import annotations

from dataclasses import dataclass

from rnnctl.catalog import DIAGNOSTICS
from rnnctl.reports.numbers import DISTANCE_DIGITS, number
from rnnctl.results.base import Estimate
from rnnctl.results.diagnostics import (
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
from rnnctl.wording import with_unit


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
    units_per_token: float = 1.0

    def records(self) -> dict[str, Measurement]:
        """Those that were taken, by name."""
        found = {name: getattr(self, name) for name in DIAGNOSTICS}
        return {name: record for name, record in found.items() if record is not None}


def headline(model: ModelRecord, measured: Measured, bptt_words: float | None) -> HeadlineRecord:
    """The memory horizon: USE for language models, EFFECT for classifiers."""
    if model.task == "classifier":
        return _classifier_headline(measured.effect)
    return _language_headline(measured, bptt_words)


def _language_headline(measured: Measured, bptt_words: float | None) -> HeadlineRecord:
    use = measured.use
    found = _scalar(use, "n_eff_foreign", "USE was not measured")
    unit = found.unit or "words"
    replaced = "other text in place of everything further back than"
    if found.estimate == 0:
        sentence = (
            "other text in place of what the model has read raises its perplexity by no measurable "
            "amount above 1 %, at any context length"
        )
    elif found.status == "ok" and found.estimate is not None:
        sentence = (
            f"{replaced} {distance(found.estimate, unit)} raises this model's perplexity by less "
            "than 1 %"
        )
    elif found.status == "censored":
        sentence = (
            f"{replaced} {distance(found.censored_at, unit)}, the longest context measured, still "
            "raises this model's perplexity by more than 1 %"
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


ROWS: dict[str, tuple[str, tuple[str, ...]]] = {
    "use": (
        "how much text does the loss really need?",
        ("n_eff_foreign", "n_eff_zero", "early_gain_50", "overtakes_reference"),
    ),
    "first_last": (
        "does the first sentence of a document still count in its last?",
        ("rise", "rise_percent", "worse", "distance"),
    ),
    "effect": (
        "does early evidence still push the answer the right way?",
        ("half_distance", "retention_10", "retention_30", "retention_100", "b_near"),
    ),
    "hold": ("what could be read out of the state?", ("hold_half", "bits_0", "bits_100")),
    "reach": ("does the learning signal get back there?", ("half_life", "tail_tau", "reach_1pct")),
    "gates": ("what do the gates suggest?", ("tau_p50", "tau_p90", "reset_rate")),
    "position": (
        "does a sentence count the same wherever it stands?",
        (
            "first_over_last",
            "reference_first_over_last",
            "first_opposite_flips",
            "last_opposite_flips",
        ),
    ),
}


def rows(model: ModelRecord, measured: Measured) -> tuple[PanelRow, ...]:
    """The panel: one line per measurement that was taken."""
    found = []
    for name, record in measured.records().items():
        question, numbers = ROWS[name]
        if name == "effect" and record.status == "undefined":
            numbers = ("half_distance", "b_near")
        chosen = {key: record.scalars[key] for key in numbers if key in record.scalars}
        if not chosen:
            chosen = {numbers[0]: _scalar(record, numbers[0], "not measured")}
        if isinstance(record, ReachRecord) and record.lyapunov is not None:
            chosen["n_slow"] = record.lyapunov.n_slow
        found.append(PanelRow(name=name, question=question, numbers=chosen))
    quality = {name: Estimate(estimate=value) for name, value in model.quality.items()}
    if measured.use is not None:
        for name, key in (("loss_here", "loss"), ("reference_loss", "reference_loss")):
            if key in measured.use.scalars:
                quality[name] = measured.use.scalars[key]
    return (*found, PanelRow(name="quality", question="is the model any good?", numbers=quality))
