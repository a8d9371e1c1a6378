"""Samples, sentences and items: how text becomes what the measurements read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnctl.diagnostics import material
from rnnctl.diagnostics.sample import Sample, from_texts, split_sentences
from rnnctl.errors import DataError


def codes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("latin-1"), dtype=np.uint8).astype(np.int64)


def test_distances_are_in_words() -> None:
    sample = from_texts(["one two  three", "", "four"], codes)
    assert len(sample.ids) == 2 and sample.tokens == 18
    assert sample.words_per_token == pytest.approx(4 / 18)
    assert sample.distance(9) == pytest.approx(2)


def test_text_without_spaces_counts_characters() -> None:
    sample = from_texts(
        ["明月幾時有把酒問青天不知天上宮闕今夕是何年"] * 3, lambda t: np.arange(len(t))
    )
    assert sample.unit == "chars" and sample.distance(5) == 5


def test_running_text_is_one_document_and_becomes_blocks() -> None:
    sample = from_texts(["ab", "cde"], codes, running=True)
    assert len(sample.ids) == 1 and sample.tokens == 5
    blocks = sample.blocks(2)
    assert [ids.tolist() for ids in blocks.ids] == [[97, 98], [99, 100]]
    assert blocks.resampling_unit == "stretch of 2 tokens"


def test_the_fingerprint_is_of_text_and_labels() -> None:
    prints = {
        from_texts(["a", "b"], codes).fingerprint,
        from_texts(["a", "b"], codes, labels=[0, 1]).fingerprint,
        from_texts(["a", "b"], codes, labels=[1, 0]).fingerprint,
        from_texts(["ab"], codes).fingerprint,
    }
    assert len(prints) == 4


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("I saw it. It was fine!", 2),
        ("It cost 3.50 in all. Really.", 2),
        ("What?! No way.", 2),
        ("no end", 1),
        ("Hm. Ok. A long one here.", 3),
    ],
)
def test_sentences(text: str, count: int) -> None:
    sample = from_texts([text], codes, token_bytes=lambda i: bytes([i]), spelled=True)
    assert len(split_sentences(sample.ids[0], sample)) == count


@given(st.text(st.sampled_from("ab .!?"), max_size=60))
def test_sentences_are_the_document(text: str) -> None:
    ids = codes(text)
    sample = Sample(ids=(ids,), token_bytes=lambda i: bytes([i]), spelled=True)
    parts = split_sentences(ids, sample)
    assert np.array_equal(np.concatenate([*parts, ids[:0]]), ids)


def test_shipped_pairs_are_equally_long() -> None:
    found = material.shipped_items(("neg", "pos"))
    assert found is not None and found.labels == ("pos", "neg")
    assert len(found.pairs) >= 40 and len(found.neutral) >= 30
    assert all(len(a.split()) == len(b.split()) for a, b in found.pairs)
    assert len({a for a, _ in found.pairs}) == len(found.pairs)


@pytest.mark.parametrize("labels", [("a", "b"), ("neg", "pos", "neutral"), ("pos", "spam")])
def test_nothing_is_shipped_for_other_labels(labels: tuple[str, ...]) -> None:
    assert material.shipped_items(labels) is None


def test_mined_pairs_are_telling_and_alike_in_length() -> None:
    texts = [f"sentence number {k}" for k in range(40)]
    odds = np.linspace(-2, 2, 40)
    lengths = [5 + k % 3 for k in range(40)]
    found = material.mined_items(texts, odds, lengths, ("a", "b"), most=6)
    assert len(found.pairs) == 6
    for first, second in found.pairs:
        a, b = texts.index(first), texts.index(second)
        assert odds[a] > 1 and odds[b] < -1 and abs(lengths[a] - lengths[b]) <= 1


@pytest.mark.parametrize(
    "content", ["", "[]", '{"labels": ["a"], "pairs": []}', '{"labels": ["a", "b"], "pairs": []}']
)
def test_a_bad_file_of_items(tmp_path: Path, content: str) -> None:
    path = tmp_path / "items.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"items\.json"):
        material.read_items(path)


def test_a_file_of_items(tmp_path: Path) -> None:
    path = tmp_path / "items.json"
    path.write_text(json.dumps({"labels": ["a", "b"], "pairs": [["x y", "u v"]]}))
    assert material.read_items(path).pairs == (("x y", "u v"),)


def test_documents_that_are_read_through_keep_what_stands_between_them() -> None:
    sample = from_texts(["ab", "", "cde", "f"], codes, running=True, between=0)
    assert [ids.tolist() for ids in sample.ids] == [[97, 98, 0, 99, 100, 101, 0, 102]]
    assert sample.texts == ("ab", "cde", "f") and sample.words_per_token == 3 / 8
