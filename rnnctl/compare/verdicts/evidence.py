"""What a verdict may look at, and what one source of evidence says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from rnnctl.compare.contrasts import Apart, all_alike, pair_at
from rnnctl.compare.summary import finite
from rnnctl.reports import numbers
from rnnctl.results.base import Estimate
from rnnctl.results.comparison import BenchRow, Contrast, Member, Outcome, Row, SeedSummary
from rnnctl.statistics import t_interval
from rnnctl.wording import with_unit

SHOWN: Outcome = "shown"
CONTRADICTED: Outcome = "contradicted"
INCONCLUSIVE: Outcome = "inconclusive"
NOT_TESTED: Outcome = "not tested"
FEWEST_SEEDS = 3
"""With fewer seeds an interval that does not decide says nothing but that they were too few."""

OPPOSITE: dict[Outcome, Outcome] = {SHOWN: CONTRADICTED, CONTRADICTED: SHOWN}
OPPOSITE |= {INCONCLUSIVE: INCONCLUSIVE, NOT_TESTED: NOT_TESTED}


@dataclass(frozen=True)
class Commands:
    """Command lines that test what this comparison could not.

    `train(seeds)` trains all cells of the claims with that many seeds, `measure()` measures speed
    and the exchange of states of the runs that are there.
    """

    train: Callable[[int], str] = lambda seeds: f"rnnctl compare CORPUS --seeds {seeds}"
    measure: Callable[[], str] = lambda: "rnnctl compare RUN RUN --measure"


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
    commands: Commands = field(default_factory=Commands)

    def row(self, cell: str, inits: Iterable[str]) -> Row | None:
        """The first trained row of a cell with the first of `inits` that is there."""
        trained = [row for row in self.rows if (row.kind, row.cell) == ("trained", cell)]
        return next((row for init in inits for row in trained if row.init == init), None)

    def row_called(self, name: str) -> Row | None:
        """The row of that name."""
        return next((row for row in self.rows if row.name == name), None)

    def pair(self, first: str, second: str, init: str) -> tuple[Row, Row] | None:
        """Trained rows of two cells with one initialisation, alike if there are such."""
        trained = [row for row in self.rows if row.kind == "trained"]
        return next(iter(pair_at(trained, first, second, init, self.trained)), None)

    def run_of(self, row_cell: str, init: str | None = None) -> str:
        """The path of some member of a cell, for the command that shows more; else ``RUN``."""
        for member in self.members:
            if member.cell == row_cell and init in (None, member.init) and not member.untrained:
                return member.path
        return self.run_of(row_cell) if init else "RUN"


@dataclass
class Finding:
    """What one source says: an outcome, a sentence, the numbers in it, the command to test it.

    `short`: its number in a few words.
    """

    outcome: Outcome
    sentence: str
    numbers: dict[str, Estimate] = field(default_factory=dict)
    command: str = ""
    short: str = ""


def below(value: Estimate, bound: float) -> Outcome:
    """Shown where the interval lies below `bound`, contradicted where above.

    Fewer than `FEWEST_SEEDS` seeds decide only with an interval that has a width and lies on one
    side: lower bounds alone and an interval without width say that two seeds agree, not how far a
    third would lie from them.
    """
    few = 0 < value.n < FEWEST_SEEDS
    lo, hi = value.ci95
    if few and (value.status == "censored" or lo == hi):
        return NOT_TESTED
    if value.status == "censored" and value.censored_at is not None:
        # Beyond the longest distance measured: that it is long is known, never that it is short.
        return CONTRADICTED if value.censored_at >= bound else INCONCLUSIVE
    if hi is not None and hi < bound:
        return SHOWN
    if lo is not None and lo > bound:
        return CONTRADICTED
    return NOT_TESTED if few or (lo is None and hi is None) else INCONCLUSIVE


def few_seeds(outcome: Outcome, n: int, evidence: Evidence) -> tuple[str, str]:
    """What to add to a sentence whose source had too few seeds, and the command; else ""."""
    if outcome != NOT_TESTED or not 0 < n < FEWEST_SEEDS:
        return "", ""
    needed = evidence.seeds_needed
    had = "one seed is" if n == 1 else f"{n} seeds are"
    return f"; {had} too few for a claim about the cell", evidence.commands.train(needed)


def in_words(value: Estimate) -> str:
    """``12 words [9.1, 17]`` as every report writes it, or why there is no number."""
    if value.status == "censored" and value.censored_at is not None:
        at = numbers.number(value.censored_at, numbers.usual_digits(value))
        return f"more than {with_unit(at, value.unit)}"
    if value.estimate is None:
        return value.status.replace("_", " ")
    own = numbers.with_own_interval(value) if isinstance(value, SeedSummary) else value
    return numbers.estimate(own, with_unit=True)


def briefly(value: Estimate) -> str:
    """``0.92 [0.89, 0.95]``: two digits, without the unit."""
    return numbers.estimate(value, 2)


def horizon_in_words(value: SeedSummary) -> str:
    """A memory horizon as every report writes it: ``> 93 words``, ``none measurable``."""
    return numbers.horizon(numbers.with_own_interval(value))


def as_models(first: Row, second: Row) -> str:
    """What the horizons of two single models say, where both intervals over the text are known."""
    a, b = first.numbers.get("horizon"), second.numbers.get("horizon")
    if a is None or b is None or a.within is None or b.within is None:
        return ""
    each = f"{first.name} {horizon_in_words(a)}, {second.name} {horizon_in_words(b)}"
    if _apart(a.within, b.within) or _apart(b.within, a.within):
        return f"as models the two differ: {each}; a claim about the cells needs more seeds"
    return f"the intervals of the two models overlap: {each}"


Ends = tuple[float | None, float | None]


def _apart(below: Ends, above: Ends) -> bool:
    """Whether the first interval surely ends before the second begins."""
    return below[1] is not None and above[0] is not None and below[1] < above[0]


def over_seeds(values: Sequence[float]) -> Estimate:
    """The mean with its t-interval."""
    # Not a bootstrap, which covers far too little with the few seeds that there are.
    ends = t_interval(values)
    return Estimate(estimate=ends.estimate, ci95=(finite(ends.lo), finite(ends.hi)), n=len(values))
