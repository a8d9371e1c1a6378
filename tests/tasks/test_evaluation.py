"""Losses by protocol, against the definition: one token at a time, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from rnnctl.data.ids import SplitIds
from rnnctl.machine import Arithmetic
from rnnctl.nn.models import LanguageModel
from rnnctl.tasks import evaluation
from rnnctl.tasks.evaluation import (
    batches_by_length,
    cold_nats,
    document_nats,
    sampled_nats,
    spread_tokens,
    streaming_nats,
)
from rnnctl.tasks.language_model import first_documents, unigram_nats

CPU = Arithmetic(torch.device("cpu"), bf16=False)
BOUNDARY = 0


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    torch.manual_seed(0)
    made = LanguageModel(vocab_size=7, embedding_size=5, cell="lstm", hidden_size=6, num_layers=2)
    return made.double().eval()


@pytest.fixture(scope="module")
def ids() -> NDArray[np.int32]:
    return np.random.default_rng(0).integers(1, 7, 1203).astype(np.int32)


@torch.no_grad()
def one_by_one(model: LanguageModel, before: int, ids: NDArray[np.int32]) -> float:
    """The definition: read a token, look up the next one's log probability."""
    total, state, last = 0.0, None, before
    for token in ids.tolist():
        features, state = model.features(torch.tensor([[last]]), state)
        total -= float(torch.log_softmax(model.logits(features)[0, 0], 0)[token])
        last = token
    return total


def test_one_stream_is_the_definition(model: LanguageModel, ids: NDArray[np.int32]) -> None:
    found = streaming_nats(model, ids, BOUNDARY, CPU, streams=1)
    assert found == pytest.approx(one_by_one(model, BOUNDARY, ids), rel=1e-9)


def test_many_streams_differ_by_no_more_than_what_the_lead_forgets(
    model: LanguageModel, ids: NDArray[np.int32]
) -> None:
    wanted = streaming_nats(model, ids, BOUNDARY, CPU, streams=1)
    found = streaming_nats(model, ids, BOUNDARY, CPU, streams=7, lead=40)
    assert found == pytest.approx(wanted, rel=1e-5)
    assert streaming_nats(model, ids, BOUNDARY, CPU, streams=7, lead=0) != pytest.approx(
        wanted, rel=1e-6
    )


def test_a_sample_is_spread_over_the_whole_text(
    model: LanguageModel, ids: NDArray[np.int32]
) -> None:
    """Four parts of 100 tokens: the nats of those tokens when the whole text is read."""
    lead, length = 25, 100
    found = sampled_nats(model, ids, BOUNDARY, CPU, most=400, lead=lead)
    begins = [0, 367, 735, 1103]
    to = [one_by_one(model, BOUNDARY, ids[:n]) for b in begins for n in (b, b + length)]
    wanted = sum(to[1::2]) - sum(to[0::2])
    assert found == pytest.approx(wanted / 400, rel=1e-4)
    whole = sampled_nats(model, ids, BOUNDARY, CPU, most=len(ids))
    assert whole == pytest.approx(one_by_one(model, BOUNDARY, ids) / len(ids), rel=1e-4)


def test_a_sample_of_documents_is_spread_over_all_of_them() -> None:
    documents = [[number] * (1 + number % 3) for number in range(30)]
    lengths = np.array([len(one) for one in documents])
    zeros = np.zeros(30, np.int64)
    split = SplitIds(
        ids=np.concatenate(documents).astype(np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        labels=None,
        chars=zeros,
        bytes=zeros,
        words=zeros,
        unknown=zeros,
        unknown_nats=zeros.astype(float),
    )
    some = spread_tokens(split, 20)
    assert some.count == 10 and some.ids[0] == 0 and some.ids[-1] == 29
    assert spread_tokens(split, 1).count == 1
    assert spread_tokens(split, 60) is split


@pytest.mark.parametrize("length", [1, 2, 39, 40, 41, 160, 1203])
def test_every_token_counts_once_whatever_the_length(
    model: LanguageModel, ids: NDArray[np.int32], length: int
) -> None:
    found = streaming_nats(model, ids[:length], BOUNDARY, CPU, streams=5, lead=30)
    assert found == pytest.approx(one_by_one(model, BOUNDARY, ids[:length]), rel=1e-4)


@pytest.mark.parametrize("window", [130, 1203, 10**9])
def test_cold_windows_may_be_longer_than_what_is_read_at_once(
    model: LanguageModel, ids: NDArray[np.int32], monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    whole = cold_nats(model, ids, BOUNDARY, CPU, window=min(window, len(ids)))
    monkeypatch.setattr(evaluation, "BATCH_TOKENS", 64)
    assert cold_nats(model, ids, BOUNDARY, CPU, window=window) == pytest.approx(whole, rel=1e-6)


def test_cold_windows_begin_with_nothing_but_the_token_before(
    model: LanguageModel, ids: NDArray[np.int32]
) -> None:
    wanted = 0.0
    for begin in range(0, len(ids), 50):
        before = BOUNDARY if begin == 0 else int(ids[begin - 1])
        wanted += one_by_one(model, before, ids[begin : begin + 50])
    found = cold_nats(model, ids, BOUNDARY, CPU, window=50)
    assert found == pytest.approx(wanted, rel=1e-9)


def test_documents_know_nothing_of_each_other(model: LanguageModel, ids: NDArray[np.int32]) -> None:
    offsets = np.array([0, 3, 4, 200, 260, 1203])
    found = document_nats(model, ids, offsets, BOUNDARY, CPU)
    assert found is not None
    for d, nats in enumerate(found):
        document = ids[offsets[d] : offsets[d + 1]]
        assert nats == pytest.approx(one_by_one(model, BOUNDARY, document), rel=1e-9)


def test_an_interruption_is_obeyed(model: LanguageModel, ids: NDArray[np.int32]) -> None:
    def stop() -> bool:
        return True

    assert streaming_nats(model, ids, BOUNDARY, CPU, interrupted=stop) is None
    assert cold_nats(model, ids, BOUNDARY, CPU, window=9, interrupted=stop) is None
    offsets = np.array([0, len(ids)])
    assert document_nats(model, ids, offsets, BOUNDARY, CPU, interrupted=stop) is None


def test_batches_hold_every_document_once_and_are_not_too_large() -> None:
    lengths = np.random.default_rng(1).integers(1, 5000, 300)
    lengths[7] = 100_000  # alone, however long it is
    found = list(batches_by_length(lengths))
    assert sorted(np.concatenate(found).tolist()) == list(range(300))
    for some in found:
        assert len(some) == 1 or len(some) * lengths[some].max() <= 16_384


def test_first_documents_are_at_least_one() -> None:
    offsets = np.array([0, 10, 20, 30])
    assert first_documents(offsets, 5).tolist() == [0, 10]
    assert first_documents(offsets, 20).tolist() == [0, 10, 20]
    assert first_documents(offsets, 999).tolist() == [0, 10, 20, 30]


def test_unigram_entropy_of_equal_shares() -> None:
    ids = np.tile(np.arange(4, dtype=np.int32), 25)
    assert unigram_nats(ids, 9) == pytest.approx(np.log(4))
