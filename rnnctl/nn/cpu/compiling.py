"""How functions become compiled passes, and how passes are shared out among threads.

numba compiles a Python function when it is first called and keeps the machine code on disk. Here
functions are templates: the loops are written once, with free names (`step`, `multiply`), and
`compile_bound` compiles them with a meaning for each name, a cell's equations or a tile.

numba's `omp` layer runs on the same OpenMP threads as PyTorch (both load one `libgomp`), which are
awake then: no thread waits for another one's core. Without that layer, and with one thread, a pass
is serial.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
import torch
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils
from numba.core import types as kinds
from numba.extending import intrinsic
from numpy.typing import NDArray
from torch import Tensor

from rnnctl import integrity

Array = NDArray[Any]
# nogil: other threads of Python go on meanwhile. numpy's error model: a division by zero is
# infinite; to test for it in every loop would keep the loop from becoming vector instructions.
# Nothing here lets the optimiser change a bit: it sees a function once more where another one calls
# it, but only in the process that compiles both. Where a product and a sum should become one
# instruction, `multiply_add` says so. (One function of `softmax` asks for sums in any order.)
OPTIONS: Any = {"nogil": True, "error_model": "numpy"}
Passes = Callable[..., None]  # (number of rows, what the pass takes after first and last)
_Function = TypeVar("_Function", bound=Callable[..., Any])
_SETTINGS: Any = numba.config


def inline(function: _Function) -> _Function:
    """Compile the function into whatever compiled function calls it."""
    compiled: _Function = numba.njit(inline="always", **OPTIONS)(function)
    return compiled


def bound(function: Any, label: str, names: dict[str, Any]) -> Any:
    """The same code with other meanings for its free names, and a name of its own.

    The name ends in a digest of this package's sources, so that these never find old compiled code.
    What is made of a cell has a digest of the cell's own file in its label, see `steps.label_of`.
    """
    free = {**function.__globals__, **names}
    made = types.FunctionType(function.__code__, free, function.__name__)
    made.__qualname__ = f"{label}{function.__name__}_{_digest()}"
    made.__module__ = function.__module__
    return made


def compile_bound(function: Any, label: str, names: dict[str, Any], **options: Any) -> Any:
    """The function with its free names bound, compiled on first use and cached on disk."""
    return numba.njit(cache=True, **OPTIONS, **options)(bound(function, label, names))


def try_compiling() -> None:
    """Compile and keep the smallest of functions. Raises whatever numba raises where it cannot."""
    compile_bound(_same, "trial", {})(1)


def _same(value: Any) -> Any:
    return value


@cache
def _digest() -> str:
    return _digest_of_files(*sorted(Path(__file__).parent.glob("*.py")))


@cache
def digest_of(function: Any) -> str:
    """A name for the content of the file in which the function is defined."""
    return integrity.digest_of_source(function)[:12]


def _digest_of_files(*paths: Path) -> str:
    return integrity.digest_of(path.read_bytes() for path in paths)[:12]


def as_array(values: Tensor) -> Array:
    """The same memory as a numpy array; bf16 is seen as uint16."""
    values = values.view(torch.uint16) if values.dtype == torch.bfloat16 else values
    array: Array = values.numpy()
    return array


@inline
def address(array: Any) -> Any:
    """Where the array's first number is."""
    return np.int64(array.ctypes.data)


@intrinsic
def _borrowed(context: Any, arguments: Any) -> Any:
    """The same tuple, whose arrays are not counted as owners of their memory.

    Each view of an array is an owner in numba, and owners are counted by one number for all
    threads: to take a row would be to wait for the other threads. Whoever calls keeps the arrays.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        borrowed = values[0]
        for place, kind in enumerate(arguments):
            if isinstance(kind, kinds.Array):
                value = builder.extract_value(borrowed, place)
                array = context.make_array(kind)(context, builder, value)
                array.meminfo = cgutils.get_null_value(array.meminfo.type)  # type: ignore[no-untyped-call]
                borrowed = builder.insert_value(borrowed, array._getvalue(), place)
        return borrowed

    return arguments(arguments), generate


@intrinsic
def _multiply_add(context: Any, a: Any, b: Any, c: Any) -> Any:
    """a · b + c of float32, rounded once on processors that can (FMA), twice on others."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FloatType()
        shape = ir.FunctionType(kind, [kind] * 3)
        fused = builder.module.declare_intrinsic("llvm.fmuladd", [kind], shape)
        return builder.call(fused, arguments)

    return kinds.float32(kinds.float32, kinds.float32, kinds.float32), generate


borrowed: Any = _borrowed
multiply_add: Any = _multiply_add
UNBOUND: Any = None
"""What the free names of a template are until `bound` gives them a meaning."""
rows_pass = UNBOUND


@cache
def _can_share() -> bool:
    try:
        import numba.np.ufunc.omppool  # noqa: F401
    except ImportError:  # not built, or no OpenMP library to load
        return False
    # numba chooses its layer with the first parallel pass, and for good.
    _SETTINGS.THREADING_LAYER = "omp"
    return True


def _shared(parts: Any, rows: Any, *arguments: Any) -> None:
    # As many parts as threads, which differ by a row at most: whoever is done first waits, once for
    # the whole pass and not at every step.
    for part in numba.prange(parts):
        rows_pass(rows * part // parts, rows * (part + 1) // parts, *borrowed(arguments))


def _alone(rows: Any, *arguments: Any) -> None:
    rows_pass(0, rows, *borrowed(arguments))


def compile_passes(function: Any, label: str, names: dict[str, Any]) -> Passes:
    """`function(first, last, *arguments)` over rows -> the same over all rows, on all threads."""
    label, rows_pass = f"{label}{function.__name__}", compile_bound(function, label, names)
    serial = compile_bound(_alone, label, {"rows_pass": rows_pass})
    shared = compile_bound(_shared, label, {"rows_pass": rows_pass}, parallel=True)

    def run(rows: int, *arguments: Any) -> None:
        parts = min(torch.get_num_threads(), rows)
        # To start a parallel region costs as much as a short pass, even for a single thread.
        if parts == 1 or not _can_share():
            serial(rows, *arguments)
            return
        # PyTorch may have been given more threads than numba was started with, which it refuses.
        numba.set_num_threads(min(parts, _SETTINGS.NUMBA_NUM_THREADS))
        shared(parts, rows, *arguments)

    return run
