"""How threads wait: set before the libraries load, in every process, unless the user has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from rnnctl.openmp import SPINS

ROOT = Path(__file__).resolve().parents[1]
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
SHOW = """
import json, os, sys
from rnnctl.openmp import set_up_threads
{before}
set_up_threads()
{after}
libraries = {{line.split()[-1] for line in open("/proc/self/maps") if "libgomp" in line}}
print(json.dumps([os.environ.get("GOMP_SPINCOUNT"), sorted(libraries)]))
"""


def shown(before: str = "", after: str = "", **environment: str) -> tuple[str | None, list[str]]:
    """GOMP_SPINCOUNT and the OpenMP libraries of a new process."""
    clean = {k: v for k, v in os.environ.items() if k not in WAITING}
    done = subprocess.run(
        [sys.executable, "-c", SHOW.format(before=before, after=after)],
        env={**clean, "PYTHONPATH": str(ROOT), **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    spins, libraries = json.loads(done.stdout)
    return spins, libraries


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
def test_threads_spin_briefly_by_default() -> None:
    assert shown()[0] == str(SPINS)


@linux
@pytest.mark.parametrize("name", WAITING)
def test_what_the_user_has_set_wins(name: str) -> None:
    spins, _ = shown(**{name: "PASSIVE" if name == "OMP_WAIT_POLICY" else "7"})
    assert spins == (None if name == "OMP_WAIT_POLICY" else "7")


@linux
def test_nothing_is_set_once_pytorch_is_loaded() -> None:
    assert shown(before="import torch")[0] is None


@linux
@pytest.mark.skipif(find_spec("numba") is None, reason="needs numba")
def test_pytorch_and_numba_share_one_library() -> None:
    """Two would be two pools of threads, each spinning while the other wants the cores."""
    spec = find_spec("torch")
    assert spec is not None and spec.origin is not None
    if not (Path(spec.origin).parent / "lib" / "libgomp.so.1").is_file():
        pytest.skip("this PyTorch brings no libgomp, or one of another name")
    omppool = "import torch, numba.np.ufunc.omppool"
    assert len(shown(after=omppool)[1]) == 1
