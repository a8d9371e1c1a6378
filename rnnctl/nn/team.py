"""Compiled passes over the rows of a batch, shared out among PyTorch's threads.

numba's `omp` layer runs on the same OpenMP threads as PyTorch (they load one `libgomp`), which are
awake then: no thread waits for another one's core. Without that layer, and with one thread, the
pass is serial.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numba
import torch

from rnnctl.nn.lanes import compile_bound

if TYPE_CHECKING:

    def _unbound(*arguments: Any) -> Any: ...

    rows_pass = _unbound

_SETTINGS: Any = numba.config
Passes = Callable[..., None]  # (number of rows, what the pass takes after first and last)


@cache
def _can_share() -> bool:
    try:
        import numba.np.ufunc.omppool  # noqa: F401
    except ImportError:  # not built, or no OpenMP library to load
        return False
    _SETTINGS.THREADING_LAYER = "omp"
    return True


def _shared(parts: Any, rows: Any, *arguments: Any) -> None:
    for part in numba.prange(parts):
        rows_pass(rows * part // parts, rows * (part + 1) // parts, *arguments)


def compile_passes(function: Any, label: str, names: dict[str, Any]) -> Passes:
    """`function(first, last, *arguments)` over rows -> the same over all rows, on all threads."""
    serial = compile_bound(function, label, names)
    shared = compile_bound(
        _shared, f"{label}{function.__name__}", {"rows_pass": serial}, parallel=True
    )

    def run(rows: int, *arguments: Any) -> None:
        parts = min(torch.get_num_threads(), rows)
        if parts == 1 or not _can_share():
            serial(0, rows, *arguments)
            return
        numba.set_num_threads(min(parts, _SETTINGS.NUMBA_NUM_THREADS))
        shared(parts, rows, *arguments)

    return run
