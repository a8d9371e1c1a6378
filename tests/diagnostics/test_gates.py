"""GATES beyond the known answers: documents, layers, statuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rnnctl.diagnostics import gates
from rnnctl.diagnostics.known_answers.derivatives import frozen
from rnnctl.diagnostics.known_answers.models import random_text
from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.settings import Settings
from rnnctl.diagnostics.subject import ExactModel
from rnnctl.nn.models import LanguageModel

SETTINGS = Settings(resamples=100, gate_tokens=2000)


def model(cell: str, layers: int = 1) -> ExactModel:
    torch.manual_seed(8)
    return ExactModel(
        LanguageModel(vocab_size=24, embedding_size=6, cell=cell, hidden_size=5, num_layers=layers)
    )


def test_a_plain_rnn_has_no_gates_and_no_zero() -> None:
    found = gates.measure(model("rnn"), random_text(4, 50), SETTINGS)
    assert found.status == "not_applicable"
    assert "no gates" in found.note
    assert not found.scalars
    assert not found.gates


def test_no_text_has_a_status() -> None:
    assert gates.measure(model("gru"), Sample(ids=()), SETTINGS).status == "insufficient_data"


@pytest.mark.parametrize(
    ("cell", "keep", "names"),
    [("lstm", "forget", ("forget", "input", "output")), ("gru", "keep", ("keep", "reset"))],
)
def test_numbers_are_those_of_the_gates_themselves(
    cell: str, keep: str, names: tuple[str, ...]
) -> None:
    exact, text = model(cell, layers=2), random_text(3, 40)
    found = gates.measure(exact, text, SETTINGS)
    traces = [exact.trace(torch.from_numpy(ids)[:, None]) for ids in text.ids]
    for layer in range(2):
        values = torch.cat([trace.layers[layer].values[keep][:, 0] for trace in traces])
        tau = -1 / values.log().mean(0)
        assert found.tau_by_unit[layer] == pytest.approx(tau.tolist())
        for name in names:
            values = torch.cat([trace.layers[layer].values[name][:, 0] for trace in traces])
            (row,) = [row for row in found.gates if (row.layer, row.gate) == (layer, name)]
            assert row.mean == pytest.approx(float(values.mean()))
            assert row.left_saturated == pytest.approx(float((values < 0.1).double().mean()))
            assert row.right_saturated == pytest.approx(float((values > 0.9).double().mean()))


def test_quantiles_shares_and_histogram_agree_with_the_units() -> None:
    keeps = (0.5, 0.9, 0.95, 0.985, 0.995)
    found = gates.measure(frozen("gru", keeps), random_text(3, 40), SETTINGS)
    tau = [-1 / math.log(keep) for keep in keeps]
    for name, q in (("tau_p10", 0.1), ("tau_p50", 0.5), ("tau_p90", 0.9)):
        assert found.scalars[name].estimate == pytest.approx(
            float(np.quantile(tau, q, method="lower"))
        )
        assert found.scalars[name].ci95[0] == pytest.approx(found.scalars[name].ci95[1])
    assert found.scalars["share_tau_above_10"].estimate == pytest.approx(3 / 5)
    assert found.scalars["share_tau_above_50"].estimate == pytest.approx(2 / 5)
    assert found.scalars["share_tau_above_100"].estimate == pytest.approx(1 / 5)
    assert found.scalars["reset_rate"].estimate == 0
    curve = found.curves["tau_histogram"]
    assert sum(y or 0 for y in curve.y) == pytest.approx(1)
    filled = [x for x, y in zip(curve.x, curve.y, strict=True) if y]
    for value in tau:
        assert any(edge <= value < edge * math.sqrt(2) * 1.0001 for edge in filled)


def test_a_gate_that_never_closes_is_censored_not_infinite() -> None:
    found = gates.measure(frozen("lstm", (1 - 1e-16,)), random_text(3, 40), SETTINGS)
    assert found.scalars["tau_p50"].estimate is None
    assert found.scalars["tau_p50"].status == "censored"
    assert found.tau_by_unit == ((None,),)


def test_the_budget_of_tokens_is_kept_and_documents_are_the_unit() -> None:
    found = gates.measure(
        model("gru"), random_text(30, 50), Settings(resamples=50, gate_tokens=120)
    )
    assert found.sampling is not None
    assert (found.sampling.n, found.sampling.items) == (3, 120)
    running = Sample(ids=random_text(1, 3000).ids, running=True)
    found = gates.measure(model("gru"), running, SETTINGS)
    assert found.sampling is not None
    assert found.sampling.unit == "stretch of 512 tokens"


def test_one_document_has_no_interval() -> None:
    found = gates.measure(model("gru"), random_text(1, 50), SETTINGS)
    assert found.scalars["tau_p50"].ci95 == (None, None)
    assert type(found).model_validate_json(found.model_dump_json()) == found


def test_documents_side_by_side_are_read_as_if_alone() -> None:
    exact = model("lstm", layers=2)
    rng = np.random.default_rng(3)
    documents = [rng.integers(24, size=length) for length in (300, 7, 40, 41, 1)]
    together = gates.collect(exact, documents)
    for k, ids in enumerate(documents):
        alone = gates.collect(exact, [ids])
        np.testing.assert_allclose(together.log_keep[k], alone.log_keep[0], rtol=1e-10)
        np.testing.assert_array_equal(together.resets[k], alone.resets[0])
        for gate, rows in alone.gates.items():
            np.testing.assert_allclose(together.gates[gate][k], rows[0], rtol=1e-10)
        assert together.tokens[k] == len(ids)


def test_the_interval_of_a_middle_unit_beside_a_gap_holds_it() -> None:
    """As in a trained LSTM: units just below a gap, whose errors bring another into the middle."""
    true = np.concatenate([np.linspace(0.80, 0.87, 28), [0.89], np.linspace(0.895, 2.0, 28)])
    middle, held = float(gates.unit_at(true, 0.5)), 0
    for trial in range(100):
        draw = np.random.default_rng((50, trial))
        tokens = draw.integers(50, 600, 24).astype(np.float64)
        noise = draw.normal(size=(24, len(true))) * 3 / np.sqrt(tokens)[:, None]
        logs = -(1 + noise) / true * tokens[:, None]
        sums = gates.GateSums(logs[:, None], np.zeros_like(logs)[:, None], tokens, {})
        low, high = gates.record(sums, resamples=400, seed=trial).scalars["tau_p50"].ci95
        assert low is not None and high is not None
        held += low <= middle <= high
    assert held >= 93
