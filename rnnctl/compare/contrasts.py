"""The confirmatory family: few tests, named before there is data, corrected together.

Endpoints: the memory horizon on the text, and the accuracy on the recall task. Pairs: LSTM against
RNN at each initialisation they share, and GRU, or any further cell, against LSTM. Each is an exact
permutation test over seeds; Holm's correction is over all that can be tested. A pair with too few
seeds to reach 5 % even in the best case is left out of the family by its number of seeds alone, and
reported as "not enough seeds to claim"; one of cells that were not trained alike by its settings
alone, and reported as "not alike". So the family does not depend on what was measured: a seed
without a horizon counts, and leaves its contrast without a clear difference.

The accuracy on minimal pairs, where they were asked for, is tested for the same pairs of rows. It
answers another question than memory, so it is a family of its own: asking it changes nothing of
what can be said of memory.

A horizon counts as at least one unit (word, or character): how far below one it lies would decide
on the size of a ratio, and means nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rnnctl.compare.summary import at_least, below_least, finite
from rnnctl.results.base import Estimate
from rnnctl.results.comparison import (
    BenchRow,
    Contrast,
    ContrastOutcome,
    Endpoint,
    Row,
    SeedSummary,
)
from rnnctl.statistics import (
    Interval,
    difference_of_means,
    enough_seeds,
    holm,
    permutation_test,
    probability_of_superiority,
    ratio_of_geometric_means,
)
from rnnctl.wording import plural

ALPHA = 0.05
INITS = ("good", "torch", "chrono")
"""Order of preference where two cells share no initialisation."""
MOST_SEEDS = 100
LEAST_HORIZON = 1.0
"""In words or characters: what is below counts as this much in ratios and verdicts."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two rows to compare at one endpoint, with one value per seed."""

    endpoint: Endpoint
    corpus: str
    first: str
    second: str
    a: SeedSummary
    b: SeedSummary
    apart: str = ""  # why the two cannot be held against each other

    @property
    def n(self) -> int:
        """Seeds on the smaller side, whether they have a value or not."""
        return min(len(side.seeds) + side.missing for side in (self.a, self.b))

    @property
    def missing(self) -> int:
        """Seeds without a value, on both sides."""
        return self.a.missing + self.b.missing

    @property
    def values(self) -> tuple[list[float], list[float]]:
        """The seeds' values as they count."""
        if self.endpoint != "horizon":
            return list(self.a.seeds), list(self.b.seeds)
        a, b = (list(at_least(side, LEAST_HORIZON).seeds) for side in (self.a, self.b))
        return a, b

    @property
    def notes(self) -> Iterator[str]:
        """What limits what can be said of it."""
        if self.apart:
            yield self.apart
        if self.missing:
            yield plural(self.missing, "seed has no value", "seeds have no value")
        if bounds := self.a.censored + self.b.censored:
            yield plural(bounds, "value is a lower bound", "values are lower bounds")
        low = 0
        if self.endpoint == "horizon":
            low = sum(below_least(side, LEAST_HORIZON) for side in (self.a, self.b))
        if low:
            unit = (self.a.unit or self.b.unit or "words").removesuffix("s")
            counts = f"horizon below one {unit} counts", f"horizons below one {unit} count"
            yield f"{plural(low, *counts)} as 1"


Apart = Callable[[Row | BenchRow, Row | BenchRow], str]
"""Why two rows cannot be held against each other; "" where they can."""


def all_alike(first: Row | BenchRow, second: Row | BenchRow) -> str:
    """For rows of which it is known."""
    return ""


def named_pairs(
    rows: Sequence[Row],
    bench: Sequence[BenchRow],
    corpus: str,
    *,
    trained: Apart = all_alike,
    measured: Apart = all_alike,
) -> list[Pair]:
    """The pairs that the verdicts name, as far as they are there, on the text and on recall.

    `trained` and `measured` say why two rows are not alike in that. Of several rows of one cell
    and initialisation, the first two that were trained alike are a pair.
    """
    pairs = [
        Pair(
            "horizon", corpus, a.name, b.name, a.numbers["horizon"], b.numbers["horizon"],
            trained(a, b) or measured(a, b),
        )
        for a, b in _named([row for row in rows if row.kind == "trained"], trained)
        if "horizon" in a.numbers and "horizon" in b.numbers
    ]  # fmt: skip
    pairs += [
        Pair("recall", a.task, a.name, b.name, a.accuracy, b.accuracy, trained(a, b))
        for a, b in _named(hardest_recall(bench), trained)
    ]
    return pairs


def pairs_on_pairs(rows: Sequence[Row], *, trained: Apart = all_alike) -> list[Pair]:
    """The same pairs of rows by their accuracy on minimal pairs: the other family."""
    asked = [row for row in rows if row.kind == "trained" and "pairs" in row.numbers]
    return [
        Pair(
            "pairs", "minimal pairs", a.name, b.name, a.numbers["pairs"], b.numbers["pairs"],
            trained(a, b),
        )
        for a, b in _named(asked, trained)
    ]  # fmt: skip


def hardest_recall(bench: Sequence[BenchRow]) -> list[BenchRow]:
    """The rows of the recall task at its longest lag: of the bench only they are confirmatory."""
    # One task at one lag only: more of them would be more tests of the same question.
    recall = [row for row in bench if row.task.startswith("task:recall")]
    hardest = max(recall, key=lambda row: row.lag or 0, default=None)
    return [row for row in recall if hardest is not None and row.task == hardest.task]


Kind = TypeVar("Kind", Row, BenchRow)


