"""Lyapunov exponents against eigenvalues and against the growth of a real perturbation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rnnctl.diagnostics import lyapunov
from rnnctl.diagnostics.known_answers.models import LinearModel, as_ids, random_text
from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.settings import Settings
from rnnctl.diagnostics.subject import ExactModel
from rnnctl.nn.models import LanguageModel

SETTINGS = Settings(exponents=4, lyapunov_steps=200, lyapunov_burn_in=50)


def test_exponents_of_a_constant_matrix_are_the_logs_of_its_eigenvalues() -> None:
    matrix = torch.diag(torch.tensor([0.99, 0.9, 0.5, 0.1], dtype=torch.float64))
    turn = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0]
    found = lyapunov.measure(
        LinearModel((turn @ matrix @ turn.T)[None]), random_text(1, 300), SETTINGS
    )
    assert found.exponents == pytest.approx([math.log(v) for v in (0.99, 0.9, 0.5, 0.1)], abs=1e-3)
    assert found.n_slow.estimate == 0
    assert found.n_slow_text == "0"


def test_slow_directions_are_counted_and_censored() -> None:
    matrix = torch.diag(torch.tensor([0.999, 0.995, 0.98, 0.1], dtype=torch.float64))
    found = lyapunov.measure(LinearModel(matrix[None]), random_text(1, 300), SETTINGS)
    assert (found.n_slow.estimate, found.n_slow.status) == (2, "ok")
    eye = LinearModel(torch.eye(4, dtype=torch.float64)[None])
    for followed, text, status in ((4, "4", "ok"), (3, "≥3", "censored")):
        settings = replace(SETTINGS, exponents=followed)
        all_slow = lyapunov.measure(eye, random_text(1, 300), settings)
        assert (all_slow.n_slow_text, all_slow.n_slow.status) == (text, status)


def test_the_longest_document_is_read_first(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []

    def spy(subject: object, ids: torch.Tensor, **_: object) -> np.ndarray:
        seen.append(ids.tolist())
        return np.zeros((len(ids) - 50, 2))

    monkeypatch.setattr(lyapunov, "growth_rates", spy)
    model = LinearModel(torch.eye(2, dtype=torch.float64)[None])
    for longest in (200, 900):
        documents = [np.full(60, k) for k in range(20)]
        documents.insert(7, np.full(longest, 99))
        lyapunov.measure(model, Sample(ids=tuple(documents)), SETTINGS)
    assert seen[0] == [99] * 200 + [0] * 50
    assert seen[1] == [99] * 250


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_the_leading_exponent_is_the_growth_of_a_small_difference(cell: str) -> None:
    torch.manual_seed(6)
    model = LanguageModel(
        vocab_size=24, embedding_size=6, cell=cell, hidden_size=8, num_layers=2
    ).double()
    ids = as_ids(random_text(1, 150))
    exact = ExactModel(model)
    growth = lyapunov.growth_rates(exact, ids, directions=1, seed=3)
    zero = model.recurrent.initial_state(1)
    start = lyapunov._first_frame(zero, 1, 3)
    size, states = 1e-6, []
    with torch.no_grad():
        for sign in (1, -1):
            first = tuple(part + sign * size * way for part, way in zip(zero, start, strict=True))
            states.append(model.features(ids[:40, None], first)[1])
    apart = math.sqrt(sum(float((a - b).square().sum()) for a, b in zip(*states, strict=True))) / (
        2 * size
    )
    assert float(growth[:40].sum()) == pytest.approx(math.log(apart), abs=1e-3)


def test_a_long_text_in_pieces_is_the_same_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(7)
    model = ExactModel(
        LanguageModel(vocab_size=24, embedding_size=5, cell="lstm", hidden_size=6, num_layers=1)
    )
    ids = as_ids(random_text(1, 100))
    at_once = lyapunov.growth_rates(model, ids, directions=3)
    monkeypatch.setattr(lyapunov, "CHUNK", 7)
    np.testing.assert_allclose(lyapunov.growth_rates(model, ids, directions=3), at_once, atol=1e-9)


def test_short_text_has_a_status() -> None:
    model = LinearModel(torch.eye(2, dtype=torch.float64)[None])
    for sample in (random_text(1, 30), Sample(ids=())):
        found = lyapunov.measure(model, sample, SETTINGS)
        assert found.leading.status == "insufficient_data"
        assert found.leading.note
