"""Compiled passes load no SciPy."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("numba")


def test_the_first_compiled_step_loads_no_scipy() -> None:
    """And SciPy can be loaded after it."""
    program = (
        "import sys, torch\n"
        "from rnnctl.nn.recurrent import Recurrent\n"
        "layer = Recurrent('gru', 4, 4, engine='fused')\n"
        "layer(torch.ones(2, 3, 4))[0].sum().backward()\n"
        "print('scipy.linalg' in sys.modules)\n"
        "import scipy.linalg\n"
        "print(scipy.linalg.det([[2.0]]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "2.0"]
