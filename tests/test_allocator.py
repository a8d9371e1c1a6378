"""Freed memory is kept for the next step, but not without bound."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rnnctl import machine
from rnnctl.machine import MemoryBound, keep_memory

MB = 1 << 20


def test_keeping_memory_says_whether_it_took_effect() -> None:
    assert isinstance(keep_memory(), bool)


def test_what_is_not_needed_is_given_back_and_what_is_needed_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """1.5 GB at every step: given back once, found to be needed, then left alone until 3 GB."""
    held, given = [0], []
    monkeypatch.setattr(machine, "_resident", lambda: held[0])
    monkeypatch.setattr(machine, "_give_back", lambda: given.append(held[0] // MB))
    bound = MemoryBound()
    for size in (900, 1500, 1500, 1500, 2900, 3100, 400, 900, 1100):
        held[0] = size * MB
        bound.after_step()
    assert given == [1500, 3100, 1100]


@pytest.mark.skipif(not keep_memory(), reason="not glibc")
def test_memory_really_goes_back() -> None:
    """Freed pieces between others that live, which nothing else would give back."""
    code = (
        "from rnnctl import machine\n"
        "import torch\n"
        "machine.keep_memory()\n"
        "pieces = [torch.ones(1 << 20) for _ in range(60)]\n"
        "del pieces[::2]\n"
        "before = machine._resident()\n"
        "machine.MemoryBound(limit=1).after_step()\n"
        "print((before - machine._resident()) >> 20)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 100
