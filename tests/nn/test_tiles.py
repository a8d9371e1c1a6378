"""Compiled products and whole-sequence passes: the same numbers as PyTorch's, at awkward sizes."""

from __future__ import annotations

import pytest
import torch

from rnnctl.nn.recurrent import Recurrent

pytest.importorskip("numba")

from rnnctl import machine
from rnnctl.nn.cpu import layer, tiles
from rnnctl.nn.cpu.compiling import compile_passes
from rnnctl.nn.cpu.tiles import HALF_SHAPE, SHAPES, Shape
from rnnctl.nn.cpu.weight_gradients import BREADTH, weight_gradients


def tile(name: str, shape: Shape) -> object:
    """Tiles of lesser processors run on any: so Arm's arithmetic is tested here, not its speed."""
    needed = "avx512bf16" if shape.half else "avx512" if shape.lanes == 16 else "generic"
    missing = needed not in machine.levels() or machine.outranks(needed, machine.level())
    reason = f"no {needed} here: {machine.described()}"
    return pytest.param(shape, id=name, marks=pytest.mark.skipif(missing, reason=reason))


TILES = [tile(name, SHAPES[name]) for name in ("avx512", "avx2", "neon")]
TILES.append(tile("bf16", HALF_SHAPE))


def draw(*shape: int, half: bool) -> torch.Tensor:
    values = torch.randn(*shape)
    return values.bfloat16() if half else values


@pytest.mark.parametrize("shape", TILES)
@pytest.mark.parametrize(
    ("rows", "inner", "width"), [*((n, 10, 40) for n in range(1, 9)), (15, 34, 70), (1, 6, 1)]
)
def test_a_product_is_that_of_float64(shape: Shape, rows: int, inner: int, width: int) -> None:
    """Every number of rows of a tile, more than one tile, and columns that fill no panel."""
    torch.manual_seed(0)
    a, b = draw(rows, inner, half=shape.half), draw(inner, width, half=shape.half)
    start = torch.zeros(shape.columns(width))
    start[:width] = torch.randn(width)
    result = torch.zeros(rows, len(start))
    blocks = shape.panels(b)
    places = (a.data_ptr(), inner * a.itemsize, 4, blocks.data_ptr(), start.data_ptr(), 0)
    sizes = (rows, blocks.shape[0], blocks.shape[1])
    tiles.multiplier(shape)(*places, result.data_ptr(), 4 * len(start), *sizes)
    expected = a.double() @ b.double() + start[:width]
    assert float((result[:, :width] - expected).norm() / expected.norm()) < 1e-6


@pytest.mark.parametrize("shape", TILES)
@pytest.mark.parametrize(("rows", "width"), [(1301, 21), (3, 2 * BREADTH + 1), (1, 5), (0, 5)])
def test_sums_over_many_rows_are_those_of_float64(shape: Shape, rows: int, width: int) -> None:
    """More rows or columns than are packed at a time, odd numbers of them, no whole panels."""
    torch.manual_seed(0)
    outer, inner, other = (draw(rows, size, half=shape.half) for size in (width, 70, 33))
    for inners in ((inner,), (inner, other)):
        *products, total = weight_gradients(shape, outer, *inners)
        wide = [*(factor.double() for factor in inners), torch.ones(rows, 1).double()]
        expected = [outer.double().t() @ factor for factor in wide]
        for ours, wanted in zip([*products, total[:, None]], expected, strict=True):
            assert ours.shape == wanted.shape
            assert float((ours - wanted).norm()) <= 2e-6 * float(wanted.norm())


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.skipif(tiles.shape_for(torch.float32) is None, reason="no tiles here")
def test_the_number_of_threads_changes_no_bit(cell: str) -> None:
    """Streams do not touch each other, and every sum over them is in one order."""
    torch.manual_seed(0)
    model, inputs = Recurrent(cell, 5, 6, engine="fused"), torch.randn(9, 7, 5)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            outputs, _ = model(inputs)
            gradients = torch.autograd.grad(outputs.square().sum(), list(model.parameters()))
            found.append([outputs, *gradients[:2]])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [10, 11])
def test_step_by_step_gives_the_same(
    cell: str, dtype: torch.dtype, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What machines without these instructions run, with state, starts and odd sizes."""
    torch.manual_seed(0)
    model = Recurrent(cell, 7, size, 2, engine="fused")
    inputs, starts = torch.randn(12, 5, 7, requires_grad=True), torch.rand(12, 5) < 0.2
    state = tuple(torch.randn_like(part) for part in model.initial_state(5))
    found = []
    for whole in (True, False):
        if not whole:
            monkeypatch.setattr(layer, "shape_for", lambda dtype: None)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            outputs, final = model(inputs, state, starts)
        total = outputs.float().square().sum() + sum(part.sum() for part in final)
        found.append([outputs, *torch.autograd.grad(total, [inputs, *model.parameters()])])
    for ours, theirs in zip(*found, strict=True):
        difference = (ours.float() - theirs.float()).norm() / theirs.float().norm()
        assert float(difference.detach()) < (1e-5 if dtype == torch.float32 else 2e-2)


def test_all_rows_are_shared_out() -> None:
    """Each once, whatever the number of rows and threads."""
    import numpy as np

    passes = compile_passes(_count, "test", {})
    before = torch.get_num_threads()
    try:
        for threads, rows in ((1, 3), (2, 7), (2, 1), (4, 9)):
            torch.set_num_threads(threads)
            seen = np.zeros(rows, np.int64)
            passes(rows, seen)
            assert seen.tolist() == [1] * rows
    finally:
        torch.set_num_threads(before)


def _count(first: int, last: int, seen: object) -> None:
    for row in range(first, last):
        seen[row] += 1  # type: ignore[index]
