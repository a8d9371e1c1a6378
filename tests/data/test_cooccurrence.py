"""Word vectors learnt from texts: the counts, the information, the decomposition."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnctl.data import cooccurrence
from rnnctl.data.ids import SplitIds
from rnnctl.data.tokenizers.base import BOUNDARY_ID


def split(documents: list[list[int]]) -> SplitIds:
    ids = np.array([one for document in documents for one in document], dtype=np.int32)
    offsets = np.cumsum([0, *map(len, documents)]).astype(np.int64)
    none = np.zeros(len(documents), dtype=np.int64)
    return SplitIds(
        ids=ids, offsets=offsets, labels=None, chars=none, bytes=none, words=none, unknown=none,
        unknown_nats=none.astype(float),
    )  # fmt: skip


def information(documents: list[list[int]], size: int) -> np.ndarray:
    """Positive pointwise mutual information, pair by pair as the definition says."""
    counts = np.zeros((size, size))
    for document in documents:
        for i, one in enumerate(document):
            for j, other in enumerate(document):
                near = 0 < abs(i - j) <= cooccurrence.WINDOW
                if near and BOUNDARY_ID not in (one, other):
                    counts[one, other] += 1 / abs(i - j)
    beside = counts.sum(1) ** cooccurrence.SMOOTHING
    found = np.zeros((size, size))
    for one, other in zip(*np.nonzero(counts), strict=True):
        by_chance = counts[one].sum() * beside[other] / beside.sum()
        found[one, other] = max(0.0, math.log(counts[one, other] / by_chance))
    return found


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 7), max_size=12), min_size=1, max_size=6))
def test_vectors_are_those_of_the_definition(documents: list[list[int]]) -> None:
    """Against dense loops and numpy's decomposition; U S Uᵀ does not depend on signs."""
    rows, found = cooccurrence.learn_vectors(split(documents), 8, 7)
    left, values, _ = np.linalg.svd(information(documents, 8))
    wanted = (left[:, :7] * values[:7]) @ left[:, :7].T
    assert rows.shape == (8, 7) and not rows[~found].any()
    if not found.any():
        assert values.max() < 1e-6
        return
    np.testing.assert_allclose(np.mean(np.square(rows[found])), 1, rtol=1e-4)
    scale = np.trace(wanted) / np.trace(rows @ rows.T)
    np.testing.assert_allclose(rows @ rows.T * scale, wanted, atol=1e-4 * max(1, values.max()))


def test_words_in_the_same_company_get_similar_vectors() -> None:
    draw = np.random.default_rng(0)
    documents = []
    for _ in range(400):
        theme = int(draw.integers(2))  # words 10 … 19 stand beside 1 or 2, 20 … 29 beside 3 or 4
        head = int(draw.integers(1, 3)) + 2 * theme
        documents.append([head, *draw.integers(10, 20, 6) + 10 * theme, 0])
    rows, found = cooccurrence.learn_vectors(split(documents), 30, 5)
    assert not found[0] and found[[1, 2, 3, 4]].all()
    unit = rows[1:5] / np.linalg.norm(rows[1:5], axis=1, keepdims=True)
    alike = unit @ unit.T
    assert min(alike[0, 1], alike[2, 3]) > 0.8 > 0.3 > alike[:2, 2:].max()


def test_of_a_large_text_documents_from_everywhere_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    documents = [[1, 2, 0]] * 50 + [[3, 4, 0]] * 50
    whole = cooccurrence._neighbours(split(documents), 5).toarray()
    assert whole[1, 2] == whole[4, 3] == 50
    monkeypatch.setattr(cooccurrence, "_AT_ONCE", 7)
    np.testing.assert_array_equal(cooccurrence._neighbours(split(documents), 5).toarray(), whole)
    monkeypatch.setattr(cooccurrence, "MOST_TOKENS", 75)
    some = cooccurrence._neighbours(split(documents), 5).toarray()
    assert some[1, 2] in (12, 13) and some[3, 4] in (12, 13)


def test_of_one_long_text_stretches_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Running text is a single document, which must not be read whole at once."""
    running = split([[1, 2, 3, 4] * 300])
    whole = cooccurrence._neighbours(running, 5).toarray()
    monkeypatch.setattr(cooccurrence, "_STRETCH", 40)
    monkeypatch.setattr(cooccurrence, "_AT_ONCE", 100)
    assert max(len(ids) for ids, _ in cooccurrence._pieces(running, 1)) <= 120
    parts = cooccurrence._neighbours(running, 5).toarray()
    np.testing.assert_allclose(parts, whole, rtol=0.15)  # but for the pairs at the cuts
    monkeypatch.setattr(cooccurrence, "MOST_TOKENS", 400)
    some = cooccurrence._neighbours(running, 5).toarray()
    np.testing.assert_allclose(3 * some, parts, rtol=0.01)


def test_fewer_directions_than_numbers_leave_zeros() -> None:
    rows, found = cooccurrence.learn_vectors(split([[1, 2, 3, 0]] * 3), 4, 9)
    assert rows.shape == (4, 9) and not rows[:, 3:].any()
    nothing, none = cooccurrence.learn_vectors(split([[1, 0], []]), 4, 9)
    assert not nothing.any() and not none.any()
    assert found.dtype == none.dtype == bool


class Texts:
    """A store, as far as `kept_vectors` asks it."""

    def __init__(self, documents: list[list[int]], fingerprint: str = "some") -> None:
        self.documents, self.fingerprint = documents, fingerprint

    def split(self, name: str) -> SplitIds:
        assert name == "train"
        return split(self.documents)


def test_vectors_are_learnt_once_for_one_text_and_size(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sizes: list[int] = []
    learn = cooccurrence.learn_vectors

    def counted(texts: SplitIds, vocab_size: int, size: int) -> cooccurrence.Learnt:
        sizes.append(size)
        return learn(texts, vocab_size, size)

    def kept(size: int = 3, fingerprint: str = "some") -> cooccurrence.Learnt:
        store: Any = Texts([[1, 2, 3, 0], [2, 1, 4, 0]], fingerprint)
        return cooccurrence.kept_vectors(store, 5, size, cache=tmp_path)

    monkeypatch.setattr(cooccurrence, "learn_vectors", counted)
    first, again = kept(), kept()
    assert sizes == [3]
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first, again, strict=True))
    kept(2)
    kept(fingerprint="another")
    assert sizes == [3, 2, 3]


def test_kept_vectors_that_are_damaged_or_of_something_else_are_learnt_anew(
    tmp_path: Path,
) -> None:
    store: Any = Texts([[1, 2, 3, 0], [2, 1, 4, 0]])
    another: Any = Texts([[1, 3, 0]] * 2 + [[2, 4, 0]], "another")

    def kept(of: Any = store) -> np.ndarray:
        return cooccurrence.kept_vectors(of, 5, 3, cache=tmp_path)[0]

    wanted = kept()
    (path,) = (tmp_path / "vectors").iterdir()
    whole = path.read_bytes()
    assert not np.array_equal(kept(another), wanted)
    (foreign,) = set((tmp_path / "vectors").iterdir()) - {path}
    flipped = whole[:-1] + bytes([whole[-1] ^ 1])
    for content in (b"", whole[:100], whole[:-1], flipped, b"no vectors", foreign.read_bytes()):
        path.write_bytes(content)
        np.testing.assert_array_equal(kept(), wanted)
        assert path.read_bytes() == whole
    path.unlink()
    path.mkdir()
    np.testing.assert_array_equal(kept(), wanted)  # nothing can be kept there, and nothing is lost
