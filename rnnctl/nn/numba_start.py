"""Loading numba's own library sooner. All that is compiled here is plain arithmetic."""

from __future__ import annotations

import sys
from typing import Any


def spare_scipy() -> None:
    """Load numba's array functions without SciPy's linear algebra, which takes them 0.3 s.

    `numba.np.arraymath` looks for SciPy's BLAS when it is imported, which the first compiled
    function brings about; without it `numpy.dot` cannot be compiled, and nothing else is missed.
    Nothing is hidden where SciPy is loaded already.
    """
    name = "scipy.linalg"
    modules: dict[str, Any] = sys.modules
    if name in modules:
        return
    modules[name] = None
    try:
        import numba.np.arraymath  # noqa: F401
    finally:
        del modules[name]
