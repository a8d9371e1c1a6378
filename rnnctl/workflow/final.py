"""The numbers at the end of a training: every split, every protocol, with the best weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rnnctl.data.ids import SplitIds
from rnnctl.errors import NotFiniteError
from rnnctl.machine import Arithmetic
from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.results.base import LanguageModelLoss
from rnnctl.results.training import DocumentSums, SplitResult
from rnnctl.tasks.base import Interrupted
from rnnctl.tasks.classification import classify_split, label_nats, measure
from rnnctl.tasks.evaluation import cold_nats, document_nats, streaming_nats
from rnnctl.tasks.language_model import first_documents
from rnnctl.wording import plural
from rnnctl.workflow.preparation import Prepared

SplitName = Literal["train", "valid", "test"]
Protocol = Literal["streaming", "cold", "document"]
NAMES: tuple[SplitName, ...] = ("train", "valid", "test")

COLD_WINDOW = 64
MOST_TOKENS = 2_500_000  # of a split are read for the final numbers
TRAIN_TOKENS = 250_000
TRAIN_DOCUMENTS = 2_500
STREAMS = 64  # that a running text is read in side by side
MOST_SUMS = 50_000


class FinalInterrupted(Exception):  # noqa: N818 - an outcome, not a defect
    """The final measurements were interrupted; the run can be resumed to finish them."""


@dataclass(frozen=True, slots=True)
class Measured:
    result: SplitResult
    sums: DocumentSums | None = None


def measure_splits(prepared: Prepared, interrupted: Interrupted) -> Iterator[Measured]:
    """Results of train, valid and test, as far as there is text. FinalInterrupted when asked to."""
    prepared.model.eval()
    # fp32 whatever the training used, so that the numbers are those of `evaluate` and `score`.
    arithmetic = Arithmetic(prepared.arithmetic.device, bf16=False)
    for name in NAMES:
        split = prepared.store.split(name)
        if len(split.ids) == 0:
            continue
        if isinstance(prepared.model, Classifier):
            yield _classified(prepared, name, split, arithmetic, interrupted)
        else:
            yield _language_model(prepared, name, split, arithmetic, interrupted)


def _classified(
    prepared: Prepared,
    name: SplitName,
    split: SplitIds,
    arithmetic: Arithmetic,
    interrupted: Interrupted,
) -> Measured:
    assert isinstance(prepared.model, Classifier)
    part = ""
    if name == "train" and split.count > TRAIN_DOCUMENTS:
        chosen = np.linspace(0, split.count - 1, TRAIN_DOCUMENTS).astype(np.int64)
        split, part = subset(split, chosen), f"a sample of {TRAIN_DOCUMENTS:,} documents"
    boundary = prepared.tokenizer.boundary_id
    logits = classify_split(prepared.model, split, boundary, arithmetic, interrupted=interrupted)
    if logits is None:
        raise FinalInterrupted
    assert split.labels is not None
    check_finite(logits.sum(1), name)
    classification = measure(logits, split.labels, prepared.store.label_names)
    result = SplitResult(split=name, classification=classification, part=part)
    if name == "train" or split.count > MOST_SUMS:
        return Measured(result)
    nats = label_nats(logits, split.labels)
    sums = sums_of(name, split, nats, split.labels, logits.argmax(1))
    return Measured(result, sums)


def check_finite(nats: NDArray[np.float64], text: str) -> None:
    """NotFiniteError for the first document (D,), or for a whole text, that has no finite loss."""
    bad = np.flatnonzero(~np.isfinite(nats))
    if len(bad):
        of = f"document {bad[0] + 1:,} of " if len(nats) > 1 else ""
        raise NotFiniteError(f"{of}{text}")


def subset(split: SplitIds, chosen: NDArray[np.int64]) -> SplitIds:
    """The chosen documents of a split, as a split."""
    pieces = [split.document(int(d)) for d in chosen]
    offsets = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])]).astype(np.int64)
    labels = None if split.labels is None else split.labels[chosen]
    return SplitIds(
        ids=np.concatenate(pieces),
        offsets=offsets,
        labels=labels,
        chars=split.chars[chosen],
        bytes=split.bytes[chosen],
        words=split.words[chosen],
        unknown=split.unknown[chosen],
        unknown_nats=split.unknown_nats[chosen],
    )


def sums_of(
    name: Literal["train", "valid", "test", "all"],
    split: SplitIds,
    nats: NDArray[np.float64],
    truth: NDArray[np.integer] | None = None,
    predicted: NDArray[np.integer] | None = None,
) -> DocumentSums:
    """Per-document sums, for paired comparisons."""
    return DocumentSums(
        split=name,
        loss_nats=tuple(round(float(value), 6) for value in nats),
        tokens=tuple(int(n) for n in np.diff(split.offsets)),
        bytes=tuple(int(n) for n in split.bytes),
        truth=() if truth is None else tuple(int(label) for label in truth),
        predicted=() if predicted is None else tuple(int(label) for label in predicted),
    )


def _language_model(
    prepared: Prepared,
    name: SplitName,
    split: SplitIds,
    arithmetic: Arithmetic,
    interrupted: Interrupted,
) -> Measured:
    assert isinstance(prepared.model, LanguageModel)
    task = prepared.task
    by_document = bool(getattr(task, "by_document", False))
    most = TRAIN_TOKENS if name == "train" else MOST_TOKENS
    offsets = first_documents(split.offsets, most)
    whole = len(offsets) == len(split.offsets)
    boundary = prepared.tokenizer.boundary_id
    if by_document:
        nats = document_nats(
            prepared.model, split.ids, offsets, boundary, arithmetic, interrupted=interrupted
        )
        if nats is None:
            raise FinalInterrupted
        check_finite(nats, name)
        part = "" if whole else f"the first {plural(len(offsets) - 1, 'document')}"
        extra = split.unknown_nats[: len(nats)]
        loss = loss_of(split, len(nats), float(nats.sum()), "document")
        result = SplitResult(split=name, losses=(loss,), part=part)
        keep = name != "train" and len(nats) <= MOST_SUMS
        return Measured(result, sums_of(name, split, nats + extra) if keep and whole else None)
    return _running(prepared, name, split, arithmetic, interrupted, most)


def _running(
    prepared: Prepared,
    name: SplitName,
    split: SplitIds,
    arithmetic: Arithmetic,
    interrupted: Interrupted,
    most: int,
) -> Measured:
    """Streaming and cold loss of the first `most` tokens of a running text."""
    assert isinstance(prepared.model, LanguageModel)
    model, boundary = prepared.model, prepared.tokenizer.boundary_id
    ids = split.ids[:most]
    streaming = streaming_nats(
        model, ids, boundary, arithmetic, streams=STREAMS, interrupted=interrupted
    )
    cold = cold_nats(model, ids, boundary, arithmetic, window=COLD_WINDOW, interrupted=interrupted)
    if streaming is None or cold is None:
        raise FinalInterrupted
    check_finite(np.array([streaming + cold]), name)
    share = len(ids) / len(split.ids)
    part = "" if share == 1 else f"the first {plural(len(ids), 'token')}"
    losses = (
        loss_of(split, None, streaming, "streaming", share=share),
        loss_of(split, None, cold, "cold", share=share, window=COLD_WINDOW),
    )
    return Measured(SplitResult(split=name, losses=losses, part=part))


def loss_of(
    split: SplitIds,
    documents: int | None,
    nats: float,
    protocol: Protocol,
    *,
    share: float = 1.0,
    window: int | None = None,
) -> LanguageModelLoss:
    """The loss record of summed nats over the first documents, or a share, of a split.

    Of a running text that was read in part, characters and bytes are the same share of the whole.
    """
    some = slice(documents)
    tokens = int(split.offsets[documents]) if documents is not None else len(split.ids)
    chars, size = int(split.chars[some].sum()), int(split.bytes[some].sum())
    unknown, charge = int(split.unknown[some].sum()), float(split.unknown_nats[some].sum())
    total = nats + charge * share
    count = round(tokens * share)
    mean = total / count
    return LanguageModelLoss(
        protocol=protocol,
        loss_nats=mean,
        perplexity=math.exp(mean) if mean < 700 else None,
        bits_per_char=total / math.log(2) / (chars * share) if chars else None,
        bits_per_byte=total / math.log(2) / (size * share) if size else None,
        tokens=count,
        chars=round(chars * share),
        bytes=round(size * share),
        unknown=round(unknown * share),
        unknown_rate=unknown / tokens,
        window=window,
    )
