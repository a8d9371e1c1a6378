"""The record of ``rnnctl diagnose``: headline, panel and curves, schema ``rnnctl.diagnostics/1``.

It is published as a JSON schema in ``diagnostics.schema.json`` beside this file. Every scalar is an
`Estimate` (estimate, ci95, n, status, censored_at) and every curve a `Curve` (x, y, lo, hi, n);
what does not exist is None and its status says why. See each field for what the number means, in
one sentence, and its source.
"""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from rnnctl.results.base import Curve, Estimate, Record, Result, Status

NONE_MEASURABLE = "none measurable: no context length has an excess whose interval lies above 1 %"
"""Note of a memory horizon of 0: nothing that was taken away made the loss measurably worse."""

SIGN_CHANGES = "the effect changes its sign within the nearest words"
"""In the note of an EFFECT that has no half-distance for that reason."""

NEAR_WORDS = (4, 8)
"""Of a language model, EFFECT is relative to its mean over these distances, in words. Nearer than
four words it avoids the word that it has just said, and R would be relative to that."""

DiagnosticName = Literal["use", "first_last", "effect", "hold", "reach", "gates", "position"]


class ModelRecord(Record):
    """Which model was measured, and what it was trained under; or which program was asked."""

    id: str
    task: Literal["lm_char", "lm_byte", "lm_word", "lm_bpe", "classifier", "scorer"]
    cell: str | None = Field(None, description="None, as all that follows, of another program")
    nonlinearity: str | None = None
    layers: int | None = None
    embedding: int | None = None
    hidden: int | None = None
    parameters: int | None = None
    state_floats: int | None = Field(
        None, description="numbers in the state: 2·H per LSTM layer, else H"
    )
    init: str | None = None
    readout: str = Field(description="how the answer leaves the model: each step, last, mean, …")
    bidirectional: bool = False
    train_bptt: int | None = Field(
        None, description="tokens per truncated chunk; None = whole documents"
    )
    train_loss_nats: float | None = None
    state_policy: Literal["reset_document", "carried"] | None
    seed: int | None = None
    command: str | None = Field(None, description="the scorer that was asked (rnnctl help scorer)")
    questions: int | None = Field(None, description="how many a scorer was asked")
    quality: dict[str, float] = Field(
        default_factory=dict, description="what training measured on the validation text"
    )
    quality_missing: str = Field("", description="why it is not known, if it was measured")


class DataRecord(Record):
    """Which text it was measured on."""

    name: str
    sha256: str = Field(description="of the measured text and labels")
    documents: int
    running: bool = Field(description="one running text, without documents")
    tokens: int
    words_per_token: float
    chars_per_token: float
    distance_unit: Literal["words", "chars"] = Field(
        description="chars where the text has no spaces between words"
    )
    unknown_rate: float
    paragraph_length: float | None = Field(
        None,
        description="median document, in distance units; running text: half of it stands in "
        "paragraphs at least so long",
    )


PLURALS = {
    "document": "documents",
    "stretch": "stretches",
    "set of neutral sentences": "sets of neutral sentences",
    "filler text": "filler texts",  # in results written before 2026-12
}


class Sampling(Record):
    """What the intervals resample."""

    unit: str = Field(description="document, or stretch of so many tokens")
    n: int = Field(description="how many of them")
    items: int = Field(0, description="resets, swaps, planted words, … inside them")
    documents_long_enough: int | None = None

    @property
    def in_words(self) -> str:
        """``96 stretches of 512 tokens`` for 96 of ``stretch of 512 tokens``."""
        for one, many in PLURALS.items():
            if self.n != 1 and self.unit.startswith(one):
                return f"{self.n:,} {many}{self.unit[len(one) :]}"
        return f"{self.n:,} {self.unit}"


class Measurement(Record):
    """What all measurements share. `note` is a sentence where the status is not ok."""

    status: Status = "ok"
    note: str = ""
    sampling: Sampling | None = None
    scalars: dict[str, Estimate] = Field(default_factory=dict)
    curves: dict[str, Curve] = Field(default_factory=dict)


