"""Batches of labelled documents of about equal length.

Axes: T time, B documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnctl.data.ids import SplitIds
from rnnctl.errors import DataError

_POOL = 50


@dataclass(frozen=True, slots=True)
class ClassifierBatch:
    """ids (T, B) int64, right-padded with the boundary; lengths (B,) with each document's own
    boundary counted; labels (B,), -1 where there is none; index (B,) the documents' numbers.
    """

    ids: NDArray[np.int64]
    lengths: NDArray[np.int64]
    labels: NDArray[np.int64]
    index: NDArray[np.int64]


def pad_documents(
    documents: Sequence[NDArray[np.int32]], filler: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Side by side, filled up with `filler`: ids (T, B), lengths (B,)."""
    lengths = np.array([len(document) for document in documents], dtype=np.int64)
    ids = np.full((len(documents), int(lengths.max(initial=0))), filler, dtype=np.int64)
    for row, document in zip(ids, documents, strict=True):
        row[: len(document)] = document
    return np.ascontiguousarray(ids.T), lengths


class DocumentBatches:
    """Documents in batches of similar length.

    shuffle: for ever, every document once a pass, in a new random order; otherwise one pass from
    short to long. A batch has at most `batch_size` documents and, if `token_budget` is given, at
    most that many places (T * B), but always one document.

    Raises: DataError if there is no document.
    """

    def __init__(
        self,
        split: SplitIds,
        batch_size: int,
        token_budget: int | None = None,
        seed: int = 0,
        shuffle: bool = True,
        boundary_id: int = 0,
    ) -> None:
        if not split.count:
            raise DataError("there are no documents", hint="give a larger corpus or split")
        self._split = split
        self._lengths = np.diff(split.offsets)
        self._batch_size = batch_size
        self._token_budget = token_budget
        self._seed = seed
        self._shuffle = shuffle
        self._boundary_id = boundary_id
        self._pass = 0
        self._at = 0
        self._plan = self._make_plan()

    @property
    def epoch(self) -> int:
        """Passes that are complete."""
        return self._pass + (self._at == len(self._plan))

    @property
    def progress(self) -> float:
        """Passes made, with the fraction of the present one."""
        return self._pass + self._at / len(self._plan)

    @property
    def tokens_per_epoch(self) -> int:
        """Tokens of all documents."""
        return self._split.tokens

    def __len__(self) -> int:
        """Batches in the present pass."""
        return len(self._plan)

    def state_dict(self) -> dict[str, int]:
        """The place; with the same split, sizes and seed it determines every later batch."""
        return {"epoch": self._pass, "at": self._at, "seed": self._seed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a place that `state_dict` gave; ValueError if there is no such place."""
        self._pass, self._at, self._seed = (int(state[k]) for k in ("epoch", "at", "seed"))
        self._plan = self._make_plan()
        if not 0 <= self._at <= len(self._plan):
            raise ValueError(f"there is no place {self._at} among {len(self._plan)} batches")

    def __iter__(self) -> Iterator[ClassifierBatch]:
        while True:
            if self._at == len(self._plan):
                self._pass, self._at = self._pass + 1, 0
                self._plan = self._make_plan()
                if not self._shuffle:
                    return
            self._at += 1
            yield self._batch(self._plan[self._at - 1])

    def _batch(self, index: NDArray[np.int64]) -> ClassifierBatch:
        documents = [self._split.document(d) for d in index.tolist()]
        ids, lengths = pad_documents(documents, self._boundary_id)
        labels = self._split.labels
        numbers = np.full(len(index), -1) if labels is None else labels[index]
        return ClassifierBatch(ids, lengths, numbers.astype(np.int64), index)

    def _make_plan(self) -> list[NDArray[np.int64]]:
        """Document numbers of every batch of this pass."""
        if not self._shuffle:
            return list(self._cut(np.argsort(self._lengths, kind="stable")))
        rng = np.random.default_rng([self._seed, self._pass])
        order = rng.permutation(self._split.count)
        pool = self._batch_size * _POOL
        plan: list[NDArray[np.int64]] = []
        for start in range(0, len(order), pool):
            part = order[start : start + pool]
            plan += self._cut(part[np.argsort(self._lengths[part], kind="stable")])
        return [plan[i] for i in rng.permutation(len(plan)).tolist()]

    def _cut(self, ordered: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Batches of documents that come from short to long."""
        start = 0
        for i, length in enumerate(self._lengths[ordered].tolist()):
            full = i - start == self._batch_size
            places = length * (i - start + 1)
            if full or (i > start and self._token_budget and places > self._token_budget):
                yield ordered[start:i]
                start = i
        yield ordered[start:]
