"""First values of the weights: `torch`, `good` (the default) or `chrono`.

The initial forget bias moves exactly what this project measures, so it is explicit. PyTorch has two
bias vectors whose *sum* acts: the value goes into `bias_ih`, and `bias_hh` is zero.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rnnctl.errors import UsageError
from rnnctl.nn.cells import Cell, LayerWeights

KEEP_BIAS = 1.0
"""At first a gate keeps sigmoid(1) = 73 % of its unit: an untrained layer remembers some steps."""


def initialise_layer(
    cell: Cell,
    weights: LayerWeights,
    init: str,
    horizon: int | None,
) -> None:
    """Fill the weights (W (gH,E), U (gH,H), b_ih (gH,), b_hh (gH,)) of one layer in place.

    - `torch`: everything uniform within 1/sqrt(H), as `torch.nn` does.
    - `good`: W uniform after Glorot & Bengio (2010) and U orthogonal (Saxe et al. 2014), each gate
      on its own; biases 0, forget or keep bias 1 (Gers et al. 2000; Jozefowicz et al. 2015).
    - `chrono` (Tallec & Ollivier 2018): as `good`, but the forget or keep bias of each
      unit is ln U(1, horizon-1), and the LSTM's input bias its negative. `horizon` is in tokens,
      at least 3. The plain RNN has no gates: for it this is `good`.

    Raises UsageError for an unknown name, or for `chrono` without a horizon.
    """
    hidden = weights[1].shape[1]
    if init == "torch":
        bound = 1 / math.sqrt(hidden)
        for weight in weights:
            torch.nn.init.uniform_(weight, -bound, bound)
        return
    if init not in ("good", "chrono"):
        raise UsageError(f"unknown initialisation: {init}", hint="use torch, good or chrono")
    w_ih, w_hh, b_ih, b_hh = weights
    # Gate by gate: of all gates as one matrix (gH, H) the bounds would be those of a layer g times
    # as wide, and no gate's own U would be orthogonal.
    for gate in range(cell.gate_count):
        rows = slice(gate * hidden, (gate + 1) * hidden)
        torch.nn.init.xavier_uniform_(w_ih[rows])
        torch.nn.init.orthogonal_(w_hh[rows])
    with torch.no_grad():
        b_ih.zero_()
        b_hh.zero_()
        if cell.keep_gate is None:
            return
        gates = b_ih.view(cell.gate_count, hidden)
        if init == "good":
            gates[cell.keep_gate] = KEEP_BIAS
            return
        if horizon is None or horizon < 3:
            raise UsageError(
                "the chrono initialisation needs a horizon of at least 3 tokens",
                hint="say how far back the model should look: --horizon 200",
            )
        # A gate with bias ln(T) keeps about T / (T + 1) of its unit, so that the unit lasts T
        # tokens; drawn evenly, some units last for each distance up to the horizon.
        gates[cell.keep_gate].uniform_(1, horizon - 1).log_()
        if cell.write_gate is not None:  # what is kept for long is written to as seldom
            gates[cell.write_gate] = -gates[cell.keep_gate]


def initialise_embedding(weight: Tensor, *, tied: bool = False, std: float = 1.0) -> None:
    """Fill an embedding (V, E): normal with `std` per coordinate, or 1/sqrt(E) where it is tied.

    A tied embedding is the output layer too, whose logits should start small. The model multiplies
    its *inputs* by sqrt(E) (`LanguageModel`), so that the recurrent layers see unit variance either
    way: with small inputs a tied model stays on the unigram plateau for a whole epoch.
    """
    torch.nn.init.normal_(weight, 0.0, 1 / math.sqrt(weight.shape[1]) if tied else std)
