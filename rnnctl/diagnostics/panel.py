"""From measurements to what is said about them: headline, panel, cross-checks and warnings.

Fixed rules on finished records; nothing is measured here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from rnnctl.diagnostics.swaps import rises
from rnnctl.results.base import Curve, Estimate, Warning_
from rnnctl.results.diagnostics import (
    CrossCheck,
    EffectRecord,
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

AGREE = 2.0  # a factor that two ways to measure one distance may differ by


@dataclass(frozen=True)
class Measured:
    """The records of one diagnosis; None where a measurement was not asked for."""

    use: UseRecord | None = None
    effect: EffectRecord | None = None
    hold: HoldRecord | None = None
    reach: ReachRecord | None = None
    gates: GatesRecord | None = None
    position: PositionRecord | None = None
    quality: dict[str, float] = field(default_factory=dict)

    def records(self) -> dict[str, Measurement]:
        """Those that were taken, by name."""
        names = ("use", "effect", "hold", "reach", "gates", "position")
        found = {name: getattr(self, name) for name in names}
        return {name: record for name, record in found.items() if record is not None}


def headline(model: ModelRecord, measured: Measured, bptt_words: float | None) -> HeadlineRecord:
    """The memory horizon: USE for language models, EFFECT for classifiers."""
    if model.task == "classifier":
        return _classifier_headline(measured.effect)
    return _language_headline(measured.use, bptt_words)


def _language_headline(use: UseRecord | None, bptt_words: float | None) -> HeadlineRecord:
    found = _scalar(use, "n_eff_foreign", "USE was not measured")
    unit = found.unit or "words"
    if found.status == "ok" and found.estimate is not None:
        words = shown(found.estimate)
        sentence = (
            f"giving this model text from further back than {words} {unit} improves its "
            "perplexity by less than 1 %"
        )
    elif found.status == "censored":
        sentence = (
            f"text from further back than {shown(found.censored_at)} {unit}, the longest context "
            "measured here, still improves this model's perplexity by more than 1 %"
        )
    else:
        sentence = f"not measured: {found.note}"
    beside = {} if use is None else {"zero_state": _scalar(use, "n_eff_zero", "not measured")}
    return _headline("use_neff", found, sentence, beside, bptt_words)


def _classifier_headline(effect: EffectRecord | None) -> HeadlineRecord:
    found = _scalar(effect, "half_distance", "EFFECT was not measured")
    unit = found.unit or "words"
    if found.status == "ok" and found.estimate is not None:
        sentence = (
            f"an opinion {shown(found.estimate)} {unit} before the end counts half as much as one "
            "in the last sentence"
        )
    elif found.status == "censored":
        sentence = (
            f"an opinion {shown(found.censored_at)} {unit} before the end, the longest distance "
            "measured here, still counts more than half as much as one in the last sentence"
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


def shown(value: float | None) -> str:
    """A distance as a reader wants it: whole from 10 on."""
    if value is None:
        return "?"
    return f"{value:.0f}" if value >= 9.95 or value == round(value) else f"{value:.1f}"


def _scalar(record: Measurement | None, name: str, why: str) -> Estimate:
    """A scalar of a record, or one that says why there is none."""
    if record is not None and name in record.scalars:
        return record.scalars[name]
    if record is None:
        return Estimate(estimate=None, status="not_applicable", note=why)
    status = record.status if record.status != "ok" else "undefined"
    return Estimate(estimate=None, status=status, note=record.note or why)


def rows(model: ModelRecord, measured: Measured) -> tuple[PanelRow, ...]:
    """The panel: one line per measurement that was taken."""
    wanted = {
        "use": (
            "how much text does the loss really need?",
            ("n_eff_foreign", "n_eff_zero", "early_gain_50"),
        ),
        "effect": (
            "does early evidence still push the answer the right way?",
            ("half_distance", "retention_10", "retention_30", "retention_100", "b_near"),
        ),
        "hold": ("what could be read out of the state?", ("hold_half", "bits_0", "bits_100")),
        "reach": (
            "does the learning signal get back there?",
            ("half_life", "tail_tau", "reach_1pct"),
        ),
        "gates": ("what do the gates suggest?", ("tau_p50", "tau_p90", "reset_rate")),
        "position": (
            "does a sentence count the same wherever it stands?",
            ("first_over_last", "first_opposite_flips", "last_opposite_flips"),
        ),
    }
    found = []
    for name, record in measured.records().items():
        question, numbers = wanted[name]
        if name == "effect" and record.status == "undefined":
            numbers = ("half_distance", "b_near")
        chosen = {key: record.scalars[key] for key in numbers if key in record.scalars}
        if not chosen:
            chosen = {numbers[0]: _scalar(record, numbers[0], "not measured")}
        if isinstance(record, ReachRecord) and record.lyapunov is not None:
            chosen["n_slow"] = record.lyapunov.n_slow
        found.append(PanelRow(name=name, question=question, numbers=chosen))
    quality = {name: Estimate(estimate=value) for name, value in model.quality.items()}
    return (*found, PanelRow(name="quality", question="is the model any good?", numbers=quality))


def cross_checks(measured: Measured) -> tuple[CrossCheck, ...]:
    """Pairs of numbers that should agree."""
    return tuple(check for check in _checks(measured) if check is not None)


def _checks(measured: Measured) -> Iterator[CrossCheck | None]:
    yield _use_within_hold(measured)
    yield _starts_agree(measured)
    yield _growth_agrees(measured)
    yield _positions_agree(measured)


def _use_within_hold(measured: Measured) -> CrossCheck | None:
    """What the loss needs must be in the state: USE horizon ≤ HOLD horizon, roughly."""
    if measured.use is None or measured.hold is None or "state" not in measured.hold.curves:
        return None
    name = "USE horizon within what HOLD finds"
    use = measured.use.scalars.get("n_eff_foreign")
    if use is None or use.estimate is None:
        return CrossCheck(name=name, passed=None, text="the USE horizon is not a number")
    bits = measured.hold.curves["state"]
    held = [x for x, low in zip(bits.x, bits.lo, strict=True) if low is not None and low > 0]
    last = max(held, default=0.0)
    # a probe of 16 words sees the last traces of a text later than the loss does
    passed = use.estimate <= AGREE**2 * max(1.0, last) or last >= bits.x[-1]
    text = f"{shown(use.estimate)} against {shown(last)} {bits.x_unit} with measurable bits"
    return CrossCheck(name=name, passed=passed, text=text)


def _starts_agree(measured: Measured) -> CrossCheck | None:
    """The zero state is not much further from home than the foreign one."""
    if measured.use is None:
        return None
    name = "zero and foreign start agree"
    both = [measured.use.scalars.get(f"n_eff_{start}") for start in ("foreign", "zero")]
    values = [one.estimate if one is not None else None for one in both]
    if any(one is None for one in both):
        return None
    if values[0] is None or values[1] is None:
        same = both[0] is not None and both[1] is not None and both[0].status == both[1].status
        text = "both lie beyond the longest context" if same else "one of them is not a number"
        return CrossCheck(name=name, passed=True if same else None, text=text)
    ratio = max(values[0], values[1], 1.0) / max(1.0, min(values[0], values[1]))
    text = f"{shown(values[0])} (foreign) and {shown(values[1])} (zero)"
    return CrossCheck(name=name, passed=ratio <= AGREE, text=text)


def _growth_agrees(measured: Measured) -> CrossCheck | None:
    """The leading Lyapunov exponent against the slope of the gradient's tail."""
    if measured.reach is None or measured.reach.lyapunov is None:
        return None
    name = "Lyapunov exponent fits the gradient's tail"
    leading = measured.reach.lyapunov.leading.estimate
    tau = measured.reach.scalars.get("tail_tau")
    if leading is None or tau is None or tau.estimate is None:
        return CrossCheck(name=name, passed=None, text="one of the two is not a number")
    slope = -1 / tau.estimate if tau.estimate else -math.inf
    passed = abs(leading - slope) <= max(0.02, 0.5 * max(abs(leading), abs(slope)))
    text = f"{leading:.3f} and {slope:.3f} per token"
    return CrossCheck(name=name, passed=passed, text=text)


