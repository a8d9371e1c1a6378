"""What should agree in one diagnosis, and what its reader must be warned of.

Fixed rules on finished records; nothing is measured here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from rnnctl import statistics
from rnnctl.diagnostics.effect import rises
from rnnctl.diagnostics.panel import Measured, distance
from rnnctl.diagnostics.reach import mean_misleads
from rnnctl.reports.numbers import percent
from rnnctl.results.base import Curve, Warning_
from rnnctl.results.diagnostics import (
    CrossCheck,
    GatesRecord,
    HeadlineRecord,
    ModelRecord,
    ReachRecord,
)
from rnnctl.wording import diagnostic

FEW_RESETS = 0.2  # share of stretches ended by a reset that is worth a word
AGREE = 2.0  # a factor that two ways to measure one distance may differ by


def cross_checks(measured: Measured) -> tuple[CrossCheck, ...]:
    """Pairs of numbers that should agree."""
    checks = (_use_within_hold, _starts_agree, _growth_agrees, _positions_agree)
    return tuple(found for check in checks if (found := check(measured)) is not None)


def _use_within_hold(measured: Measured) -> CrossCheck | None:
    """What the loss needs must be in the state: USE horizon ≤ HOLD horizon, roughly."""
    if measured.use is None or measured.hold is None or "state" not in measured.hold.curves:
        return None
    name = "USE horizon within what HOLD finds"
    use = measured.use.scalars.get("n_eff_foreign")
    if use is None or use.estimate is None:
        return CrossCheck(name=name, passed=None, text="the USE horizon is not a number")
    held = measured.hold.scalars.get("bits_last")
    if held is None:  # kept by an older version; `diagnose RUN hold` measures it
        return CrossCheck(name=name, passed=None, text="HOLD was measured by an older version")
    beyond = held.status == "censored"
    last = held.number_or_bound or 0.0
    # a probe of 16 words sees the last traces of a text later than the loss does
    passed = beyond or use.estimate <= AGREE**2 * max(1.0, last)
    unit = held.unit
    text = f"{distance(use.estimate, unit)} against {distance(last, unit)} with measurable bits"
    if not passed:
        text += ": the loss depends on text from further back than single words can be read"
    return CrossCheck(name=name, passed=passed, text=text)


def _starts_agree(measured: Measured) -> CrossCheck | None:
    """The zero state is not much further from home than the foreign one."""
    if measured.use is None:
        return None
    name = "zero and foreign start agree"
    foreign, zero = (measured.use.scalars.get(f"n_eff_{start}") for start in ("foreign", "zero"))
    if foreign is None or zero is None:
        return None
    if foreign.estimate is None or zero.estimate is None:
        same = foreign.status == zero.status
        text = "both lie beyond the longest context" if same else "one of them is not a number"
        return CrossCheck(name=name, passed=True if same else None, text=text)
    # Of less than a word nothing is said: 0 and 0.4 words agree.
    near, far = sorted(max(1.0, value) for value in (foreign.estimate, zero.estimate))
    unit = foreign.unit
    text = (
        f"{distance(foreign.estimate, unit)} (foreign) and {distance(zero.estimate, unit)} (zero)"
    )
    return CrossCheck(name=name, passed=far / near <= AGREE, text=text)


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
    # Two estimates of one rate from some hundred steps: a factor of two, and near 0 an absolute
    # 0.02.
    passed = abs(leading - slope) <= max(0.02, 0.5 * max(abs(leading), abs(slope)))
    text = f"{leading:.3f} and {slope:.3f} per token"
    if not passed and leading > slope:
        text += ": the state has slower directions than those that the loss sees"
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
    # the texts of POSITION have lengths of their own: R is read within these
    length = min(r.x[-1], measured.position.text_length or r.x[-1])
    # The middles of the first and of the last fifth.
    early, late = _at(r, 0.9 * length), _at(r, 0.1 * length)
    expected = early / late if late else math.inf
    low, high = ratio.ci95
    inside = low is not None and high is not None and low / AGREE <= expected <= high * AGREE
    text = f"{ratio.estimate:.2f} (first over last fifth) and {expected:.2f} (from R)"
    return CrossCheck(name=name, passed=inside, text=text)


def _at(curve: Curve, x: float) -> float:
    xs, ys = zip(*curve.points, strict=True)
    return float(statistics.interpolated(xs, ys, x))


def warnings(model: ModelRecord, measured: Measured, head: HeadlineRecord) -> tuple[Warning_, ...]:
    """What the reader must know beside the numbers, in a fixed order."""
    return tuple(Warning_(code=code, text=text) for code, text in _warn(model, measured, head))


def _warn(
    model: ModelRecord, measured: Measured, head: HeadlineRecord
) -> Iterator[tuple[str, str]]:
    if model.bidirectional:
        yield (
            "BIDIRECTIONAL",
            "the model also reads backwards: what is early for one direction is late for the "
            "other; HOLD, REACH and GATES need one direction and were left out; to measure memory, "
            "train a model with `--no-bidirectional --pool last`",
        )
    if model.readout not in ("last", "each step"):
        yield (
            "POOLED",
            f"the answer is pooled over all states ({model.readout}): early text reaches it "
            "directly, without recurrence; REACH and HOLD measure only the way through recurrence, "
            "which is the only way with `--pool last`",
        )
    if model.quality_missing:
        yield (
            "DAMAGED_RESULT",
            f"what the training measured of the model's quality is not known: "
            f"{model.quality_missing}",
        )
    for name, record in measured.records().items():
        if record.status in ("undefined", "insufficient_data", "failed"):
            said = record.note.startswith(diagnostic(name))
            yield (
                record.status.upper(),
                record.note if said else f"{diagnostic(name)}: {record.note}",
            )
    yield from _warn_of_curves(model, measured)
    if head.status == "censored":
        yield "CENSORED", "the horizon lies beyond the longest distance measured"
    if _cold(measured):
        yield (
            "COLD_START",
            "after a zero state the loss takes longer to recover than after a foreign text: "
            "part of the zero-state excess is a cold start, not memory",
        )
    if _strange(model, measured):
        yield (
            "DIFFERENT_TEXT",
            "the model predicts this text far worse than its validation text: it is another "
            "language or kind of text, so the memory may differ too",
        )


def _warn_of_curves(model: ModelRecord, measured: Measured) -> Iterator[tuple[str, str]]:
    """What the curves of EFFECT and REACH, and the sample of USE, call for."""
    effect = measured.effect
    # Of classifiers only: a language model avoids repeating a word at once, so its R rises first.
    r = None if effect is None or model.task != "classifier" else effect.curves.get("r")
    risen = None if r is None else rises(r)
    if risen is not None:
        yield (
            "RISES",
            f"evidence {distance(risen[1], 'words')} before the end counts more than at "
            f"{distance(risen[0], 'words')}: R does not fall steadily, so look at the whole curve",
        )
    reach = measured.reach
    if reach is not None and any(block.explodes for block in reach.blocks.values()):
        yield "EXPLODING", "gradients grow with distance: see REACH"
    if reach is not None and mean_misleads(reach):
        yield "RESETS", _resets(reach, measured.gates)
    use = measured.use
    if use is not None and use.sampling is not None and use.sampling.n < 20:
        yield (
            "FEW_DOCUMENTS",
            f"USE was measured on only {use.sampling.in_words}: its intervals are rough",
        )


def _resets(reach: ReachRecord, gates: GatesRecord | None) -> str:
    """Why the half-life of the mean logarithm does not describe a typical stretch of text."""
    mean, median = reach.scalars["half_life"], reach.scalars["half_life_median"]
    text = (
        f"the gradient's half-life of {distance(mean.estimate, 'tokens')} is a mean of "
        "logarithms; the median stretch of text keeps half for "
        f"{distance(median.number_or_bound, 'tokens')}"
    )
    share = reach.scalars["reset_share"].estimate or 0.0
    if share >= FEW_RESETS:
        text += (
            f"; in {percent(share, 0)} of the stretches a reset ends the gradient within one step"
        )
    between = None if gates is None else gates.scalars.get("reset_interval")
    if share >= FEW_RESETS and between is not None and between.estimate is not None:
        text += f"; a unit is reset every {distance(between.estimate, 'tokens')} on average"
    return text


def _strange(model: ModelRecord, measured: Measured) -> bool:
    """Half as much loss again as on the validation text; levels that know every token."""
    valid = model.quality.get("loss_nats")
    # At word level unknown words alone can make another text look easy.
    if measured.use is None or valid is None or model.task == "lm_word":
        return False
    loss = measured.use.scalars.get("loss")
    return loss is not None and loss.estimate is not None and loss.estimate > 1.5 * valid


def _cold(measured: Measured) -> bool:
    check = _starts_agree(measured)
    use = measured.use
    if check is None or check.passed is not False or use is None:
        return False
    zero, foreign = use.scalars["n_eff_zero"], use.scalars["n_eff_foreign"]
    return (zero.estimate or 0.0) > (foreign.estimate or 0.0)
