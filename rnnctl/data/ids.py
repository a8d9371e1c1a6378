"""Ids in memory or on disk, with the documents they form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray


class IdArray(Protocol):
    """What is done with ids everywhere; an int32 array can do it, `Ids` too."""

    def __len__(self) -> int: ...
    def __getitem__(self, key: slice, /) -> NDArray[np.int32]: ...


class Ids:
    """N ids on disk that read as int32: ``ids[a:b]``, ``ids[indices]``, ``ids[i]``.

    `np.asarray` copies all of them into memory: take slices of long ones.
    """

    dtype = np.dtype(np.int32)

    def __init__(self, stored: NDArray[Any]) -> None:
        self._stored = stored
        self.shape = stored.shape
        self.size = stored.size

    def __len__(self) -> int:
        return len(self._stored)

    @overload
    def __getitem__(self, key: int | np.integer[Any], /) -> int: ...
    @overload
    def __getitem__(self, key: slice | NDArray[Any], /) -> NDArray[np.int32]: ...
    def __getitem__(self, key: Any, /) -> Any:
        found = self._stored[key]
        return found.astype(np.int32) if isinstance(found, np.ndarray) else int(found)

    def __iter__(self) -> Iterator[int]:
        # In parts, for as Python's integers all of them may not fit into memory.
        for start in range(0, len(self), 1 << 20):
            yield from self._stored[start : start + (1 << 20)].tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self._stored.astype(dtype or np.int32)


@dataclass(frozen=True)
class SplitIds:
    """N tokens in D documents, back to back, each ended by the boundary unless `running`.

    Document d is ``ids[offsets[d]:offsets[d + 1]]``, boundary included; running text is one
    document. `labels` (D,) number `Store.label_names`; where a text may have several labels they
    number the rows of `sets` (S, C), each saying which labels are in that set. Per
    document: `chars`, `bytes` and `words`
    (between whitespace) of the text that was kept, `unknown` tokens and their `unknown_nats`.
    """

    ids: IdArray
    offsets: NDArray[np.int64]
    labels: NDArray[np.int32] | None
    chars: NDArray[np.int64]
    bytes: NDArray[np.int64]
    words: NDArray[np.int64]
    unknown: NDArray[np.int64]
    unknown_nats: NDArray[np.float64]
    running: bool = False
    sets: NDArray[np.bool_] | None = None

    @property
    def truth(self) -> NDArray[np.bool_] | None:
        """(D, C): which labels each document has, where it may have several; else None."""
        if self.sets is None or self.labels is None:
            return None
        return self.sets[self.labels]

    @property
    def tokens(self) -> int:
        """N."""
        return int(self.offsets[-1])

    @property
    def count(self) -> int:
        """D."""
        return len(self.offsets) - 1

    def document(self, d: int) -> NDArray[np.int32]:
        """The ids of document `d`."""
        return self.ids[int(self.offsets[d]) : int(self.offsets[d + 1])]
