"""Parameters and operations, against torch's own layers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnctl.compare.plan import matched_hidden_size
from rnnctl.nn.cells import find_cell

KINDS = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}


@pytest.mark.parametrize("cell", list(KINDS))
@pytest.mark.parametrize(("layers", "directions"), [(1, 1), (3, 1), (2, 2)])
def test_parameters_are_those_of_torch(cell: str, layers: int, directions: int) -> None:
    import torch

    layer = getattr(torch.nn, KINDS[cell])(7, 5, num_layers=layers, bidirectional=directions == 2)
    count = sum(parameter.numel() for parameter in layer.parameters())
    assert find_cell(cell).parameters(7, 5, layers, directions) == count


def test_the_sizes_of_the_specification() -> None:
    budget = find_cell("lstm").parameters(128, 128)
    assert budget == 132_096
    assert matched_hidden_size("gru", budget, 128) == 155  # 154 is 0.67 % off, 155 is 0.32 %
    assert matched_hidden_size("rnn", budget, 128) == 304
    assert matched_hidden_size("lstm", budget, 128) == 128


@given(st.sampled_from(list(KINDS)), st.integers(64, 1024), st.sampled_from([64, 128, 256]))
def test_parameters_match_within_one_per_cent_from_64_units_up(
    cell: str, hidden: int, width: int
) -> None:
    """Half a unit more or less is at most 1.01 % of a GRU that matches an LSTM of 64 units."""
    budget = find_cell("lstm").parameters(width, hidden)
    size = matched_hidden_size(cell, budget, width)
    assert find_cell(cell).parameters(width, size) == pytest.approx(budget, rel=0.0101)


@given(st.sampled_from(list(KINDS)), st.integers(1, 10**6), st.integers(1, 300))
def test_no_other_whole_number_is_nearer(cell: str, budget: int, width: int) -> None:
    size = matched_hidden_size(cell, budget, width)
    off = abs(find_cell(cell).parameters(width, size) - budget)
    assert off <= abs(find_cell(cell).parameters(width, size + 1) - budget)
    assert size == 1 or off <= abs(find_cell(cell).parameters(width, size - 1) - budget)


def test_a_gru_does_three_quarters_of_an_lstms_work_at_the_same_size() -> None:
    assert (
        find_cell("gru").macs_per_token(64, 128) / find_cell("lstm").macs_per_token(64, 128) == 0.75
    )
    assert find_cell("rnn").macs_per_token(3, 2) == 2 * (3 + 2)
