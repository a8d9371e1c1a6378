"""How the threads of PyTorch and numba wait for each other. Set before either is loaded.

OpenMP threads meet after every parallel piece of work. While one waits for the others it spins: it
watches a counter in a loop and keeps its core. By default GNU's library (libgomp) spins 300,000
times, about a millisecond, before the thread goes to sleep. When another program uses a core, the
thread that is waited for does not run, the others spin for nothing, and a training falls to a tenth
of its speed. Sleeping at once (OMP_WAIT_POLICY=PASSIVE) costs a fifth of the speed of a small model
on a quiet machine. A short spin costs neither.

Measured with ``tests/benchmarks/speed_neighbours.py``: an RNN with 128 and an LSTM with 256 units,
two threads on two cores of an AMD EPYC (Zen 5). Shares of the rate that the same training has on
the quiet machine; the first column is that rate over the one with the libraries' own setting.

                                 quiet        beside one busy   two trainings, sum
  300,000 spins, two pools        1    1        0.23 0.21         0.20 0.42
  2,500 spins, two pools          0.95 0.96     0.42 0.50         0.78 0.94
  1,000 spins, one pool           0.82 0.86     0.63 0.58         1.04 1.10
  2,000 spins, one pool           1.07 1.00     0.51 0.56         1.33 1.12
  OMP_WAIT_POLICY=PASSIVE         0.78 0.84     0.90 0.72         1.96 1.43

Two trainings can have more than one alone because two threads do not make a small model twice as
fast as one does. How long a spin takes differs between processors.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

SPINS = 2_000
_SYSTEM_LIBRARY = "libgomp.so.1.0.0"  # the name that numba's parallel passes ask for


def set_up_threads() -> None:
    """Let threads spin only briefly, and let PyTorch and numba share one pool where they can.

    Does nothing when PyTorch is loaded already, and leaves a policy alone that the user has set in
    OMP_WAIT_POLICY or GOMP_SPINCOUNT. Processes that this one starts inherit the setting.
    """
    if "torch" in sys.modules:
        return
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)
    if _can_share_one_pool():
        _load_system_library()  # after the setting, which it reads when it is loaded


def _can_share_one_pool() -> bool:
    """Whether PyTorch's own libgomp has the name by which the loader finds the system's."""
    spec = find_spec("torch") if sys.platform == "linux" else None
    if spec is None or spec.origin is None:
        return False
    return (Path(spec.origin).parent / "lib" / "libgomp.so.1").is_file()


def _load_system_library() -> None:
    """Load the system's libgomp, which PyTorch then uses too.

    PyTorch's Linux packages bring a libgomp of their own and numba uses the system's. Then there
    are two pools of threads, and while those of one spin, those of the other wait for a core. The
    loader takes a library of that name that is loaded already, so the system's goes first.

    PyTorch needs version GOMP_4.0 of its interface (GCC 4.9); every system with the C library that
    PyTorch asks for (glibc 2.28, of 2018) has GOMP_4.5 or later.
    """
    import ctypes

    with suppress(OSError):  # there is none; numba's passes then are serial
        ctypes.CDLL(_SYSTEM_LIBRARY)
