"""Matrix products inside compiled passes: register tiles, generated for each width of vectors.

A product of a few rows with a small matrix takes microseconds, less than the way to a library and
back and the barrier after it. Here it is a few instructions within the pass that needs it. One
generator writes the tile for every processor; a `Shape` is all in which they differ. The package's
page (`rnnctl.nn.cpu`) explains lanes, panels and tiles with an example.

The numbers of the sum are taken in *units* of four bytes: one fp32, or two neighbouring bf16.
Beyond that the two precisions differ by one instruction.

On two AMD Zen 5 cores a tile of AVX-512 reaches 240 GFLOP/s per core in fp32 and 500 in bf16, where
oneDNN's best on both together is 430 and 750.

Axes: M rows, K summed over, N columns, U units (K in fp32, K/2 in bf16), P panels of W columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numba
import torch
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor
from torch.nn.functional import pad

from rnnctl import machine
from rnnctl.nn.cpu.compiling import UNBOUND, compile_bound

FLOAT_BYTES = 4
_WORD, _ADDRESS, _FLOAT = ir.IntType(32), ir.IntType(64), ir.FloatType()


@dataclass(frozen=True, slots=True)
class Shape:
    """A tile: so many rows of `vectors` vectors of `lanes` fp32 numbers each, all in registers.

    Rows times vectors sums, the vectors of the panel and one number of `a` must fit into the
    processor's registers; and each vector that is loaded should serve many rows.
    """

    lanes: int
    vectors: int
    rows: int
    half: bool = False  # bf16 factors; sums are in fp32

    @property
    def width(self) -> int:
        """Columns of a tile, and of a panel."""
        return self.lanes * self.vectors

    @property
    def alone(self) -> Shape:
        """The tile for products of a single row, which reads each weight once.

        A sum waits four cycles for its next product, and two are begun in each: eight sums.
        """
        return replace(self, vectors=8, rows=1)

    @property
    def label(self) -> str:
        """What compiled code for this shape is called."""
        return f"{'bf16' if self.half else 'fp32'}_{self.lanes}x{self.vectors}x{self.rows}"

    def columns(self, size: int) -> int:
        """The size rounded up to whole panels."""
        return -(-size // self.width) * self.width

    def panels(self, matrix: Tensor) -> Tensor:
        """(K, N) -> (P, U, W) words, padded with zeros."""
        words = _words(matrix) if self.half else matrix
        if words.shape[1] % self.width:
            words = pad(words, (0, -words.shape[1] % self.width))
        return words.reshape(len(words), -1, self.width).transpose(0, 1).contiguous()


# By a processor's level. Vector registers: 32 of AVX-512, 16 of AVX2, 32 of 64-bit Arm. Needed are
# 8 x 2 sums, 2 vectors of the panel and one number of a: 19; with AVX2 6 x 2 + 3 = 15; on Arm
# 6 x 4 + 4 + 1 = 29. One sum more that finds no register is stored and loaded in every round.
SHAPES = {
    "avx512bf16": Shape(16, 2, 8),
    "avx512": Shape(16, 2, 8),
    "avx2": Shape(8, 2, 6),
    "neon": Shape(4, 4, 6),
}
HALF_SHAPE = Shape(16, 2, 8, half=True)  # the dot product of AVX-512's bf16


def shape_for(dtype: torch.dtype) -> Shape | None:
    """The tile for products in `dtype` here; None where a library is faster.

    That is on a processor without wide vectors; in bf16 without AVX-512's dot product, and where
    there are matrix units (AMX), with which oneDNN is faster.
    """
    if not _compiles_for_this_processor():
        return None
    if dtype == torch.float32:
        return SHAPES.get(machine.level())
    # Elsewhere bf16 would be widened before each product, and cost more than fp32.
    fast = dtype == torch.bfloat16 and machine.has_fast_bf16() and not machine.has_matrix_units()
    return HALF_SHAPE if fast else None


def _compiles_for_this_processor() -> bool:
    """Whether numba may use all that `machine.level` says; it can be told to compile for less."""
    settings: Any = numba.config
    return settings.CPU_NAME is None or machine.compiled_for() == settings.CPU_NAME


class _Half(ir.types.Type):  # type: ignore[misc]
    """LLVM's bfloat, which llvmlite has no name for."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Half)

    def __hash__(self) -> int:
        return hash(_Half)


def _multiply_add(builder: Any, shape: Shape) -> Callable[[Any, Any, Any], Any]:
    """(vector, vector, sums) -> sums + products: of one fp32 a lane, or of two bf16."""
    vector = ir.VectorType(_FLOAT, shape.lanes)
    if shape.half:
        halves = ir.VectorType(_Half(), 2 * shape.lanes)
        kind = ir.FunctionType(vector, [vector, halves, halves])
        name = f"llvm.x86.avx512bf16.dpbf16ps.{32 * shape.lanes}"
    else:
        kind = ir.FunctionType(vector, [vector, vector, vector])
        name = f"llvm.fma.v{shape.lanes}f32"
    function = cgutils.get_or_insert_function(builder.module, kind, name)  # type: ignore[no-untyped-call]

    def apply(a: Any, b: Any, sums: Any) -> Any:
        if not shape.half:
            return builder.call(function, [a, b, sums])
        return builder.call(function, [sums, *(builder.bitcast(v, halves) for v in (a, b))])

    return apply


