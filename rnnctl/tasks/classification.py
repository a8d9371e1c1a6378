"""Classifiers: batches of whole documents, the loss, the validation, the metrics."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from rnnctl.config import RunConfig, TrainingConfig
from rnnctl.data.batches import ClassifierBatch, DocumentBatches, pad_documents
from rnnctl.data.ids import SplitIds
from rnnctl.data.store import Store
from rnnctl.data.tokenizers import Tokenizer
from rnnctl.errors import DataError
from rnnctl.machine import Arithmetic
from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.results.base import Classification
from rnnctl.results.training import SplitResult
from rnnctl.statistics import wilson
from rnnctl.tasks import metrics
from rnnctl.tasks.base import Carry, Interrupted, StepLoss, Task, Validation
from rnnctl.tasks.evaluation import batches_by_length, never
from rnnctl.tasks.split_results import (
    MOST_SUMS,
    FinalInterrupted,
    Measured,
    SplitName,
    check_finite,
    spread,
    sums_of,
)

MEASURED_TRAIN_DOCUMENTS = 2_500  # of the training text are read for the final numbers


class ClassificationTask(Task):
    """A classifier with its training and validation documents."""

    counts_documents = True
    model: Classifier
    batches: DocumentBatches
    spelling_nats = 0.0

    def __init__(
        self,
        model: Classifier,
        train: SplitIds,
        valid: SplitIds,
        settings: TrainingConfig,
        arithmetic: Arithmetic,
        *,
        boundary_id: int,
        label_names: tuple[str, ...],
        rank: int = 0,
        workers: int = 1,
    ) -> None:
        assert train.labels is not None
        self.label_names = label_names
        self.model = model
        self.arithmetic = arithmetic
        self.boundary_id = boundary_id
        self.rank, self.workers = rank, workers
        self.valid = valid
        self.batches = DocumentBatches(
            train, settings.batch_size, boundary_id=boundary_id, seed=settings.seed, shuffle=True
        )
        self._iterator = iter(self.batches)  # follows `batches` wherever it is set
        self.units_per_epoch = len(train.labels)
        counts = np.bincount(train.labels)
        shares = counts[counts > 0] / counts.sum()
        self.trivial_nats = float(-(shares * np.log(shares)).sum())

    @classmethod
    def begin(
        cls,
        config: RunConfig,
        tokenizer: Tokenizer,
        store: Store,
        model: LanguageModel | Classifier,
        arithmetic: Arithmetic,
        *,
        rank: int = 0,
    ) -> ClassificationTask:
        """See `Task`."""
        check_labels(store)
        assert isinstance(model, Classifier)
        return cls(
            model,
            store.split("train"),
            store.split("valid"),
            config.training,
            arithmetic,
            boundary_id=tokenizer.boundary_id,
            label_names=store.label_names,
            rank=rank,
            workers=config.training.workers,
        )

    def initial_carry(self, streams: int) -> tuple[torch.Tensor, ...]:
        """Nothing: every document begins anew."""
        return ()

    def next_batch(self) -> ClassifierBatch:
        """The next batch of documents."""
        return next(self._iterator)

    def loss(self, batch: ClassifierBatch, carry: Carry) -> StepLoss:
        """Cross entropy of a batch of documents, this worker's share of them only."""
        own = slice(self.rank, None, self.workers)
        device = self.arithmetic.device
        lengths = batch.lengths[own]
        # Of the whole batch, whatever this worker's share: all must see the same progress.
        tokens, documents = int(batch.lengths.sum()), len(batch.labels)
        if len(lengths) == 0:  # fewer documents than workers: this one adds nothing
            return StepLoss(self._nothing(), documents, tokens, documents, None)
        longest = int(lengths.max())
        ids = torch.from_numpy(np.ascontiguousarray(batch.ids[:longest, own])).to(device)
        with self.arithmetic.context():
            logits = self.model(ids, torch.from_numpy(lengths.copy()).to(device))
        labels = torch.from_numpy(batch.labels[own].copy()).to(device)
        total = cross_entropy(logits.float(), labels, reduction="sum")
        return StepLoss(total, documents, tokens, documents, None)

    def _nothing(self) -> torch.Tensor:
        parts = [parameter.sum() * 0.0 for parameter in self.model.parameters()]
        return torch.stack(parts).sum()

    def validate(self, interrupted: Interrupted, most: int = 0) -> Validation | None:
        """Mean nats per document, and accuracy; None without documents or when interrupted.

        On at most `most` documents, spread evenly over the validation text; 0 for all of them.
        """
        valid = spread(self.valid, most) if most else self.valid
        if valid.labels is None or len(valid.labels) == 0:
            return None
        self.model.eval()
        try:
            logits = classify_split(
                self.model, valid, self.boundary_id, self.arithmetic, interrupted=interrupted
            )
        finally:
            self.model.train()
        if logits is None:
            return None
        losses = label_nats(logits, valid.labels)
        hits = logits.argmax(1) == valid.labels
        return Validation(float(losses.mean()), float(hits.mean()))

    def measure(self, name: SplitName, split: SplitIds, interrupted: Interrupted) -> Measured:
        """All metrics of a split. FinalInterrupted when asked to stop.

        In fp32 whatever the training used, so that the numbers are those of `evaluate`.
        """
        part = ""
        if name == "train" and split.count > MEASURED_TRAIN_DOCUMENTS:
            split = spread(split, MEASURED_TRAIN_DOCUMENTS)
            part = f"a sample of {split.count:,} documents"
        arithmetic = Arithmetic(self.arithmetic.device, bf16=False)
        logits = classify_split(
            self.model, split, self.boundary_id, arithmetic, interrupted=interrupted
        )
        if logits is None:
            raise FinalInterrupted
        assert split.labels is not None
        check_finite(logits.sum(1), name)
        classification = measure(logits, split.labels, self.label_names)
        result = SplitResult(split=name, classification=classification, part=part)
        if name == "train" or split.count > MOST_SUMS:
            return Measured(result)
        nats = label_nats(logits, split.labels)
        return Measured(result, sums_of(name, split, nats, split.labels, logits.argmax(1)))


