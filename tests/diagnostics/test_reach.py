"""REACH beyond its known answers: windows, blocks, intervals, what cannot be measured."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rnnctl.diagnostics import reach
from rnnctl.diagnostics.known_answers.models import LinearModel, random_text
from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.settings import Settings
from rnnctl.diagnostics.subject import ExactModel
from rnnctl.nn.models import Classifier, LanguageModel

SETTINGS = Settings(sequences=8, reach_lags=20, resamples=50)


def language_model(cell: str = "lstm", layers: int = 1) -> LanguageModel:
    torch.manual_seed(4)
    return LanguageModel(
        vocab_size=24, embedding_size=6, cell=cell, hidden_size=7, num_layers=layers
    ).eval()


def matrix(values: list[list[float]]) -> LinearModel:
    return LinearModel(torch.tensor([values], dtype=torch.float64))


def labelled(documents: int, tokens: int) -> Sample:
    sample = random_text(documents, tokens)
    return Sample(ids=sample.ids, labels=np.arange(documents) % 2)


def test_windows_lie_inside_documents_and_the_target_is_the_next_token() -> None:
    ids = tuple(np.arange(1000 * d, 1000 * d + 100 + d) for d in range(10))
    windows = reach.cut_windows(Sample(ids=ids), lags=20, count=30, seed=0)
    assert windows is not None
    assert windows.ids.shape[0] == 20 + 1 + reach.WARM_UP
    assert sorted(set(windows.groups.tolist())) == list(range(10))
    for column, target, group in zip(
        windows.ids.T.numpy(), windows.targets.tolist(), windows.groups, strict=True
    ):
        assert target == column[-1] + 1
        assert set(np.diff(column)) == {1}
        assert column[0] >= 1000 * group
        assert target < 1000 * group + 100 + group


def test_a_classifier_is_asked_at_the_end_of_each_document() -> None:
    sample = labelled(10, 90)
    windows = reach.cut_windows(sample, lags=20, count=30, seed=0)
    assert windows is not None
    assert len(windows.groups) == 10
    for column, target, group in zip(
        windows.ids.T.numpy(), windows.targets.tolist(), windows.groups, strict=True
    ):
        assert target == group % 2
        np.testing.assert_array_equal(column, sample.ids[group][-len(column) :])


def test_lags_shrink_to_what_the_documents_allow() -> None:
    found = reach.measure(matrix([[0.5]]), random_text(9, 40), SETTINGS)
    assert len(found.blocks["h"].geo.x) < 20
    assert found.scalars["half_life"].estimate == pytest.approx(1)
    nothing = reach.measure(matrix([[0.5]]), random_text(9, 6), SETTINGS)
    assert nothing.status == "insufficient_data"
    assert reach.measure(matrix([[0.5]]), Sample(ids=()), SETTINGS).status == "insufficient_data"


def test_running_text_is_resampled_in_blocks_of_four_times_the_longest_lag() -> None:
    running = Sample(ids=random_text(1, 4000).ids, running=True)
    found = reach.measure(matrix([[0.5]]), running, SETTINGS)
    assert found.sampling is not None
    assert found.sampling.unit == "stretch of 80 tokens"
    assert found.sampling.n == 8


def test_one_document_still_gives_a_curve() -> None:
    found = reach.measure(matrix([[0.9]]), random_text(1, 400), SETTINGS)
    assert found.scalars["half_life"].estimate == pytest.approx(math.log(2) / -math.log(0.9))
    assert found.scalars["half_life"].n == 1


def test_growing_gradients_are_called_exploding() -> None:
    found = reach.measure(matrix([[1.1]]), random_text(9, 90), SETTINGS)
    assert found.status == "exploding"
    assert found.blocks["h"].explodes
    assert found.scalars["half_life"].status == "censored"
    assert found.scalars["tail_tau"].status == "exploding"


def test_a_vanished_curve_ends_at_the_floor_and_is_no_zero() -> None:
    found = reach.measure(matrix([[1e-4]]), random_text(9, 90), SETTINGS)
    y = found.blocks["h"].geo.y
    assert y[1] == pytest.approx(1e-4)
    assert y[-1] is None
    assert found.scalars["tail_tau"].estimate == pytest.approx(1 / (4 * math.log(10)), rel=0.01)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("layers", [1, 2])
def test_norms_are_those_of_finite_differences(cell: str, layers: int) -> None:
    """The loss at the end of a text, with one coordinate of an earlier state moved."""
    model = language_model(cell, layers).double()
    exact = ExactModel(model)
    windows = reach.cut_windows(random_text(2, 20), lags=9, count=2, seed=0)
    assert windows is not None
    lags = len(windows.ids) - 1
    norms = reach.gradient_norms(exact, windows, lags=lags, scaled=False)
    lag, step = 4, 1e-5
    cut = len(windows.ids) - lag
    _, state = model.features(windows.ids[:cut])
    found = {name: torch.zeros(2) for name in ("h", "c")}
    for name, part in zip(("h", "c"), range(len(state)), strict=False):
        square = torch.zeros(2, dtype=torch.float64)
        for layer in range(layers):
            for unit in range(7):
                sides = []
                for sign in (1, -1):
                    moved = [tensor.clone() for tensor in state]
                    moved[part][layer, :, unit] += sign * step
                    features, _ = model.features(windows.ids[cut:], tuple(moved))
                    sides.append(
                        torch.nn.functional.cross_entropy(
                            model.logits(features[-1]), windows.targets, reduction="none"
                        )
                    )
                square += ((sides[0] - sides[1]) / (2 * step)).square().detach()
        found[name] = square.sqrt()
        np.testing.assert_allclose(norms.blocks[name][lag], found[name].numpy(), rtol=1e-4)


def test_layers_add_up_to_the_whole_state() -> None:
    windows = reach.cut_windows(random_text(4, 60), lags=20, count=4, seed=0)
    assert windows is not None
    norms = reach.gradient_norms(ExactModel(language_model(layers=2)), windows, lags=20)
    assert set(norms.blocks) == {"h", "c", "l0.h", "l1.h", "l0.c", "l1.c", "input"}
    whole = np.square(norms.blocks["l0.c"]) + np.square(norms.blocks["l1.c"])
    np.testing.assert_allclose(np.square(norms.blocks["c"]), whole)
    assert (norms.blocks["c"][0] == 0).all()  # no direct way from c to the loss of its own step


def test_the_main_block_of_an_lstm_is_its_cell_state() -> None:
    found = reach.measure(ExactModel(language_model()), random_text(9, 90), SETTINGS)
    assert found.main_block == "c"
    assert found.scalars["half_life"] == found.blocks["c"].half_life
    assert found.status == "ok"


def test_a_pooled_classifier_is_measured_through_its_last_state() -> None:
    torch.manual_seed(5)
    model = Classifier(
        vocab_size=24, num_classes=2, embedding_size=6, cell="gru", hidden_size=7, num_layers=1,
        pool="meanmax",
    )  # fmt: skip
    found = reach.measure(ExactModel(model), labelled(9, 90), SETTINGS)
    assert found.scalars["half_life"].estimate is not None
    assert found.blocks["h"].geo.y[0] == pytest.approx(1)


def test_documents_and_not_windows_make_the_interval() -> None:
    """Ten copies of every window of a document must not make the interval any narrower."""
    rng = np.random.default_rng(0)
    rates = rng.uniform(0.5, 0.9, 12)
    norms = rates[None, :] ** np.arange(8)[:, None]
    groups = np.arange(12)
    once = reach.lag_curve(norms, groups, 400, 0)
    often = reach.lag_curve(np.repeat(norms, 10, 1), np.repeat(groups, 10), 400, 0)
    np.testing.assert_allclose(once.replicates, often.replicates)


@pytest.mark.parametrize("block", ["h", "c", "l1.c", "input"])
def test_another_unit_of_measurement_moves_a_curve_as_it_is_said_to(block: str) -> None:
    """Against gradients that are really measured in the standard deviations of other texts."""
    exact = ExactModel(language_model(layers=2).double())
    sample = random_text(12, 60)
    windows = reach.cut_windows(sample, lags=20, count=12, seed=0)
    assert windows is not None
    norms = reach.gradient_norms(exact, windows, lags=20)
    weights = 1 + 0.02 * np.random.default_rng(1).standard_normal((1, 12))
    alive = np.ones(12, dtype=bool)
    typical, total = norms.units[block].shifts(alive, weights)

    trace = exact.trace(windows.ids)
    states = {"input": trace.layers[0].inputs[None]} | {
        name: torch.stack([layer.values[name] for layer in trace.layers]) for name in "hc"
    }
    often = torch.from_numpy(weights[0])[:, None] / weights.sum() / len(windows.ids)
    scales = {}
    for name, values in states.items():  # (L, T, B, H)
        mean = (values * often).sum(dim=(1, 2), keepdim=True)
        variance = ((values - mean).square() * often).sum(dim=(1, 2), keepdim=True)
        scales[name] = variance.sqrt() if name != "input" else variance.sqrt()[0]
    gradient = torch.zeros_like(trace.outputs)
    gradient[-1] = exact.readout_gradient(trace.outputs[-1], windows.targets)
    there = reach.lag_norms(trace, gradient, 20, scales)[block][1:]
    here = norms.blocks[block][1:]

    def curves(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        squares = np.square(rows).sum(axis=1)
        return np.log(rows / rows[0]).mean(axis=1), np.log(squares / squares[0]) / 2

    for said, after, before in zip((typical, total), curves(there), curves(here), strict=True):
        assert np.abs(after - before).max() > 1e-4
        np.testing.assert_allclose(said[0], after - before, atol=0.03 * np.abs(said).max())


def test_the_unit_of_measurement_is_in_the_interval() -> None:
    """What a unit's deviation is decides how much of the gradient is its, and few texts know it."""
    slow_and_fast = LinearModel(
        torch.tensor([[[0.97, 0.0], [0.0, 0.5]]]), readout=torch.tensor([[0.1, 1.0]])
    )
    widths = {}
    for scaled in (False, True):
        windows = reach.cut_windows(random_text(12, 60), lags=20, count=12, seed=0)
        assert windows is not None
        norms = reach.gradient_norms(slow_and_fast, windows, lags=20, scaled=scaled)
        curve = reach.lag_curve(norms.blocks["h"][1:], norms.groups, 400, 0, norms.units.get("h"))
        widths[scaled] = curve.replicates[:, 2].std()
    assert widths[False] < 1e-9 and 0.001 < widths[True] < 0.1


