"""What a verdict may look at, and what one source of evidence says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rnnctl.compare.contrasts import Apart, all_alike, pair_at
from rnnctl.compare.summary import finite
from rnnctl.reports import numbers
from rnnctl.results.base import Estimate
from rnnctl.results.comparison import BenchRow, Contrast, Member, Outcome, Row
from rnnctl.statistics import t_interval
from rnnctl.wording import with_unit

HOLDS: Outcome = "holds"
DOES_NOT: Outcome = "does not hold"
UNCLEAR: Outcome = "not clear here"
FEWEST_SEEDS = 3
"""What an interval without width, and one of accuracies, which are steps of a document, needs."""

OPPOSITE: dict[Outcome, Outcome] = {HOLDS: DOES_NOT, DOES_NOT: HOLDS, UNCLEAR: UNCLEAR}


@dataclass(frozen=True)
class Evidence:
    """All that a verdict may look at."""

    rows: Sequence[Row]
    members: Sequence[Member]
    bench: Sequence[BenchRow] = ()
    contrasts: Sequence[Contrast] = ()
    quality: str = "bits_per_byte"
    unit: str = "words"
    seeds_needed: int = 5
    trained: Apart = all_alike

    def row(self, cell: str, inits: Iterable[str]) -> Row | None:
        """The first trained row of a cell with the first of `inits` that is there."""
        trained = [row for row in self.rows if (row.kind, row.cell) == ("trained", cell)]
        return next((row for init in inits for row in trained if row.init == init), None)

    def pair(self, first: str, second: str, init: str) -> tuple[Row, Row] | None:
        """Trained rows of two cells with one initialisation, alike if there are such."""
        trained = [row for row in self.rows if row.kind == "trained"]
        return next(iter(pair_at(trained, first, second, init, self.trained)), None)

    def run_of(self, row_cell: str, init: str | None = None) -> str:
        """The path of some member of a cell, for the command that shows more."""
        for member in self.members:
            if member.cell == row_cell and init in (None, member.init) and not member.untrained:
                return member.path
        return self.run_of(row_cell) if init else "RUN"


@dataclass
class Finding:
    """What one source says: an outcome, a sentence, and the numbers in it."""

    outcome: Outcome
    sentence: str
    numbers: dict[str, Estimate] = field(default_factory=dict)


def below(value: Estimate, bound: float) -> Outcome:
    """Holds where the interval lies below `bound`, does not where above.

    Of fewer than `FEWEST_SEEDS`, lower bounds alone and an interval without width decide nothing:
    they say that two seeds agree, not how far a third would lie from them.
    """
    if 0 < value.n < FEWEST_SEEDS and (
        value.status == "censored" or value.ci95[0] == value.ci95[1]
    ):
        return UNCLEAR
    if value.status == "censored" and value.censored_at is not None and value.censored_at >= bound:
        return DOES_NOT
    lo, hi = value.ci95
    if hi is not None and hi < bound:
        return HOLDS
    return DOES_NOT if lo is not None and lo > bound else UNCLEAR


def in_words(value: Estimate) -> str:
    """``12.3 words [9.1, 17]``, or why there is no number."""
    if value.status == "censored" and value.censored_at is not None:
        return f"more than {with_unit(_shown(value.censored_at, value), value.unit)}"
    if value.estimate is None:
        return value.status.replace("_", " ")
    shown = with_unit(_shown(value.estimate, value), value.unit)
    lo, hi = value.ci95
    if lo is None and hi is None:
        return f"{shown} (no interval)"
    low, high = ("?" if end is None else _shown(end, value) for end in (lo, hi))
    return f"{shown} [{low}, {high}]"


def _shown(number: float, value: Estimate) -> str:
    """A number of an estimate, distances rounded as they are in every report."""
    return numbers.number(number, numbers.usual_digits(value))


def over_seeds(values: Sequence[float]) -> Estimate:
    """The mean with its t-interval."""
    ends = t_interval(values)
    return Estimate(estimate=ends.estimate, ci95=(finite(ends.lo), finite(ends.hi)), n=len(values))