class UseRecord(Measurement):
    """How much text the loss needs (D2; reset sweep after Khandelwal et al. 2018).

    Scalars: `n_eff_foreign`, `n_eff_zero` (context length from which on the excess loss stays at or
    below `epsilon_nats_per_word`), `early_gain_50` (per cent of perplexity per word that context
    beyond 50 words buys), `half_width` (achieved precision at the horizon, nats per word), `loss`
    (nats per token with all of the context). Held against an n-gram model of the training text,
    where that is at hand: `reference_loss` (nats per token), `reference_gain` (per cent of
    perplexity per word that the model with all of its context does better) and
    `overtakes_reference` (context length with which it does as well).
    Curves `foreign`, `zero` and, on request, `shuffle`, `reverse`, `replace`: excess loss in nats
    per word with only the last x words of context.
    """

    epsilon_nats: float | None = Field(None, description="threshold, nats per distance unit")
    train_bptt_words: float | None = None
    n_max_tokens: int | None = None
    reference: str = Field("", description="the n-gram model, or why there is none")


class FirstLastRecord(Measurement):
    """Does the first sentence of a document still count in its last? (language models)

    The first sentence is exchanged for that of another document. Scalars: `rise` (nats per token
    that the loss of the last sentence rises by), `rise_percent` (the same in per cent of its
    perplexity), `rise_per_sentence` (nats of the whole sentence), `worse` (share of documents whose
    last sentence is predicted worse), `distance` (words, or characters, between the two sentences
    in the median document). Of words that stand in both sentences and not between them, where there
    are enough: `returning` (how many), `right` (share that the model finds the likeliest),
    `right_otherwise` (the same after another document's first sentence: chance).
    """


class EffectRecord(Measurement):
    """Does early evidence still push the answer its own way (D1)?

    Scalars: `b_near` (nats of log-odds), `half_distance` (how far beyond `near` it is halved),
    `retention_10`, `retention_30`, `retention_100`, `retention_auc`; for classifiers
    `retention_start` (evidence at the start of a document of median length). Curves: `b` (nats) and
    `r` = b / b_near; per filler `r:<filler>`.
    """

    near: str = Field("", description="which distances define b_near")
    pair: tuple[str, str] | None = Field(None, description="classifiers: the labels compared")
    items: str = Field("", description="where the swapped words or sentences come from")
    fillers: tuple[str, ...] = ()


class HoldRecord(Measurement):
    """What a linear probe can read out of the state about a word planted earlier (D3).

    Scalars: `hold_half`, `bits_0`, `bits_100`, `bits_last` (longest distance with bits above 0, all
    distances looked at together), `hold_auc`; where more examples for the probe would move a number
    out of its interval, what it tends to: `bits_0_extrapolated`, `hold_half_extrapolated`. Curves
    `state` (full state), `h` (hidden state only), for classifiers `polarity` (one of two evidence
    sentences), in bits.
    """

    choices: int = Field(16, description="M planted words: at most log2 M bits")
    examples: int | None = Field(None, description="N planted words that the probe learns from")
    dimensions: int | None = Field(None, description="S numbers in the state")
    examples_per_dimension: float | None = Field(None, description="N / S")


class ReachBlock(Record):
    """Γ(k) of one block of the state (D4): size of ∂ℓ_T/∂s_{T−k} relative to lag 1."""

    geo: Curve = Field(description="exp of the mean log ratio: the typical gradient")
    rms: Curve = Field(description="root mean square ratio: what the optimiser sees")
    bands: dict[str, Curve] = Field(
        default_factory=dict, description="quantiles of the ratio over sequences: p10, p50, p90"
    )
    half_life: Estimate = Field(description="steps beyond lag 1 after which Γ is ½; tokens")
    half_life_median: Estimate | None = Field(
        None, description="the same of the median window, beside the log-mean that Γ is; tokens"
    )
    tail_tau: Estimate = Field(
        description="−1 / slope of ln Γ over the second half, up to ten windows; tokens"
    )
    reach_1pct: Estimate = Field(description="steps beyond lag 1 after which Γ is 1 %; tokens")
    reset_share: Estimate | None = Field(
        None, description="share of windows that fall below ½ in one step, to a tenth or less"
    )
    explodes: bool = Field(
        False, description="the interval of Γ at the last lag lies above 1.05, and it is not zero"
    )


