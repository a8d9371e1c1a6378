"""Classifiers: batches of whole documents, the loss, the validation, the metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from rnnctl.catalog import suggestion
from rnnctl.config import RunConfig, TrainingConfig
from rnnctl.data.batches import ClassifierBatch, DocumentBatches, pad_documents
from rnnctl.data.cache import cache_directory
from rnnctl.data.corpus import Corpus
from rnnctl.data.ids import SplitIds
from rnnctl.data.store import Store
from rnnctl.data.tokenizers import Tokenizer
from rnnctl.errors import DataError, UsageError
from rnnctl.machine import Arithmetic
from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.results.base import Classification, Warning_
from rnnctl.results.training import SplitResult
from rnnctl.tasks.base import Carry, Conclusion, Interrupted, StepLoss, Task, Validation
from rnnctl.tasks.evaluation import (
    MOST_SUMS,
    FinalInterrupted,
    MeasuredSplit,
    SplitName,
    batches_by_length,
    check_finite,
    never,
    spread,
    sums_of,
)
from rnnctl.tasks.quality import (
    CALIBRATION_NAME,
    FEWEST,
    Calibration,
    Documents,
    Judged,
    bag_of_words,
    nats,
    remarks,
    with_bag,
)

_TEMPERATURES = tuple(np.exp(np.linspace(-2.0, 3.0, 51)).tolist())
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
    ) -> None:
        assert train.labels is not None
        self.label_names = label_names
        self.model = model
        self.arithmetic = arithmetic
        self.boundary_id = boundary_id
        self.rank, self.workers = rank, settings.workers
        self.valid = valid
        self.calibrate = settings.calibrate
        self.weighted = settings.class_weights is not None
        self.batches = DocumentBatches(train, settings.batch_size, boundary_id, settings.seed)
        self.units_per_epoch = len(train.labels)
        self.sets = train.sets
        if train.truth is not None:
            having = train.truth.sum(0)
            sides = side_weights(settings.class_weights, label_names, having, len(train.truth))
            self.trivial_nats = weighted_entropy(having / len(train.truth), sides)
            self.most_frequent = 0
            self.weights = torch.from_numpy(sides.astype(np.float32)).to(arithmetic.device)
            return
        counts = np.bincount(train.labels, minlength=len(label_names))
        self.most_frequent = int(counts.argmax())
        weights = label_weights(settings.class_weights, label_names, counts)
        self.weights = torch.from_numpy(weights.astype(np.float32)).to(arithmetic.device)
        weighted = weights * counts
        shares = weighted[counts > 0] / weighted.sum()
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
        )

    def initial_carry(self, streams: int) -> tuple[torch.Tensor, ...]:
        """Nothing: every document begins anew."""
        return ()

    def loss(self, batch: ClassifierBatch, carry: Carry) -> StepLoss:
        """Cross entropy of a batch of documents, this worker's share of them only."""
        # Every other document and not a half: batches are sorted by length, so that each share is
        # alike.
        own = slice(self.rank, None, self.workers)
        device = self.arithmetic.device
        lengths = batch.lengths[own]
        # Of the whole batch, whatever this worker's share: all must see the same progress.
        tokens, documents = int(batch.lengths.sum()), len(batch.labels)
        if len(lengths) == 0:
            # Fewer documents than workers: this one adds nothing, but its gradients must be there
            # to be added up.
            nothing = torch.stack([parameter.sum() * 0.0 for parameter in self.model.parameters()])
            return StepLoss(nothing.sum(), documents, tokens, documents, None)
        longest = int(lengths.max())
        ids = torch.from_numpy(np.ascontiguousarray(batch.ids[:longest, own])).to(device)
        with self.arithmetic.context():
            logits = self.model(ids, torch.from_numpy(lengths.copy()).to(device))
        labels = torch.from_numpy(batch.labels[own].copy()).to(device)
        if self.sets is not None:
            target = torch.from_numpy(self.sets[batch.labels[own]]).to(device).float()
            weights = torch.where(target > 0, self.weights[1], self.weights[0])
            each = binary_cross_entropy_with_logits(
                logits.float(), target, weights, reduction="sum"
            )
            return StepLoss(each, documents, tokens, documents, None)
        total = cross_entropy(logits.float(), labels, self.weights, reduction="sum")
        return StepLoss(total, documents, tokens, documents, None)

    def validate(self, interrupted: Interrupted, most: int = 0) -> Validation | None:
        """Mean nats per document (weighted by class), and accuracy; None without documents or when
        interrupted.

        Where a temperature is fitted at the end, the nats are those after the best one: weights are
        not to be preferred for being less sure of what they know. With class weights the best
        weights are those with the highest macro-F1. On at most `most` documents,
        spread evenly over the validation text; 0 for all of them.
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
        several = valid.truth
        right = logits.argmax(1) == valid.labels
        if several is not None:
            right = ((logits >= 0) == several).all(1)
        # A grid in the place of the fit at the end: it is asked at every validation, and its bits
        # do not depend on an optimiser's path.
        tried = _TEMPERATURES if self.calibrate and len(logits) >= FEWEST else (1.0,)
        losses = [self._weighted_nats(logits / t, valid) for t in tried]
        choice = None
        if self.weighted and several is None:
            # Rare labels are a small part of a loss that a few sure mistakes decide: macro-F1 goes
            # on rising after the weighted loss has begun to.
            from sklearn.metrics import f1_score  # takes a second to import

            found = f1_score(valid.labels, logits.argmax(1), average="macro", zero_division=0)
            choice = -float(found)
        # A loss that is not finite is the least of none, whatever stands beside it.
        best = min(losses, key=lambda loss: (not np.isfinite(loss), loss))
        return Validation(best, float(right.mean()), choice)

    def _weighted_nats(self, logits: NDArray[np.float64], split: SplitIds) -> float:
        """The mean loss of a split's documents, each label weighted as in training."""
        weights, several = self.weights.cpu().numpy(), split.truth
        if several is not None:
            each = np.logaddexp(0.0, np.where(several, -logits, logits))
            return float((each * np.where(several, weights[1], weights[0])).sum(1).mean())
        assert split.labels is not None
        truth = split.labels.astype(np.int64)
        return float(np.average(nats(logits, truth), weights=weights[truth]))

    def measure(self, name: SplitName, split: SplitIds, interrupted: Interrupted) -> MeasuredSplit:
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
        truth = split.labels.astype(np.int64) if split.truth is None else split.truth
        several = Calibration(several=split.truth is not None)
        judged = Judged(logits, truth, self.label_names, several)
        result = SplitResult(split=name, classification=judged.classification(), part=part)
        sums = None
        if name != "train" and split.count <= MOST_SUMS:
            answers = () if judged.several else (judged.truth, judged.predicted)
            sums = sums_of(name, split, judged.nats, *answers)
        return MeasuredSplit(result, sums, logits, truth)

    def conclude(
        self, measured: Sequence[MeasuredSplit], config: RunConfig, corpus: Corpus
    ) -> Conclusion:
        """Fit the temperature, put a bag of words beside the model, and judge all splits anew."""
        found = {m.result.split: m for m in measured}
        calibration = Calibration(several=self.sets is not None)
        if config.training.calibrate and "valid" in found:
            valid = found["valid"]
            assert valid.logits is not None and valid.truth is not None
            # On validation text, as the weights were chosen: the test text decides nothing.
            calibration = Calibration.fit(valid.logits, valid.truth)
        held = [name for name in ("valid", "test") if name in found]
        readers: list[Documents] = [partial(corpus.documents, name) for name in held]
        bags = None
        if held:
            bags = bag_of_words(corpus, self.label_names, readers, cache_directory())
        judged: list[MeasuredSplit] = []
        for one in measured:
            name = one.result.split
            assert one.logits is not None and one.truth is not None
            new = Judged(one.logits, one.truth, self.label_names, calibration, self.most_frequent)
            if name in held:
                bag = None if bags is None else bags[held.index(name)]
                new = with_bag(replace(new, documents=readers[held.index(name)]), bag)
            result = one.result.model_copy(update={"classification": new.classification()})
            sums = one.sums
            if sums is not None:
                losses = tuple(round(float(value), 6) for value in new.nats)
                sums = sums.model_copy(update={"loss_nats": losses})
            judged.append(replace(one, result=result, sums=sums))
        files = {CALIBRATION_NAME: calibration.to_bytes()} if config.training.calibrate else {}
        return Conclusion(tuple(judged), files, tuple(_remarks(judged, config)))


