"""Splits: disjoint, complete, stable, in proportion, equal texts together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnctl.data.splitting import assign, digest, parse_split
from rnnctl.errors import UsageError


def digests(texts):
    return np.array([digest(text) for text in texts], dtype=np.uint64)


@given(
    texts=st.lists(st.text(max_size=3), max_size=60),
    split=st.sampled_from(["90/5/5", "80/20", "34/33/33", "100/0/0"]),
    seed=st.integers(0, 2**63),
    labelled=st.booleans(),
)
def test_every_document_goes_somewhere_once(texts, split, seed, labelled):
    strata = np.array([len(t) % 2 for t in texts], dtype=np.int32) if labelled else None
    parts = assign(digests(texts), strata, parse_split(split), seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(texts)))
    assert all((np.diff(part) > 0).all() for part in parts)
    sets = [{texts[i] for i in part} for part in parts]
    assert not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])


def test_shares_are_met_in_every_class():
    texts = [f"text {i}" for i in range(1000)]
    strata = np.array([0] * 800 + [1] * 200, dtype=np.int32)
    parts = assign(digests(texts), strata, parse_split("80/15/5"), 3)
    counts = [np.bincount(strata[part], minlength=2).tolist() for part in parts]
    assert counts == [[640, 160], [120, 30], [40, 10]]


def test_order_does_not_matter_and_the_seed_does():
    texts = [f"text {i}" for i in range(300)]
    shares = parse_split("80/10/10")

    def valid(texts, seed):
        return {texts[i] for i in assign(digests(texts), None, shares, seed)[1]}

    assert valid(texts, 0) == valid(texts[::-1], 0)
    assert valid(texts, 0) != valid(texts, 1)
    assert len(valid(texts, 0) & valid(texts[:290], 0)) >= 24  # few move when a few documents go


def test_small_corpora_have_something_in_each_split():
    for n in (3, 5, 10):
        parts = assign(digests(map(str, range(n))), None, parse_split("90/5/5"), 0)
        assert min(map(len, parts)) >= 1


@pytest.mark.parametrize(
    "text",
    ["", "90", "90/5/6", "0/50/50", "-10/100/10", "a/b/c", "90/5/5/0", "nan/1/1", "1/0/99/0"],
)
def test_impossible_splits_are_refused(text):
    with pytest.raises(UsageError, match="--split"):
        parse_split(text)


def test_exact_shares():
    assert [float(s) for s in vars_of(parse_split("90/10"))] == [0.9, 0.1, 0.0]
    assert [float(s) for s in vars_of(parse_split("99.5/0.25/0.25"))] == [0.995, 0.0025, 0.0025]


def vars_of(shares):
    return shares.train, shares.valid, shares.test
