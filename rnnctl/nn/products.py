"""Matrix products by the fastest way there is: oneDNN with weights packed once, else `linear`.

On a CPU `torch.mm` in fp32 goes to MKL, which reaches 165 GFLOP/s on two AMD Zen 5 cores where
oneDNN reaches 310 to 430; a weight packed once saves another copy per product. The operators are
those that `torch.compile` uses, so they are looked for, not taken for granted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import linear

from rnnctl import machine

Product = Callable[[Tensor], Tensor]
Vector = NDArray[np.float32]
FEW = 2  # so few rows are a matrix-vector product
MANY = 1 << 14  # rows of a matrix from which such a product is faster by columns


@cache
def _onednn() -> Any:
    """The namespace of oneDNN's operators, or None where it lacks what is needed."""
    namespace = getattr(torch.ops, "mkldnn", None)
    needed = ("_reorder_linear_weight", "_linear_pointwise")
    if namespace is None or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return None
    return namespace if all(hasattr(namespace, name) for name in needed) else None


def can_pack(weight: Tensor) -> bool:
    """Whether products with this weight go through oneDNN: on a CPU fp32, and bf16 if it is fast.

    Where it is not, oneDNN refuses to pack such weights; `linear` has a slow way for any processor.
    """
    if weight.device.type != "cpu" or _onednn() is None:
        return False
    half = weight.dtype == torch.bfloat16
    return machine.has_fast_bf16() if half else weight.dtype == torch.float32


def packed(weight: Tensor, rows: int, bias: Tensor | None = None) -> Product:
    """weight (M, K), bias (M,) -> the function a (rows, K) -> a W^T + b (rows, M).

    The weight is copied into oneDNN's layout now: changing it later does not change the function.
    `rows` is what the layout is chosen for; other numbers work. For a row or two MKL is faster.
    """
    weight, bias = weight.detach(), None if bias is None else bias.detach()
    if not can_pack(weight) or (rows <= FEW and weight.dtype == torch.float32):
        return lambda a: linear(a, weight, bias)
    onednn = _onednn()
    reordered = onednn._reorder_linear_weight(weight.contiguous(), rows)
    multiply = onednn._linear_pointwise.default
    return lambda a: multiply(a, reordered, bias, "none", [], "")


def of_vector(weight: Tensor, bias: Tensor) -> Callable[[Vector], Vector]:
    """weight (M, K), bias (M,), fp32 on a CPU -> the function a (K,) -> W a + b (M,), in numpy.

    Where the weights are read once a product, it is as fast as the memory, and MKL is not.
    """
    w, b = weight.detach().numpy(), bias.detach().numpy()
    # By columns the result is added up in place, and each number of the vector is read once.
    if len(w) > MANY:
        w = np.ascontiguousarray(w.T).T

    def multiply(vector: Vector) -> Vector:
        result: Vector = w @ vector
        result += b
        return result

    return multiply


def transposed(weight: Tensor, rows: int) -> Product:
    """weight (M, K) -> the function a (rows, M) -> a W (rows, K), for one or a few large products.

    In bf16 `mm` is oneDNN's already and needs no packed copy of the transposed weight.
    """
    weight = weight.detach()
    if weight.dtype == torch.float32:
        return packed(weight.t(), rows)
    return lambda a: a @ weight


def weight_gradient(outer: Tensor, inner: Tensor) -> Tensor:
    """outer (N, M), inner (N, K) -> outer^T inner (M, K), the sum over N as one product."""
    # The sum runs over all steps and streams, thousands of rows: there oneDNN is far ahead of MKL.
    if outer.dtype == torch.float32 and can_pack(outer):
        like = outer.new_empty(outer.shape[1], inner.shape[1])
        gradient, _ = torch.ops.aten.mkldnn_linear_backward_weights(
            outer.to_mkldnn(), inner.to_mkldnn(), like, False
        )
        result: Tensor = gradient
        return result
    return outer.t() @ inner
