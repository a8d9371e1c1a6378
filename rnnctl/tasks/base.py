"""What the training loop needs of a task, and nothing more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from rnnctl.data.ids import SplitIds
from rnnctl.tasks.split_results import Measured, SplitName

Carry = tuple[Tensor, ...] | None
Interrupted = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class StepLoss:
    """A batch's summed loss (nats, with gradient) and what it is summed over."""

    total: Tensor
    units: int  # tokens with a target, or documents: the mean is total / units
    tokens: int
    documents: int
    carry: Carry


@dataclass(frozen=True, slots=True)
class Validation:
    """A validation: what is minimised (mean nats per token or document), and the accuracy."""

    value: float
    accuracy: float | None = None


class Batches(Protocol):
    """Batches without end, whose place can be saved and taken up again."""

    def __iter__(self) -> Iterator[Any]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Task(Protocol):
    """A model with its data: gives losses to the loop, and validates."""

    @property
    def model(self) -> nn.Module: ...
    @property
    def batches(self) -> Batches: ...
    @property
    def units_per_epoch(self) -> int: ...
    @property
    def counts_documents(self) -> bool: ...
    @property
    def trivial_nats(self) -> float:
        """Validation value of the best model that looks at no context."""
        ...

    @property
    def spelling_nats(self) -> float:
        """How much of every validation value is the spelling of unknown tokens, for any model."""
        ...

    def initial_carry(self, streams: int) -> tuple[Tensor, ...]:
        """What is carried from step to step, as it is before the first; () for nothing."""
        ...

    def next_batch(self) -> Any: ...
    def loss(self, batch: Any, carry: Carry) -> StepLoss: ...
    def validate(self, interrupted: Interrupted, most: int = 0) -> Validation | None:
        """On at most that many tokens or documents, 0 for as many as are usual.

        None when there is no validation text, or when interrupted.
        """
        ...

    def measure(self, name: SplitName, split: SplitIds, interrupted: Interrupted) -> Measured:
        """The final numbers of a split. FinalInterrupted when asked to stop."""
        ...