class LyapunovRecord(Record):
    """Growth rates of small differences of the full state along real text (expert view)."""

    exponents: tuple[float | None, ...] = Field(description="per token, largest first; None: −inf")
    leading: Estimate
    n_slow: Estimate = Field(description="directions with exponent > −1/100")
    n_slow_text: str = Field("", description="'≥16' where all of 16 followed ones count, of more")
    steps: int = 0
    burn_in: int = 0


class ReachRecord(Measurement):
    """Does the learning signal get back there (D4)? Exact one-step-loss gradients, in float64.

    `blocks`: per part of the state ("h", "c", "l0.h", …, "input"). Scalars repeat the main block's
    (`c` of an LSTM, else `h`) `half_life`, `half_life_median`, `tail_tau`, `reach_1pct`,
    `reset_share`.
    """

    main_block: str = ""
    blocks: dict[str, ReachBlock] = Field(default_factory=dict)
    lyapunov: LyapunovRecord | None = None


class GateRecord(Record):
    """One gate of one layer over real text."""

    layer: int
    gate: str = Field(description="forget, input, output, keep, reset")
    left_saturated: float = Field(description="share of (unit, token) below 0.1")
    right_saturated: float = Field(description="share of (unit, token) above 0.9")
    mean: float


class GateMode(Record):
    """A group of units with similar time constants."""

    share: float = Field(description="of all units")
    tau: float | None = Field(description="of the group's median unit, tokens; None: never closes")


class GatesRecord(Measurement):
    """What the gates suggest (D5): τ = −1/E[ln f], gate-implied and not measured memory.

    Scalars: `tau_p10`, `tau_p50`, `tau_p90` (tokens; each the τ of one unit, the lower of two
    neighbours), `share_tau_above_10`, `_50`, `_100`, `reset_rate` (share of f < 0.1),
    `reset_interval` (mean tokens between two resets of a unit). Curve `tau_histogram`: share of
    units per log-binned τ.
    """

    gates: tuple[GateRecord, ...] = ()
    tau_by_unit: tuple[tuple[float | None, ...], ...] = Field(
        (), description="per layer, per unit; None: the gate never closes"
    )
    modes: tuple[GateMode, ...] = Field(
        (), description="a fast and a slow group of units, where τ falls into two"
    )


class PositionRecord(Measurement):
    """Does a sentence count the same wherever it stands (D6; classifiers)?

    P1, sentences in random order: scalars `first_over_last` (effect of a sentence in the first
    fifth over one in the last), curve `occlusion` by fifth. P2: `first_filler_*`,
    `first_opposite_*`, `last_…`: change of loss (nats) and accuracy, share of flipped decisions.
    `reference_*`: the same of a bag-of-words classifier, whose true ratio is 1.
    """

    text_length: float | None = Field(
        None, description="median length of the texts measured, in words (or characters)"
    )


class HeadlineRecord(Estimate):
    """The one number in front: the memory horizon, in words (or characters; see `unit`)."""

    name: Literal["memory_horizon_words"] = "memory_horizon_words"
    kind: Literal["use_neff", "effect_half"]
    text: str = Field("", description="the number as every report writes it")
    sentence: str = Field(description="what the number means, with the number in it")
    beside: dict[str, Estimate] = Field(
        default_factory=dict,
        description="zero_state, first_last (LM); retention_start (classifier)",
    )
    rough: str = Field("", description="why this was measured less precisely than `diagnose` does")
    train_bptt_words: float | None = Field(
        None, description="training's truncation, as context and not as a ceiling"
    )

    def alone(self) -> Estimate:
        """The number without what is said about it."""
        return Estimate(**{name: getattr(self, name) for name in Estimate.model_fields})


