"""How the processes of one training add up their gradients: by messages, or in shared memory.

Each sum leaves the same bits in all processes: in shared memory all add in the order of the ranks,
by messages one sum goes to all.
"""

from __future__ import annotations

import contextlib
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

# Only there may one process trust that what another wrote first is seen first.
STORES_IN_ORDER = platform.machine().lower() in ("x86_64", "amd64")
AWAKE_S = 0.005  # how long to watch without a nap: longer than equal work is apart
LONGEST_NAP_S = 0.05
_RAM_DISK = Path("/dev/shm")  # noqa: S108 - made by `mkstemp`, and unlinked once all have it open
_BLOCK = bytes(1 << 20)
_LONGEST_PATH = 4096
_NOTE = 16  # numbers: two lines of the cache, which no two processes write

Floats = NDArray[np.float64]


class Adder(Protocol):
    """Adds up tensors over the processes, in place, and passes on what the first one says."""

    def add(self, gradients: Sequence[Tensor], loss: float) -> float:
        """Every gradient becomes the sum over all processes; returns the sum of the losses."""
        ...

    def first(self, values: Sequence[float]) -> list[float]:
        """The first process's values, in all of them."""
        ...


class Messages:
    """By gloo or NCCL: works between machines and on every device."""

    def add(self, gradients: Sequence[Tensor], loss: float) -> float:
        """See `Adder`."""
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        for gradient, sums in zip(gradients, _pieces(flat, gradients), strict=True):
            gradient.copy_(sums)
        return _added(loss)

    def first(self, values: Sequence[float]) -> list[float]:
        """See `Adder`."""
        shared = torch.tensor(values, dtype=torch.float64)
        dist.broadcast(shared, 0)
        return [float(value) for value in shared]


class _Memory(NamedTuple):
    """What the processes of one machine share, all of it twice: for every second meeting or sum."""

    notes: Floats  # (2, processes, _NOTE): the number of the meeting, and what is said there
    slots: Tensor  # (2, processes, values) in fp32: the gradients


class SharedMemory:
    """Two or more processes of one machine write where the others read, and watch for each other.

    A sum of 5 MB of gradients takes two processes on two cores 1.1 ms. When they slept until a
    message woke them it took 3.5 ms, and the next step 2 ms longer, with cold caches. All memory is
    there twice: what is read after one meeting is written again only after the next, when all have
    read it. Where there is no room for it, `Messages` serve.

    `alive` says whether those that this process has started still run. A process that has started
    none learns of a death by being ended, see `workflow.parallel`.
    """

    def __init__(self, rank: int, size: int, alive: Callable[[], bool] = lambda: True) -> None:
        self._rank, self._size, self._alive = rank, size, alive
        self._sums = self._meetings = 0
        self._asked_for_room = False
        self._memory: _Memory | None = None  # None without room

    def add(self, gradients: Sequence[Tensor], loss: float) -> float:
        """See `Adder`. RuntimeError where another process has ended; ValueError where the gradients
        are not as many as they were."""
        values = sum(gradient.numel() for gradient in gradients)
        if not self._asked_for_room:
            self._asked_for_room, self._memory = True, self._open(values)
        if self._memory is None:
            return Messages().add(gradients, loss)
        if self._memory.slots.shape[-1] != values:  # the others would wait for ever
            raise ValueError(f"{values} gradients, and there is room for those of the first step")
        self._sums += 1
        slots = self._memory.slots[self._sums % 2]
        for gradient, own in zip(gradients, _pieces(slots[self._rank], gradients), strict=True):
            own.copy_(gradient)
        total = float(self._meet([loss])[:, 0].sum()) if STORES_IN_ORDER else _added(loss)
        parts = [_pieces(slot, gradients) for slot in slots]
        for gradient, one, two, *others in zip(gradients, *parts, strict=True):
            torch.add(one, two, out=gradient)
            for other in others:
                gradient.add_(other)
        return total

    def first(self, values: Sequence[float]) -> list[float]:
        """See `Adder`. Up to 15 values. RuntimeError where another process has ended."""
        if self._memory is None or not STORES_IN_ORDER:
            return Messages().first(values)
        heard: list[float] = self._meet(values)[0].tolist()
        return heard

    def _meet(self, said: Sequence[float]) -> Floats:
        """Wait until all have come here; returns what each has said (processes, values)."""
        assert self._memory is not None
        self._meetings += 1
        notes, end = self._memory.notes[self._meetings % 2], 1 + len(said)
        notes[self._rank, 1:end] = said
        notes[self._rank, 0] = self._meetings  # last: it tells that all else is written
        for note in notes:
            self._await(note)
        heard: Floats = notes[:, 1:end]
        return heard

    def _await(self, note: Floats) -> None:
        begin = time.monotonic()
        while note[0] < self._meetings:
            waited = time.monotonic() - begin
            if waited < AWAKE_S:
                _let_others()
            elif self._alive() or note[0] >= self._meetings:  # it may have come, and then ended
                time.sleep(min(waited / 10, LONGEST_NAP_S))
            else:
                raise RuntimeError("another process of this training has ended")

    def _open(self, values: int) -> _Memory | None:
        notes, count = 4 * self._size * _NOTE, 2 * self._size * values  # in numbers of four bytes
        path = _make(4 * (notes + count)) if self._rank == 0 else None
        name = _tell(str(path or ""))
        if not name:
            return None
        memory = torch.from_file(name, shared=True, size=notes + count, dtype=torch.float32)
        dist.barrier()
        if path:  # a killed training then leaves nothing; Windows keeps it until all have ended
            with contextlib.suppress(OSError):
                path.unlink()
        return _Memory(
            memory[:notes].view(torch.float64).view(2, self._size, _NOTE).numpy(),
            memory[notes:].view(2, self._size, values),
        )


def _added(loss: float) -> float:
    """The sum of the losses, by a message."""
    total = torch.tensor([loss], dtype=torch.float64)
    dist.all_reduce(total)
    return float(total)


def _let_others() -> None:
    """Stay awake, but let another process of this core go first."""
    if hasattr(os, "sched_yield"):
        os.sched_yield()
    else:
        time.sleep(0)


def _tell(path: str) -> str:
    """The first process's path, in all of them."""
    told = torch.zeros(_LONGEST_PATH, dtype=torch.uint8)
    data = os.fsencode(path)
    told[: len(data)] = torch.tensor(list(data), dtype=torch.uint8)
    dist.broadcast(told, 0)
    return os.fsdecode(bytes(told.tolist()).rstrip(b"\0"))


def _make(size: int) -> Path | None:
    """A file of that many bytes, in memory where there is a RAM disk; None where it has no room.

    It is filled at once: memory that is missing later would kill the process that touches it.
    """
    for folder in (_RAM_DISK, None):
        if folder is not None and not os.access(folder, os.W_OK):
            continue
        handle, name = tempfile.mkstemp(prefix="rnnctl-gradients-", dir=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                for start in range(0, size, len(_BLOCK)):
                    file.write(_BLOCK[: size - start])
        except OSError:
            Path(name).unlink()
        else:
            return Path(name)
    return None


def _pieces(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Views of a flat tensor, shaped as those tensors are, one after the other."""
    sizes = [tensor.numel() for tensor in like]
    parts = torch.split(flat[: sum(sizes)], sizes)
    return [part.view_as(tensor) for part, tensor in zip(parts, like, strict=True)]
