"""Models with known answers, measured by the code that measures users' models.

GT01 to GT22 call that code; RD01 to RD14 (`hand_made_runs`) go through run directories. A known
answer is a function that yields `Check` objects, each a known answer beside what the instrument
measured; its docstring begins with its id and says what is known (``rnnctl.diagnostics.selftest``
finds them by that).

Why: most published measurements of a recurrent network's memory are wrong somewhere (an LSTM
without its cell state, products in the wrong order, summed losses), and nobody could have seen it
from a plausible curve. A number that has an answer on paper shows it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from rnnctl.results.diagnostics import KnownAnswerItem

Check = KnownAnswerItem


def close(name: str, expected: ArrayLike, measured: ArrayLike, tolerance: float) -> Check:
    """All of `measured` within `tolerance` of `expected`; the worst one is shown."""
    wanted, found = np.broadcast_arrays(
        np.asarray(expected, dtype=np.float64), np.asarray(measured, dtype=np.float64)
    )
    error = np.abs(found - wanted).ravel()
    worst = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
    return Check(
        name=name,
        expected=f"{wanted.ravel()[worst]:.6g}",
        measured=f"{found.ravel()[worst]:.6g}",
        tolerance=f"±{tolerance:g}",
        passed=bool(np.all(error <= tolerance)),
    )


def holds(name: str, expected: str, measured: str, passed: bool, tolerance: str = "exact") -> Check:
    """A statement that is true or not."""
    return Check(
        name=name, expected=expected, measured=measured, tolerance=tolerance, passed=bool(passed)
    )


def numbers(values: Sequence[float]) -> str:
    """A few numbers in one cell."""
    return ", ".join(f"{value:.4g}" for value in values)
