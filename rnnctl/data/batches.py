"""Batches of training text: streams of running text in chunks, or documents of similar length.

Axes: T time, B streams or documents. numpy only; every batch follows from the seed and the place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnctl.data.ids import SplitIds
from rnnctl.errors import DataError
from rnnctl.wording import plural

NO_TARGET = -100  # in the place of a target: nothing is to be predicted there


@dataclass(frozen=True, slots=True)
class LanguageModelBatch:
    """inputs, targets (T, B) int64; targets[t] is the token after inputs[t], NO_TARGET for none.

    starts (T, B) bool or None: where the state is zeroed before the step. The first chunk of a pass
    has its whole first row set.
    """

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]
    starts: NDArray[np.bool_] | None


class StreamBatches:
    """The training text as `batch_size` streams, for ever.

    Each pass turns the text by a new random amount, joins its end to its beginning and cuts it into
    streams of equal length; up to ``batch_size - 1`` tokens at the seam sit a pass out. A stream
    begins with the boundary as input. With `reset` the state is zeroed at every document's start
    (and where running text begins).

    Raises: DataError if the text is too short for the number of streams.
    """

    def __init__(
        self,
        split: SplitIds,
        batch_size: int,
        bptt: int,
        boundary_id: int,
        seed: int,
        reset: bool,
    ) -> None:
        self._split = split
        self._total = split.tokens
        self._boundary_id = boundary_id
        self._bptt = bptt
        self._seed = seed
        self._reset = reset
        self.batch_size = batch_size
        self._length = self._total // batch_size
        if self._length < 2:
            raise DataError(
                f"the training text has {plural(self._total, 'token')}, too few for "
                f"{plural(batch_size, 'stream')}",
                hint="give more text or a smaller --batch-size",
            )
        self._pass = 0
        self._at = 0
        self._rotation = self._rotate()

    @property
    def tokens_per_epoch(self) -> int:
        """Targets in one pass."""
        return self._length * self.batch_size

    def state_dict(self) -> dict[str, int]:
        """The place; with the same split, sizes and seed it determines every later batch."""
        return {"epoch": self._pass, "at": self._at, "seed": self._seed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a place that `state_dict` gave; ValueError if there is no such place."""
        self._pass, self._at, self._seed = (int(state[k]) for k in ("epoch", "at", "seed"))
        if not 0 <= self._at < self._length:
            raise ValueError(f"there is no place {self._at} in streams of {self._length} tokens")
        self._rotation = self._rotate()

    def __iter__(self) -> Iterator[LanguageModelBatch]:
        return self

    def __next__(self) -> LanguageModelBatch:
        tokens = min(self._bptt, self._length - self._at)
        ahead = self._rotation + self._at
        begins = [(ahead + b * self._length) % self._total for b in range(self.batch_size)]
        rows = np.stack([self._row(begin, tokens) for begin in begins]).astype(np.int64)  # (B, T+1)
        # Copies in any case: of a single stream the two would share their memory.
        inputs, targets = rows[:, :-1].T.copy(), rows[:, 1:].T.copy()
        heads = self._document_starts(begins, tokens)
        if self._split.running:
            inputs[heads] = self._boundary_id
        starts = heads & self._reset
        if not self._at:
            inputs[0] = self._boundary_id
            starts[0] = True
        self._at += tokens
        if self._at == self._length:
            self._pass, self._at = self._pass + 1, 0
            self._rotation = self._rotate()
        return LanguageModelBatch(inputs, targets, starts if starts.any() else None)

    def _rotate(self) -> int:
        # Turned by another amount each pass, so that the streams' seams and chunks fall elsewhere.
        return int(np.random.default_rng([self._seed, self._pass]).integers(self._total))

    def _row(self, begin: int, tokens: int) -> NDArray[np.int32]:
        """The ids from ``begin - 1`` to ``begin + tokens - 1``, round the end: (T + 1,)."""
        ids = self._split.ids
        if begin and begin + tokens <= self._total:
            return ids[begin - 1 : begin + tokens]
        before = (begin - 1) % self._total
        parts = [ids[low:high] for low, high, _ in self._pieces(begin, tokens)]
        return np.concatenate([ids[before : before + 1], *parts])

    def _pieces(self, begin: int, tokens: int) -> Iterator[tuple[int, int, int]]:
        """[low, high) of the text for `tokens` targets, and the step at which each begins."""
        end = begin + tokens
        yield begin, min(end, self._total), 0
        if end > self._total:
            yield 0, end - self._total, self._total - begin

    def _document_starts(self, begins: list[int], tokens: int) -> NDArray[np.bool_]:
        """(T, B): the targets that begin a document (or the running text)."""
        heads = self._split.offsets[:-1]
        found = np.zeros((tokens, self.batch_size), dtype=np.bool_)
        for b, begin in enumerate(begins):
            for low, high, step in self._pieces(begin, tokens):
                i, j = np.searchsorted(heads, (low, high))
                found[heads[i:j] - low + step, b] = True
        return found


# -- documents -----------------------------------------------------------------------------------

# Batches' worth of random documents that are sorted by length before they are cut into batches: of
# fewer, more of each batch is padding; of more, the order of the training is less random.
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
    documents: Sequence[NDArray[np.integer[Any]]], filler: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Side by side, filled up with `filler`: ids (T, B), lengths (B,)."""
    lengths = np.array([len(document) for document in documents], dtype=np.int64)
    ids = np.full((len(documents), int(lengths.max(initial=0))), filler, dtype=np.int64)
    for row, document in zip(ids, documents, strict=True):
        row[: len(document)] = document
    return np.ascontiguousarray(ids.T), lengths


class DocumentBatches:
    """Documents in batches of similar length, for ever: each once a pass, in a new random order.

    Raises: DataError if there is no document.
    """

    def __init__(self, split: SplitIds, batch_size: int, boundary_id: int, seed: int) -> None:
        if not split.count:
            raise DataError("there are no documents", hint="give a larger corpus or split")
        self._split = split
        self._lengths = np.diff(split.offsets)
        self._batch_size = batch_size
        self._boundary_id = boundary_id
        self._seed = seed
        self._pass = 0
        self._at = 0
        self._plan = self._make_plan()

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
        return self

    def __next__(self) -> ClassifierBatch:
        if self._at == len(self._plan):
            self._pass, self._at = self._pass + 1, 0
            self._plan = self._make_plan()
        self._at += 1
        index = self._plan[self._at - 1]
        documents = [self._split.document(d) for d in index.tolist()]
        ids, lengths = pad_documents(documents, self._boundary_id)
        labels = self._split.labels
        numbers = np.full(len(index), -1) if labels is None else labels[index]
        return ClassifierBatch(ids, lengths, numbers.astype(np.int64), index)

    def _make_plan(self) -> list[NDArray[np.int64]]:
        """Document numbers of every batch of this pass."""
        # Of seed and pass alone, so that going to a place needs none of the draws before it.
        rng = np.random.default_rng([self._seed, self._pass])
        order = rng.permutation(self._split.count)
        pool = self._batch_size * _POOL
        plan: list[NDArray[np.int64]] = []
        for start in range(0, len(order), pool):
            part = order[start : start + pool]
            # Stable, so that the seed alone decides the order of documents of one length.
            part = part[np.argsort(self._lengths[part], kind="stable")]
            plan += [part[k : k + self._batch_size] for k in range(0, len(part), self._batch_size)]
        return [plan[i] for i in rng.permutation(len(plan)).tolist()]
