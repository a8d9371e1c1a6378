"""What horizons, gradients, recall and the exchange of states say about the claims on memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rnnctl.compare.contrasts import INITS, LEAST_HORIZON, hardest_recall
from rnnctl.compare.groups import settings
from rnnctl.compare.summary import at_least
from rnnctl.compare.verdicts.evidence import (
    CONTRADICTED,
    FEWEST_SEEDS,
    INCONCLUSIVE,
    NOT_TESTED,
    OPPOSITE,
    SHOWN,
    Evidence,
    Finding,
    as_models,
    below,
    briefly,
    few_seeds,
    horizon_in_words,
    in_words,
    over_seeds,
)
from rnnctl.diagnostics.panel import in_unit
from rnnctl.results.base import Estimate
from rnnctl.results.comparison import Contrast, Member, Outcome, Row
from rnnctl.wording import plural


def vanishes(evidence: Evidence, *, lag: float) -> list[Finding]:
    row = evidence.row("rnn", ("torch", "good"))
    value = row.numbers.get("reach_1pct") if row else None
    if row is None or value is None:
        return []
    # A gradient that grows reaches as little: its direction is that of the growth, not of the text.
    grows = row.exploding_seeds
    if grows * 2 > max(1, len(row.seeds)):
        sentence = f"{row.name}: the gradient grows in {grows} of {plural(len(row.seeds), 'seed')}"
        outcome = SHOWN if len(row.seeds) >= FEWEST_SEEDS else NOT_TESTED
        few, command = few_seeds(outcome, len(row.seeds), evidence)
        text = f"{sentence}: it explodes{few}"
        return [Finding(outcome, text, {"reach_1pct": value}, command, "it explodes")]
    half = row.numbers.get("gradient_half_life")
    text = f"{row.name}: 1 % of the gradient is left after {in_words(value)}"
    text += f", half of it after {in_words(half)}" if half else ""
    text += _longest(evidence, "reach_1pct", row)
    numbers: dict[str, Estimate] = {"reach_1pct": value}
    if half:
        numbers["gradient_half_life"] = half
    outcome = below(value, lag)
    few, command = few_seeds(outcome, value.n, evidence)
    return [Finding(outcome, text + few, numbers, command, f"1 % at {briefly(value)} tokens")]


def _longest(evidence: Evidence, key: str, row: Row) -> str:
    """What the best of the other cells reaches: a claim of one cell says nothing of the others."""
    found = [
        (_size(other.numbers[key]), other.name, other.numbers[key])
        for other in evidence.rows
        if other.kind == "trained"
        and other.cell != row.cell
        and key in other.numbers
        and not evidence.trained(row, other)
    ]
    if not found:
        return ""
    _, name, value = max(found, key=lambda one: one[0])
    plain = value.model_copy(update={"unit": ""}) if value.unit == "ratio" else value
    said = horizon_in_words(plain) if key == "horizon" else in_words(plain)
    return f"; the longest of the other cells is {name} with {said}"


def _size(value: Estimate) -> float:
    known = value.number_or_bound
    return -1.0 if known is None else known


def leaves_out(evidence: Evidence, *, words: float, weight: float) -> list[Finding]:
    # PyTorch's own start first: claims about "the RNN" are about that one.
    row = evidence.row("rnn", ("torch", "good"))
    start = row.numbers.get("retention_start") if row else None
    horizon = row.numbers.get("horizon") if row else None
    findings = []
    if row is not None and start is not None:
        share = start.model_copy(update={"unit": ""})
        text = f"{row.name}: the first sentence keeps {in_words(share)} of its weight"
        text += _longest(evidence, "retention_start", row)
        outcome = below(start, weight)
        few, command = few_seeds(outcome, start.n, evidence)
        short = f"its beginning keeps {briefly(share)}"
        findings.append(Finding(outcome, text + few, {"retention_start": start}, command, short))
    elif row is not None and horizon is not None:
        early = in_unit(words, evidence.unit)
        text = f"{row.name} has a memory horizon of {horizon_in_words(horizon)}, and early context "
        text += f"begins {early:g} {evidence.unit} back{_longest(evidence, 'horizon', row)}"
        # As in the contrasts: how far below one word a horizon lies means nothing.
        outcome = below(at_least(horizon, LEAST_HORIZON), early)
        few, command = few_seeds(outcome, horizon.n, evidence)
        short = f"horizon {horizon_in_words(horizon)}"
        findings.append(Finding(outcome, text + few, {"horizon": horizon}, command, short))
    return findings + _recall_of_rnn(evidence)


def _recall_of_rnn(evidence: Evidence) -> list[Finding]:
    by_init = {row.init: row for row in hardest_recall(evidence.bench) if row.cell == "rnn"}
    row = by_init.get("torch") or by_init.get("good")
    if row is None or row.chance is None:
        return []
    text = (
        f"{row.name} recalls a symbol {plural(row.lag or 0, 'token')} back with accuracy "
        f"{in_words(row.accuracy)} (chance {row.chance:.3g})"
    )
    numbers: dict[str, Estimate] = {f"recall_{row.lag}": row.accuracy}
    enough = row.accuracy.n >= FEWEST_SEEDS
    outcome = below(row.accuracy, (1 + row.chance) / 2) if enough else NOT_TESTED
    few, command = few_seeds(outcome, row.accuracy.n, evidence)
    short = f"recall {briefly(row.accuracy)}"
    return [Finding(outcome, text + few, numbers, command, short)]


def gates_solve(
    evidence: Evidence, *, ratio: float, points: float, words: float, margins: Mapping[str, float]
) -> list[Finding]:
    """What each contrast of LSTM against RNN says; see the rules in the package's docstring.

    `ratio` and `points` are the least gains in horizon and accuracy, `words` the shortest horizon
    that solves anything, `margins` how much worse a quality may be.
    """
    cells: dict[str, str | None] = {row.name: row.cell for row in evidence.rows}
    cells.update({row.name: row.cell for row in evidence.bench})
    findings = []
    for contrast in evidence.contrasts:
        if (cells.get(contrast.first), cells.get(contrast.second)) != ("lstm", "rnn"):
            continue
        least = ratio if contrast.endpoint == "horizon" else points
        outcome = _gain(contrast, least)
        # An ordinary gain may be significant and still leave both cells without a useful memory.
        limits = _too_small(contrast, evidence, words, margins) if outcome == SHOWN else ""
        text = _gain_in_words(contrast, evidence) + limits
        command = ""
        if outcome == NOT_TESTED and contrast.outcome != "not alike":
            command = evidence.commands.train(evidence.seeds_needed)
        key = f"{contrast.endpoint}: {contrast.first} / {contrast.second}"
        outcome = INCONCLUSIVE if limits else outcome
        what = "horizon ratio" if contrast.endpoint == "horizon" else "recall by"
        short = f"{what} {briefly(contrast.effect)}"
        findings.append(Finding(outcome, text, {key: contrast.effect}, command, short))
    return findings


def _gain(contrast: Contrast, least: float) -> Outcome:
    """Whether the first side is ahead by at least `least`."""
    if contrast.outcome in ("not alike", "not enough seeds to claim"):
        return NOT_TESTED
    gain, high = contrast.effect.estimate, contrast.effect.ci95[1]
    if contrast.outcome == "more" and gain is not None and gain >= least:
        return SHOWN
    ends_below = high is not None and high < least
    if contrast.p_holm is not None and (contrast.outcome == "less" or ends_below):
        return CONTRADICTED
    return INCONCLUSIVE


def _too_small(
    contrast: Contrast, evidence: Evidence, words: float, margins: Mapping[str, float]
) -> str:
    """Why a gain is not what the claim means, though it is one; "" where it is."""
    if contrast.endpoint == "recall":
        bench = next((row for row in evidence.bench if row.name == contrast.first
                      and row.task == contrast.corpus), None)  # fmt: skip
        if bench is None or bench.chance is None or bench.accuracy.estimate is None:
            return ""
        if bench.accuracy.estimate >= (1 + bench.chance) / 2:
            return ""
        return f"; but an accuracy of {in_words(bench.accuracy)} is less than half way from chance"
    first, second = evidence.row_called(contrast.first), evidence.row_called(contrast.second)
    horizon = first.numbers.get("horizon") if first else None
    if first is None or second is None or horizon is None:
        return ""
    least = in_unit(words, evidence.unit)
    if _size(horizon) < least:
        unit = evidence.unit
        said = horizon_in_words(horizon)
        return f"; but a horizon of {said} is shorter than a sentence ({least:g} {unit})"
    worse = _worse_by(first, second, evidence.quality)
    if worse is not None and worse > margins[evidence.quality]:
        name = evidence.quality.replace("_", " ")
        return f"; but its {name} is worse than the RNN's by {worse:.3g}"
    return ""


def _worse_by(first: Row, second: Row, quality: str) -> float | None:
    """How much worse the first row's quality is; None where one is not known."""
    a, b = first.numbers.get(quality), second.numbers.get(quality)
    if a is None or b is None or a.estimate is None or b.estimate is None:
        return None
    return b.estimate - a.estimate if quality == "accuracy" else a.estimate - b.estimate


