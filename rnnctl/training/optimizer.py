"""AdamW, with weight decay only where it belongs, and gradient clipping."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rnnctl.config import TrainingConfig

EPSILON = 1e-8
Moments = dict[str, Tensor]
_LAYER = re.compile(r"^recurrent\..*_l(\d+)")


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters that are changed alike. depth: layers between them and the output, 0 at it."""

    parameters: list[nn.Parameter]
    weight_decay: float
    depth: int = 0


class AdamW:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), by PyTorch's fused kernel.

    The same bits as `torch.optim.AdamW(fused=True)`, a test says so. That class imports PyTorch's
    compiler when it is made, which takes longer than everything else before the first step.

    `lr` is the rate at the output; each layer further away has it divided by `layer_factor`.
    `state` holds, per parameter that has had a gradient, its `step` and the running means `exp_avg`
    and `exp_avg_sq`.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        lr: float,
        betas: tuple[float, float],
        layer_factor: float = 1.0,
    ) -> None:
        self.groups = groups
        self.lr = lr
        self.betas = betas
        self.layer_factor = layer_factor
        self.state: dict[Tensor, Moments] = {}

    def open_layers(self, count: int | None) -> None:
        """Let the `count` layers nearest to the output learn, or (None) all; the others have no
        gradient."""
        for group in self.groups:
            opened = count is None or group.depth < count
            for parameter in group.parameters:
                parameter.requires_grad_(opened)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self.groups:
            for parameter in group.parameters:
                # Not zeros, with which weights that take no part would still decay and have
                # moments.
                parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Change the weights by their gradients."""
        for group in self.groups:
            moved: list[Tensor] = [p for p in group.parameters if p.grad is not None]
            if not moved:
                continue
            moments = [self._moments(p) for p in moved]
            steps = [m["step"] for m in moments]
            # All parameters of a group in one call: of a small model the calls are most of a step.
            torch._foreach_add_(steps, 1)
            torch._fused_adamw_(
                moved,
                [p.grad for p in moved if p.grad is not None],
                [m["exp_avg"] for m in moments],
                [m["exp_avg_sq"] for m in moments],
                [],
                steps,
                lr=self.lr / self.layer_factor**group.depth,
                beta1=self.betas[0],
                beta2=self.betas[1],
                weight_decay=group.weight_decay,
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
    groups: dict[tuple[int, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        matrix = parameter.ndim >= 2 and id(parameter) not in embeddings
        decay = settings.weight_decay if matrix else 0.0
        # In one group where depth decides nothing: fewer groups, fewer calls of the kernel.
        depth = depth_of(name, model) if settings.layer_factor > 1 or settings.unfreeze else 0
        groups.setdefault((depth, decay), []).append(parameter)
    made = [Group(parameters, decay, depth) for (depth, decay), parameters in groups.items()]
    betas = (settings.beta1, settings.beta2)
    return AdamW(made, settings.lr, betas, settings.layer_factor)


def depth_of(name: str, model: nn.Module) -> int:
    """Layers between a parameter and the output: 0 there, the embedding is the farthest."""
    layers = getattr(model, "recurrent").num_layers  # noqa: B009 - any model of ours
    if name.startswith("embedding."):
        return int(layers) + 1
    inside = _LAYER.search(name)
    return int(layers) - int(inside[1]) if inside else 0


def clip(parameters: Iterable[Tensor], largest: float) -> float:
    """Scale gradients so that their joint norm is at most `largest`; return the norm before.

    A norm that is not finite leaves the gradients alone: the caller steps back.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = float(torch.nn.utils.get_total_norm(gradients, foreach=True))
    if math.isfinite(norm) and norm > largest:
        torch._foreach_mul_(gradients, largest / norm)
    return norm
