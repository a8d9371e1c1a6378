"""The default learning rates: one table for `train` and for `compare`.

The rate that suits a training follows from three things:

- the task and the level: `rnnctl.config.RECIPES` holds the rate of an LSTM;
- the cell: its `rate_factor` is the rate that suits it, relative to the LSTM's;
- for characters also the hidden size and the length of the training. The best rate falls about as
  the square root of the size, and short trainings ask for a higher one. The recipe's rate is for
  256 units and two million tokens or more.

Measured by ``tests/benchmarks/fit_recipes.py`` on the training and validation text of
tinyshakespeare; the points are in ``recipe_points.jsonl`` beside it. Between half the best rate and
twice the best rate the loss rises by 0.01 to 0.05 nats.

Delayed recall (``task:recall``) has rates of its own, by cell and initial weights, measured by
``tests/benchmarks/compare_rates.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rnnctl.config import RECIPES
from rnnctl.nn.cells import find_cell

REFERENCE_SIZE = 256
REFERENCE_TOKENS = 2_000_000
CAUTIOUS = 4e-3  # for what has no recipe
HIGHEST = 0.02  # no training that was measured gained by a higher one
SIZE_EXPONENT = -0.5
TOKENS_EXPONENT = -0.3
# How far the length may change the rate. Longer trainings gained nothing from a lower one: an LSTM
# of 512 units came to 1.410 after 5 million tokens with 0.008, to 1.402 after 6 million with 0.010.
TOKENS_RANGE = (1.0, 1.5)
# A plain RNN with PyTorch's initial weights needs a lower rate than with orthogonal ones.
INIT_FACTOR: Final[Mapping[tuple[str, str], float]] = {("rnn", "torch"): 0.5}
# Best of 0.002, 0.004, 0.008 and 0.016 for `task:recall:lag=20`, as many parameters as an LSTM of
# 32 units, 600 steps of 64 documents. The LSTM with PyTorch's weights is at chance with each.
RECALL: Final[Mapping[tuple[str, str], float]] = {
    ("rnn", "torch"): 1.6e-2,
    ("rnn", "good"): 8e-3,
    ("lstm", "torch"): 4e-3,
    ("lstm", "good"): 8e-3,
    ("gru", "torch"): 1.6e-2,
    ("gru", "good"): 1.6e-2,
}


def default_rate(
    task: str,
    level: str,
    cell: str,
    hidden_size: int,
    *,
    init: str = "good",
    tokens: float | None = None,
) -> float:
    """The peak learning rate for a task, level and cell where nobody gives one.

    hidden_size: units of a layer. tokens: how many the training will read, None where that is not
    known. Raises UsageError for an unknown cell.
    """
    recipe = RECIPES.get((task, level), {}).get("training", {})
    rate: float = recipe.get("lr", CAUTIOUS) * find_cell(cell).rate_factor
    rate *= INIT_FACTOR.get((cell, init), 1.0)
    if task == "lm" and level in ("char", "byte"):
        rate *= (hidden_size / REFERENCE_SIZE) ** SIZE_EXPONENT
        if tokens is not None:
            lowest, highest = TOKENS_RANGE
            length = (max(tokens, 1.0) / REFERENCE_TOKENS) ** TOKENS_EXPONENT
            rate *= min(highest, max(lowest, length))
    return float(f"{min(rate, HIGHEST):.2g}")


def recall_rate(cell: str, init: str) -> float:
    """The learning rate for delayed recall. Raises UsageError for an unknown cell."""
    return RECALL.get((cell, init), RECALL["lstm", "torch"] * find_cell(cell).rate_factor)
