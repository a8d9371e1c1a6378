"""Cross-entropy over a vocabulary in nats, without ever holding all logits.

For a slice of the tokens at a time: logits z, then in their place e = exp(z - max z), from whose
row sums the losses follow; then the gradients, at once. The gradient of sum(-log p(target)) is
p - onehot with p = e / sum(e). Neither p nor the one-hot part is ever written: the row sums divide
the small factors of the products instead, and the targets' rows are corrected afterwards. The bias
is the weight of one more feature that is always 1.

Axes: N tokens, F features, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import cross_entropy, linear, pad

from rnnctl.data.batches import NO_TARGET
from rnnctl.nn.engines import fused_available, product_dtype
from rnnctl.nn.products import can_pack, packed, transposed, weight_gradient

SLICE = 1 << 24  # bytes of logits held at once
LARGE = 1 << 10  # vocabularies from which the sliced loss and compiled passes pay
_ALIGN = 32  # features are padded to a multiple of this, for the vector units


def summed_loss(features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """features (N, F), weight (V, F), bias (V,), targets (N,) -> summed nats, a scalar in fp32.

    Targets NO_TARGET do not count. float64 stays float64. Products are in bf16 under autocast, sums
    in fp32 at least.
    """
    if len(weight) < LARGE and 4 * len(features) * len(weight) <= SLICE:
        logits = _at_least_float(linear(features, weight, bias))
        return cross_entropy(logits, targets, ignore_index=NO_TARGET, reduction="sum")
    dtype = product_dtype(features)
    with torch.autocast(features.device.type, enabled=False):
        nats: Tensor = _SlicedLoss.apply(  # type: ignore[no-untyped-call]
            features, weight, bias, targets, dtype
        )
    return nats


def token_losses(
    features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, *, compiled: bool = False
) -> Tensor:
    """As `summed_loss`, but the nats of every token (N,), 0 where there is no target. No gradient.

    The logits are made for a slice of the tokens at a time. `compiled`: by compiled passes, where
    there are any, even if the vocabulary is too small to be worth loading them.
    """
    dtype = product_dtype(features)
    with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
        w, f = weight.detach().to(dtype), features.detach().to(dtype)
        rows = _slice_rows(f, w)
        logits = packed(w, rows, bias.detach().to(dtype))
        slices = zip(torch.split(f, rows), torch.split(targets, rows), strict=True)
        least = 0 if compiled else LARGE
        losses = [_exponentials(logits(part), wanted, least)[0] for part, wanted in slices]
    # An overflow at a place without a target, such as padding, is no concern of anyone's.
    return torch.cat(losses).masked_fill(targets == NO_TARGET, 0.0)


def token_distributions(
    features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, *, top: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What is expected before every token: nats of the target (N,), entropy in nats (N,), the
    `top` likeliest tokens (N, top) and their probabilities (N, top). No gradient.

    The logits are those of `token_losses`; sums over the vocabulary are in fp32 at least.
    """
    dtype = product_dtype(features)
    parts = []
    with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
        w, f = weight.detach().to(dtype), features.detach().to(dtype)
        rows = _slice_rows(f, w)
        logits = packed(w, rows, bias.detach().to(dtype))
        for part, wanted in zip(torch.split(f, rows), torch.split(targets, rows), strict=True):
            z = _at_least_float(logits(part))
            z -= z.amax(1, keepdim=True)
            nats = -z.gather(1, wanted.unsqueeze(1)).squeeze(1)
            best, likeliest = z.topk(min(top, z.shape[1]), dim=1)
            e = z.exp()
            sums = e.sum(1)
            whole = sums.log()
            entropy = whole - z.mul_(e).sum(1) / sums  # ln S - sum(e z) / S
            parts.append((nats + whole, entropy, likeliest, best.exp() / sums.unsqueeze(1)))
    found = [torch.cat(some) for some in zip(*parts, strict=True)]
    return found[0], found[1], found[2], found[3]


