"""Cross-entropy over a vocabulary, in nats.

Axes: N tokens, F features, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

NO_TARGET = -100


def summed_loss(features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """features (N, F), weight (V, F), bias (V,), targets (N,) -> summed nats, a scalar in fp32.

    Targets of -100 do not count. float64 stays float64.
    """
    logits = linear(features, weight, bias)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return cross_entropy(logits, targets, ignore_index=NO_TARGET, reduction="sum")


def token_losses(features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """As `summed_loss`, but the nats of every token (N,), 0 where there is no target. No gradient.

    The logits are made for a slice of the tokens at a time.
    """
    size = max(1, (1 << 22) // weight.shape[0])
    losses = []
    with torch.no_grad():
        for part, wanted in zip(
            torch.split(features, size), torch.split(targets, size), strict=True
        ):
            logits = linear(part, weight, bias)
            logits = logits if logits.dtype == torch.float64 else logits.float()
            losses.append(cross_entropy(logits, wanted, ignore_index=NO_TARGET, reduction="none"))
    return torch.cat(losses)
