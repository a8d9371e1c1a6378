"""Sums over processes: the same bits everywhere, by messages and in shared memory."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from rnnctl.training import adding


@pytest.fixture
def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


WORK = """
import json, sys
from pathlib import Path
import torch, torch.distributed as dist
from rnnctl.training import adding

kind, rank, size, port, room, in_order = sys.argv[1], *map(int, sys.argv[2:7])
store = dist.TCPStore("127.0.0.1", port, size, is_master=rank == 0)
dist.init_process_group("gloo", store=store, rank=rank, world_size=size)
if not room:
    adding._make = lambda size: None
adding.STORES_IN_ORDER = bool(in_order)
adder = adding.SharedMemory(rank, size) if kind == "memory" else adding.Messages()
torch.manual_seed(rank)
told = []
for step in range(5):
    gradients = [torch.randn(3, 5), torch.randn(7), torch.randn(())]
    assert adder.first([100.0 * rank + step, 7.5]) == [step, 7.5]
    total = adder.add(gradients, rank + step + 0.25)
    assert adder.first([float("nan") if rank else 3.0] * 15) == [3.0] * 15
    told.append([total, *[g.double().flatten().tolist() for g in gradients]])
print(json.dumps(told))
dist.destroy_process_group()
"""


def summed(
    kind: str, size: int, port: int, *, room: bool = True, in_order: bool = True
) -> list[list[object]]:
    """What each of `size` processes has after five sums."""
    how = [str(port), str(int(room)), str(int(in_order))]
    places = [[kind, str(rank), str(size), *how] for rank in range(size)]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else ""}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, *place], stdout=subprocess.PIPE, env=environment
        )
        for place in places
    ]
    try:
        return [json.loads(process.communicate(timeout=60)[0]) for process in running]
    finally:
        for process in running:
            process.kill()


def expected(size: int) -> list[list[object]]:
    """The same numbers, added up in one process in the order of the ranks."""
    draws = []
    for rank in range(size):
        torch.manual_seed(rank)
        steps = []
        for step in range(5):
            loss = torch.tensor(rank + step + 0.25)
            steps.append([loss, torch.randn(3, 5), torch.randn(7), torch.randn(())])
        draws.append(steps)
    told = []
    for parts in zip(*draws, strict=True):
        total, *sums = (sum(values) for values in zip(*parts, strict=True))
        told.append([float(total), *[value.double().flatten().tolist() for value in sums]])
    return told


IN_ORDER = pytest.param(
    True, marks=pytest.mark.skipif(not adding.STORES_IN_ORDER, reason="another processor")
)


@pytest.mark.parametrize("in_order", [IN_ORDER, False])
@pytest.mark.parametrize("size", [2, 3])
def test_in_shared_memory_all_have_the_sum_in_the_order_of_the_ranks(
    size: int, in_order: bool, free_port: int
) -> None:
    assert summed("memory", size, free_port, in_order=in_order) == [expected(size)] * size


@pytest.mark.parametrize(("kind", "room"), [("messages", True), ("memory", False)])
def test_messages_say_the_same_and_serve_where_there_is_no_room(
    kind: str, room: bool, free_port: int
) -> None:
    assert summed(kind, 2, free_port, room=room) == [expected(2)] * 2


def test_no_file_is_left_where_there_is_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = adding._make(3_000_001)
    assert made is not None and made.stat().st_size == 3_000_001
    made.unlink()

    class Full:
        def __init__(self, handle: int, mode: str) -> None:
            os.close(handle)

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def write(self, _: bytes) -> None:
            raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(adding, "_RAM_DISK", tmp_path)
    monkeypatch.setattr(os, "fdopen", Full)
    assert adding._make(100) is None
    assert list(tmp_path.iterdir()) == []


def alone(alive: Callable[[], bool]) -> adding.SharedMemory:
    """The first of two processes, whose other one never comes."""
    adder = adding.SharedMemory(0, 2, alive)
    adder._asked_for_room = True
    adder._memory = adding._Memory(np.zeros((2, 2, 16)), torch.zeros(2, 2, 3))
    return adder


@pytest.mark.skipif(not adding.STORES_IN_ORDER, reason="another processor")
def test_who_has_ended_is_not_waited_for_unless_it_came_before() -> None:
    with pytest.raises(RuntimeError, match="has ended"):
        alone(lambda: False).first([1.0])
    adder = alone(lambda: False)

    def came() -> bool:
        assert adder._memory is not None
        adder._memory.notes[:, 1, 0] = 1
        return False

    adder._alive = came
    assert adder.first([4.5]) == [4.5]


def test_gradients_that_are_not_as_many_as_before_are_refused() -> None:
    """The others would watch for this process for ever, which waits for their message."""
    with pytest.raises(ValueError, match="2 gradients"):
        alone(lambda: True).add([torch.ones(2)], 1.0)
