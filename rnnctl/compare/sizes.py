"""The hidden size with which a cell has a given number of recurrent parameters."""

from __future__ import annotations

import math

from rnnctl.nn.cells import find_cell

REFERENCE = "lstm"
"""The cell whose hidden size is given, and whose number of parameters the others are matched to."""


def matched_hidden_size(
    cell: str, parameters: int, input_size: int, layers: int = 1, directions: int = 1
) -> int:
    """The hidden size whose recurrent parameters come nearest to `parameters`; at least 1.

    The count rises with H, so the answer is one of the two whole numbers around the real root.
    """
    count = find_cell(cell).parameters
    high = 1
    while count(input_size, high, layers, directions) < parameters:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        if count(input_size, middle, layers, directions) < parameters:
            low = middle
        else:
            high = middle
    return min(
        (size for size in (low, high) if size >= 1),
        key=lambda size: abs(count(input_size, size, layers, directions) - parameters),
    )


def deviation(count: int, reference: int) -> float:
    """How far `count` lies from `reference`, as a share of it."""
    return count / reference - 1 if reference else math.inf
