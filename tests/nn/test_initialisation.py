"""First values of the weights: what each initialisation promises."""

from __future__ import annotations

import math

import pytest
import torch

from rnnctl.errors import UsageError
from rnnctl.nn.models import LanguageModel
from rnnctl.nn.recurrent import Recurrent

SIZE = 64


def biases(model: Recurrent) -> torch.Tensor:
    """The sum of both bias vectors, the one that acts: (g, H)."""
    total = model.get_parameter("bias_ih_l0") + model.get_parameter("bias_hh_l0")
    return total.detach().view(model.cell.gate_count, SIZE)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_good_is_orthogonal_and_keeps(cell: str) -> None:
    model = Recurrent(cell, 20, SIZE)
    for block in model.get_parameter("weight_hh_l0").detach().view(-1, SIZE, SIZE):
        torch.testing.assert_close(block @ block.T, torch.eye(SIZE), rtol=0, atol=1e-5)
    expected = torch.zeros(model.cell.gate_count, SIZE)
    if cell != "rnn":
        expected[1] = 1  # forget in i, f, g, o; keep in r, z, n
    assert torch.equal(biases(model), expected)
    bound = math.sqrt(6 / (20 + SIZE))
    weight = model.get_parameter("weight_ih_l0").detach()
    assert bound * 0.95 < weight.abs().max() <= bound


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_torch_is_that_of_torch_nn(cell: str) -> None:
    torch.manual_seed(4)
    ours = Recurrent(cell, 20, SIZE, 2, init="torch")
    for weight in ours.parameters():
        assert 0.9 / math.sqrt(SIZE) < weight.abs().max() <= 1 / math.sqrt(SIZE)


def test_chrono_spreads_the_time_constants_up_to_the_horizon() -> None:
    lstm, gru = (Recurrent(c, 20, SIZE, init="chrono", horizon=100) for c in ("lstm", "gru"))
    for model in (lstm, gru):
        keep = biases(model)[1]
        assert keep.min() >= 0
        assert keep.max() <= math.log(99)
        assert keep.exp().std() > 15  # uniform on 1…99 before the logarithm: 28
    assert torch.equal(biases(lstm)[0], -biases(lstm)[1])
    assert biases(lstm)[2:].abs().sum() == 0
    with pytest.raises(UsageError, match="horizon"):
        Recurrent("lstm", 3, 4, init="chrono")
    with pytest.raises(UsageError, match="unknown initialisation"):
        Recurrent("lstm", 3, 4, init="best")


@pytest.mark.parametrize("tied", [False, True])
def test_a_language_model_starts_near_the_uniform_loss(tied: bool) -> None:
    """Inputs have unit variance and first losses are near ln V, tied or not."""
    torch.manual_seed(0)
    model = LanguageModel(
        vocab_size=2000, embedding_size=64, cell="lstm", hidden_size=64, num_layers=2, tied=tied
    )
    ids = torch.randint(2000, (20, 8))
    assert 0.9 < float(model.embed(ids).detach().std()) < 1.1
    nats, _ = model.token_losses(ids, ids.roll(-1, 0))
    assert abs(float(nats.mean()) - math.log(2000)) < 0.3
