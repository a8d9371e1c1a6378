"""The results of one split: losses, and the sums of each document for paired comparisons."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rnnctl.data.ids import SplitIds
from rnnctl.errors import NotFiniteError
from rnnctl.results.base import LanguageModelLoss
from rnnctl.results.training import DocumentSums, SplitResult

SplitName = Literal["train", "valid", "test"]
Protocol = Literal["streaming", "cold", "document"]
MOST_SUMS = 50_000  # documents whose sums a result holds


class FinalInterrupted(Exception):  # noqa: N818 - an outcome, not a defect
    """The final measurements were interrupted; the run can be resumed to finish them."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of a split; `sums` where it was read whole and not for training.

    `logits` (D, C) and `truth`, (D,) or (D, C), are what a classification was measured from.
    """

    result: SplitResult
    sums: DocumentSums | None = None
    logits: NDArray[np.float64] | None = None
    truth: NDArray[np.int64] | NDArray[np.bool_] | None = None


def check_finite(nats: NDArray[np.float64], text: str) -> None:
    """NotFiniteError for the first document (D,), or for a whole text, that has no finite loss."""
    bad = np.flatnonzero(~np.isfinite(nats))
    if len(bad):
        of = f"document {bad[0] + 1:,} of " if len(nats) > 1 else ""
        raise NotFiniteError(f"{of}{text}")


def spread(split: SplitIds, most: int) -> SplitIds:
    """The split itself, or so many of its documents, spread evenly, if it has more."""
    if split.count <= most:
        return split
    return chosen(split, np.linspace(0, split.count - 1, most).astype(np.int64))


def chosen(split: SplitIds, which: NDArray[np.int64]) -> SplitIds:
    """The documents of these numbers, at least one."""
    pieces = [split.document(int(d)) for d in which]
    offsets = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])]).astype(np.int64)
    return SplitIds(
        ids=np.concatenate(pieces),
        offsets=offsets,
        labels=None if split.labels is None else split.labels[which],
        chars=split.chars[which],
        bytes=split.bytes[which],
        words=split.words[which],
        unknown=split.unknown[which],
        unknown_nats=split.unknown_nats[which],
        sets=split.sets,
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