def test_the_half_life_of_many_curves_at_once_is_that_of_each() -> None:
    curves = np.random.default_rng(0).normal(-0.05, 0.3, (300, 40)).cumsum(axis=1)
    level, low = np.zeros((2, 40)), np.full((2, 40), -1.0)
    curves = np.concatenate([curves, level, low])
    one_by_one = [reach.lag_where(row, 0.5) - 1 for row in curves]
    assert 0 < np.isinf(one_by_one).sum() < 250
    np.testing.assert_allclose(reach._half_lives(curves), one_by_one)


def test_a_label_is_asked_for_at_the_end_of_half_of_the_text() -> None:
    """Where each document gives one window, a tenth of the text would be a handful of them."""
    lengths = np.random.default_rng(0).integers(45, 140, 120)
    ids = tuple(np.arange(n) % 24 for n in lengths)
    windows = reach.cut_windows(
        Sample(ids=ids, labels=np.arange(120) % 2), lags=128, count=64, seed=0
    )
    assert windows is not None
    held = lengths[lengths >= len(windows.ids)]
    assert len(windows.groups) == len(held) > 40
    assert held.sum() == pytest.approx(lengths.sum() / 2, rel=0.05)


def test_quantile_bands_hold_the_median_between_them() -> None:
    found = reach.measure(ExactModel(language_model()), random_text(9, 90), SETTINGS)
    low, middle, high = (found.blocks["c"].bands[name].y for name in ("p10", "p50", "p90"))
    for a, b, c in zip(low, middle, high, strict=True):
        assert a is not None
        assert b is not None
        assert c is not None
        assert a <= b <= c


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_gradient_share_is_the_curve_and_leaves_the_model_alone(cell: str) -> None:
    model = language_model(cell).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    windows = reach.share_windows([np.arange(200) % 24], running=True)
    assert windows is not None
    shares = reach.gradient_share(model, windows, lags=(1, 5, 10, 5000))
    assert set(shares) == {1, 5, 10}
    assert shares[1] == pytest.approx(1)
    assert 0 < shares[10] < shares[5] < 1
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_no_share_where_there_is_no_text() -> None:
    assert reach.share_windows([np.arange(3)]) is None


def test_a_record_survives_json() -> None:
    found = reach.measure(ExactModel(language_model("gru")), random_text(9, 90), SETTINGS)
    assert type(found).model_validate_json(found.model_dump_json()) == found
