"""What the rows, the recall task and the exchange of states say about the memory claims."""

from __future__ import annotations

from collections.abc import Sequence

from rnnctl.compare.contrasts import INITS, LEAST_HORIZON, hardest_bench
from rnnctl.compare.evidence import (
    DOES_NOT,
    FEWEST_SEEDS,
    HOLDS,
    OPPOSITE,
    UNCLEAR,
    Evidence,
    Finding,
    below,
    in_words,
    over_seeds,
)
from rnnctl.compare.groups import settings
from rnnctl.compare.summary import at_least
from rnnctl.results.base import Estimate
from rnnctl.results.comparison import Contrast, Member, Outcome, Row
from rnnctl.wording import plural

CHARACTERS_PER_WORD = 5.0  # where distances are in characters


def vanishes(evidence: Evidence, *, lag: float) -> list[Finding]:
    row = evidence.row("rnn", ("torch", "good"))
    value = row.numbers.get("reach_1pct") if row else None
    if row is None or value is None:
        return []
    grows = row.exploding_seeds
    if grows * 2 > max(1, len(row.seeds)):
        sentence = f"{row.name}: the gradient grows in {grows} of {plural(len(row.seeds), 'seed')}"
        outcome = HOLDS if len(row.seeds) >= FEWEST_SEEDS else UNCLEAR
        return [Finding(outcome, sentence + ": it explodes", {"reach_1pct": value})]
    half = row.numbers.get("gradient_half_life")
    text = f"{row.name}: 1 % of the gradient is left after {in_words(value)}"
    text += f", half of it after {in_words(half)}" if half else ""
    text += _longest(evidence, "reach_1pct", row)
    numbers: dict[str, Estimate] = {"reach_1pct": value}
    if half:
        numbers["gradient_half_life"] = half
    return [Finding(below(value, lag), text, numbers)]


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
    return f"; the most of the other cells: {name}, {in_words(plain)}"


def _size(value: Estimate) -> float:
    known = value.censored_at if value.status == "censored" else value.estimate
    return -1.0 if known is None else known


def leaves_out(evidence: Evidence, *, words: float, weight: float) -> list[Finding]:
    findings = []
    row = evidence.row("rnn", ("torch", "good"))
    if row is not None:
        start = row.numbers.get("retention_start")
        horizon = row.numbers.get("horizon")
        if start is not None:
            share = start.model_copy(update={"unit": ""})
            text = f"{row.name}: the first sentence keeps {in_words(share)} of its weight"
            text += _longest(evidence, "retention_start", row)
            numbers: dict[str, Estimate] = {"retention_start": start}
            findings.append(Finding(below(start, weight), text, numbers))
        elif horizon is not None:
            early = words * (CHARACTERS_PER_WORD if evidence.unit == "chars" else 1)
            text = f"{row.name}: memory horizon {in_words(horizon)}, early is {early:g} back"
            text += _longest(evidence, "horizon", row)
            counted = at_least(horizon, LEAST_HORIZON)
            findings.append(Finding(below(counted, early), text, {"horizon": horizon}))
    return findings + _recall_of_rnn(evidence)


def _recall_of_rnn(evidence: Evidence) -> list[Finding]:
    findings = []
    for rows in hardest_bench(evidence.bench).values():
        by_init = {row.init: row for row in rows if row.cell == "rnn"}
        row = by_init.get("torch") or by_init.get("good")
        if row is None or row.chance is None:
            continue
        half_way = (1 + row.chance) / 2
        text = (
            f"{row.name} recalls a symbol {plural(row.lag or 0, 'token')} back with accuracy "
            f"{in_words(row.accuracy)} (chance {row.chance:.3g})"
        )
        numbers: dict[str, Estimate] = {f"recall_{row.lag}": row.accuracy}
        outcome = below(row.accuracy, half_way) if row.accuracy.n >= FEWEST_SEEDS else UNCLEAR
        findings.append(Finding(outcome, text, numbers))
    return findings


def gates_solve(evidence: Evidence, *, ratio: float, points: float) -> list[Finding]:
    cells: dict[str, str | None] = {row.name: row.cell for row in evidence.rows}
    cells.update({row.name: row.cell for row in evidence.bench})
    named = [
        contrast
        for contrast in evidence.contrasts
        if (cells.get(contrast.first), cells.get(contrast.second)) == ("lstm", "rnn")
    ]
    return [_contrast_finding(contrast, evidence, ratio, points) for contrast in named]


def _contrast_finding(
    contrast: Contrast, evidence: Evidence, ratio: float, points: float
) -> Finding:
    horizon = contrast.endpoint == "horizon"
    least = ratio if horizon else points
    gain, high = contrast.effect.estimate, contrast.effect.ci95[1]
    outcome: Outcome = UNCLEAR
    if contrast.outcome == "more" and gain is not None and gain >= least:
        outcome = HOLDS
    elif contrast.p_holm is not None and (
        contrast.outcome == "less" or (high is not None and high < least)
    ):
        outcome = DOES_NOT
    what = "horizon ratio" if horizon else "recall accuracy difference"
    effect = contrast.effect.model_copy(update={"unit": ""})
    text = f"{contrast.first} against {contrast.second}: {what} {in_words(effect)}, "
    said = contrast.note
    if contrast.outcome == "not enough seeds to claim":
        enough = f"{contrast.outcome} ({contrast.n}; {evidence.seeds_needed} would do)"
        said = f"{enough}; {said}" if said else enough
    elif contrast.outcome != "not alike":
        p = "" if contrast.p_holm is None else f", p = {contrast.p_holm:.2g}"
        said = contrast.outcome + p + (f"; {said}" if said else "")
    text += said
    key = f"{contrast.endpoint}: {contrast.first} / {contrast.second}"
    return Finding(outcome, text, {key: contrast.effect})


def cell_state(evidence: Evidence) -> list[Finding]:
    findings = []
    sources = sorted({(m.bench or "", m.init) for m in evidence.members if _has_shares(m)})
    for source, init in _preferred(sources):
        members = [
            m for m in evidence.members
            if _has_shares(m) and ((m.bench or ""), m.init) == (source, init) and not m.untrained
        ]  # fmt: skip
        alike = [m for m in members if settings(m) == settings(members[0])]
        finding = _exchange_finding(alike, source, init)
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


def _exchange_finding(members: Sequence[Member], source: str, init: str) -> Finding | None:
    shares = [
        (m.exchange.c.estimate, m.exchange.h.estimate, m.exchange.lag)
        for m in members
        if m.exchange and m.exchange.c.estimate is not None and m.exchange.h.estimate is not None
    ]
    if not shares:
        return None
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
        f"lstm {init} on {where}: exchanged {plural(shares[0][2], 'token')} back, c alone carries "
        f"{in_words(c)} of the effect, h alone {in_words(h)}"
    )
    return Finding(OPPOSITE[below(more, 0.0)], text, {f"c - h ({where})": more})
