"""What all results share: estimates, curves, and what a number depends on.

A number never travels alone: it has a unit in its name or beside it, an `n`, and where it is an
estimate a 95 % interval and a status. There is no NaN in a result: a value that does not exist is
None and its status says why.
"""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

Status = Literal[
    "ok", "undefined", "censored", "insufficient_data", "exploding", "not_applicable", "failed"
]


class Record(BaseModel):
    """Base of all results: frozen, no unknown fields, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Estimate(Record):
    """A scalar with its 95 % interval.

    `status` "censored" means the value lies at or beyond `censored_at`; "undefined" and
    "not_applicable" have no estimate, and `note` says why in one sentence.
    """

    estimate: float | None
    ci95: tuple[float | None, float | None] = (None, None)
    n: int = Field(0, description="resampling units behind the interval")
    unit: str = ""
    status: Status = "ok"
    censored_at: float | None = None
    note: str = ""

    @property
    def is_known(self) -> bool:
        """Whether there is a number, or at least a bound."""
        return self.estimate is not None or self.status == "censored"

    @property
    def number_or_bound(self) -> float | None:
        """The number; of one that is censored, what it lies at or beyond."""
        return self.estimate if self.estimate is not None else self.censored_at

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of the interval, infinite where one is unknown: then it decides nothing."""
        low, high = self.ci95
        return -math.inf if low is None else low, math.inf if high is None else high

    def without_interval(self) -> Self:
        """The number alone, as it stands in a sentence."""
        return self.model_copy(update={"ci95": (None, None)})


class Curve(Record):
    """A measured function of distance, one entry per point; None where nothing was measured."""

    x_unit: str
    y_unit: str
    x: tuple[float, ...]
    y: tuple[float | None, ...]
    lo: tuple[float | None, ...] = ()
    hi: tuple[float | None, ...] = ()
    n: tuple[int, ...] = ()

    @property
    def points(self) -> list[tuple[float, float]]:
        """x and y of the points at which something was measured."""
        return [(x, y) for x, y in zip(self.x, self.y, strict=True) if y is not None]


class Warning_(Record):  # noqa: N801 - `Warning` is a built-in name
    """Something the reader of a result must know: a stable code and a sentence."""

    code: str
    text: str


class Environment(Record):
    """What a number depends on beside its inputs."""

    rnnctl: str
    python: str
    torch: str | None = None
    numba: str | None = None
    threading_layer: str | None = None
    threads: int | None = None
    device: str | None = None
    dtype: str | None = None
    engine: str | None = None
    platform: str = ""
    cpu: str | None = Field(None, description="level of the processor, and whether it is capped")


class LanguageModelLoss(Record):
    """Loss over a text, with the protocol it was measured under.

    `loss_nats` is the mean per token, unknown tokens charged with their spelling; bits per byte is
    the only number that may be compared across tokenizers.
    """

    protocol: Literal["streaming", "cold", "document"]
    loss_nats: float
    perplexity: float | None = Field(description="None where it overflows a float")
    bits_per_char: float | None
    bits_per_byte: float | None
    tokens: int
    chars: int
    bytes: int
    unknown: int = 0
    unknown_rate: float = 0.0
    window: int | None = Field(None, description="tokens, for the cold protocol")


class ClassScore(Record):
    """How well one label was predicted; None where a share has nothing to be a share of."""

    label: str
    precision: float | None = Field(description="of those predicted so, the share that are")
    precision_ci95: tuple[float, float] = Field(description="Wilson's interval")
    recall: float | None = Field(description="of those that are, the share predicted so")
    recall_ci95: tuple[float, float] = Field(description="Wilson's interval")
    f1: float | None = Field(description="2 TP / (2 TP + FP + FN)")
    support: int = Field(description="documents that have the label")
    predicted: int = Field(description="documents that were given the label")
    threshold: float | None = Field(
        None, description="probability from which it is given, where a text may have several labels"
    )


class Mistake(Record):
    """A document that was given another label than its own, and how sure the model was."""

    source: str = Field(description="path and line")
    text: str = Field(description="its beginning")
    probability: float = Field(description="of the predicted label, or of one that was missed")


class Confusion(Record):
    """One kind of mistake: how often, and the documents of which the model was surest.

    Where a text may have several labels: a label that was missed (`predicted` is empty) or that was
    given to texts without it (`truth` is empty).
    """

    truth: str
    predicted: str
    n: int
    examples: tuple[Mistake, ...] = ()


class BagOfWords(Record):
    """What a linear classifier makes of the same documents: words and pairs, no memory."""

    accuracy: float
    accuracy_ci95: tuple[float, float]
    macro_f1: float
    micro_f1: float | None = Field(None, description="where a text may have several labels")
    trained_on: int = Field(description="documents")


class Classification(Record):
    """How well labels were predicted.

    Where a text may have several labels, a document counts as right if all of its labels and no
    others are predicted; the loss is the sum over the labels.
    """

    accuracy: float
    accuracy_ci95: tuple[float, float]
    macro_f1: float
    macro_f1_ci95: tuple[float, float] | None = Field(None, description="bootstrap over documents")
    micro_f1: float | None = Field(None, description="where a text may have several labels")
    loss_nats: float
    calibration_error: float = Field(description="expected calibration error, 15 equal bins")
    n: int
    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...] = Field(
        description="rows: truth; columns: prediction; empty where a text may have several labels"
    )
    classes: tuple[ClassScore, ...] = ()
    confusions: tuple[Confusion, ...] = Field((), description="the most frequent mistakes")
    majority: float | None = Field(
        None, description="accuracy of always answering the label most frequent in training"
    )
    majority_label: str = ""
    bag_of_words: BagOfWords | None = None
    temperature: float = Field(1.0, description="what logits are divided by")
    loss_before: float | None = Field(None, description="nats, with temperature 1")
    calibration_error_before: float | None = Field(None, description="with temperature 1")


class Result(Record):
    """A whole result file: subclasses add a literal `schema_id` and their content."""

    environment: Environment
    seed: int | None = None
    corpus_fingerprint: str | None = None
    warnings: tuple[Warning_, ...] = ()
    timing: dict[str, float] = Field(
        default_factory=dict, description="seconds; the only part that repeating may change"
    )
