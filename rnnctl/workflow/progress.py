"""What `train` says on its way, beside the events of the loop."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rnnctl.config import RunConfig
from rnnctl.results.base import Warning_
from rnnctl.results.training import TrainResult
from rnnctl.training import events


@dataclass(frozen=True, slots=True)
class Started:
    """Everything is ready; the first step comes next (or, resumed, the step after `step`).

    `ended`: the training is at its end already; it is only measured again.
    """

    run: Path
    config: RunConfig
    corpus: str
    train_tokens: int
    parameters: int
    vocab_size: int
    device: str
    dtype: str
    threads: int
    step: int = 0
    ended: bool = False
    trivial_nats: float = 0.0
    cut_share: float = 0.0
    labels: tuple[str, ...] = ()
    validated: bool = True
    warnings: tuple[Warning_, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Preparing:
    """Something that takes a while before the first step or after the last one."""

    what: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The training is over, the run is published."""

    result: TrainResult


Event = events.LoopEvent | Started | Preparing | Finished
