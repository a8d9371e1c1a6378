"""The record of ``rnnctl compare``: members, rows over seeds, contrasts and verdicts.

A *member* is one trained run. A *row* is what is said of several members that differ in their seed
only: each number with a t-interval over the seeds. *Contrasts* are the few tests named beforehand;
*verdicts* are the lecture's claims, decided by rules fixed in `rnnctl.compare.verdicts`.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from rnnctl import catalog
from rnnctl.results.base import Curve, Estimate, Record, Result
from rnnctl.results.inference import PairsRecord

# As it is called today, also in what an older rnnctl wrote.
TaskName = Annotated[str, AfterValidator(partial(catalog.today, "task"))]

BUSY = "the machine was busy"
"""`FindingRecord.short` of speeds that were measured beside other work."""
Outcome = Literal["shown", "contradicted", "inconclusive", "not tested"]
"""Inconclusive: enough seeds, and no interval decides. Not tested: too few seeds, or no data."""
RowKind = Literal["trained", "untrained", "baseline"]
Scale = Literal["linear", "log"]
Endpoint = Literal["horizon", "recall", "pairs"]
"""What is tested: the memory horizon, accuracy on the recall task, accuracy on minimal pairs."""


class ExchangeRecord(Record):
    """What happens when two texts exchange one part of their LSTM states (Estimates in shares).

    Both parts exchanged is 1, none is 0. `c` and `h` are the shares that each alone carries,
    `lag` tokens after which they were exchanged, measured over the following tokens.
    """

    measure: str = Field(description="loss, in nats, or evidence, in log-odds")
    lag: int
    c: Estimate
    h: Estimate
    full: Estimate = Field(description="effect of exchanging both, in the measure's unit")


class SpeedRecord(Record):
    """Speed of one run's model, measured alone, one entry for each round that is kept."""

    session: str = Field(
        "", description="models with the same one were measured in turns, and can be compared"
    )
    threads: int
    rounds: int | None = Field(None, description="measured; the least disturbed are kept")
    steady: bool | None = Field(
        None, description="whether as many rounds as are kept were undisturbed"
    )
    load_per_core: float | None = Field(
        None, description="load average of the machine at the end, per core that may be used"
    )
    train_tokens_per_s: tuple[float, ...]
    generate_ms_per_token: tuple[float, ...]
    hidden_size: int
    batch_size: int
    chunk: int = Field(description="tokens per training step and stream")
    same_size_hidden: int | None = Field(
        None, description="hidden size of the second measurement, that of the LSTM compared with"
    )
    same_size_train_tokens_per_s: tuple[float, ...] = ()
    same_size_generate_ms_per_token: tuple[float, ...] = ()


class SpeedResult(Result, SpeedRecord):
    """`results/speed.json` of a run."""

    schema_id: Literal["rnnctl.speed/1"] = "rnnctl.speed/1"


class ExchangeResult(Result, ExchangeRecord):
    """`results/exchange.json` of a run."""

    schema_id: Literal["rnnctl.exchange/1"] = "rnnctl.exchange/1"


class DiagnosedOn(Record):
    """How a member's memory was measured: numbers of two that differ in it are not alike."""

    text: str = Field(description="SHA-256 of the text")
    preset: str
    seed: int | None
    longest: float | None = Field(description="longest distance of the horizon's measurement")
    shortest: float | None = Field(None, description="its shortest distance above 0")
    unit: str = Field(description="of distances: words or chars")


class Member(Record):
    """One trained run, as far as the comparison looks at it."""

    path: str
    cell: str
    init: str
    seed: int
    task: TaskName
    level: str
    corpus: str
    fingerprint: str
    split: str
    unit: str | None = Field(description="of distances: words or chars; None: not diagnosed")
    bench: str | None = Field(None, description="specification of the bench task, if it is one")
    lag: int | None = None
    chance: float | None = None
    hidden_size: int
    embedding_size: int
    layers: int
    parameters: int | None
    recurrent_parameters: int
    macs_per_token: int = Field(description="recurrent multiply-adds per token, forward")
    lr: float
    recipe: dict[str, str] = Field(
        default_factory=dict, description="other settings that decide on what is learnt, by option"
    )
    tokens_seen: int | None
    train_seconds: float | None
    still_improving: bool = Field(
        False, description="its validation loss was still falling noticeably when it ended"
    )
    no_better_than_counting: bool = Field(
        False, description="an n-gram of its training text has a lower loss where it was diagnosed"
    )
    untrained: bool = False
    values: dict[str, Estimate] = Field(default_factory=dict)
    curves: dict[str, Curve] = Field(default_factory=dict)
    explodes: bool | None = None
    diagnosed: DiagnosedOn | None = None
    speed: SpeedRecord | None = None
    exchange: ExchangeRecord | None = None
    pairs: PairsRecord | None = None