def _positions_agree(measured: Measured) -> CrossCheck | None:
    """P1 on natural text against what R(d) predicts for the first and the last fifth."""
    if measured.position is None or measured.effect is None:
        return None
    ratio = measured.position.scalars.get("first_over_last")
    name = "position in natural text fits the planted evidence"
    r = measured.effect.curves.get("r")
    if ratio is None or ratio.estimate is None or r is None:
        return CrossCheck(name=name, passed=None, text="one of the two is not a number")
    early, late = _at(r, 0.9 * r.x[-1]), _at(r, 0.1 * r.x[-1])
    expected = early / late if late else math.inf
    low, high = ratio.ci95
    inside = low is not None and high is not None and low / AGREE <= expected <= high * AGREE
    text = f"{ratio.estimate:.2f} (first over last fifth) and {expected:.2f} (from R)"
    return CrossCheck(name=name, passed=inside, text=text)


def _at(curve: Curve, x: float) -> float:
    known = [(a, b) for a, b in zip(curve.x, curve.y, strict=True) if b is not None]
    return float(np.interp(math.log1p(x), [math.log1p(a) for a, _ in known], [b for _, b in known]))


def warnings(model: ModelRecord, measured: Measured, head: HeadlineRecord) -> tuple[Warning_, ...]:
    """What the reader must know beside the numbers, in a fixed order."""
    return tuple(Warning_(code=code, text=text) for code, text in _warn(model, measured, head))


