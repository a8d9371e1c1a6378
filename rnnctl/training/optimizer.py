"""AdamW, with weight decay only where it belongs, and gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from rnnctl.config import TrainingConfig


def make_optimizer(model: nn.Module, settings: TrainingConfig) -> torch.optim.AdamW:
    """AdamW (fused) over the model's parameters.

    Decay applies to weight matrices, not to biases (in PyTorch the forget bias is a sum of two,
    and decay would move exactly what is measured) and not to embeddings that are not tied, whose
    rare rows it would shrink between their rare updates.
    """
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    tied = getattr(model, "decoder", None)
    if isinstance(tied, nn.Linear):
        embeddings.discard(id(tied.weight))
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for parameter in model.parameters():
        matrix = parameter.ndim >= 2 and id(parameter) not in embeddings
        (decayed if matrix else kept).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups, lr=settings.lr, betas=(settings.beta1, settings.beta2), fused=True
    )


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


def clip(parameters: Iterable[Tensor], largest: float) -> float:
    """Scale gradients so that their joint norm is at most `largest`; return the norm before.

    A norm that is not finite leaves the gradients alone: the caller steps back.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = float(torch.nn.utils.get_total_norm(gradients, foreach=True))
    if math.isfinite(norm) and norm > largest:
        torch._foreach_mul_(gradients, largest / norm)
    return norm