def weighted_entropy(shares: NDArray[np.float64], sides: NDArray[np.float64]) -> float:
    """The loss (nats, sum over labels) of a model that only knows which `shares` (C,) of the texts
    have each label, where texts without it and with it weigh `sides` (2, C)."""
    without, having = sides[0] * (1 - shares), sides[1] * shares
    yes = np.clip(having / (without + having), 1e-12, 1 - 1e-12)
    return float(-(having * np.log(yes) + without * np.log1p(-yes)).sum())


def _remarks(measured: Sequence[MeasuredSplit], config: RunConfig) -> Iterator[Warning_]:
    """What to say of the split that counts most, where simpler models are as good."""
    last = measured[-1].result
    if last.classification is not None and last.split != "train":
        what = f"the {'validation' if last.split == 'valid' else 'test'} documents"
        yield from remarks(last.classification, what, advice(config, last.classification))


def advice(config: RunConfig, judged: Classification) -> list[str]:
    """What may make a classifier better that is no better than simpler models, in words."""
    model = config.model
    found = []
    uneven = judged.majority is not None and judged.majority > 1.5 / len(judged.labels)
    if uneven and config.training.class_weights is None:
        found.append("--class-weights balanced")
    if model.pool == "last":
        found.append("--pool meanmax")
    if not model.bidirectional:
        found.append("--bidirectional")
    if config.training.start_from is None:
        found.append("--from a language model of such text")
    return ["a longer training", "more text", *found]


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


