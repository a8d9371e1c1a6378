"""Sums of outer products over many rows, as a weight's gradient is, from `tiles`.

Both factors are packed as it goes along. Axes: N rows summed over, M and K columns of the factors,
U units (N in fp32, N/2 in bf16).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from rnnctl.nn.lanes import address, as_array, compile_bound
from rnnctl.nn.team import Passes, compile_passes
from rnnctl.nn.tiles import ROWS, WIDTH, columns, label, multiplier

DEPTH = 128  # units that are packed at a time
BREADTH = 1024  # columns of the transposed factor that are packed at a time

if TYPE_CHECKING:

    def _unbound(*arguments: Any) -> Any: ...

    multiply = pack = _unbound


def _pack_floats(matrix: Any, first: Any, column: Any, width: Any, packed: Any) -> Any:
    """Rows from `first` on, `width` columns -> packed (U, W) words; 0 beyond the columns."""
    for k in range(packed.shape[0]):
        row, out = matrix[first + k, column : column + width], packed[k]
        for j in range(row.shape[0]):
            out[j] = row[j]
        for j in range(row.shape[0], out.shape[0]):
            out[j] = 0


def _pack_halves(matrix: Any, first: Any, column: Any, width: Any, packed: Any) -> Any:
    """As `_pack_floats`, two rows at a time, interleaved; 0 beyond the rows too."""
    for k in range(packed.shape[0]):
        n, out = first + 2 * k, packed[k]
        low = matrix[n, column : column + width]
        if n + 1 < matrix.shape[0]:
            high = matrix[n + 1, column : column + width]
            for j in range(low.shape[0]):
                out[j] = np.uint32(low[j]) | (np.uint32(high[j]) << np.uint32(16))
        else:
            for j in range(low.shape[0]):
                out[j] = np.uint32(low[j])
        for j in range(low.shape[0], out.shape[0]):
            out[j] = 0


def _add_products(first: Any, last: Any, a: Any, b: Any, c: Any, size: Any) -> Any:
    """Blocks of 8 rows of c (M, 32 P) += a^T b: a (N, M), b (N, K); `size` of them make a word."""
    count, stride = c.shape[1] // WIDTH, c.strides[0]
    first, last = first * ROWS, min(last * ROWS, c.shape[0])
    b_packed = np.empty(count * DEPTH * WIDTH, np.uint32)
    # Rows longer than needed: powers of two would all fall on the same lines of the cache.
    a_packed = np.empty((DEPTH, min(BREADTH, last - first) + WIDTH), np.uint32)
    for n in range(0, a.shape[0], DEPTH * size):
        units = min(DEPTH, (a.shape[0] - n + size - 1) // size)
        panels = b_packed[: count * units * WIDTH].reshape((count, units, WIDTH))
        for panel in range(count):
            pack(b, n, panel * WIDTH, WIDTH, panels[panel])
        for block in range(first, last, BREADTH):
            end = min(block + BREADTH, last)
            pack(a, n, block, end - block, a_packed[:units])
            for m in range(block, end, ROWS):
                at = address(c[m:])
                multiply(
                    *(address(a_packed) + 4 * (m - block), 4, a_packed.strides[0]),
                    *(address(panels), at, stride, at, stride, min(ROWS, end - m), count, units),
                )


@cache
def _adder(half: bool) -> Passes:
    pack = compile_bound(_pack_halves if half else _pack_floats, label(half), {})
    names = {"multiply": multiplier(half), "pack": pack}
    return compile_passes(_add_products, label(half), names)


def add_weight_gradient(total: Tensor, outer: Tensor, inner: Tensor) -> None:
    """total (M, `columns(K)`) in fp32 += outer^T inner: outer (N, M), inner (N, K)."""
    half = outer.dtype == torch.bfloat16
    words = [as_array(part.contiguous()) for part in (outer, inner)]
    words = words if half else [part.view(np.uint32) for part in words]
    _adder(half)(-(-len(total) // ROWS), *words, as_array(total), 2 if half else 1)


def weight_gradient(outer: Tensor, inner: Tensor) -> Tensor:
    """outer (N, M), inner (N, K) -> outer^T inner (M, K) in fp32, the sum over N."""
    total = torch.zeros(outer.shape[1], columns(inner.shape[1]))
    add_weight_gradient(total, outer, inner)
    return total[:, : inner.shape[1]]