def _warn(
    model: ModelRecord, measured: Measured, head: HeadlineRecord
) -> Iterator[tuple[str, str]]:
    if model.bidirectional:
        yield (
            "BIDIRECTIONAL",
            "the model also reads from the end: what is early for one direction is late for the "
            "other; HOLD, REACH and GATES are about one direction and were left out",
        )
    if model.readout not in ("last", "each step"):
        yield (
            "POOLED",
            f"the answer is pooled over all states ({model.readout}): early text reaches it "
            "directly and not through recurrence; REACH and HOLD are about recurrence alone",
        )
    for name, record in measured.records().items():
        if record.status in ("undefined", "insufficient_data", "failed"):
            yield record.status.upper(), f"{name.upper()}: {record.note}"
    effect = measured.effect
    risen = rises(effect.curves["r"]) if effect is not None and "r" in effect.curves else None
    if risen is not None:
        yield (
            "RISES",
            f"evidence {shown(risen[1])} words before the end counts more than at "
            f"{shown(risen[0])}: R does not simply fall, look at the whole curve",
        )
    if head.status == "censored":
        yield "CENSORED", "the horizon lies beyond the longest distance measured"
    if _starts_agree(measured) is not None and _cold(measured):
        yield (
            "COLD_START",
            "after a zero state the loss takes longer to recover than after a foreign text: "
            "part of the zero-state excess is a cold start, not memory",
        )
    reach = measured.reach
    if reach is not None and any(block.explodes for block in reach.blocks.values()):
        yield "EXPLODING", "gradients grow with distance: see REACH"
    use = measured.use
    if use is not None and use.sampling is not None and use.sampling.n < 20:
        yield (
            "FEW_DOCUMENTS",
            f"only {use.sampling.n} texts (or blocks) are long enough: intervals are rough",
        )


def _cold(measured: Measured) -> bool:
    check = _starts_agree(measured)
    use = measured.use
    if check is None or check.passed is not False or use is None:
        return False
    zero, foreign = use.scalars["n_eff_zero"], use.scalars["n_eff_foreign"]
    return (zero.estimate or 0.0) > (foreign.estimate or 0.0)