class CrossCheck(Record):
    """Two numbers that should agree."""

    name: str
    passed: bool | None = Field(description="None: one of the two does not exist")
    text: str


class InstrumentCheck(Record):
    """The outcome of ``rnnctl selftest`` for this version, where it has been run."""

    passed: int
    failed: int


class PanelRow(Record):
    """One line under the headline."""

    name: str
    question: str
    numbers: dict[str, Estimate]
    title: str = ""
    short: str = Field("", description="the question in at most 26 characters")
    answer: str = Field("", description="what the numbers say, in at most 52 characters")
    names: dict[str, str] = Field(default_factory=dict, description="what the numbers are called")


class DiagnosticsResult(Result):
    """What ``rnnctl diagnose`` returns. `timing` alone may differ between equal calls."""

    schema_id: Literal["rnnctl.diagnostics/1"] = "rnnctl.diagnostics/1"
    preset: Literal["quick", "full", "headline"]
    model: ModelRecord
    data: DataRecord
    headline: HeadlineRecord
    verdict: str = Field("", description="the measurements in two or three sentences")
    panel: tuple[PanelRow, ...] = ()
    use: UseRecord | None = None
    first_last: FirstLastRecord | None = None
    effect: EffectRecord | None = None
    hold: HoldRecord | None = None
    reach: ReachRecord | None = None
    gates: GatesRecord | None = None
    position: PositionRecord | None = None
    others: dict[str, Measurement] = Field(
        default_factory=dict, description="measurements that other packages added, by name"
    )
    cross_checks: tuple[CrossCheck, ...] = ()
    selftest: InstrumentCheck | None = None

    def records(self) -> dict[str, Measurement]:
        """The measurements that were taken, by name."""
        own = {name: getattr(self, name) for name in get_args(DiagnosticName)}
        return {name: found for name, found in own.items() if found is not None} | self.others


# The record of ``rnnctl diagnose RUN… --snapshots``, schema ``rnnctl.snapshots/1``.


class SnapshotPoint(Record):
    """What a run remembered after so many tokens of its training.

    `numbers`: `loss` (nats per token of the measured text), `horizon` (words), `first_last` (per
    cent of perplexity), `hold_bits` (bits that can be read at once), `hold` (words until half of
    them are left), `reach` (tokens back with 1 % of the gradient), `retention` (classifiers: what
    evidence at the start of a text still counts).
    """

    tokens: int = Field(description="trained on by then, repeated readings counted")
    step: int
    digest: str = Field(description="stands for the weights")
    numbers: dict[str, Estimate] = Field(default_factory=dict)


class SnapshotCourse(Record):
    """The snapshots of one run, from the initial weights on."""

    run: str
    label: str = Field(description="what the run is called in tables and pictures")
    cell: str
    init: str
    distance_unit: str
    text: str = Field(description="sha256 of the measured text")
    measured: tuple[str, ...] = Field((), description="measurements; () for the usual ones")
    points: tuple[SnapshotPoint, ...]


class SnapshotsResult(Result):
    """When memory arose in one run, or in several."""

    schema_id: Literal["rnnctl.snapshots/1"] = "rnnctl.snapshots/1"
    preset: str
    courses: tuple[SnapshotCourse, ...]


# The record of ``rnnctl selftest``, schema ``rnnctl.selftest/1``.


class KnownAnswerItem(Record):
    """One comparison: what is known on paper, and what the instrument measured."""

    name: str
    expected: str
    measured: str
    tolerance: str
    passed: bool


class KnownAnswer(Record):
    """One known answer (GT01 …; RD01 … through a run directory) and what it was held to."""

    id: str
    title: str
    passed: bool
    items: tuple[KnownAnswerItem, ...]


class SelftestResult(Result):
    """How the instrument does on models whose memory is known. `timing` has seconds per id."""

    schema_id: Literal["rnnctl.selftest/1"] = "rnnctl.selftest/1"
    passed: int = Field(description="known answers of which every item is within its tolerance")
    failed: int
    answers: tuple[KnownAnswer, ...]
