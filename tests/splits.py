"""Splits made of ids at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnctl.data.ids import SplitIds


def split_from_ids(
    documents: Sequence[Sequence[int] | NDArray[Any]],
    *,
    labels: Sequence[int] | None = None,
    running: bool = False,
) -> SplitIds:
    """Boundaries included; characters, bytes, words count as 0."""
    parts = [np.asarray(document, dtype=np.int32) for document in documents]
    lengths = np.array([len(part) for part in parts], dtype=np.int64)
    zeros = np.zeros(len(parts), dtype=np.int64)
    return SplitIds(
        ids=np.concatenate(parts) if parts else np.empty(0, dtype=np.int32),
        offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
        labels=None if labels is None else np.asarray(labels, dtype=np.int32),
        chars=zeros,
        bytes=zeros,
        words=zeros,
        unknown=zeros,
        unknown_nats=np.zeros(len(parts)),
        running=running,
    )
