"""Reading texts side by side against the padded pass, which is checked against `torch.nn`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnctl.nn import reading
from rnnctl.nn.models import POOLS, Classifier, LanguageModel
from rnnctl.nn.reading import Layout, can_read, each, groups

pytest.importorskip("numba")
from rnnctl.nn.cpu import tiles

CELLS = [("rnn", "tanh"), ("rnn", "relu"), ("lstm", "tanh"), ("gru", "tanh")]
SIZES: dict[str, Any] = {"vocab_size": 23, "embedding_size": 6, "hidden_size": 8}
LENGTHS = np.array([3, 1, 7, 7, 2, 1, 12])
IDS = np.random.default_rng(0).integers(23, size=LENGTHS.sum())


@pytest.fixture(params=["as a machine can", "step by step"])
def ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiled pass over whole sequences, where this processor has it, and without it."""
    if request.param == "step by step":
        monkeypatch.setattr(tiles, "shape_for", lambda dtype: None)


def padded(values: np.ndarray[Any, Any], filler: int) -> torch.Tensor:
    """(T, B)."""
    parts = np.split(values, np.cumsum(LENGTHS)[:-1])
    rows = [np.pad(part, (0, 12 - len(part)), constant_values=filler) for part in parts]
    return torch.from_numpy(np.stack(rows, 1))


