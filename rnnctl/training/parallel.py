"""Several processes that train one model: each reads its share of every batch, gradients are added.

Data parallelism over `torch.distributed` (gloo, or NCCL where every process has a GPU). All
processes begin from the same weights and make the same update, so they stay equal bit for bit; the
first one decides (clock, signals, validation), writes and reports.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import safetensors.torch
import torch
import torch.distributed as dist
from torch import nn

from rnnctl.errors import RnnctlError
from rnnctl.tasks.base import Interrupted, StepLoss, Task, Validation
from rnnctl.training.state import Tensors, TrainingState, snapshot

# Longer than any validation; a process that dies is noticed at once, by its closed connection.
TIMEOUT = timedelta(hours=6)


class WorkerDiedError(RnnctlError):
    """A process of a parallel training is gone."""


@dataclass(frozen=True, slots=True)
class Together:
    """This process's place among those that train together (a `Team` of the loop)."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def reduce(self, model: nn.Module, loss: StepLoss) -> float:
        """Add up gradients and losses of all processes."""
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        total = loss.total.detach().double().cpu()
        with watched():
            dist.all_reduce(flat)
            dist.all_reduce(total)
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, summed in zip(gradients, parts, strict=True):
            gradient.copy_(summed.view_as(gradient))
        return float(total) / loss.units

    def agree(self, values: list[float]) -> list[float]:
        """The first process's values, in all of them."""
        shared = torch.tensor(values, dtype=torch.float64)
        with watched():
            dist.broadcast(shared, 0)
        return [float(value) for value in shared]

    def validate(self, task: Task, interrupted: Interrupted, most: int) -> Validation | None:
        """The first process validates, with all threads while the others wait."""
        found = [0.0, math.nan, math.nan]
        if self.leads:
            with threads(self.size if self.device.type == "cpu" else torch.get_num_threads()):
                validation = task.validate(interrupted, most)
            if validation is not None:
                accuracy = validation.accuracy
                found = [1.0, validation.value, math.nan if accuracy is None else accuracy]
        made, value, accuracy = self.agree(found)
        if not made:
            return None
        return Validation(value, None if math.isnan(accuracy) else accuracy)

    def gather(self, state: TrainingState) -> None:
        """Collect what differs between processes (hidden and random state) in `state.personal`."""
        found: Tensors = {}
        for name, value in personal(state).items():
            parts = [torch.empty_like(value) for _ in range(self.size)]
            with watched():
                dist.all_gather(parts, value)
            found |= {f"rank{rank}.{name}": part for rank, part in enumerate(parts)}
        state.personal = found

    def share(self, state: TrainingState) -> None:
        """Give every process the first one's state, and its own personal part of it."""
        sent: Tensors = {}
        if self.leads:
            weights = snapshot(state.task.model)
            sent = {f"weights.{name}": value for name, value in weights.items()}
            sent |= {f"state.{name}": value for name, value in state.tensors().items()}
            sent |= {f"best.{name}": value for name, value in state.best.items()}
        received = safetensors.torch.load(self.tell(safetensors.torch.save(sent)))
        values = json.loads(self.tell(json.dumps(state.values()).encode()))
        if self.leads:
            return
        tensors = part(received, "state.")
        own = part(tensors, f"rank{self.rank}.")
        shared = {k: v for k, v in tensors.items() if not k.startswith(PERSONAL)}
        state.load(part(received, "weights."), shared | own, values)
        state.best = part(received, "best.")
        if not own:  # a training that begins: other dropout masks than the first process has
            torch.manual_seed(torch.initial_seed() + self.rank)

    def tell(self, data: bytes) -> bytes:
        """The first process's bytes, in all of them."""
        size = int(self.agree([float(len(data))])[0])
        shared = torch.zeros(size, dtype=torch.uint8)
        if self.leads and data:
            shared.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        with watched():
            dist.broadcast(shared, 0)
        return shared.numpy().tobytes()


PERSONAL = ("carry.", "random.", "rank")


def personal(state: TrainingState) -> Tensors:
    """The tensors of a state that every process has for itself."""
    return {k: v for k, v in state.tensors().items() if k.startswith(("carry.", "random."))}


def part(tensors: Tensors, prefix: str) -> Tensors:
    """The tensors whose name begins with `prefix`, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


@contextmanager
def watched() -> Iterator[None]:
    """Turn a broken connection into an error that says that a process died."""
    try:
        yield
    except RuntimeError as error:  # DistBackendError and gloo's connection errors are this
        raise WorkerDiedError(
            "a worker of this training has died",
            hint="`rnnctl train --resume RUN` goes on from the last checkpoint",
        ) from error


@contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(max(before, number))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def joined(rank: int, size: int, device: torch.device, store: Any) -> Iterator[Together]:
    """Join the others, who meet at `store`, or where `torchrun` says."""
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    try:
        yield Together(rank, size, device)
    finally:
        dist.destroy_process_group()


def launched() -> tuple[int, int] | None:
    """(rank, size) when `torchrun` started this process as one of several; None otherwise."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return (rank, size) if size > 1 else None
