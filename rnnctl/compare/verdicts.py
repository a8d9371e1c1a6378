"""The lecture's claims, and when a comparison says that one holds.

Contrast, margin and interval of each claim stand here, fixed before any data:

=================  ==========================================================================
claim              rule
=================  ==========================================================================
vanishes           plain RNN, PyTorch's initialisation: the lag at which 1 % of the gradient is
                   left. Holds if its 95 % interval lies below `VANISHING_LAG` tokens, or if the
                   gradient grows in more than half of the seeds.
leaves-out         the same RNN. Holds if the interval of its memory horizon lies below
                   `EARLY_WORDS` words (classifiers: the first sentence's remaining weight below
                   ½), or its recall accuracy at the longest lag below half way from chance to 1.
gates-solve        LSTM against RNN at each initialisation they share, horizon and recall, by
                   permutation with Holm's correction. A contrast speaks for it if it is
                   significant and the gain at least `HORIZON_GAIN` (ratio) or `RECALL_GAIN`
                   (accuracy), against it if the interval of the gain ends below that.
cell-state         the share of the exchanged effect that `c` alone carries minus that of `h`.
                   Holds if the 95 % interval over seeds lies above 0, not if below.
gru-as-well        GRU against LSTM, quality on the text. Holds if the 95 % interval of how much
                   worse the GRU is ends below `AS_WELL`; not if it begins above.
gru-fewer-ops      multiply-adds per token at the same hidden size: arithmetic, no interval.
gru-faster         training tokens per second at the same hidden size, batch and threads, GRU over
                   LSTM, measured in one session and paired by round. Holds if the 95 % interval
                   lies above 1, not if below 1.
=================  ==========================================================================

What two sources (text, recall) both decide differently is *not clear here*, and so is what nobody
measured, or of cells that were not trained alike. Accuracies, lower bounds, intervals without
width and gradients that grow decide from three seeds on. Nothing in this module imports torch or
reads a file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from rnnctl.compare import claims, claims_gru
from rnnctl.compare.evidence import UNCLEAR, Evidence, Finding
from rnnctl.results.comparison import FindingRecord, Outcome, Verdict

VANISHING_LAG = 100.0  # tokens
EARLY_WORDS = 50.0  # words; the panel's "early gain" uses the same distance
EARLY_WEIGHT = 0.5
HORIZON_GAIN = 1.25  # ratio of horizons
RECALL_GAIN = 0.05  # accuracy
AS_WELL = {"bits_per_byte": 0.02, "accuracy": 0.01}


def combine(findings: Sequence[Finding]) -> Outcome:
    """The outcome that all clear findings share; not clear where there is none or two."""
    clear = {finding.outcome for finding in findings} - {UNCLEAR}
    return clear.pop() if len(clear) == 1 else UNCLEAR


def verdicts(evidence: Evidence) -> tuple[Verdict, ...]:
    """One verdict for each claim, in the lecture's order."""
    return tuple(_verdict(claim, evidence) for claim in CLAIMS)


@dataclass(frozen=True)
class Claim:
    """A claim in words, its rule, how it is examined, and the command that shows more."""

    id: str
    text: str
    rule: str
    examine: Callable[[Evidence], list[Finding]]
    command: Callable[[Evidence], str]


def _verdict(claim: Claim, evidence: Evidence) -> Verdict:
    findings = claim.examine(evidence)
    return Verdict(
        id=claim.id,
        claim=claim.text,
        outcome=combine(findings),
        findings=tuple(FindingRecord(outcome=f.outcome, sentence=f.sentence) for f in findings),
        rule=claim.rule,
        numbers={key: value for finding in findings for key, value in finding.numbers.items()},
        command=claim.command(evidence),
    )


def _diagnose(cell: str, init: str, name: str) -> Callable[[Evidence], str]:
    return lambda evidence: f"rnnctl diagnose {evidence.run_of(cell, init)} {name} --preset full"


def _compare_gru(evidence: Evidence) -> str:
    return f"rnnctl compare {evidence.run_of('gru', 'good')} {evidence.run_of('lstm', 'good')}"


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "vanishes",
        "The plain RNN's gradient vanishes (or explodes)",
        f"95 % interval of the lag where 1 % of the gradient is left, below {VANISHING_LAG:g} "
        "tokens; or growing in most seeds",
        partial(claims.vanishes, lag=VANISHING_LAG),
        _diagnose("rnn", "torch", "reach"),
    ),
    Claim(
        "leaves-out",
        "The plain RNN leaves out early context",
        f"95 % interval of the horizon below {EARLY_WORDS:g} words (classifiers: weight of the "
        f"first sentence below {EARLY_WEIGHT:g}); recall below half way from chance to 1",
        partial(claims.leaves_out, words=EARLY_WORDS, weight=EARLY_WEIGHT),
        _diagnose("rnn", "torch", "use effect"),
    ),
    Claim(
        "gates-solve",
        "Gates solve that: the LSTM",
        "LSTM ahead of the RNN of the same initialisation, permutation test, Holm, p <= 0.05; "
        f"refuted where the gain stays below {HORIZON_GAIN:g} times or {RECALL_GAIN:g} accuracy",
        partial(claims.gates_solve, ratio=HORIZON_GAIN, points=RECALL_GAIN),
        _diagnose("lstm", "good", "use reach"),
    ),
    Claim(
        "cell-state",
        "It is the LSTM's cell state that carries it",
        "share of the effect carried by c minus that by h, 95 % t-interval over seeds above 0",
        claims.cell_state,
        _diagnose("lstm", "good", "hold reach"),
    ),
    Claim(
        "gru-as-well",
        "The GRU does as well without a cell state",
        "95 % interval of how much worse the GRU is, below 0.02 bits per byte or 1 point of "
        "accuracy",
        partial(claims_gru.gru_as_well, margins=AS_WELL),
        _compare_gru,
    ),
    Claim(
        "gru-fewer-ops",
        "The GRU has fewer operations than the LSTM",
        "multiply-adds per token at the same hidden size: 3 against 4 gates",
        claims_gru.fewer_operations,
        lambda evidence: f"rnnctl info {evidence.run_of('gru')}",
    ),
    Claim(
        "gru-faster",
        "The GRU is faster than the LSTM",
        "training tokens per second at the same hidden size, paired by round, 95 % interval of "
        "the ratio above 1",
        claims_gru.faster,
        _compare_gru,
    ),
)
