"""The lecture's claims, and what a comparison says of each: four outcomes, by rules fixed before
there is data.

*shown* and *contradicted* need an interval (or a test) that decides, and an effect of a size that
means what the claim says. *inconclusive*: there were enough seeds, and the interval does not
decide. *not tested*: too few seeds, not measured, or of cells that were not trained alike; the
verdict then names the one command that would test it.

=================  ==========================================================================
claim              rule
=================  ==========================================================================
vanishes           plain RNN, PyTorch's initialisation: the lag at which 1 % of the gradient is
                   left. Shown if its 95 % interval lies below `VANISHING_LAG` tokens, or if the
                   gradient grows in more than half of the seeds.
leaves-out         the same RNN. Shown if the interval of its memory horizon lies below
                   `EARLY_WORDS` words (classifiers: the first sentence's remaining weight below
                   ½), or its recall accuracy at the longest lag below half way from chance to 1.
gates-solve        LSTM against RNN at each initialisation they share, horizon and recall, by
                   permutation with Holm's correction. Shown if the gain is significant and at
                   least `HORIZON_GAIN` (ratio) or `RECALL_GAIN` (accuracy), and if the LSTM then
                   does what the RNN does not: its horizon is at least `SENTENCE_WORDS` words and
                   its quality not worse than the RNN's by more than `AS_WELL`; its recall is more
                   than half way from chance to 1. Contradicted if the interval of the gain ends
                   below the least gain.
cell-state         the share of the exchanged effect that `c` alone carries minus that of `h`.
                   Shown if the 95 % interval over seeds lies above 0 and c alone carries at least
                   `CARRIES` of the effect; contradicted if the interval lies below 0.
gru-as-well        GRU against LSTM, quality on the text. Shown if the 95 % interval of how much
                   worse the GRU is ends below `AS_WELL`; contradicted if it begins above.
gru-fewer-ops      multiply-adds per token at the same hidden size: arithmetic, no interval.
gru-faster         training tokens per second at the same hidden size, batch and threads, GRU over
                   LSTM, measured in one session and paired by round. Shown if the 95 % interval
                   lies above 1 and the ratio is at least `FASTER`, contradicted if the interval
                   ends below that. Not tested on a machine that was busy.
=================  ==========================================================================

Two sources (text, recall) that decide differently make a claim *inconclusive*. Accuracies, lower
bounds, intervals without width and gradients that grow decide from three seeds on. Nothing in this
package imports torch or reads a file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from rnnctl.compare.verdicts import gru, memory
from rnnctl.compare.verdicts.evidence import INCONCLUSIVE, NOT_TESTED, Evidence, Finding
from rnnctl.diagnostics.panel import EARLY_WORDS, SENTENCE_WORDS, VANISHING_LAG
from rnnctl.results.comparison import FindingRecord, Outcome, Verdict

EARLY_WEIGHT = 0.5
HORIZON_GAIN = 1.25  # ratio of horizons
RECALL_GAIN = 0.05  # accuracy
CARRIES = 0.5  # of the effect of exchanging the whole state
AS_WELL = {"bits_per_byte": 0.02, "accuracy": 0.01}
FASTER = 1.05


def combine(findings: Sequence[Finding]) -> Outcome:
    """The outcome that all clear findings share; inconclusive where two contradict each other.

    Without a clear one: inconclusive if some finding had enough seeds, else not tested.
    """
    said = {finding.outcome for finding in findings}
    clear = said - {INCONCLUSIVE, NOT_TESTED}
    if len(clear) == 1:
        return clear.pop()
    return INCONCLUSIVE if clear or INCONCLUSIVE in said else NOT_TESTED


def verdicts(evidence: Evidence) -> tuple[Verdict, ...]:
    """One verdict for each claim, in the lecture's order."""
    return tuple(_verdict(claim, evidence) for claim in CLAIMS)


@dataclass(frozen=True)
class Claim:
    """A claim in words, its rule, how it is examined, and the commands that go with it.

    `question`: the claim for a short report, in at most 31 characters. `test` is the command that
    would test the claim where nothing here does; `more` shows more.
    """

    id: str
    text: str
    question: str
    rule: str
    examine: Callable[[Evidence], list[Finding]]
    test: Callable[[Evidence], str]
    more: Callable[[Evidence], str]


def _verdict(claim: Claim, evidence: Evidence) -> Verdict:
    findings = claim.examine(evidence)
    outcome = combine(findings)
    command = claim.more(evidence)
    if outcome == NOT_TESTED:
        named = (finding.command for finding in findings if finding.command)
        command = next(named, "") or claim.test(evidence)
    return Verdict(
        id=claim.id,
        claim=claim.text,
        outcome=outcome,
        question=claim.question,
        findings=tuple(
            FindingRecord(outcome=f.outcome, sentence=f.sentence, short=f.short) for f in findings
        ),
        rule=claim.rule,
        numbers={key: value for finding in findings for key, value in finding.numbers.items()},
        command=command,
    )


