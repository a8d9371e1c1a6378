"""Matrix products inside compiled passes, for AVX-512: register tiles of 8 rows by 32 columns.

A product of a few rows with a small matrix takes microseconds, less than the way to a library and
back and the barrier after it. Here it is a few instructions within the pass that needs it. The
numbers of the sum are taken in *units* of four bytes, one fp32 or two neighbouring bf16; beyond
that the two differ by one instruction. On two AMD Zen 5 cores a tile reaches 240 GFLOP/s per core
in fp32 and 500 in bf16, where oneDNN's best on both together is 430 and 750.

Axes: M rows, K summed over, N columns, U units (K in fp32, K/2 in bf16), P panels of 32 columns.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numba
import torch
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor
from torch.nn.functional import pad

from rnnctl import machine
from rnnctl.nn.lanes import WORD, compile_bound

WIDTH = 32  # columns of a tile, and of a panel
ROWS = 8  # rows of a tile
_LANES, _VECTORS, _BYTES = 16, 2, 64
_PANEL_UNIT = _BYTES * _VECTORS

_ADDRESS, _FLOAT = ir.IntType(64), ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, _LANES)


class _Half(ir.types.Type):  # type: ignore[misc]
    """LLVM's bfloat, which llvmlite has no name for."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Half)

    def __hash__(self) -> int:
        return hash(_Half)


_HALVES = ir.VectorType(_Half(), 2 * _LANES)


def available(dtype: torch.dtype) -> bool:
    """Whether tiles are the fastest products here: AVX-512 for fp32; for bf16 its dot product.

    Where there are matrix units (AMX), oneDNN's bf16 products are faster.
    """
    settings: Any = numba.config
    if settings.CPU_NAME is not None:  # numba was told to compile for another processor
        return False
    if dtype == torch.bfloat16:
        return machine.has_fast_bf16() and not machine.has_matrix_units()
    return dtype == torch.float32 and machine.level() in ("avx512", "avx512bf16")


def _multiply_add(builder: Any, half: bool) -> Callable[[Any, Any, Any], Any]:
    """(vector, vector, sums) -> sums + products: of 16 fp32, or of 16 pairs of bf16."""
    taken = _HALVES if half else _VECTOR
    name = "llvm.x86.avx512bf16.dpbf16ps.512" if half else "llvm.fma.v16f32"
    order = [_VECTOR, taken, taken] if half else [taken, taken, _VECTOR]
    module, kind = builder.module, ir.FunctionType(_VECTOR, order)
    function = cgutils.get_or_insert_function(module, kind, name)  # type: ignore[no-untyped-call]

    def apply(a: Any, b: Any, sums: Any) -> Any:
        if not half:
            return builder.call(function, [a, b, sums])
        return builder.call(function, [sums, *(builder.bitcast(v, _HALVES) for v in (a, b))])

    return apply


def _splat(builder: Any, value: Any) -> Any:
    nothing = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(nothing, value, ir.Constant(WORD, 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(WORD, _LANES), None))


def _generate_tile(builder: Any, arguments: Any, rows: int, half: bool) -> None:
    """The loop over units, all sums in registers; the arguments are those of `_tile`."""
    a, a_row, a_unit, b, start, start_row, c, c_row, units = arguments

    def offset(address: Any, bytes_: int) -> Any:
        return builder.add(address, ir.Constant(_ADDRESS, bytes_))

    def load(address: Any, kind: Any = _VECTOR) -> Any:
        return builder.load(builder.inttoptr(address, kind.as_pointer()), align=4)

    def lines(first: Any, stride: Any) -> list[Any]:
        places = [first]
        for _ in range(rows - 1):
            places.append(builder.add(places[-1], stride))
        return places

    a_rows = lines(ir.Constant(_ADDRESS, 0), a_row)
    places = [(row, _BYTES * v) for row in range(rows) for v in range(_VECTORS)]
    starts = lines(start, start_row)
    initial = [load(offset(starts[row], column)) for row, column in places]
    before, loop = builder.block, builder.append_basic_block("units")
    builder.branch(loop)
    builder.position_at_end(loop)
    left, at_a, at_b = (builder.phi(_ADDRESS) for _ in range(3))
    sums = [builder.phi(_VECTOR) for _ in places]
    vectors = [load(offset(at_b, _BYTES * v)) for v in range(_VECTORS)]
    add = _multiply_add(builder, half)
    after = []
    for row in range(rows):
        unit = _splat(builder, load(builder.add(at_a, a_rows[row]), _FLOAT))
        for v, vector in enumerate(vectors):
            after.append(add(unit, vector, sums[row * _VECTORS + v]))
    nexts = [offset(left, -1), builder.add(at_a, a_unit), offset(at_b, _BYTES * _VECTORS)]
    for phi, first, following in zip(
        [left, at_a, at_b, *sums], [units, a, b, *initial], [*nexts, *after], strict=True
    ):
        phi.add_incoming(first, before)
        phi.add_incoming(following, loop)
    done = builder.append_basic_block("done")
    builder.cbranch(builder.icmp_signed(">", nexts[0], ir.Constant(_ADDRESS, 0)), loop, done)
    builder.position_at_end(done)
    results = lines(c, c_row)
    for (row, column), value in zip(places, after, strict=True):
        target = builder.inttoptr(offset(results[row], column), _VECTOR.as_pointer())
        builder.store(value, target, align=4)


