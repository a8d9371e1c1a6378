"""Batches against brute force: every target, its input, its start, in exactly its place."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnctl.data.batches import DocumentBatches, StreamBatches, pad_documents
from rnnctl.errors import DataError
from tests.splits import split_from_ids

BOUNDARY = 0
DOCUMENTS = st.lists(st.integers(0, 6), min_size=1, max_size=12)  # tokens before the boundary


def documents_of(lengths, running=False):
    """Distinct ids from 1 on, so that every token tells its place."""
    ends = np.cumsum(lengths)
    parts = [np.arange(e - n + 1, e + 1) for n, e in zip(lengths, ends, strict=True)]
    if running:
        return split_from_ids([np.concatenate(parts)], running=True)
    return split_from_ids([[*part, BOUNDARY] for part in parts])


def pass_of(batches):
    return batches.state_dict()["epoch"]


def epoch(batches):
    """The batches of one pass."""
    first = pass_of(batches)
    found = []
    while pass_of(batches) == first:
        found.append(next(batches))
    return found


@settings(max_examples=150, deadline=None)
@given(
    total=st.integers(8, 90),
    streams=st.integers(1, 4),
    bptt=st.integers(1, 17),
    seed=st.integers(0, 5),
    reset=st.booleans(),
)
def test_streams_of_running_text(total, streams, bptt, seed, reset):
    split = documents_of([total], running=True)
    batches = StreamBatches(split, streams, bptt, BOUNDARY, seed, reset)
    length = total // streams
    seen = []
    for turn in range(3):
        chunks = epoch(batches)
        inputs = np.concatenate([c.inputs for c in chunks])
        targets = np.concatenate([c.targets for c in chunks])
        blank = np.zeros((1, streams), bool)
        starts = np.concatenate(
            [np.repeat(blank, len(c.inputs), 0) if c.starts is None else c.starts for c in chunks]
        )
        assert inputs.shape == targets.shape == starts.shape == (length, streams)
        assert {c.inputs.dtype for c in chunks} == {np.dtype(np.int64)}
        assert max(Counter(targets.ravel().tolist()).values()) == 1
        assert batches.tokens_per_epoch == targets.size
        # Targets go on through the text, and round its end; inputs are the tokens before.
        after = targets[:-1] % total + 1
        assert (targets[1:] == after).all()
        begins = targets == 1  # where the text itself begins
        assert (inputs[0] == BOUNDARY).all()
        expected = np.where(begins[1:], BOUNDARY, targets[:-1])
        assert (inputs[1:] == expected).all()
        assert starts[0].all()
        assert (starts[1:] == (begins[1:] & reset)).all()
        assert pass_of(batches) == turn + 1
        seen.append(targets.tolist())
    assert total < 20 or seen[0] != seen[1] or seen[1] != seen[2]


@settings(max_examples=150, deadline=None)
@given(
    lengths=DOCUMENTS,
    streams=st.integers(1, 3),
    bptt=st.integers(1, 9),
    seed=st.integers(0, 3),
    reset=st.booleans(),
)
def test_streams_of_documents(lengths, streams, bptt, seed, reset):
    split = documents_of(lengths)
    if split.tokens // streams < 2:
        with pytest.raises(DataError, match="too few"):
            StreamBatches(split, streams, bptt, BOUNDARY, seed, reset)
        return
    batches = StreamBatches(split, streams, bptt, BOUNDARY, seed, reset)
    chunks = epoch(batches)
    text = split.ids[:].tolist()
    heads = set(split.offsets[:-1].tolist())
    rotation = int(np.random.default_rng([seed, 0]).integers(split.tokens))
    step = 0
    for chunk in chunks:
        for t in range(len(chunk.inputs)):
            for b in range(streams):
                place = (rotation + b * (split.tokens // streams) + step) % split.tokens
                assert chunk.targets[t, b] == text[place]
                before = BOUNDARY if step == 0 else text[place - 1]
                assert chunk.inputs[t, b] == before
                start = step == 0 or (reset and place in heads)
                assert bool(chunk.starts is not None and chunk.starts[t, b]) == start
            step += 1
    assert step == split.tokens // streams


@settings(max_examples=60, deadline=None)
@given(steps=st.integers(0, 40), seed=st.integers(0, 4), which=st.booleans())
def test_a_saved_place_gives_the_same_batches(steps, seed, which):
    def fresh(first_seed):
        if which:
            split = documents_of([5, 0, 7, 30, 2, 9])
            return StreamBatches(split, 3, 4, BOUNDARY, first_seed, True)
        return DocumentBatches(documents_of([5, 0, 7, 30, 2, 9]), 2, BOUNDARY, first_seed)

    def take(batches, n):
        it = iter(batches)
        found = [next(it) for _ in range(n)]
        return [{name: getattr(b, name) for name in b.__slots__} for b in found]

    original = fresh(seed)
    take(original, steps)
    state = json.loads(json.dumps(original.state_dict()))
    restored = fresh(99)
    restored.load_state_dict(state)
    for one, two in zip(take(original, 30), take(restored, 30), strict=True):
        assert all(np.array_equal(one[key], two[key]) for key in one)
    assert restored.state_dict() == original.state_dict()


@settings(max_examples=100, deadline=None)
@given(lengths=DOCUMENTS, size=st.integers(1, 5), seed=st.integers(0, 3))
def test_documents_come_once_a_pass(lengths, size, seed):
    split = documents_of(lengths)
    batches = DocumentBatches(split, size, BOUNDARY, seed)
    for _ in range(2):
        found = []
        while sum(len(batch.index) for batch in found) < len(lengths):
            found.append(next(batches))
        index = np.concatenate([batch.index for batch in found])
        assert sorted(index.tolist()) == list(range(len(lengths)))
        for batch in found:
            assert len(batch.index) <= size
            assert (batch.labels == -1).all()
            for column, d in enumerate(batch.index.tolist()):
                n = int(batch.lengths[column])
                assert batch.ids[:n, column].tolist() == split.document(d).tolist()
                assert (batch.ids[n:, column] == BOUNDARY).all()


def test_shuffling_changes_with_pass_and_seed_and_keeps_lengths_together():
    rng = np.random.default_rng(0)
    split = documents_of(rng.integers(0, 200, 400).tolist())
    batches = DocumentBatches(split, 8, BOUNDARY, 1)
    first = [next(batches) for _ in range(50)]
    second = [next(batches) for _ in range(50)]
    order = [np.concatenate([b.index for b in part]).tolist() for part in (first, second)]
    assert order[0] != order[1]
    other = DocumentBatches(split, 8, BOUNDARY, 2)
    assert order[0] != np.concatenate([next(other).index for _ in range(50)]).tolist()
    padded = sum(b.ids.size for b in first)
    assert padded < 1.1 * split.tokens
    longest = [b.ids.shape[0] for b in first]
    assert longest != sorted(longest)


def test_labels_go_with_their_documents():
    split = split_from_ids([[1, 0], [2, 3, 0], [4, 0]], labels=[2, 0, 1])
    batches = DocumentBatches(split, 2, BOUNDARY, seed=0)
    for batch in (next(batches), next(batches)):
        assert batch.labels.tolist() == [[2, 0, 1][d] for d in batch.index.tolist()]


def test_no_documents_is_an_error():
    with pytest.raises(DataError, match="no documents"):
        DocumentBatches(split_from_ids([]), 2, BOUNDARY, seed=0)


def test_padding_by_hand():
    ids, lengths = pad_documents([np.array([5, 6], np.int32), np.array([7], np.int32)], 9)
    assert ids.tolist() == [[5, 7], [6, 9]]
    assert lengths.tolist() == [2, 1]
