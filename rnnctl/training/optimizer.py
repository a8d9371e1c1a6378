"""AdamW, with weight decay only where it belongs, and gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from rnnctl.config import TrainingConfig

EPSILON = 1e-8
Moments = dict[str, Tensor]


class AdamW:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), by PyTorch's fused kernel.

    The same bits as `torch.optim.AdamW(fused=True)`, a test says so. That class imports PyTorch's
    compiler when it is made, which takes longer than everything else before the first step.

    `groups` are (parameters, weight decay); `state` holds, per parameter that has had a gradient,
    its `step` and the running means `exp_avg` and `exp_avg_sq`.
    """

    def __init__(
        self,
        groups: Sequence[tuple[list[nn.Parameter], float]],
        lr: float,
        betas: tuple[float, float],
    ) -> None:
        self.groups = groups
        self.lr = lr
        self.betas = betas
        self.state: dict[Tensor, Moments] = {}

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameters, _ in self.groups:
            for parameter in parameters:
                parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Change the weights by their gradients."""
        for parameters, decay in self.groups:
            moved: list[Tensor] = [p for p in parameters if p.grad is not None]
            if not moved:
                continue
            moments = [self._moments(p) for p in moved]
            steps = [m["step"] for m in moments]
            torch._foreach_add_(steps, 1)
            torch._fused_adamw_(
                moved,
                [p.grad for p in moved if p.grad is not None],
                [m["exp_avg"] for m in moments],
                [m["exp_avg_sq"] for m in moments],
                [],
                steps,
                lr=self.lr,
                beta1=self.betas[0],
                beta2=self.betas[1],
                weight_decay=decay,
                eps=EPSILON,
                amsgrad=False,
                maximize=False,
            )

    def _moments(self, parameter: Tensor) -> Moments:
        if parameter not in self.state:
            self.state[parameter] = {
                "step": torch.zeros((), device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        return self.state[parameter]


def make_optimizer(model: nn.Module, settings: TrainingConfig) -> AdamW:
    """AdamW over the model's parameters.

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
    groups = [(decayed, settings.weight_decay), (kept, 0.0)]
    return AdamW(groups, settings.lr, (settings.beta1, settings.beta2))


def clip(parameters: Iterable[Tensor], largest: float) -> float:
    """Scale gradients so that their joint norm is at most `largest`; return the norm before.

    A norm that is not finite leaves the gradients alone: the caller steps back.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = float(torch.nn.utils.get_total_norm(gradients, foreach=True))
    if math.isfinite(norm) and norm > largest:
        torch._foreach_mul_(gradients, largest / norm)
    return norm
