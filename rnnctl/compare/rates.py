"""Learning rates for a quick look, and where they come from.

Each is the best of `GRID` by validation loss on seed 1000, which is never reported: on the bundled
paragraphs (characters, one layer, recurrent parameters of an LSTM with 128 units, 300 steps of 32
streams of 64) and on delayed recall (`task:recall:lag=20`, parameters of an LSTM with 32 units, 600
steps of 64 documents). Measured by ``tests/benchmarks/compare_rates.py``; `--rates grid` measures
them anew on your own text, with the same grid for every cell.
"""

from __future__ import annotations

from rnnctl import catalog
from rnnctl.nn.cells import find_cell

GRID = (2e-3, 4e-3, 8e-3, 1.6e-2)
TUNING_SEED = 1000
"""The seed that rates are chosen on; never one of those that are reported."""

RATES: dict[tuple[str, str, str], float] = {
    # 1.6e-2 is the upper end of the grid: 300 steps ask for haste, longer trainings for less.
    ("lm", "rnn", "torch"): 8e-3,
    ("lm", "rnn", "good"): 1.6e-2,
    ("lm", "lstm", "torch"): 1.6e-2,
    ("lm", "lstm", "good"): 1.6e-2,
    ("lm", "gru", "torch"): 1.6e-2,
    ("lm", "gru", "good"): 1.6e-2,
    ("recall", "rnn", "torch"): 1.6e-2,
    ("recall", "rnn", "good"): 8e-3,
    ("recall", "lstm", "torch"): 4e-3,  # at chance with every rate of the grid
    ("recall", "lstm", "good"): 8e-3,
    ("recall", "gru", "torch"): 1.6e-2,
    ("recall", "gru", "good"): 1.6e-2,
}

CAUTIOUS = 4e-3
"""Where nothing was searched: times the cell's own `rate_factor`."""


def rate(kind: str, cell: str, init: str) -> float:
    """The shipped rate for "lm", "sentiment" or "recall"; a cautious one where none is."""
    return RATES.get((kind, cell, init), _cautious(cell))


def _cautious(cell: str) -> float:
    return CAUTIOUS * find_cell(cell).rate_factor


def provenance(task: str) -> str:
    """Where the shipped rates for "lm" or "sentiment" come from, in words."""
    if any(kind == task for kind, _, _ in RATES):
        searched = "best of 4 on the bundled paragraphs and on recall (rnnctl/compare/rates.py)"
        return f"from the shipped table: {searched}; --rates grid searches the same 4 on your text"
    each = ", ".join(f"{cell} {_cautious(cell):g}" for cell in catalog.names("cell"))
    return f"not searched for this task: {each}; --rates grid searches 4 for every cell"
