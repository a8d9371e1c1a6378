"""The elementwise part of a softmax over a large vocabulary, compiled: see `nn.softmax`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import numba
import numpy as np
import torch
from llvmlite import ir  # type: ignore[import-untyped]
from numba.extending import intrinsic
from torch import Tensor

from rnnctl.nn.cpu.arithmetic import WORD, get, put
from rnnctl.nn.cpu.compiling import (
    OPTIONS,
    Passes,
    as_array,
    compile_passes,
    inline,
    multiply_add,
)

# ln 2 in two parts, of which the first has so few digits that its products with whole numbers are
# exact (Cody & Waite): x - n ln 2 keeps its digits although the two are almost equal.
_LOG2E = np.float32(1.4426950408889634)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_HALF, _ONE, _LOWEST = np.float32(0.5), np.float32(1), np.float32(-87)
# Minimax polynomial for (exp(r) - 1 - r) / r^2 on |r| <= ln(2)/2, from Cephes (expf).
_C0, _C1, _C2, _C3, _C4, _C5 = (
    np.float32(value)
    for value in (
        1.9875691500e-4,
        1.3981999507e-3,
        8.3334519073e-3,
        4.1665795894e-2,
        1.6666665459e-1,
        5.0000001201e-1,
    )
)

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _jit(function: _Function) -> _Function:
    compiled: _Function = numba.njit(cache=True, **OPTIONS)(function)
    return compiled


def _jit_any_order(function: _Function) -> _Function:
    """Sums in any order, so that they too become vector instructions."""
    compiled: _Function = numba.njit(cache=True, **{**OPTIONS, "fastmath": True})(function)
    return compiled


@intrinsic
def _power_of_two(context: Any, exponent: Any) -> Any:
    """int32 n in -126…127 -> float32 2^n."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        biased = builder.add(arguments[0], ir.Constant(WORD, 127))
        return builder.bitcast(builder.shl(biased, ir.Constant(WORD, 23)), ir.FloatType())

    return numba.float32(numba.int32), generate


def _flip(builder: Any, word: Any) -> Any:
    """Turn the order of negative floats' bits round; undoes itself."""
    # Floats are a sign and a size: as integers, negative ones are ordered the wrong way round.
    sign = builder.ashr(word, ir.Constant(WORD, 31))
    return builder.xor(word, builder.and_(sign, ir.Constant(WORD, 0x7FFFFFFF)))


@intrinsic
def _bits(context: Any, value: Any) -> Any:
    """float32 -> int32 in the same order: maxima of integers become vector instructions."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _flip(builder, builder.bitcast(arguments[0], WORD))

    return numba.int32(numba.float32), generate


@intrinsic
def _unbits(context: Any, value: Any) -> Any:
    """The inverse of `_bits`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(_flip(builder, arguments[0]), ir.FloatType())

    return numba.float32(numba.int32), generate


power_of_two: Any = _power_of_two
bits: Any = _bits
unbits: Any = _unbits


@inline
def _exp(x: Any) -> Any:
    """exp(x) for x <= 0, within 2 units in the last place; e^-87 below -87."""
    # Below there are only numbers without a leading 1, which `power_of_two` cannot make; beside the
    # row's largest, e^0 = 1, they are nothing.
    x = max(x, _LOWEST)
    n = np.int32(multiply_add(x, _LOG2E, -_HALF))  # to the nearest, as x is not positive
    whole = np.float32(n)
    r = multiply_add(-whole, _LN2_LOW, multiply_add(-whole, _LN2_HIGH, x))
    p = multiply_add(_C0, r, _C1)
    p = multiply_add(p, r, _C2)
    p = multiply_add(p, r, _C3)
    p = multiply_add(p, r, _C4)
    p = multiply_add(p, r, _C5)
    return (multiply_add(p * r, r, r) + _ONE) * power_of_two(n)


# Three loops over the row and not one: each of them becomes vector instructions by itself, and a
# row of logits stays in a cache between them.


@_jit
def _largest(row: Any) -> Any:
    largest = bits(get(row, 0))
    for j in range(row.shape[0]):
        largest = max(largest, bits(get(row, j)))
    return unbits(largest)


@_jit
def _exponentiate(row: Any, largest: Any) -> Any:
    for j in range(row.shape[0]):
        put(row, j, _exp(get(row, j) - largest))


@_jit_any_order
def _sum(row: Any) -> Any:
    total = np.float32(0)
    for j in range(row.shape[0]):
        total += get(row, j)
    return total


def _rows(first: Any, last: Any, logits: Any, targets: Any, nats: Any, inverse: Any) -> Any:
    for n in range(first, last):
        row, target = logits[n], targets[n]
        if target < 0:
            nats[n] = inverse[n] = np.float32(0)
            continue
        # Relative to the largest, so that no logit is too large for exp: the loss stays the same.
        largest = _largest(row)
        # Before the row is overwritten by its exponentials.
        wanted = get(row, target) - largest
        _exponentiate(row, largest)
        total = _sum(row)
        nats[n] = np.log(total) - wanted
        inverse[n] = _ONE / total


@cache
def _passes() -> Passes:
    return compile_passes(_rows, "softmax", {})


def exponentials(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """As `nn.softmax._exponentials`, for fp32 and bf16 on a CPU, spread over torch's threads."""
    nats, inverse = torch.empty(len(logits)), torch.empty(len(logits), 1)
    results = as_array(nats), as_array(inverse)[:, 0]
    _passes()(len(logits), as_array(logits), as_array(targets), *results)
    return nats, inverse