def _generate_tile(builder: Any, arguments: Any, shape: Shape, rows: int) -> None:
    """The loop over units, all sums in registers; the arguments are those of `_tile`."""
    a, a_row, a_unit, b, start, start_row, c, c_row, units = arguments
    vector = ir.VectorType(_FLOAT, shape.lanes)
    vector_bytes = FLOAT_BYTES * shape.lanes

    def offset(address: Any, bytes_: int) -> Any:
        return builder.add(address, ir.Constant(_ADDRESS, bytes_))

    def load(address: Any, kind: Any) -> Any:
        # Only numbers are aligned: rows of h begin wherever the row before ends.
        return builder.load(builder.inttoptr(address, kind.as_pointer()), align=FLOAT_BYTES)

    def splat(value: Any) -> Any:
        nothing, first = ir.Constant(vector, ir.Undefined), ir.Constant(_WORD, 0)
        everywhere = ir.Constant(ir.VectorType(_WORD, shape.lanes), None)
        single = builder.insert_element(nothing, value, first)
        return builder.shuffle_vector(single, nothing, everywhere)

    def lines(first: Any, stride: Any) -> list[Any]:
        places = [first]
        for _ in range(rows - 1):
            places.append(builder.add(places[-1], stride))
        return places

    a_rows = lines(ir.Constant(_ADDRESS, 0), a_row)
    places = [(row, vector_bytes * v) for row in range(rows) for v in range(shape.vectors)]
    starts = lines(start, start_row)
    # Sums begin as what is to be added, a bias or what was summed before: that costs no extra pass.
    initial = [load(offset(starts[row], column), vector) for row, column in places]
    before, loop = builder.block, builder.append_basic_block("units")
    builder.branch(loop)
    builder.position_at_end(loop)
    left, at_a, at_b = (builder.phi(_ADDRESS) for _ in range(3))
    sums = [builder.phi(vector) for _ in places]
    loaded = [load(offset(at_b, vector_bytes * v), vector) for v in range(shape.vectors)]
    add = _multiply_add(builder, shape)
    after = []
    for row in range(rows):
        unit = splat(load(builder.add(at_a, a_rows[row]), _FLOAT))
        for v, part in enumerate(loaded):
            after.append(add(unit, part, sums[row * shape.vectors + v]))
    nexts = [offset(left, -1), builder.add(at_a, a_unit), offset(at_b, FLOAT_BYTES * shape.width)]
    for phi, first, following in zip(
        [left, at_a, at_b, *sums], [units, a, b, *initial], [*nexts, *after], strict=True
    ):
        phi.add_incoming(first, before)
        phi.add_incoming(following, loop)
    # Tested at the end of a round: there is at least one unit.
    done = builder.append_basic_block("done")
    builder.cbranch(builder.icmp_signed(">", nexts[0], ir.Constant(_ADDRESS, 0)), loop, done)
    builder.position_at_end(done)
    results = lines(c, c_row)
    for (row, column), value in zip(places, after, strict=True):
        target = builder.inttoptr(offset(results[row], column), vector.as_pointer())
        builder.store(value, target, align=FLOAT_BYTES)


def _generate_tiles(builder: Any, arguments: Any, shape: Shape) -> None:
    """A tile for each number of rows, and a jump to the one that is wanted."""
    rows, *places = arguments
    # Registers have no numbers that a loop could count through: the last rows of a share, which are
    # fewer, need code of their own.
    ends = builder.append_basic_block("end")
    switch = builder.switch(rows, ends)
    for count in range(1, shape.rows + 1):
        block = builder.append_basic_block(f"rows{count}")
        switch.add_case(ir.Constant(_ADDRESS, count), block)
        builder.position_at_end(block)
        _generate_tile(builder, places, shape, count)
        builder.branch(ends)
    builder.position_at_end(ends)


def _tile(shape: Shape) -> Any:
    """c (rows, W) = start + a b for one panel b and 1 to `shape.rows` rows.

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
            _generate_tiles(builder, arguments, shape)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 10), generate

    return tile


# The loops around a tile; their free names are bound by `multiplier`.

tile = TILE_ROWS = TILE_BYTES = UNBOUND


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
        b_panel = b + panel * units * TILE_BYTES
        # Panel by panel, and all rows with each: a panel fits into a near cache.
        from_, to, at, left = start + panel * TILE_BYTES, c + panel * TILE_BYTES, a, rows
        while left > 0:
            done = min(left, TILE_ROWS)
            tile(done, at, a_row, a_unit, b_panel, from_, start_row, to, c_row, units)
            at, from_, to = at + done * a_row, from_ + done * start_row, to + done * c_row
            left -= done


@cache
def multiplier(shape: Shape) -> Any:
    """The compiled c = start + a b: a (M, U) by its address and strides, b in P panels.

    `start` and `c` are (M, W P) in fp32, by address and bytes from row to row (0: one row for
    all). Strides of `a` are in bytes too, so that a transposed matrix serves as well.
    """
    sizes = {"TILE_ROWS": shape.rows, "TILE_BYTES": FLOAT_BYTES * shape.width}
    return compile_bound(_multiply, shape.label, {"tile": _tile(shape), **sizes})


def _words(matrix: Tensor) -> Tensor:
    """(K, N) in bf16 -> (U, N): rows 2k and 2k+1 as the halves of one word, shown as fp32."""
    if matrix.shape[0] % 2:
        matrix = pad(matrix, (0, 0, 0, 1))
    # A transposed weight has both halves of a word side by side already, and is only seen anew.
    columns_first = matrix.t()
    if columns_first.is_contiguous() and columns_first.stride(0) % 2 == 0:
        return columns_first.view(torch.float32).t()
    halves = matrix.view(torch.int16).to(torch.int32)  # with the sign, which the mask takes away
    return ((halves[0::2] & 0xFFFF) | (halves[1::2] << 16)).view(torch.float32)
