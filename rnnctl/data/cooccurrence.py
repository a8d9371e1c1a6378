"""Word vectors from the texts that a model is about to learn from.

Words that stand in the same company get similar vectors (Levy & Goldberg 2014, "Neural word
embedding as implicit matrix factorization"; Levy, Goldberg & Dagan 2015 for the details): how often
two words stand within WINDOW tokens of each other, near pairs counting more; of that the positive
pointwise mutual information; and of this matrix the leading singular vectors. A classifier that
begins with them knows from its first step that awful is like terrible, which of a rare word a few
labelled texts do not say.

They depend on the texts alone, so they are kept in the cache: the members of a comparison, which
differ in their cell and seed, begin with the same bits, and only the first of them waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from rnnctl import integrity
from rnnctl.data.cache import write_cached
from rnnctl.data.ids import SplitIds
from rnnctl.data.store import Store
from rnnctl.data.tokenizers.base import BOUNDARY_ID
from rnnctl.errors import StorageError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

WINDOW = 5
"""Tokens on either side; one that stands k away counts 1/k."""
SMOOTHING = 0.75
"""Exponent of the neighbours' frequencies, which keeps rare ones from looking telling."""
MOST_TOKENS = 10_000_000
"""Tokens that are counted: of a larger text, stretches spread evenly over it."""
_STRETCH = 10_000
"""Tokens of the longest stretch: running text is one document, and cut into such."""
_AT_ONCE = 1_000_000
_PASSES = 3
"""Power iterations of the randomised decomposition (Halko, Martinsson & Tropp 2011)."""

_LIBRARIES = ("numpy", "scipy", "scikit-learn")
"""Whose version decides on the last bits of the decomposition."""

Floats = NDArray[np.float32]
Learnt = tuple[Floats, NDArray[np.bool_]]
"""(V, E) the vectors, (V,) which tokens have one."""


def kept_vectors(store: Store, vocab_size: int, size: int, *, cache: Path) -> Learnt:
    """`learn_vectors` of the training texts in a store, found again where they were learnt before.

    What is damaged, or was learnt from something else, is learnt anew. A cache that cannot be
    written to costs the time of the next one, and is no error.
    """
    how = [WINDOW, SMOOTHING, MOST_TOKENS, _STRETCH, _AT_ONCE, _PASSES, *map(version, _LIBRARIES)]
    key = integrity.key([store.fingerprint, vocab_size, size, *how])
    path = cache / "vectors" / f"{key}.safetensors"
    found = _recalled(path, key)
    if found is None:
        rows, has_one = found = learn_vectors(store.split("train"), vocab_size, size)
        digest = integrity.digest(rows.tobytes(), has_one.tobytes())
        data = safetensors.numpy.save({"rows": rows, "found": has_one}, {"of": key + digest})
        with suppress(StorageError):
            write_cached(path, data)
    return found


def _recalled(path: Path, key: str) -> Learnt | None:
    """What is kept there under this key; None for nothing, or something else than was written."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            rows, found = file.get_tensor("rows"), file.get_tensor("found")
            of = (file.metadata() or {}).get("of")
    except (OSError, safetensors.SafetensorError):
        return None
    known = of == key + integrity.digest(rows.tobytes(), found.tobytes())
    return (rows, found) if known else None


def learn_vectors(texts: SplitIds, vocab_size: int, size: int) -> Learnt:
    """(V, E) vectors of mean square 1 and (V,) which tokens have one; zeros for the others.

    The same texts give the same vectors. Where the texts have fewer than `size` directions the
    last numbers of all vectors are 0.
    """
    from sklearn.utils.extmath import randomized_svd

    information = _positive_information(_neighbours(texts, vocab_size))
    rows = np.zeros((vocab_size, size), np.float32)
    # There is no more: the boundary's row is empty.
    directions = min(size, vocab_size - 1)
    if information.nnz and directions:
        # A seed of its own: the vectors follow from the texts alone, whatever the training's seed
        # is.
        left, values, _ = randomized_svd(
            information, n_components=directions, n_iter=_PASSES, random_state=0
        )
        # Half of the singular values' exponent: weighted so, the vectors are clearly better than
        # with all of it (Levy, Goldberg & Dagan 2015).
        rows[:, :directions] = left * np.sqrt(values)
    found = np.diff(information.indptr) > 0
    rows[~found] = 0  # but for rounding they are
    if found.any():
        rows /= np.sqrt(np.mean(np.square(rows[found], dtype=np.float64)))
    return rows, found


def _neighbours(texts: SplitIds, vocab_size: int) -> csr_array[Any]:
    """(V, V) how often a token (row) has another (column) beside it, in the same document."""
    from scipy.sparse import coo_array, csr_array

    every = max(1, -(-texts.tokens // MOST_TOKENS))
    counts: Any = csr_array((vocab_size, vocab_size), dtype=np.float32)
    for ids, document in _pieces(texts, every):
        pairs = []
        for away in range(1, WINDOW + 1):
            one, other = ids[:-away], ids[away:]
            together = document[:-away] == document[away:]
            together &= (one != BOUNDARY_ID) & (other != BOUNDARY_ID)
            weights = np.full(np.count_nonzero(together), 1 / away, np.float32)
            pairs.append((weights, one[together], other[together]))
        weights, one, other = (np.concatenate(part) for part in zip(*pairs, strict=True))
        counts = counts + coo_array((weights, (one, other)), shape=counts.shape).tocsr()
    # Each pair was counted once, from its first token: the other half is the same, turned over.
    both: csr_array[Any] = counts + counts.T.tocsr()
    return both


def _pieces(texts: SplitIds, every: int) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32]]]:
    """About `_AT_ONCE` tokens at a time, of each `every`-th stretch, and the stretch of each.

    A stretch is a document, or a part of a long one.
    """
    spans = [
        (first, min(first + _STRETCH, end))
        for begin, end in pairwise(texts.offsets.tolist())
        for first in range(begin, end, _STRETCH)
    ][::every]
    ids, numbers, held = [], [], 0
    for number, (begin, end) in enumerate(spans):
        ids.append(np.asarray(texts.ids[begin:end], dtype=np.int32))
        numbers.append(np.full(end - begin, number, dtype=np.int32))
        held += end - begin
        if held >= _AT_ONCE or number == len(spans) - 1:
            yield np.concatenate(ids), np.concatenate(numbers)
            ids, numbers, held = [], [], 0


def _positive_information(counts: csr_array[Any]) -> csr_array[Any]:
    """max(0, ln of how much more often than by chance a token has another beside it): (V, V)."""
    from scipy.sparse import csr_array

    pairs = counts.tocoo()
    of_token = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    beside = of_token**SMOOTHING
    by_chance = of_token[pairs.row] * (beside[pairs.col] / max(beside.sum(), 1e-300))
    information = np.log(pairs.data / by_chance)
    # Whether rare words shun each other cannot be counted in a small text, so only what is more
    # frequent than by chance is believed; and the matrix stays sparse.
    kept = information > 0
    return csr_array(
        (information[kept].astype(np.float32), (pairs.row[kept], pairs.col[kept])),
        shape=counts.shape,
    )
