"""What happens in a training, one record per event. Listeners make bars, logs and notes of it.

`timing` fields (elapsed seconds, tokens per second) are the only ones that repeating may change.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rnnctl.config import RunConfig
from rnnctl.results.base import Warning_
from rnnctl.results.training import TrainResult, VectorsRecord


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step. `loss_nats` is the mean per token (per document for classifiers).

    Of language models the spelling of unknown tokens is in it, at the training text's mean.
    """

    step: int
    progress: float
    lr: float
    loss_nats: float
    gradient_norm: float
    clipped: bool
    tokens: int
    epoch: float
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A validation. `value` is what is minimised; `accuracy` is of classifiers.

    `progress` is that of the training after `step`; a `Step` has the progress before it.
    `validation_units`: tokens or documents that it read at most, 0 for all of the validation text.
    """

    step: int
    value: float
    train_nats: float | None
    best: bool
    accuracy: float | None
    elapsed_s: float
    progress: float
    validation_units: int = 0


@dataclass(frozen=True, slots=True)
class NotFinite:
    """A validation whose loss is no finite number; it counts as one without progress."""

    step: int
    value: float
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class SteppedBack:
    """A loss or gradient was not finite: back to the weights of `to_step` at a lower rate."""

    step: int
    progress: float
    to_step: int
    loss_nats: float
    gradient_norm: float
    lr: float
    lr_scale: float


@dataclass(frozen=True, slots=True)
class SlowStep:
    """A step took more than a twentieth of the budget; told once. `load`: None where not known.

    `load` is the number of processes of the whole machine that compute or wait for a core, as a
    mean over the last minute.
    """

    step: int
    seconds: float
    budget_s: float
    load: float | None
    cores: int


@dataclass(frozen=True, slots=True)
class Advice:
    """Something that the person training should know, with a stable code."""

    step: int
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint is on the disk."""

    step: int
    name: str


@dataclass(frozen=True, slots=True)
class SampleLine:
    """A line that the model has just written."""

    step: int
    text: str


@dataclass(frozen=True, slots=True)
class GradientShare:
    """Gradient that arrives from so many steps back, relative to the last step: lag -> share."""

    step: int
    shares: dict[int, float]


@dataclass(frozen=True, slots=True)
class Stopped:
    """The loop is over; `reason` is steps, epochs, budget or patience."""

    step: int
    reason: str
    elapsed_s: float


LoopEvent = (
    Step
    | Evaluated
    | NotFinite
    | SteppedBack
    | SlowStep
    | Advice
    | Saved
    | SampleLine
    | GradientShare
    | Stopped
)


@dataclass(frozen=True, slots=True)
class Started:
    """Everything is ready; the first step comes next (or, resumed, the step after `step`).

    `ended`: the training is at its end already; it is only measured again. `resumed`: without a
    `step`, it was stopped before its first checkpoint.
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
    resumed: bool = False
    ended: bool = False
    trivial_nats: float = 0.0
    cut_share: float = 0.0
    labels: tuple[str, ...] = ()
    validated: bool = True
    warnings: tuple[Warning_, ...] = ()
    notes: tuple[str, ...] = ()
    why_this_size: str = ""
    vectors: VectorsRecord | None = None


@dataclass(frozen=True, slots=True)
class Preparing:
    """Something that takes a while before the first step or after the last one."""

    what: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The training is over, the run is published."""

    result: TrainResult


Event = LoopEvent | Started | Preparing | Finished


# -- what of them stands in log.jsonl ------------------------------------------------------------

# What a repetition brings again. When a checkpoint is saved is up to the clock, and a sample line
# is for who looks on.
_NAMES: dict[type, str] = {
    Step: "step",
    Evaluated: "evaluated",
    NotFinite: "not_finite",
    SteppedBack: "stepped_back",
    Advice: "advice",
}


def log_record(event: object) -> dict[str, Any] | None:
    """The log's line for an event; None for those that are not logged.

    What the clock says stands apart, under `timing`: it is all that a repetition may change.
    """
    name = _NAMES.get(type(event))
    if name is None:
        return None
    fields = {key: _finite(value) for key, value in asdict(event).items()}  # type: ignore[call-overload]
    elapsed = fields.pop("elapsed_s", None)
    record = {"event": name, **fields}
    if elapsed is not None:
        record["timing"] = {"elapsed_s": round(elapsed, 4)}
    return record


def _finite(value: Any) -> Any:
    # JSON has no NaN; as text everybody can read it.
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
