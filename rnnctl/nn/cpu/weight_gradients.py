"""Sums of outer products over many rows, as a weight's gradient is, from `tiles`.

Both factors are packed as it goes along. Axes: N rows summed over, M and K columns of the factors,
U units (N in fp32, N/2 in bf16).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rnnctl.nn.cpu.arithmetic import get
from rnnctl.nn.cpu.compiling import (
    UNBOUND,
    Passes,
    address,
    as_array,
    compile_bound,
    compile_passes,
)
from rnnctl.nn.cpu.tiles import Shape, multiplier

# A panel of so many units (16 KB with AVX-512) fits into the nearest cache, and so many units of so
# many columns (512 KB) into the next one.
DEPTH = 128  # units that are packed at a time
BREADTH = 1024  # columns of the transposed factor that are packed at a time

multiply = pack = pack_panels = add_block = ROWS = WIDTH = UNBOUND


def _pack_floats(matrix: Any, first: Any, column: Any, width: Any, packed: Any, sums: Any) -> Any:
    """Rows from `first` on, `width` columns -> packed (U, W) words; 0 beyond the columns.

    Each column is added to its number in sums (width,), where there are any.
    """
    floats = packed.view(np.float32)
    for k in range(packed.shape[0]):
        row, out = matrix[first + k, column : column + width], floats[k]
        for j in range(row.shape[0]):
            out[j] = row[j]
        for j in range(row.shape[0], out.shape[0]):
            out[j] = 0
        for j in range(sums.shape[0]):
            sums[j] += row[j]


def _pack_halves(matrix: Any, first: Any, column: Any, width: Any, packed: Any, sums: Any) -> Any:
    """As `_pack_floats`, two rows at a time, interleaved; 0 beyond the rows too."""
    for k in range(packed.shape[0]):
        n, out = first + 2 * k, packed[k]
        low = matrix[n, column : column + width]
        if n + 1 < matrix.shape[0]:
            high = matrix[n + 1, column : column + width]
            for j in range(low.shape[0]):
                out[j] = np.uint32(low[j]) | (np.uint32(high[j]) << np.uint32(16))
            for j in range(sums.shape[0]):
                sums[j] += get(low, j) + get(high, j)
        else:
            for j in range(low.shape[0]):
                out[j] = np.uint32(low[j])
            for j in range(sums.shape[0]):
                sums[j] += get(low, j)
        for j in range(low.shape[0], out.shape[0]):
            out[j] = 0


def _pack_panels(matrix: Any, n: Any, units: Any, count: Any, packed: Any) -> Any:
    """Rows from n on -> panels (P, U, W), one after the other in packed; their address."""
    panels = packed[: count * units * WIDTH].reshape((count, units, WIDTH))
    no_sums = np.empty(0, np.float32)
    for panel in range(count):
        pack(matrix, n, panel * WIDTH, WIDTH, panels[panel], no_sums)
    return address(panels)


def _add_block(a: Any, a_unit: Any, b: Any, c: Any, m: Any, rows: Any, units: Any) -> Any:
    """So many rows of c from m on += a^T b, a and b packed, by their addresses."""
    to, stride = address(c[m:]), c.strides[0]
    multiply(a, 4, a_unit, b, to, stride, to, stride, rows, c.shape[1] // WIDTH, units)


def _add_products(
    first: Any, last: Any, a: Any, b: Any, c: Any, b2: Any, c2: Any, sums: Any, size: Any
) -> Any:
    """Blocks of `ROWS` rows of c (M, W P) += a^T b: a (N, M), b (N, K); `size` of them make a word.

    The same for b2 and c2, and sums (M,) += the sum of a over N, where they are not empty.
    """
    count, count2 = c.shape[1] // WIDTH, c2.shape[1] // WIDTH
    first, last = first * ROWS, min(last * ROWS, c.shape[0])
    b_packed = np.empty(count * DEPTH * WIDTH, np.uint32)
    b2_packed = np.empty(count2 * DEPTH * WIDTH, np.uint32)
    # Rows longer than needed: powers of two would all fall on the same lines of the cache.
    a_packed = np.empty((DEPTH, min(BREADTH, last - first) + WIDTH), np.uint32)
    some = np.empty(min(BREADTH, last - first) if sums.shape[0] > 0 else 0, np.float32)
    # Each thread has rows of c of its own and goes through all of N: nobody else adds to its sums,
    # which need no lock and come out the same whatever the number of threads.
    for n in range(0, a.shape[0], DEPTH * size):
        units = min(DEPTH, (a.shape[0] - n + size - 1) // size)
        panels = pack_panels(b, n, units, count, b_packed)
        panels2 = pack_panels(b2, n, units, count2, b2_packed)
        for block in range(first, last, BREADTH):
            end = min(block + BREADTH, last)
            # Sums of sums lose less: the whole is added up from what these few rows come to.
            some[:] = 0
            pack(a, n, block, end - block, a_packed[:units], some[: end - block])
            for j in range(min(some.shape[0], end - block)):
                sums[block + j] += some[j]
            for m in range(block, end, ROWS):
                at, rows = address(a_packed) + 4 * (m - block), min(ROWS, end - m)
                add_block(at, a_packed.strides[0], panels, c, m, rows, units)
                add_block(at, a_packed.strides[0], panels2, c2, m, rows, units)


@cache
def _adder(shape: Shape) -> Passes:
    sizes = {"ROWS": shape.rows, "WIDTH": shape.width}
    pack = compile_bound(_pack_halves if shape.half else _pack_floats, shape.label, {})
    pack_panels = compile_bound(_pack_panels, shape.label, {"pack": pack, **sizes})
    add_block = compile_bound(_add_block, shape.label, {"multiply": multiplier(shape), **sizes})
    names = {"pack": pack, "pack_panels": pack_panels, "add_block": add_block}
    return compile_passes(_add_products, shape.label, {**names, **sizes})


def _add(
    shape: Shape, outer: Tensor, inners: Sequence[Tensor], into: Sequence[Tensor], sums: Tensor
) -> None:
    """`_add_products` for two inner factors and what their products are added to."""
    a, b, b2 = (as_array(part.contiguous()) for part in (outer, *inners))
    c, c2, total = (as_array(part) for part in (*into, sums))
    size = 2 if shape.half else 1
    _adder(shape)(-(-len(c) // shape.rows), a, b, c, b2, c2, total, size)


def add_weight_gradient(shape: Shape, total: Tensor, outer: Tensor, inner: Tensor) -> None:
    """total (M, K) in fp32 += outer^T inner: outer (N, M), inner (N, K).

    K must be a number of whole panels: `shape.columns(K)` is K.
    """
    nothing = total.new_empty(len(total), 0)
    _add(shape, outer, (inner, inner[:, :0]), (total, nothing), total.new_empty(0))


def weight_gradients(
    shape: Shape, outer: Tensor, inner: Tensor, second: Tensor | None = None
) -> tuple[Tensor, ...]:
    """outer (N, M), inner (N, K) -> outer^T inner (M, K), the sum of outer over N (M,); in fp32.

    With a second inner one its product stands between: outer is gone through once for both.
    """
    inners = (inner, inner[:, :0] if second is None else second)
    into = [torch.zeros(outer.shape[1], shape.columns(part.shape[1])) for part in inners]
    sums = torch.zeros(outer.shape[1])
    _add(shape, outer, inners, into, sums)
    products = [c[:, : part.shape[1]] for c, part in zip(into, inners, strict=True)]
    return (products[0], sums) if second is None else (*products, sums)