def _named(rows: Sequence[Kind], apart: Apart) -> list[tuple[Kind, Kind]]:
    pairs = [
        # Both initialisations, since claims about "the RNN" are about PyTorch's, and the better one
        # is ours.
        pair
        for init in ("torch", "good")
        for pair in pair_at(rows, "lstm", "rnn", init, apart)
    ] or _nearest(rows, "lstm", "rnn", apart)
    # Any further cell is held against the LSTM, as the GRU is.
    cells = dict.fromkeys(row.cell for row in rows if row.cell not in (None, "rnn", "lstm"))
    for cell in cells:
        shared = [pair_at(rows, str(cell), "lstm", init, apart) for init in INITS]
        pairs += next(filter(None, shared), _nearest(rows, str(cell), "lstm", apart))
    return pairs


def pair_at(
    rows: Sequence[Kind],
    first: str,
    second: str,
    init: str,
    apart: Apart,
    init_second: str | None = None,
) -> list[tuple[Kind, Kind]]:
    """The first two rows of these cells and initialisations that are alike, else the first two."""
    left = [row for row in rows if (row.cell, row.init) == (first, init)]
    right = [row for row in rows if (row.cell, row.init) == (second, init_second or init)]
    found = [(a, b) for a in left for b in right]
    return ([pair for pair in found if not apart(*pair)] or found)[:1]


def _nearest(
    rows: Sequence[Kind], first: str, second: str, apart: Apart
) -> list[tuple[Kind, Kind]]:
    """The pair for cells that share no initialisation: the most preferred one of each."""
    for init_first in INITS:
        for init_second in INITS:
            if found := pair_at(rows, first, second, init_first, apart, init_second):
                return found
    return []


def seeds_needed(comparisons: int) -> int:
    """The fewest seeds a side with which `comparisons` tests can claim anything at 5 %."""
    return next(n for n in range(2, MOST_SEEDS) if enough_seeds(n, max(1, comparisons)))


def family(pairs: Sequence[Pair]) -> list[Pair]:
    """The largest set of pairs that can all be tested, chosen by numbers of seeds only.

    Of those that are alike, that is: of the others no test could say anything.
    """
    alike = [pair for pair in pairs if not pair.apart]
    chosen = sorted(alike, key=lambda pair: pair.n, reverse=True)
    # Fewest seeds last: dropping one test makes Holm's correction of the others milder, so that the
    # set is the largest that can reach 5 % in the best case.
    while chosen and not enough_seeds(max(chosen[-1].n, 1), len(chosen)):
        chosen.pop()
    return [pair for pair in pairs if pair in chosen]


def contrasts(pairs: Sequence[Pair]) -> tuple[Contrast, ...]:
    """Every named pair: effect with interval, superiority, p and Holm's p where it is tested."""
    tested = family(pairs)
    # A seed without a value might have any: its contrast takes its place in the family and no more.
    p_values = [1.0 if pair.missing else _p(pair) for pair in tested]
    adjusted = dict(zip(map(id, tested), zip(p_values, holm(p_values), strict=True), strict=True))
    return tuple(_contrast(pair, adjusted.get(id(pair))) for pair in pairs)


def _p(pair: Pair) -> float:
    a, b = pair.values
    if pair.endpoint == "horizon":
        # Horizons are compared as ratios, so their logarithms are what is exchangeable.
        return permutation_test([math.log(value) for value in a], [math.log(value) for value in b])
    return permutation_test(a, b)


def _contrast(pair: Pair, p: tuple[float, float] | None) -> Contrast:
    effect = _effect(pair)
    a, b = pair.values
    known = None if pair.missing else p
    return Contrast(
        endpoint=pair.endpoint,
        corpus=pair.corpus,
        first=pair.first,
        second=pair.second,
        n=pair.n,
        effect=effect,
        superiority=probability_of_superiority(a, b) if a and b else None,
        p=known[0] if known else None,
        p_holm=known[1] if known else None,
        tested=p is not None,
        outcome=_outcome(pair, effect, p),
        note="; ".join(pair.notes),
    )


def _effect(pair: Pair) -> Estimate:
    """How much more the first side has. A lower bound leaves the end open that it could move.

    Where all seeds of both sides are lower bounds, or all below what counts, nothing is known of
    it; and a seed without a value leaves both ends open.
    """
    unit = "ratio" if pair.endpoint == "horizon" else "difference of accuracies"
    a, b = pair.values
    n, note = min(len(a), len(b)), "; ".join(pair.notes)
    if not n:
        return Estimate(estimate=None, status="insufficient_data", unit=unit, note=note)
    # Horizons differ by factors, accuracies by points.
    of = ratio_of_geometric_means if pair.endpoint == "horizon" else difference_of_means
    ends: Interval = of(a, b)
    nothing = pair.endpoint == "horizon" and max(*a, *b) <= LEAST_HORIZON
    if nothing or pair.a.censored + pair.b.censored == len(a) + len(b):
        return Estimate(estimate=None, status="undefined", n=n, unit=unit, note=note)
    lo, hi = (finite(ends.lo), finite(ends.hi)) if n > 1 else (None, None)
    open_ended = (
        None if pair.b.censored or pair.missing else lo,
        None if pair.a.censored or pair.missing else hi,
    )
    return Estimate(estimate=ends.estimate, ci95=open_ended, n=n, unit=unit, note=note)


def _outcome(pair: Pair, effect: Estimate, p: tuple[float, float] | None) -> ContrastOutcome:
    if pair.apart:
        return "not alike"
    if p is None:
        return "not enough seeds to claim"
    if p[1] > ALPHA or effect.estimate is None or pair.missing:
        return "no clear difference"
    more = effect.estimate > (1.0 if pair.endpoint == "horizon" else 0.0)
    if (pair.b if more else pair.a).censored:  # it might be more than it is known to be
        return "no clear difference"
    return "more" if more else "less"
