"""What quality, arithmetic and measured speed say about the GRU against the LSTM."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rnnctl.compare.contrasts import INITS
from rnnctl.compare.evidence import (
    DOES_NOT,
    HOLDS,
    OPPOSITE,
    UNCLEAR,
    Evidence,
    Finding,
    below,
    in_words,
)
from rnnctl.compare.sizes import macs_per_token
from rnnctl.compare.summary import finite
from rnnctl.results.base import Estimate
from rnnctl.statistics import difference_of_means, t_interval


def gru_as_well(evidence: Evidence, *, margins: Mapping[str, float]) -> list[Finding]:
    for init in INITS:
        pair = evidence.pair("gru", "lstm", init)
        if pair is None:
            continue
        gru, lstm = pair
        a, b = gru.numbers.get(evidence.quality), lstm.numbers.get(evidence.quality)
        if a is None or b is None or not a.seeds or not b.seeds:
            continue
        if apart := evidence.trained(gru, lstm):
            text = f"{gru.name} {in_words(a)} and {lstm.name} {in_words(b)}: {apart}"
            return [Finding(UNCLEAR, text)]
        better = evidence.quality == "accuracy"
        ends = (
            difference_of_means(b.seeds, a.seeds)
            if better
            else difference_of_means(a.seeds, b.seeds)
        )
        worse = Estimate(
            estimate=ends.estimate, ci95=(finite(ends.lo), finite(ends.hi)), n=min(a.n, b.n)
        )
        margin = margins[evidence.quality]
        unit = "accuracy" if better else "bits per byte"
        text = (
            f"{gru.name} {in_words(a)} and {lstm.name} {in_words(b)} {unit}: the GRU is "
            f"{_worse_or_better(worse)}; as well means at most {margin:g} worse"
        )
        return [Finding(below(worse, margin), text, {"worse_by": worse})]
    return []


def _worse_or_better(worse: Estimate) -> str:
    """``better by 0.12 [0.1, 0.14]``: a number that a reader need not turn round."""
    if worse.estimate is None or worse.estimate >= 0:
        return f"worse by {in_words(worse)}"
    lo, hi = worse.ci95
    ends = (None if hi is None else -hi, None if lo is None else -lo)
    turned = Estimate(estimate=-worse.estimate, ci95=ends, n=worse.n)
    return f"better by {in_words(turned)}"


def fewer_operations(evidence: Evidence) -> list[Finding]:
    lstm, gru = evidence.row("lstm", INITS), evidence.row("gru", INITS)
    hidden = (lstm.hidden_size if lstm else None) or 128
    width = next((m.embedding_size for m in evidence.members if m.cell == "lstm"), hidden)
    counts = {cell: macs_per_token(cell, width, hidden) for cell in ("gru", "lstm")}
    text = (
        f"at hidden size {hidden}, {counts['gru']:,} against {counts['lstm']:,} multiply-adds per "
        f"token and layer: {100 * counts['gru'] / counts['lstm']:.0f} %"
    )
    if lstm and gru and lstm.macs_per_token and gru.macs_per_token:
        text += (
            f"; as trained here (hidden sizes {gru.hidden_size} and {lstm.hidden_size}) "
            f"{100 * gru.macs_per_token / lstm.macs_per_token:.0f} %"
        )
    outcome = HOLDS if counts["gru"] < counts["lstm"] else DOES_NOT
    numbers = {f"macs {cell}": Estimate(estimate=count) for cell, count in counts.items()}
    return [Finding(outcome, text, numbers)]


def faster(evidence: Evidence) -> list[Finding]:
    speeds = {
        cell: next((m.speed for m in evidence.members if m.cell == cell and m.speed), None)
        for cell in ("gru", "lstm")
    }
    gru, lstm = speeds["gru"], speeds["lstm"]
    if gru is None or lstm is None:
        return []
    same = bool(gru.same_size_train_tokens_per_s) and gru.same_size_hidden == lstm.hidden_size
    train = gru.same_size_train_tokens_per_s if same else gru.train_tokens_per_s
    ms = gru.same_size_generate_ms_per_token if same else gru.generate_ms_per_token
    faster = _paired_ratio(train, lstm.train_tokens_per_s)
    generates = _paired_ratio(lstm.generate_ms_per_token, ms)
    matched = _paired_ratio(gru.train_tokens_per_s, lstm.train_tokens_per_s)
    if faster is None:
        return []
    size = f"hidden size {lstm.hidden_size} both" if same else "the sizes trained here"
    text = f"{size}: the GRU trains {in_words(faster)} times as fast as the LSTM"
    numbers = {"train_ratio": faster}
    if generates is not None:
        text += f" and generates {in_words(generates)} times as fast"
        numbers["generate_ratio"] = generates
    if same and matched is not None and gru.hidden_size != lstm.hidden_size:
        text += f"; as trained here (hidden size {gru.hidden_size}) {in_words(matched)} times"
        numbers["train_ratio_as_trained"] = matched
    text += f" ({lstm.threads} threads, this machine)"
    return [Finding(OPPOSITE[below(faster, 1.0)], text, numbers)]


def _paired_ratio(a: Sequence[float], b: Sequence[float]) -> Estimate | None:
    """Geometric mean of a[i] / b[i] over rounds, with its t-interval."""
    rounds = min(len(a), len(b))
    if rounds < 2:
        return None
    ends = t_interval([math.log(a[i] / b[i]) for i in range(rounds)])
    return Estimate(
        estimate=math.exp(ends.estimate), ci95=(math.exp(ends.lo), math.exp(ends.hi)), n=rounds
    )