class SeedSummary(Estimate):
    """A number over seeds: mean (geometric on the log scale) and t-interval; n = `seeds`."""

    scale: Scale = "linear"
    seeds: tuple[float, ...] = Field((), description="one value per member that has one, by seed")
    lower_bounds: tuple[bool, ...] = Field((), description="which of `seeds` are lower bounds")
    upper_bounds: tuple[bool, ...] = Field(
        (), description="which are upper bounds: nothing was measurable, not even one step"
    )
    censored: int = Field(0, description="how many of them are lower bounds")
    missing: int = Field(0, description="members that were measured and have no value")
    within: tuple[float | None, float | None] | None = Field(
        None, description="of a single seed: the 95 % interval of that one model, over the text"
    )


class Row(Record):
    """Members of one cell and initialisation, or a baseline."""

    name: str
    kind: RowKind
    cell: str | None = None
    init: str | None = None
    seeds: tuple[int, ...] = ()
    hidden_size: int | None = None
    parameters: int | None = None
    recurrent_parameters: int | None = None
    deviation: float | None = Field(None, description="recurrent parameters / reference - 1")
    macs_per_token: int | None = None
    lr: float | None = None
    numbers: dict[str, SeedSummary] = Field(default_factory=dict)
    curves: dict[str, Curve] = Field(default_factory=dict)
    exploding_seeds: int = 0


class BaselinesResult(Result):
    """`results/baselines.json` of a run: models without memory on the same splits."""

    schema_id: Literal["rnnctl.baselines/1"] = "rnnctl.baselines/1"
    rows: tuple[Row, ...]


class BenchRow(Record):
    """Accuracy of one cell and initialisation on a bench task at one distance, over seeds."""

    name: str
    cell: str
    init: str
    task: str
    lag: int | None
    chance: float | None
    accuracy: SeedSummary
    solved: int = Field(description="seeds with at least 95 % accuracy")
    solved_ci95: tuple[float, float] = Field(description="Wilson, of the share of seeds")


class PairRow(Record):
    """Minimal pairs of one phenomenon, as the members of a row or a baseline find them."""

    name: str
    kind: RowKind
    phenomenon: str = Field(description="empty: all pairs together")
    pairs: int
    accuracy: SeedSummary = Field(description="share of right pairs, a tie counting half")


ContrastOutcome = Literal[
    "more", "less", "no clear difference", "not enough seeds to claim", "not alike"
]


class Contrast(Record):
    """One test of the confirmatory family; "not alike": not tested, and `note` says why."""

    endpoint: Endpoint
    corpus: str
    first: str
    second: str
    n: int = Field(description="seeds on the smaller side, with a value or without")
    effect: Estimate = Field(description="ratio of geometric means, or difference of accuracies")
    superiority: float | None = Field(description="P(first > second) for one seed of each")
    p: float | None
    p_holm: float | None
    tested: bool = Field(description="enough seeds for this test to be able to claim anything")
    outcome: ContrastOutcome
    note: str = Field("", description="what limits it, beside chance and few seeds")


class FindingRecord(Record):
    """What one source of evidence says about a claim."""

    outcome: Outcome
    sentence: str = Field(description="with the numbers it rests on")
    short: str = Field("", description="its number in a few words")


class Verdict(Record):
    """What this comparison says about one of the lecture's claims.

    The outcome is the one that all clear findings share; inconclusive where they disagree.
    """

    id: str
    claim: str
    question: str = Field("", description="the claim as a short question")
    outcome: Outcome
    findings: tuple[FindingRecord, ...] = ()
    rule: str = Field(description="contrast, margin and interval, fixed beforehand")
    numbers: dict[str, Estimate] = Field(default_factory=dict)
    command: str = Field(description="what would test it, if it is not tested; else shows more")


class Failure(Record):
    """A member that could not be trained or read."""

    name: str
    reason: str
    command: str = ""


class Comparison(Result):
    """What ``rnnctl compare`` returns."""

    schema_id: Literal["rnnctl.comparison/2"] = "rnnctl.comparison/2"
    task: TaskName
    corpus: str
    quality: Literal["bits_per_byte", "accuracy"]
    horizon_kind: Literal["use_neff", "effect_half"]
    distance_unit: str
    match: str = Field(description="what was held equal, in words")
    rates: str = Field("", description="where the learning rates come from")
    rows: tuple[Row, ...]
    bench: tuple[BenchRow, ...] = ()
    pairs: tuple[PairRow, ...] = Field((), description="all pairs of a row first, then each kind")
    family: int = Field(0, description="tests of memory that Holm's correction is over")
    pairs_family: int = Field(0, description="tests on minimal pairs, corrected for themselves")
    seeds_needed: int = Field(description="seeds a side with which the family could claim")
    contrasts: tuple[Contrast, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    members: tuple[Member, ...] = ()
    failures: tuple[Failure, ...] = ()
