"""Against difflib's and a naive search; the hash may never be believed without comparison."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnctl.inference import training_text
from rnnctl.inference.training_text import longest_copy


def naive(sample: list[int], text: list[int]) -> int:
    """Longest common substring by the classic table."""
    best = 0
    before = [0] * (len(text) + 1)
    for a in sample:
        row = [0] * (len(text) + 1)
        for j, b in enumerate(text, 1):
            row[j] = before[j - 1] + 1 if a == b else 0
        best = max(best, *row)
        before = row
    return best


short = st.lists(st.integers(0, 2), max_size=40)


@settings(deadline=None)
@given(short, short, st.integers(1, 30))
def test_agrees_with_the_table(sample: list[int], text: list[int], piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_text, "PIECE", piece)  # many borders
        found = longest_copy(np.array(sample, np.int32), np.array(text, np.int32))
    assert found.length == naive(sample, text)
    ours = sample[found.start : found.start + found.length]
    assert ours == text[found.position : found.position + found.length]


def test_finds_a_planted_stretch_in_a_long_text() -> None:
    generator = np.random.default_rng(0)
    text = generator.integers(0, 50, 2_000_000).astype(np.int32)
    sample = generator.integers(0, 50, 1000).astype(np.int32)
    place = 2 * training_text.PIECE - 100  # across a border
    sample[300:557] = text[place : place + 257]
    sample[299], sample[557] = 60, 61
    found = longest_copy(sample, text)
    assert (found.start, found.length, found.position) == (300, 257, place)


def test_equal_hashes_of_different_stretches_are_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training_text, "_scrambled", lambda ids: np.zeros(len(ids), np.uint64))
    found = longest_copy(np.array([1, 2, 3, 4]), np.array([9, 2, 3, 9, 9]))
    assert found.length == 2