class _SlicedLoss(torch.autograd.Function):
    """The loss and, in the same go, its gradients, which `backward` only scales."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Tensor,
        dtype: torch.dtype,
    ) -> Tensor:
        w, f = _augmented(weight, bias, dtype), _with_one(features, dtype)
        rows = _slice_rows(f, w)
        logits, back = packed(w, rows), transposed(w, rows)
        exact = torch.float64 if dtype == torch.float64 else torch.float32
        df = torch.empty(f.shape, dtype=exact, device=f.device)
        dw = torch.zeros(w.shape, dtype=exact, device=f.device)
        total = torch.zeros((), dtype=exact, device=f.device)
        for first in range(0, len(f), rows):
            part, wanted = f[first : first + rows], targets[first : first + rows]
            e = logits(part)  # (n, V), overwritten below; nothing of that size is kept
            nats, inverse = _exponentials(e, wanted, LARGE)
            total += nats.sum()
            # Divided after the product, which is (n, F) and not (n, V).
            df[first : first + rows] = back(e).to(exact) * inverse
            _add_weight_gradient(dw, e, (part.to(exact) * inverse).to(dtype))
            del e  # before the next slice needs as much
        _subtract_targets(df, dw, f, w, targets)
        # The gradients are known already; `backward` only multiplies them by what comes from above.
        ctx.save_for_backward(df, dw)
        ctx.size, ctx.dtypes = features.shape[1], (features.dtype, weight.dtype, bias.dtype)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> Any:
        df, dw = ctx.saved_tensors
        size, (features, weight, bias) = ctx.size, ctx.dtypes
        return (
            (df[:, :size] * scale).to(features),
            (dw[:, :size] * scale).to(weight),
            (dw[:, size] * scale).to(bias),
            None,
            None,
        )


def _at_least_float(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _slice_rows(features: Tensor, weight: Tensor) -> int:
    """How many tokens at a time, in slices of nearly equal size."""
    most = max(1, SLICE // (len(weight) * weight.itemsize))
    slices = -(-len(features) // most)
    return -(-len(features) // slices)


def _padding(size: int) -> int:
    return -(size + 1) % _ALIGN


def _augmented(weight: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
    """(V, F) and (V,) -> (V, F + 1 + padding)."""
    size = weight.shape[1]
    w = torch.zeros(len(weight), size + 1 + _padding(size), dtype=dtype, device=weight.device)
    w[:, :size], w[:, size] = weight.detach(), bias.detach()
    return w


def _with_one(features: Tensor, dtype: torch.dtype) -> Tensor:
    """(N, F) -> (N, F + 1 + padding), the bias's feature being 1."""
    f = pad(features.to(dtype), (0, 1 + _padding(features.shape[1])))
    f[:, features.shape[1]] = 1
    return f


def _exponentials(logits: Tensor, targets: Tensor, least: int) -> tuple[Tensor, Tensor]:
    """logits (n, V), overwritten by exp(z - max z), targets (n,) -> nats (n,), 1 / row sum (n, 1).

    Both are 0 where there is no target. `least`: the vocabulary from which passes are compiled.
    """
    if _compiled(logits, least):
        from rnnctl.nn.cpu.softmax import exponentials  # imports numba

        return exponentials(logits, targets)
    z = _at_least_float(logits)
    z = z - z.amax(1, keepdim=True)
    has_target = (targets != NO_TARGET).unsqueeze(1)
    wanted = z.gather(1, targets.clamp_min(0).unsqueeze(1))
    logits.copy_(z.exp_())
    sums = z.sum(1, keepdim=True)
    return ((sums.log() - wanted) * has_target).squeeze(1), has_target / sums


def _add_weight_gradient(total: Tensor, e: Tensor, features: Tensor) -> None:
    """total (V, F') += e^T features, in fp32 at least."""
    if _compiled(e, LARGE):
        from rnnctl.nn.cpu.tiles import shape_for  # imports numba
        from rnnctl.nn.cpu.weight_gradients import add_weight_gradient

        shape = shape_for(e.dtype)
        if shape is not None:
            add_weight_gradient(shape, total, e, features)
            return
    total += weight_gradient(e, features)


def _compiled(logits: Tensor, least: int) -> bool:
    """Whether compiled passes exist, and pay for logits (n, V) as they do from `least` on."""
    return logits.shape[1] >= least and fused_available() and can_pack(logits)


def _subtract_targets(df: Tensor, dw: Tensor, f: Tensor, w: Tensor, targets: Tensor) -> None:
    """The one-hot part of the gradient: df (N, F'), dw (V, F') in place."""
    index = (targets != NO_TARGET).nonzero().squeeze(1)
    wanted = targets[index]
    df[index] -= w[wanted].to(df.dtype)
    dw.index_add_(0, wanted, f[index].to(dw.dtype), alpha=-1)
