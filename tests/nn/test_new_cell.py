"""A cell that is not one of the three: one `Cell` and a line in the catalog are enough to use it.

The minimal gated unit without a reset gate (Zhou et al. 2016, simplified), whose equations and
derivatives are all that is written here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rnnctl import catalog
from rnnctl.nn.cells import Cell, complement, sigmoid, sigmoid_slope, tanh, tanh_slope
from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.nn.stepping import Stepper


def step(x: Any, u: Any, state: Any) -> Any:
    """f = sigmoid(x_f + u_f), n = tanh(x_n + u_n), h' = (1 - f) n + f h."""
    f, n = sigmoid(x[0] + u[0]), tanh(x[1] + u[1])
    return (n + f * (state[0] - n),), (f, n)


def factors(gates: Any, state: Any, new: Any) -> Any:
    f, n = gates
    return (state[0] - n) * sigmoid_slope(f), complement(f) * tanh_slope(n), f


def pull(factors: Any, gradient: Any) -> Any:
    to_f, to_n, f = factors
    da = to_f * gradient[0], to_n * gradient[0]
    return da, da, (f * gradient[0],)


def push(factors: Any, dx: Any, du: Any, tangent: Any) -> Any:
    to_f, to_n, f = factors
    return (f * tangent[0] + to_f * (dx[0] + du[0]) + to_n * (dx[1] + du[1]),)


MINIMAL = Cell(
    name="minimal", gate_count=2, state_names=("h",), gate_names=("forget", "candidate"),
    direct=(0,), keep_gate=0, write_gate=None, step=step, factors=factors, pull=pull, push=push,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _in_the_catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = (f"{__name__}:MINIMAL", "Minimal gated unit.")
    monkeypatch.setitem(catalog.CELLS, "minimal", entry)  # type: ignore[misc]


def model() -> LanguageModel:
    torch.manual_seed(3)
    return LanguageModel(
        vocab_size=11, embedding_size=6, hidden_size=9, num_layers=2, cell="minimal", init="good"
    )


def by_autograd(made: LanguageModel, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The loss, one step after the other, as the equations say."""
    h = [torch.zeros(ids.shape[1], 9, dtype=made.decoder.weight.dtype) for _ in range(2)]
    nats = []
    for at, target in zip(ids, targets, strict=True):
        below = made.embed(at[None])[0]
        for k in range(2):
            w, u, b, c = (
                getattr(made.recurrent, f"{name}_l{k}")
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            parts = (below @ w.T + b).chunk(2, 1), (h[k] @ u.T + c).chunk(2, 1)
            ((h[k],), _) = step(*parts, (h[k],))
            below = h[k]
        logits = below @ made.decoder.weight.T + made.decoder.bias
        nats.append(torch.nn.functional.cross_entropy(logits, target, reduction="sum"))
    return torch.stack(nats).sum()


@pytest.mark.parametrize("engine", ["auto", "closed", "fused", "torch"])
def test_it_learns_as_its_equations_say(engine: str) -> None:
    made = model()
    made.recurrent.engine = engine
    ids, targets = torch.randint(11, (2, 7, 4))
    total, _ = made.loss(ids, targets)
    total.backward()
    found = {name: p.grad.clone() for name, p in made.named_parameters() if p.grad is not None}
    made.zero_grad()
    wanted = by_autograd(made, ids, targets)
    assert float(total.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
    wanted.backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("streams", [1, 5])
def test_it_generates_as_it_reads(streams: int) -> None:
    made = model().eval()
    ids = torch.randint(11, (6, streams))
    stepper = Stepper(made, made.recurrent.initial_state(streams))
    steps = [stepper.step(row.numpy()) for row in ids]
    with torch.no_grad():
        whole = made.logits(made.features(ids)[0]).numpy()
    np.testing.assert_allclose(np.stack(steps), whole, atol=1e-5)


def test_it_classifies_and_can_be_looked_into() -> None:
    torch.manual_seed(1)
    made = Classifier(
        num_classes=3, vocab_size=11, embedding_size=6, hidden_size=9, num_layers=1, cell="minimal"
    ).eval()
    ids, lengths = torch.randint(11, (8, 4)), torch.tensor([8, 3, 1, 5])
    with torch.no_grad():
        together = made(ids, lengths)
        alone = torch.cat(
            [made(ids[:n, k : k + 1], lengths[k : k + 1]) for k, n in enumerate(lengths)]
        )
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    trace = made.double().recurrent.trace(made.embed(ids))
    assert trace.layers[0].values["forget"].shape == (8, 4, 9)
