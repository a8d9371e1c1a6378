"""What `train`, `info` and `runs` return."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from rnnctl.results.base import Classification, LanguageModelLoss, Record, Result


class SplitResult(Record):
    """How well the best weights do on one split: losses by protocol, or a classification."""

    split: Literal["train", "valid", "test"]
    losses: tuple[LanguageModelLoss, ...] = ()
    classification: Classification | None = None
    part: str = Field("", description="what was read, when it is not the whole split")


class DocumentSums(Record):
    """Per-document sums of one split, or of all, in the order of the corpus; to compare in pairs.

    Language models: nats, tokens and bytes of each document. Classifiers: nats of the true label,
    the true and the predicted label as index into the label names.
    """

    split: Literal["train", "valid", "test", "all"]
    loss_nats: tuple[float, ...]
    tokens: tuple[int, ...]
    bytes: tuple[int, ...]
    truth: tuple[int, ...] = ()
    predicted: tuple[int, ...] = ()


class CurvePoint(Record):
    """One validation: what was minimised, and what it had cost."""

    step: int
    tokens: int = Field(description="trained on by then, from the mean number a step")
    value: float
    accuracy: float | None = None


class VectorsRecord(Record):
    """Word vectors that a training began with."""

    file: str = Field(description="or corpus, where they were learnt from the training text")
    sha256: str
    size: int = Field(description="numbers in a vector")
    tokens: int = Field(description="in the vocabulary")
    found: int = Field(description="of them with a vector of their own")
    lowered: int = Field(0, description="of the found ones in lower case only")
    covered: float = Field(description="share of the training text that found tokens are")
    frozen: bool = Field(False, description="not changed by the training")


class PretrainedRecord(Record):
    """The language model that was trained before a classifier (``--pretrain``)."""

    run: str
    seconds: float
    tokens: int = Field(description="trained on, repeated readings counted")
    epochs: float
    valid_loss_nats: float | None = Field(None, description="per token")


class TrainResult(Result):
    """A finished training: what was trained, how it went, how good the best weights are."""

    schema_id: Literal["rnnctl.train/1"] = "rnnctl.train/1"
    run: str
    task: str
    level: str
    cell: str
    parameters: int
    recurrent_parameters: int
    vocab_size: int
    corpus: str = Field(description="what was read, in words")
    train_tokens: int
    cut_share: float = 0.0
    started_from: str = Field("", description="the run that weights were taken from")
    taken: tuple[str, ...] = Field((), description="names of the weights that were taken from it")
    anew: tuple[str, ...] = Field((), description="names of those that began anew beside them")
    vectors: VectorsRecord | None = None
    pretrained: PretrainedRecord | None = None
    steps: int
    epochs: float
    tokens: int = Field(description="trained on, repeated readings counted")
    best_step: int
    stop_reason: str
    trivial_nats: float = Field(
        description="validation loss of the best model that looks at no context"
    )
    chance: dict[str, float] = Field(
        default_factory=dict,
        description="of a task:… corpus: what guessing reaches (accuracy, nats), and the best loss",
    )
    clipped_share: float
    lr_scale: float = Field(1.0, description="below 1 after a return to earlier weights")
    splits: tuple[SplitResult, ...]
    documents: tuple[DocumentSums, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    still_improving: float | None = Field(
        None,
        description="share by which the validation loss fell over the last third of the training; "
        "None: it was no longer falling noticeably, or nothing was validated",
    )
    diagnosis: dict[str, Any] | None = Field(None, description="headline of the quick diagnosis")
    next_command: str = ""


class TrainingPlan(Result):
    """What a training would be (``train --dry-run``), with nothing trained."""

    schema_id: Literal["rnnctl.train-plan/1"] = "rnnctl.train-plan/1"
    run: str = Field(description="where it would be saved; empty: in a new folder in runs/")
    task: str
    level: str
    cell: str
    hidden_size: int
    num_layers: int
    parameters: int
    recurrent_parameters: int
    why_this_size: str = Field("", description="where the size was chosen for the budget")
    vocab_size: int
    corpus: str = Field(description="what was read, in words")
    labels: tuple[str, ...] = ()
    train_documents: int | None = Field(description="None of running text")
    train_tokens: int
    cut_share: float = 0.0
    lr: float
    batch_size: int
    steps: int | None = Field(description="limit that was set; None: no limit of steps")
    epochs: float | None = Field(description="limit that was set")
    budget_s: float | None = Field(description="limit that was set, in seconds")
    patience: int | None = Field(
        description="validations without progress after which it ends before its limits"
    )
    pretrain_s: float | None = Field(None, description="seconds for the language model before it")
    folds: int = Field(1, description="trainings, each on another part of the corpus")
    tokens_per_s: float = Field(description="in a few trial steps, whose weights are thrown away")
    expected_steps: int = Field(description="of one training, rough unless steps are its limit")
    expected_epochs: float
    expected_s: float = Field(description="seconds of all trainings until their limits, rough")
    notes: tuple[str, ...] = Field((), description="how the corpus was read")


class SnapshotLine(Record):
    """Weights that were kept on the way of a training."""

    tokens: int = Field(description="trained on by then, repeated readings counted")
    step: int
    name: str = Field(description="their folder in checkpoints/")


class InfoResult(Result):
    """What is in a run."""

    schema_id: Literal["rnnctl.info/1"] = "rnnctl.info/1"
    run: str
    state: str
    written_by: str
    parameters: int | None
    size_bytes: int
    settings: dict[str, Any]
    files: tuple[str, ...]
    checkpoints: tuple[str, ...]
    snapshots: tuple[SnapshotLine, ...] = ()
    results: tuple[str, ...]
    training: TrainResult | None = None


class RunLine(Record):
    """One run in a listing. `problem` says why it cannot be read."""

    run: str
    state: str
    task: str = ""
    cell: str = ""
    size: str = ""
    corpus: str = ""
    steps: int | None = None
    best: str = Field("", description="best validation number, with its unit")
    horizon: str = Field("", description="memory horizon as every report writes it")
    problem: str = ""


class RunsResult(Result):
    """The runs under a folder; with --verify, what is wrong with their files."""

    schema_id: Literal["rnnctl.runs/1"] = "rnnctl.runs/1"
    root: str
    runs: tuple[RunLine, ...]
    verified: bool = False
    problems: tuple[str, ...] = ()


class FoldMeasure(Record):
    """One number over all folds."""

    name: str
    mean: float
    ci95: tuple[float, float] | None = Field(
        None, description="corrected for folds that share training documents"
    )
    values: tuple[float, ...] = Field(description="of each fold")


class FoldsResult(Result):
    """One training for each fold of a corpus; every document is tested on once."""

    schema_id: Literal["rnnctl.folds/1"] = "rnnctl.folds/1"
    corpus: str
    runs: tuple[str, ...]
    documents: int = Field(description="tested on, in all")
    measures: tuple[FoldMeasure, ...]
    classes: tuple[str, ...] = Field(description="labels, in the order of the runs")
    next_command: str = ""