def _gain_in_words(contrast: Contrast, evidence: Evidence) -> str:
    horizon = contrast.endpoint == "horizon"
    effect = contrast.effect.model_copy(update={"unit": ""})
    what = "ratio of memory horizons" if horizon else "difference in recall accuracy"
    text = f"{contrast.first} against {contrast.second}: {what} {in_words(effect)}"
    if contrast.outcome == "not alike":
        return f"{text}; they cannot be compared: {contrast.note}"
    note = f"; {contrast.note}" if contrast.note else ""
    if contrast.outcome == "not enough seeds to claim":
        first, second = evidence.row_called(contrast.first), evidence.row_called(contrast.second)
        models = as_models(first, second) if horizon and first and second else ""
        had = "one seed each is" if contrast.n == 1 else f"{contrast.n} seeds each are"
        text += f"; {had} too few to claim anything, {evidence.seeds_needed} each are enough{note}"
        return f"{text}; {models}" if models else text
    p = "" if contrast.p_holm is None else f", p = {contrast.p_holm:.2g}"
    return f"{text}, {contrast.outcome}{p}{note}"


def cell_state(evidence: Evidence, *, least: float) -> list[Finding]:
    """What exchanging c or h alone says; `least` is the share that c must carry."""
    findings = []
    sources = sorted({(m.bench or "", m.init) for m in evidence.members if _has_shares(m)})
    for source, init in _preferred(sources):
        members = [
            m for m in evidence.members
            if _has_shares(m) and ((m.bench or ""), m.init) == (source, init) and not m.untrained
        ]  # fmt: skip
        alike = [m for m in members if settings(m) == settings(members[0])]
        finding = _exchange_finding(alike, source, init, least, evidence)
        if finding is not None:
            findings.append(finding)
    return findings


