"""What quality, arithmetic and measured speed say about the GRU against the LSTM."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from rnnctl.compare.contrasts import INITS
from rnnctl.compare.summary import COSTLY, finite
from rnnctl.compare.verdicts.evidence import (
    CONTRADICTED,
    FEWEST_SEEDS,
    INCONCLUSIVE,
    NOT_TESTED,
    OPPOSITE,
    SHOWN,
    Evidence,
    Finding,
    below,
    briefly,
    few_seeds,
    in_words,
)
from rnnctl.nn.cells import find_cell
from rnnctl.results.base import Estimate
from rnnctl.results.comparison import BUSY, Member, SpeedRecord
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
            return [Finding(NOT_TESTED, text)]
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
            f"{_worse_or_better(worse)}; 'as well' means at most {margin:g} worse"
        )
        # Two accuracies over few documents agree by chance: their interval says nothing.
        few = better and worse.n < FEWEST_SEEDS
        outcome = NOT_TESTED if few else below(worse, margin)
        said, command = few_seeds(outcome, worse.n, evidence)
        short = _worse_or_better(worse, briefly)
        return [Finding(outcome, text + said, {"worse_by": worse}, command, short)]
    return []


def _worse_or_better(worse: Estimate, write: Callable[[Estimate], str] = in_words) -> str:
    """``better by 0.12 [0.1, 0.14]``: a number that a reader need not turn round."""
    if worse.estimate is None or worse.estimate >= 0:
        return f"worse by {write(worse)}"
    lo, hi = worse.ci95
    ends = (None if hi is None else -hi, None if lo is None else -lo)
    turned = Estimate(estimate=-worse.estimate, ci95=ends, n=worse.n)
    return f"better by {write(turned)}"


def fewer_operations(evidence: Evidence) -> list[Finding]:
    lstm, gru = evidence.row("lstm", INITS), evidence.row("gru", INITS)
    hidden = (lstm.hidden_size if lstm else None) or 128
    width = next((m.embedding_size for m in evidence.members if m.cell == "lstm"), hidden)
    # At one hidden size: of members matched in parameters the products are as many by design.
    counts = {cell: find_cell(cell).macs_per_token(width, hidden) for cell in ("gru", "lstm")}
    text = (
        f"at hidden size {hidden}, {counts['gru']:,} against {counts['lstm']:,} multiply-adds per "
        f"token and layer: {100 * counts['gru'] / counts['lstm']:.0f} %"
    )
    if lstm and gru and lstm.macs_per_token and gru.macs_per_token:
        text += (
            f"; as trained here (hidden sizes {gru.hidden_size} and {lstm.hidden_size}) "
            f"{100 * gru.macs_per_token / lstm.macs_per_token:.0f} %"
        )
    outcome = SHOWN if counts["gru"] < counts["lstm"] else CONTRADICTED
    numbers = {f"macs {cell}": Estimate(estimate=count) for cell, count in counts.items()}
    short = f"{100 * counts['gru'] / counts['lstm']:.0f} % of the LSTM's"
    return [Finding(outcome, text, numbers, short=short)]


def faster(evidence: Evidence, *, least: float) -> list[Finding]:
    """The ratio of training speeds at one hidden size; below `least` nothing is called faster."""
    gru, lstm = _timed(evidence.members)
    if gru is None or lstm is None or gru.speed is None or lstm.speed is None:
        return []
    if apart := _timed_apart(gru, lstm):
        text = f"{gru.path} and {lstm.path} were not timed in the same way: {apart}"
        return [Finding(NOT_TESTED, text)]
    if busy := busy_in_words(gru.speed) or busy_in_words(lstm.speed):
        text = f"the machine was busy while speeds were measured ({busy}): measure again when "
        text += "nothing else runs"
        measure = evidence.commands.measure()
        return [Finding(NOT_TESTED, text, {}, measure, short=BUSY)]
    own, other = gru.speed, lstm.speed
    twin = own.hidden_size != other.hidden_size
    train = own.same_size_train_tokens_per_s if twin else own.train_tokens_per_s
    ms = own.same_size_generate_ms_per_token if twin else own.generate_ms_per_token
    faster = _paired_ratio(train, other.train_tokens_per_s)
    generates = _paired_ratio(other.generate_ms_per_token, ms)
    matched = _paired_ratio(own.train_tokens_per_s, other.train_tokens_per_s)
    if faster is None:
        return []
    text = f"both with {other.hidden_size} units: the GRU trains {in_words(faster)} times as fast "
    text += "as the LSTM"
    numbers = {"train_ratio": faster}
    if generates is not None:
        text += f" and generates {in_words(generates)} times as fast"
        numbers["generate_ratio"] = generates
    if twin and matched is not None:
        text += f"; as trained here ({own.hidden_size} units) {in_words(matched)} times"
        numbers["train_ratio_as_trained"] = matched
    text += f" ({other.threads} threads, this machine)"
    outcome = OPPOSITE[below(faster, 1.0)]
    # With many rounds a difference of one per cent is certain, and of no use to anybody.
    ratio, high = faster.estimate, faster.ci95[1]
    if outcome != SHOWN or (ratio is not None and ratio < least):
        ends_below = high is not None and high < least
        outcome = CONTRADICTED if ends_below else INCONCLUSIVE
    return [Finding(outcome, text, numbers, short=f"{briefly(faster)} times")]


BUSY_LOAD = 1.25
"""Load average per core. This program alone causes at most 1; one other busy process on two cores
makes it 1.5."""


def busy_in_words(speed: SpeedRecord) -> str:
    """Why a measurement of speed is no good, or "" where nothing speaks against it."""
    if speed.load_per_core is not None and speed.load_per_core > BUSY_LOAD:
        return f"a load of {speed.load_per_core:.1f} per core"
    if speed.steady is False:
        return "fewer rounds than needed were within a fifth of the best"
    return ""


def _timed(members: Sequence[Member]) -> tuple[Member | None, Member | None]:
    """The first GRU and LSTM that were timed alike, else the first that were timed."""
    grus, lstms = (
        [one for one in members if one.cell == cell and one.speed] for cell in ("gru", "lstm")
    )
    pairs = [(gru, lstm) for gru in grus for lstm in lstms]
    alike = (pair for pair in pairs if not _timed_apart(*pair))
    return next(alike, pairs[0] if pairs else (None, None))


def _timed_apart(gru: Member, lstm: Member) -> str:
    """In what two measurements of speed differ, beside the cell."""
    a, b = gru.speed, lstm.speed
    assert a is not None and b is not None
    found = {
        "threads": (a.threads, b.threads),
        "batch sizes": (a.batch_size, b.batch_size),
        "tokens a step": (a.chunk, b.chunk),
        "embedding sizes": (gru.embedding_size, lstm.embedding_size),
        "layers": (gru.layers, lstm.layers),
        "levels": (gru.level, lstm.level),
        **{name: (gru.recipe.get(name), lstm.recipe.get(name)) for name in COSTLY},
    }
    if b.hidden_size not in (a.hidden_size, a.same_size_hidden):
        found = {"hidden sizes": (a.hidden_size, b.hidden_size), **found}
    apart = [f"{name} {mine} and {other}" for name, (mine, other) in found.items() if mine != other]
    if not a.session or a.session != b.session:
        apart.append("not in one session, in turns (`rnnctl compare RUN RUN --measure` does that)")
    return ", ".join(apart)


def _paired_ratio(a: Sequence[float], b: Sequence[float]) -> Estimate | None:
    """Geometric mean of a[i] / b[i] over rounds, with its t-interval."""
    rounds = min(len(a), len(b))
    if rounds < 2:
        return None
    # By round, in which both ran on the same machine in the same state; as logarithms, so that a
    # ratio and its inverse have the same interval, turned round.
    ends = t_interval([math.log(a[i] / b[i]) for i in range(rounds)])
    return Estimate(
        estimate=math.exp(ends.estimate), ci95=(math.exp(ends.lo), math.exp(ends.hi)), n=rounds
    )