@pytest.mark.usefixtures("processor")
@pytest.mark.usefixtures("ways")
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
def test_a_classifier_reads_what_it_computes(
    cell: str, nonlinearity: str, bidirectional: bool, pool: str
) -> None:
    torch.manual_seed(0)
    model = Classifier(
        cell=cell, nonlinearity=nonlinearity, num_layers=2, num_classes=3, pool=pool,
        bidirectional=bidirectional, **SIZES,
    ).eval()  # fmt: skip
    assert can_read(model.recurrent)
    with torch.no_grad():
        expected = model(padded(IDS, 0), torch.from_numpy(LENGTHS))
    torch.testing.assert_close(model.read(IDS, LENGTHS), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("processor")
@pytest.mark.usefixtures("ways")
@pytest.mark.parametrize("options", [{}, {"tied": True}, {"tied": True, "embedding_size": 8}])
@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
def test_a_language_model_reads_what_it_computes(
    cell: str, nonlinearity: str, options: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    sizes = {**SIZES, **options}
    model = LanguageModel(cell=cell, nonlinearity=nonlinearity, num_layers=2, **sizes).eval()
    targets = np.roll(IDS, -1)
    expected, _ = model.token_losses(padded(IDS, 0), padded(targets, -100))
    found, _ = model.text_losses(IDS, targets, LENGTHS)
    sums = np.add.reduceat(found, np.cumsum(LENGTHS) - LENGTHS)
    np.testing.assert_allclose(sums, expected.sum(0).numpy(), rtol=1e-5)


@pytest.mark.usefixtures("ways")
@pytest.mark.parametrize("texts", [1, 3])
@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
def test_a_text_in_two_parts_is_the_text(cell: str, nonlinearity: str, texts: int) -> None:
    torch.manual_seed(0)
    model = LanguageModel(cell=cell, nonlinearity=nonlinearity, num_layers=2, **SIZES).eval()
    ids = IDS[:30].reshape(10, 3)[:, :texts]
    expected, final = model.token_losses(torch.from_numpy(ids), torch.from_numpy(ids))
    state, found = None, []
    for part in (ids[:4], ids[4:]):
        joined = part.T.ravel()
        nats, state = model.text_losses(joined, joined, np.full(texts, len(part)), state)
        found.append(nats.reshape(texts, -1).T)
    np.testing.assert_allclose(np.concatenate(found), expected.numpy(), rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(state, final, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("hidden", [1, 37, 70])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_one_text_alone_is_read_as_among_others(cell: str, hidden: int) -> None:
    """Its products have tiles of their own, of one row and more columns."""
    torch.manual_seed(0)
    sizes = {**SIZES, "hidden_size": hidden}
    model = Classifier(cell=cell, num_layers=1, num_classes=3, bidirectional=True, **sizes).eval()
    together, ends = model.read(IDS, LENGTHS), np.cumsum(LENGTHS)
    for text, (end, length) in enumerate(zip(ends, LENGTHS, strict=True)):
        alone = model.read(IDS[end - length : end], np.array([length]))
        torch.testing.assert_close(alone[0], together[text], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
def test_much_that_is_read_on_side_by_side_is_what_it_is_in_one_pass(threads: int) -> None:
    """In groups for the threads, each sequence from its own state."""
    model = LanguageModel(cell="lstm", num_layers=2, **SIZES).eval()
    ids = torch.randint(SIZES["vocab_size"], (60, 90), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        _, begun = model.features(ids[:5].flip(1), None)
        wanted, after = model.features(ids, begun)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        features, state = model.read_on(ids, begun)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(features, wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(state, after, atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("ways")
def test_what_is_made_of_weights_is_kept_only_where_they_do_not_change() -> None:
    torch.manual_seed(0)
    model = Classifier(cell="gru", num_layers=2, num_classes=3, **SIZES).eval()
    first = model.read(IDS, LENGTHS)
    with torch.no_grad():
        for weight in model.recurrent.parameters():
            weight.mul_(1.5)
    changed = model.read(IDS, LENGTHS)
    assert not torch.allclose(changed, first, atol=1e-4)
    model.recurrent.keep_ready()
    for few in (1, len(LENGTHS), 1):  # of either kind of product, and again
        n = LENGTHS[:few].sum()
        torch.testing.assert_close(model.read(IDS[:n], LENGTHS[:few]), changed[:few])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=12))
def test_a_layout_holds_every_token_once_in_its_order(lengths: list[int]) -> None:
    layout = Layout(np.array(lengths))
    joined = [(text, t) for text, length in enumerate(lengths) for t in range(length)]
    rows = [joined[place] for place in layout.places]
    assert sorted(rows) == joined
    assert sum(layout.sizes) == len(rows)
    first = 0
    for t, size in enumerate(layout.sizes):
        texts = layout.order[:size].tolist()
        assert rows[first : first + size] == [(text, t) for text in texts]
        first += size
    for row, (text, t) in enumerate(rows):
        assert rows[layout.turned[row]] == (text, lengths[text] - 1 - t)
    assert [rows[row] for row in layout.last] == [(b, lengths[b] - 1) for b in layout.order]


@settings(deadline=None, max_examples=60)
@given(lengths=st.lists(st.integers(1, 90), max_size=30), most=st.integers(1, 200))
def test_groups_hold_every_text_once_and_not_too_much(lengths: list[int], most: int) -> None:
    model = LanguageModel(cell="gru", num_layers=1, **SIZES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "OUTPUTS", 8 * most * torch.get_num_threads())
        found = groups(model.recurrent, np.array(lengths, np.int64))
    assert sorted(index for group in found for index in group) == list(range(len(lengths)))
    for group in found:
        assert sum(lengths[index] for index in group) <= most + max(lengths)


@pytest.mark.parametrize("threads", [1, 2])
def test_each_group_is_worked_on_and_threads_are_as_before(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        parts = [np.full(3, i) for i in range(7)]
        assert each(lambda part: int(part.sum()), parts) == [3 * i for i in range(7)]
        assert set(each(lambda part: torch.get_num_threads(), parts)) == {1}
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_what_cannot_be_read_is_said() -> None:
    model = LanguageModel(cell="gru", num_layers=1, **SIZES)
    assert can_read(model.recurrent)
    assert not can_read(model.double().recurrent)
    assert not can_read(LanguageModel(cell="gru", num_layers=1, engine="torch", **SIZES).recurrent)
