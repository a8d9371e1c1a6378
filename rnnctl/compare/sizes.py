"""Sizes and operations of recurrent layers, counted without building them.

PyTorch's counts: a layer with ``g`` gates (RNN 1, GRU 3, LSTM 4), input size E and hidden size H
has g·H·E + g·H·H weights and two biases of g·H. Every further layer has E = H.
"""

from __future__ import annotations

import math

GATES = {"rnn": 1, "gru": 3, "lstm": 4}


def recurrent_parameters(
    cell: str, input_size: int, hidden_size: int, layers: int = 1, directions: int = 1
) -> int:
    """Weights and biases of the recurrent layers, as ``torch.nn`` counts them."""
    total, width = 0, input_size
    for _ in range(layers):
        total += directions * GATES[cell] * (hidden_size * (width + hidden_size) + 2 * hidden_size)
        width = directions * hidden_size
    return total


def macs_per_token(
    cell: str, input_size: int, hidden_size: int, layers: int = 1, directions: int = 1
) -> int:
    """Multiply-adds of the recurrent layers' matrix products for one token, forward."""
    total, width = 0, input_size
    for _ in range(layers):
        total += directions * GATES[cell] * hidden_size * (width + hidden_size)
        width = directions * hidden_size
    return total


def matched_hidden_size(
    cell: str, parameters: int, input_size: int, layers: int = 1, directions: int = 1
) -> int:
    """The hidden size whose recurrent parameters come nearest to `parameters`; at least 1.

    The count rises with H, so the answer is one of the two whole numbers around the real root.
    """
    high = 1
    while recurrent_parameters(cell, input_size, high, layers, directions) < parameters:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        if recurrent_parameters(cell, input_size, middle, layers, directions) < parameters:
            low = middle
        else:
            high = middle
    return min(
        (size for size in (low, high) if size >= 1),
        key=lambda size: abs(
            recurrent_parameters(cell, input_size, size, layers, directions) - parameters
        ),
    )


def deviation(count: int, reference: int) -> float:
    """How far `count` lies from `reference`, as a share of it."""
    return count / reference - 1 if reference else math.inf
