"""Arithmetic for numba: the functions that `cells` needs, on single floats, and bf16 storage.

Everything is inlined into the passes of `steps`, where LLVM makes vector instructions of it.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.extending import intrinsic, overload

from rnnctl.nn.cpu.compiling import OPTIONS, inline, multiply_add

ONE = np.float32(1)
HALF = np.float32(0.5)

# Rational approximation of tanh in fp32 as in Eigen (generic_fast_tanh_float): odd polynomial of
# degree 13 over an even one of degree 6, within 3 units in the last place; 1 beyond the limit.
_LIMIT = np.float32(7.90531110763549805)
_P1, _P3, _P5, _P7, _P9, _P11, _P13 = (
    np.float32(value)
    for value in (
        4.89352455891786e-03,
        6.37261928875436e-04,
        1.48572235717979e-05,
        5.12229709037114e-08,
        -8.60467152213735e-11,
        2.00018790482477e-13,
        -2.76076847742355e-16,
    )
)
_Q0, _Q2, _Q4, _Q6 = (
    np.float32(value)
    for value in (
        4.89352518554385e-03,
        2.26843463243900e-03,
        1.18534705686654e-04,
        1.19825839466702e-06,
    )
)


@inline
def _tanh(value: Any) -> Any:
    # Beyond the limit the fraction would leave -1 to 1, and a gate must not.
    x = -_LIMIT if value < -_LIMIT else value  # in this form NaN stays NaN
    x = _LIMIT if x > _LIMIT else x
    s = x * x
    p = multiply_add(_P13, s, _P11)
    p = multiply_add(p, s, _P9)
    p = multiply_add(p, s, _P7)
    p = multiply_add(p, s, _P5)
    p = multiply_add(p, s, _P3)
    p = multiply_add(p, s, _P1)
    q = multiply_add(_Q6, s, _Q4)
    q = multiply_add(q, s, _Q2)
    q = multiply_add(q, s, _Q0)
    return p * x / q


@inline
def _sigmoid(value: Any) -> Any:
    # By tanh: no exponential that could overflow. Near 0 few digits are right, but a gate's value
    # is a factor, of which only the absolute error counts.
    return multiply_add(HALF, _tanh(HALF * value), HALF)


@inline
def _relu(value: Any) -> Any:
    # In this form NaN stays NaN: a training that diverges must be seen to do so.
    return np.float32(0) if value < np.float32(0) else value


@inline
def _complement(value: Any) -> Any:
    return ONE - value


@inline
def _sigmoid_slope(value: Any) -> Any:
    return value * (ONE - value)


@inline
def _tanh_slope(value: Any) -> Any:
    return ONE - value * value


@inline
def _positive(value: Any) -> Any:
    return ONE if value > np.float32(0) else np.float32(0)


ARITHMETIC = {
    "tanh": _tanh,
    "sigmoid": _sigmoid,
    "relu": _relu,
    "complement": _complement,
    "sigmoid_slope": _sigmoid_slope,
    "tanh_slope": _tanh_slope,
    "positive": _positive,
}


# bf16 is the upper half of a float; numba has no such type, so it is seen as uint16.

WORD = ir.IntType(32)


@intrinsic
def _widen(context: Any, value: Any) -> Any:
    """uint16 holding a bf16 -> float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        # The sign and the exponent are those of the float: it has only more digits, which are 0.
        word = builder.shl(builder.zext(arguments[0], WORD), ir.Constant(WORD, 16))
        return builder.bitcast(word, ir.FloatType())

    return numba.float32(numba.uint16), generate


@intrinsic
def _narrow(context: Any, value: Any) -> Any:
    """float32 -> uint16 holding the nearest bf16, ties to even."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = builder.bitcast(arguments[0], WORD)
        # Half of the last place that is kept is added, but a bit less where that place is even: so
        # what lies in the middle goes to the even neighbour, and errors do not add up one way.
        odd = builder.and_(builder.lshr(word, ir.Constant(WORD, 16)), ir.Constant(WORD, 1))
        word = builder.add(builder.add(word, ir.Constant(WORD, 0x7FFF)), odd)
        return builder.trunc(builder.lshr(word, ir.Constant(WORD, 16)), ir.IntType(16))

    return numba.uint16(numba.float32), generate


widen: Any = _widen
narrow: Any = _narrow


# One name for both precisions: which of the two functions is meant, numba decides by the array's
# dtype when it compiles, and nothing is asked at run time.


def get(row: Any, j: Any) -> Any:
    """row[j] as float32."""


@overload(get, inline="always", jit_options=OPTIONS)
def _get_typed(row: Any, j: Any) -> Any:
    def get_half(row: Any, j: Any) -> Any:
        return widen(row[j])

    def get_float(row: Any, j: Any) -> Any:
        return row[j]

    return get_half if row.dtype == numba.uint16 else get_float


def put(row: Any, j: Any, value: Any) -> Any:
    """row[j] = value, rounded to what the row holds."""


@overload(put, inline="always", jit_options=OPTIONS)
def _put_typed(row: Any, j: Any, value: Any) -> Any:
    def put_half(row: Any, j: Any, value: Any) -> Any:
        row[j] = narrow(value)

    def put_float(row: Any, j: Any, value: Any) -> Any:
        row[j] = value

    return put_half if row.dtype == numba.uint16 else put_float
