"""Dropout for recurrent models: one mask for all time steps, or whole tokens. Off in `eval`.

Sources: Gal & Ghahramani (2016), "A theoretically grounded application of dropout in recurrent
neural networks"; embedding dropout as in Merity et al. (2018), AWD-LSTM.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class VariationalDropout(nn.Module):
    """Drops the same coordinates at every time step of a sequence: one mask (1, B, ·) per call."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, values: Tensor) -> Tensor:
        """(T, B, ·) -> (T, B, ·); kept coordinates are divided by 1 - rate."""
        if not self.training or self.rate == 0:
            return values
        mask = torch.empty_like(values[:1]).bernoulli_(1 - self.rate).div_(1 - self.rate)
        return values * mask

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


class TokenDropout(nn.Module):
    """Drops whole entries of the vocabulary: a dropped word is a zero vector wherever it stands in
    its sequence, and every sequence of the batch drops others (Gal & Ghahramani 2016).

    One mask over the vocabulary serves all sequences, each turned by an offset of its own.
    """

    def __init__(self, rate: float, vocab_size: int) -> None:
        super().__init__()
        self.rate = rate
        self.vocab_size = vocab_size

    def forward(self, embedded: Tensor, ids: Tensor) -> Tensor:
        """embedded (T, B, E) of ids (T, B) -> (T, B, E); kept vectors are divided by 1 - rate."""
        if not self.training or self.rate == 0:
            return embedded
        kept = torch.empty(self.vocab_size, dtype=embedded.dtype, device=embedded.device)
        kept.bernoulli_(1 - self.rate).div_(1 - self.rate)
        offsets = torch.randint(self.vocab_size, ids.shape[1:], device=ids.device)
        return embedded * kept[(ids + offsets) % self.vocab_size].unsqueeze(-1)

    def extra_repr(self) -> str:
        return f"rate={self.rate}"