def _has_shares(member: Member) -> bool:
    return member.exchange is not None and member.exchange.c.estimate is not None


def _preferred(sources: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Per corpus the most preferred initialisation: a claim is examined once per corpus."""
    best: dict[str, str] = {}
    for source, init in sorted(sources, key=lambda pair: INITS.index(pair[1])):
        best.setdefault(source, init)
    return list(best.items())


def _exchange_finding(
    members: Sequence[Member], source: str, init: str, least: float, evidence: Evidence
) -> Finding | None:
    shares = [
        (m.exchange.c.estimate, m.exchange.h.estimate, m.exchange.lag)
        for m in members
        if m.exchange and m.exchange.c.estimate is not None and m.exchange.h.estimate is not None
    ]
    if not shares:
        return None
    # The difference is taken seed by seed: both shares are of the same pairs of texts.
    c, h, more = (
        over_seeds(values)
        for values in (
            [share[0] for share in shares],
            [share[1] for share in shares],
            [share[0] - share[1] for share in shares],
        )
    )
    where = source or "the text"
    text = (
        f"{members[0].cell} {init} on {where}: when the states of two texts are exchanged "
        f"{plural(shares[0][2], 'token')} back, c alone has {in_words(c)} of the effect of both, "
        f"h alone {in_words(h)}"
    )
    outcome = OPPOSITE[below(more, 0.0)]
    few, command = few_seeds(outcome, more.n, evidence)
    if outcome == SHOWN and c.estimate is not None and c.estimate < least:
        outcome, few = INCONCLUSIVE, f"; but c alone has less than {least:g} of it"
    short = f"c alone has {briefly(c)}"
    return Finding(outcome, text + few, {f"c - h ({where})": more}, command, short)