def _diagnose(cell: str, init: str, name: str) -> Callable[[Evidence], str]:
    return lambda evidence: f"rnnctl diagnose {evidence.run_of(cell, init)} {name} --preset full"


def _compare_gru(evidence: Evidence) -> str:
    return f"rnnctl compare {evidence.run_of('gru', 'good')} {evidence.run_of('lstm', 'good')}"


def _train(evidence: Evidence) -> str:
    return evidence.commands.train(evidence.seeds_needed)


def _diagnosed(cell: str) -> Callable[[Evidence], str]:
    """Diagnose a run of `cell` where there is one; else train some."""

    def command(evidence: Evidence) -> str:
        run = evidence.run_of(cell)
        return _train(evidence) if run == "RUN" else f"rnnctl diagnose {run}"

    return command


def _measure(*cells: str) -> Callable[[Evidence], str]:
    """Measure the runs of `cells` where there are some; else train them."""

    def command(evidence: Evidence) -> str:
        missing = any(evidence.run_of(cell) == "RUN" for cell in cells)
        return _train(evidence) if missing else evidence.commands.measure()

    return command


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "vanishes",
        "The plain RNN's gradient vanishes (or explodes)",
        "Does the RNN's gradient vanish?",
        f"shown if the 95 % interval of the distance where 1 % of the gradient is left lies below "
        f"{VANISHING_LAG:g} tokens, or if the gradient grows in most seeds",
        partial(memory.vanishes, lag=VANISHING_LAG),
        _diagnosed("rnn"),
        _diagnose("rnn", "torch", "reach"),
    ),
    Claim(
        "leaves-out",
        "The plain RNN leaves out early context",
        "Does the RNN forget early text?",
        f"shown if the 95 % interval of its memory horizon lies below {EARLY_WORDS:g} words "
        f"(classifiers: if the first sentence keeps less than {EARLY_WEIGHT:g} of its weight), or "
        "if its accuracy on the recall task is less than half way from chance to 1",
        partial(memory.leaves_out, words=EARLY_WORDS, weight=EARLY_WEIGHT),
        _diagnosed("rnn"),
        _diagnose("rnn", "torch", "use effect"),
    ),
    Claim(
        "gates-solve",
        "The gates of the LSTM solve that",
        "Do the LSTM's gates solve that?",
        "shown if the LSTM is significantly ahead of the RNN with the same initial weights "
        "(permutation test over seeds, Holm's correction, p <= 0.05): by a horizon at least "
        f"{HORIZON_GAIN:g} times as long, and of at least {SENTENCE_WORDS:g} words without a worse "
        f"loss; or by at least {RECALL_GAIN:g} in recall accuracy, and more than half way from "
        "chance to 1",
        partial(
            memory.gates_solve, ratio=HORIZON_GAIN, points=RECALL_GAIN, words=SENTENCE_WORDS,
            margins=AS_WELL,
        ),
        _train,
        _diagnose("lstm", "good", "use reach"),
    ),
    Claim(
        "cell-state",
        "The LSTM's cell state carries the memory",
        "Does the cell state carry it?",
        "shown if exchanging c alone has more of the effect of exchanging the whole state than "
        f"exchanging h alone (95 % interval over seeds), and at least {CARRIES:g} of it",
        partial(memory.cell_state, least=CARRIES),
        _measure("lstm"),
        _diagnose("lstm", "good", "hold reach"),
    ),
    Claim(
        "gru-as-well",
        "The GRU does as well without a cell state",
        "Does the GRU do as well?",
        "shown if the 95 % interval of how much worse the GRU is lies below 0.02 bits per byte, or "
        "1 percentage point of accuracy",
        partial(gru.gru_as_well, margins=AS_WELL),
        _train,
        _compare_gru,
    ),
    Claim(
        "gru-fewer-ops",
        "The GRU has fewer operations than the LSTM",
        "Does the GRU compute less?",
        "multiply-adds per token at the same hidden size: 3 against 4 gates",
        gru.fewer_operations,
        _train,
        lambda evidence: f"rnnctl info {evidence.run_of('gru')}",
    ),
    Claim(
        "gru-faster",
        "The GRU is faster than the LSTM",
        "Is the GRU faster?",
        "shown if it trains at least 1.05 times as fast at the same hidden size (95 % interval "
        "over rounds of measurement above 1), on an otherwise idle machine",
        partial(gru.faster, least=FASTER),
        _measure("gru", "lstm"),
        _compare_gru,
    ),
)  # fmt: skip