def _generate_tiles(builder: Any, arguments: Any, half: bool) -> None:
    """A tile for each number of rows, and a jump to the one that is wanted."""
    rows, *places = arguments
    ends = builder.append_basic_block("end")
    switch = builder.switch(rows, ends)
    for count in range(1, ROWS + 1):
        block = builder.append_basic_block(f"rows{count}")
        switch.add_case(ir.Constant(_ADDRESS, count), block)
        builder.position_at_end(block)
        _generate_tile(builder, places, count, half)
        builder.branch(ends)
    builder.position_at_end(ends)


def _tile(half: bool) -> Any:
    """c (rows, 32) = start + a b for one panel b and 1 to 8 rows.

    What is not a number of rows or units is an address, or a stride in bytes.
    """

    @intrinsic
    def tile(
        context: Any,
        rows: Any,
        a: Any,
        a_row: Any,
        a_unit: Any,
        b: Any,
        start: Any,
        start_row: Any,
        c: Any,
        c_row: Any,
        units: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _generate_tiles(builder, arguments, half)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 10), generate

    return tile


# The loops around a tile; their free names are bound by `multiplier`.

if TYPE_CHECKING:

    def _unbound(*arguments: Any) -> Any: ...

    tile = _unbound


def _multiply(
    a: Any,
    a_row: Any,
    a_unit: Any,
    b: Any,
    start: Any,
    start_row: Any,
    c: Any,
    c_row: Any,
    rows: Any,
    panels: Any,
    units: Any,
) -> None:
    for panel in range(panels):
        b_panel = b + panel * units * _PANEL_UNIT
        from_, to, at, left = start + panel * _PANEL_UNIT, c + panel * _PANEL_UNIT, a, rows
        while left > 0:
            done = min(left, ROWS)
            tile(done, at, a_row, a_unit, b_panel, from_, start_row, to, c_row, units)
            at, from_, to = at + done * a_row, from_ + done * start_row, to + done * c_row
            left -= done


@cache
def multiplier(half: bool) -> Any:
    """The compiled c = start + a b: a (M, U) by its address and strides, b in P panels.

    `start` and `c` are (M, 32 P) in fp32, by address and bytes from row to row (0: one row for
    all). Strides of `a` are in bytes too, so that a transposed matrix serves as well.
    """
    return compile_bound(_multiply, label(half), {"tile": _tile(half)})


def label(half: bool) -> str:
    """What the compiled code for a dtype is called."""
    return "bf16" if half else "fp32"


def columns(size: int) -> int:
    """The size rounded up to whole panels."""
    return -(-size // WIDTH) * WIDTH


def panels(matrix: Tensor) -> Tensor:
    """(K, N) -> (P, U, 32) words, padded with zeros."""
    words = _words(matrix) if matrix.dtype == torch.bfloat16 else matrix
    if words.shape[1] % WIDTH:
        words = pad(words, (0, -words.shape[1] % WIDTH))
    return words.reshape(len(words), -1, WIDTH).transpose(0, 1).contiguous()


def _words(matrix: Tensor) -> Tensor:
    """(K, N) in bf16 -> (U, N): rows 2k and 2k+1 as the halves of one word, shown as fp32."""
    if matrix.shape[0] % 2:
        matrix = pad(matrix, (0, 0, 0, 1))
    columns_first = matrix.t()
    if columns_first.is_contiguous() and columns_first.stride(0) % 2 == 0:
        return columns_first.view(torch.float32).t()
    halves = matrix.view(torch.int16).to(torch.int32)
    return ((halves[0::2] & 0xFFFF) | (halves[1::2] << 16)).view(torch.float32)
