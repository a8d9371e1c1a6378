"""Everything that a training carries from one step to the next, in one object.

What is saved: weights, AdamW's moments, the random state, the place in the data, the carried hidden
state, the counters (schedule, clock, early stopping), and the best weights so far.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rnnctl.config import TrainingConfig
from rnnctl.errors import CorruptRunError
from rnnctl.tasks.base import Task
from rnnctl.training.optimizer import AdamW, make_optimizer
from rnnctl.training.schedule import Counters

Tensors = dict[str, Tensor]


@dataclass(slots=True)
class TrainingState:
    """The state of one training. `best` are the weights with the best validation so far."""

    task: Task
    optimizer: AdamW
    counters: Counters
    best: Tensors
    batch_size: int
    workers: int = 1
    average: Tensors | None = None
    average_share: float = 0.0
    carry: tuple[Tensor, ...] | None = None
    personal: Tensors = field(default_factory=dict)  # of every process, when there are several

    @classmethod
    def begin(cls, task: Task, settings: TrainingConfig) -> TrainingState:
        """A state before the first step."""
        return cls(
            task,
            make_optimizer(task.model, settings),
            Counters(),
            best=snapshot(task.model),
            batch_size=settings.batch_size,
            workers=settings.workers,
            average_share=settings.average,
        )

    @torch.no_grad()
    def update_average(self) -> None:
        """Take the weights of this step into their running average, if one is kept.

        The share of the past grows to its value over the first steps, so that the average does not
        remember the initial weights.
        """
        if not self.average_share:
            return
        weights = weights_of(self.task.model)
        if self.average is None:
            self.average = {name: value.detach().clone() for name, value in weights.items()}
            return
        share = min(self.average_share, (1 + self.counters.step) / (10 + self.counters.step))
        averages = [self.average[name] for name in weights]  # a loaded one is in another order
        torch._foreach_lerp_(averages, list(weights.values()), 1 - share)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The model with the running average in place of its weights, if one is kept."""
        if self.average is None:
            yield
            return
        own = {name: value.clone() for name, value in weights_of(self.task.model).items()}
        load_weights(self.task.model, self.average)
        try:
            yield
        finally:
            load_weights(self.task.model, own)

    def tensors(self) -> Tensors:
        """All tensors but the weights, by name."""
        # With the random state, dropout after resuming draws the masks that it would have drawn.
        found: Tensors = {"random.cpu": torch.get_rng_state(), **self.personal}
        if torch.cuda.is_available() and _on_cuda(self.task.model):
            found["random.cuda"] = torch.cuda.get_rng_state()
        for index, part in enumerate(self.carry or ()):
            found[f"carry.{index}"] = part.detach().cpu().contiguous()
        for name, value in (self.average or {}).items():
            found[f"average.{name}"] = value.detach().cpu().contiguous()
        for name, parameter in self.task.model.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                found[f"adam.{key}.{name}"] = value.detach().cpu().contiguous()
        for key, array in self.task.batches.state_dict().items():
            if isinstance(array, np.ndarray):
                found[f"data.{key}"] = torch.from_numpy(array.copy())
        return found

    def values(self) -> dict[str, Any]:
        """All that is no tensor, as JSON."""
        data = self.task.batches.state_dict()
        plain = {key: value for key, value in data.items() if not isinstance(value, np.ndarray)}
        sizes = {"batch_size": self.batch_size, "workers": self.workers}
        return {"counters": asdict(self.counters), "data": plain, **sizes}

    def load(self, weights: Tensors, tensors: Tensors, values: dict[str, Any]) -> None:
        """Take over what `tensors` and `values` gave. CorruptRunError if it does not fit."""
        try:
            load_weights(self.task.model, weights)
            self._load_moments(tensors)
            average = with_prefix(tensors, "average.")
            device = next(self.task.model.parameters()).device
            _check_shapes(average, weights_of(self.task.model), "average")
            self.average = {k: v.to(device, copy=True) for k, v in average.items()} or None
            self.counters = counters_from(values["counters"])
            self._load_place(tensors, values)
            if "random.cpu" in tensors:  # not when a worker joins a training that begins
                torch.set_rng_state(tensors["random.cpu"])
            if "random.cuda" in tensors and _on_cuda(self.task.model):
                torch.cuda.set_rng_state(tensors["random.cuda"])
        except (KeyError, ValueError, TypeError, RuntimeError, OverflowError) as error:
            raise CorruptRunError(f"the checkpoint does not fit this training: {error}") from error

    def _load_place(self, tensors: Tensors, values: dict[str, Any]) -> None:
        """Place in the data and hidden state.

        Another batch size begins the next pass; another number of workers a zero hidden state. What
        every process had for itself goes with either: it is of other streams than they have now.
        """
        arrays = with_prefix(tensors, "data.")
        data = values["data"] | {key: value.numpy() for key, value in arrays.items()}
        self.carry, self.personal = None, {}
        if values["batch_size"] != self.batch_size:
            data |= {"epoch": data["epoch"] + 1, "at": 0}
        elif values["workers"] == self.workers:
            carry = with_prefix(tensors, "carry.")
            device = next(self.task.model.parameters()).device
            self._check_carry(carry)
            self.carry = tuple(carry[str(i)].to(device) for i in range(len(carry))) or None
            self.personal = {k: v for k, v in tensors.items() if k.startswith("rank")}
        self.task.batches.load_state_dict(data)

    def _check_carry(self, carry: Tensors) -> None:
        """ValueError unless `carry` is a hidden state of this model for this worker's streams."""
        if not carry:
            return
        own = self.task.initial_carry(self.batch_size // self.workers)
        _check_shapes(carry, {str(i): part for i, part in enumerate(own)}, "carry")

    def _load_moments(self, tensors: Tensors) -> None:
        for name, parameter in self.task.model.named_parameters():
            own = {"step": torch.zeros(()), "exp_avg": parameter, "exp_avg_sq": parameter}
            saved = {key: tensors.get(f"adam.{key}.{name}") for key in own}
            found = {key: value for key, value in saved.items() if value is not None}
            _check_shapes(found, own, f"adam.{name}")
            if found:
                self.optimizer.state[parameter] = {
                    key: value.to(parameter.device, copy=True) for key, value in found.items()
                }

    def step_back(self) -> None:
        """Take the best weights again, with fresh moments and a zero hidden state."""
        load_weights(self.task.model, self.best)
        # The moments led here, and hold what is not finite; the average may hold it too.
        self.optimizer.state.clear()
        self.carry = self.average = None


MOST = 10**15  # no training counts further; a forged number must not overflow a float


def counters_from(values: Any) -> Counters:
    """Counters from JSON; ValueError unless each has its type and a value that can be."""
    from pydantic import TypeAdapter

    counters = TypeAdapter(Counters).validate_python(values)  # its ValidationError is a ValueError
    numbers = [value for value in asdict(counters).values() if isinstance(value, int | float)]
    numbers += [number for point in counters.history for number in point]
    numbers += [number for number in counters.accuracies if number is not None]
    if not all(math.isfinite(number) and abs(number) <= MOST for number in numbers):
        raise ValueError("a counter is out of range")
    if len(counters.accuracies) > len(counters.history):
        raise ValueError("there are more accuracies than validations")
    if min(counters.step, counters.tokens, counters.documents, counters.elapsed_s) < 0:
        raise ValueError("a counter is negative")
    return counters


def _check_shapes(found: Tensors, own: Mapping[str, Tensor], what: str) -> None:
    """ValueError unless `found` is empty or has the names, shapes and kind of `own`."""
    if found and found.keys() != own.keys():
        raise ValueError(f"{what} holds {sorted(found)[:4]}, not {sorted(own)[:4]}")
    for name, value in found.items():
        if value.shape != own[name].shape or not value.is_floating_point():
            raise ValueError(f"{what}.{name} has shape {tuple(value.shape)}")


def with_prefix(tensors: Tensors, prefix: str) -> Tensors:
    """The tensors whose name begins with `prefix`, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _on_cuda(model: nn.Module) -> bool:
    return next(model.parameters()).device.type == "cuda"


def weights_of(model: nn.Module) -> Tensors:
    """Parameters and buffers by name, each storage once (tied weights under one name)."""
    # Tied weights are one storage under two names, and safetensors refuses to write one twice.
    seen: set[int] = set()
    found: Tensors = {}
    for name, value in model.state_dict().items():
        if value.data_ptr() not in seen or value.numel() == 0:
            seen.add(value.data_ptr())
            found[name] = value
    return found


def snapshot(model: nn.Module) -> Tensors:
    """A copy of the weights on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in weights_of(model).items()}


@torch.no_grad()
def load_weights(model: nn.Module, weights: Tensors) -> None:
    """Copy `weights` into the model. ValueError when names or shapes differ."""
    own = weights_of(model)
    if own.keys() != weights.keys():
        different = sorted(own.keys() ^ weights.keys())
        raise ValueError(f"other weights than the settings say: {', '.join(different[:4])}")
    for name, value in own.items():
        if value.shape != weights[name].shape:
            raise ValueError(f"{name} has shape {tuple(weights[name].shape)}")
        value.copy_(weights[name])