def label_weights(
    given: str | Mapping[str, float] | None, names: Sequence[str], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """What each label's documents count in the loss (C,), 1 in the mean over `counts` (C,).

    given: "balanced" is N / (C · n_c), as in scikit-learn; labels that a mapping does not name
    count 1 before scaling. UsageError for a label that there is not.
    """
    if given is None:
        return np.ones(len(names))
    if isinstance(given, str):
        weights = len(names) / np.maximum(counts, 1)
    else:
        _check_names(given, names)
        weights = np.array([given.get(name, 1.0) for name in names])
    scaled: NDArray[np.float64] = weights * counts.sum() / (weights * counts).sum()
    return scaled


def side_weights(
    given: str | Mapping[str, float] | None,
    names: Sequence[str],
    having: NDArray[np.int64],
    documents: int,
) -> NDArray[np.float64]:
    """What documents without (row 0) and with each label (row 1) count in its loss: (2, C).

    For texts that may have several labels, of which `having` (C,) of `documents` have each. The
    mean over the documents is 1. given: as for `label_weights`; "balanced" lets both sides of each
    label count the same in sum.
    """
    if given is None:
        return np.ones((2, len(names)))
    share = np.clip(having / documents, 0.5 / documents, 1 - 0.5 / documents)
    if isinstance(given, str):
        ratio = (1 - share) / share
    else:
        _check_names(given, names)
        ratio = np.array([given.get(name, 1.0) for name in names])
    scale = 1 / (1 - share + ratio * share)
    return np.stack([scale, ratio * scale])


def _check_names(given: Mapping[str, float], names: Sequence[str]) -> None:
    unknown = [name for name in given if name not in names]
    if unknown:
        raise UsageError(
            f"--class-weights: no training document has the label {unknown[0]!r:.60}",
            hint=suggestion(unknown[0], names),
        )


def check_labels(store: Store) -> None:
    """DataError unless the training documents carry at least two different labels."""
    if len(store.label_names) < 2:
        found = ", ".join(store.label_names) or "none"
        raise DataError(
            f"a classifier needs two labels or more, and the training documents have: {found}",
            hint="check --label-field, or train a language model with --task lm",
        )