@torch.no_grad()
def classify_split(
    model: Classifier,
    split: SplitIds,
    boundary_id: int,
    arithmetic: Arithmetic,
    *,
    interrupted: Interrupted = never,
) -> NDArray[np.float64] | None:
    """Logits (D, C) of all documents of a split; None when interrupted."""
    lengths = np.diff(split.offsets)
    logits = np.zeros((len(lengths), model.num_classes))
    for some in batches_by_length(lengths):
        if interrupted():
            return None
        ids, read = pad_documents([split.document(int(d)) for d in some], boundary_id)
        with arithmetic.context():
            output = model(
                torch.from_numpy(ids).to(arithmetic.device),
                torch.from_numpy(read).to(arithmetic.device),
            )
        logits[some] = output.double().cpu().numpy()
    return logits


def label_nats(logits: NDArray[np.float64], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Negative log probability of each label (D,), nats."""
    logs = metrics.log_softmax(logits)
    nats: NDArray[np.float64] = -logs[np.arange(len(labels)), labels]
    return nats


def measure(
    logits: NDArray[np.float64], labels: NDArray[np.integer], names: tuple[str, ...]
) -> Classification:
    """All metrics of predictions (D, C) against the truth (D,), at least one document."""
    predicted = logits.argmax(1)
    confusion = metrics.confusion_matrix(labels, predicted, len(names))
    confidence = np.exp(metrics.log_softmax(logits)).max(1)
    share = wilson(int((predicted == labels).sum()), len(labels))
    return Classification(
        accuracy=metrics.accuracy(confusion),
        accuracy_ci95=(share.lo, share.hi),
        macro_f1=metrics.macro_f1(confusion),
        loss_nats=float(label_nats(logits, labels).mean()),
        calibration_error=metrics.calibration_error(confidence, predicted == labels),
        n=len(labels),
        labels=names,
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
    )


def check_labels(store: Store) -> None:
    """DataError unless the training documents carry at least two different labels."""
    if len(store.label_names) < 2:
        found = ", ".join(store.label_names) or "none"
        raise DataError(
            f"a classifier needs two labels or more, and the training documents have: {found}",
            hint="check --label-field, or train a language model with --task lm",
        )
