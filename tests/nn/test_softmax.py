"""The sliced loss against ordinary cross-entropy in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from rnnctl.nn import softmax


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices of a few tokens, so that small tests take the way of large vocabularies."""
    monkeypatch.setattr(softmax, "SLICE", 1 << 12)
    monkeypatch.setattr(softmax, "LARGE", 0)


def problem(tokens: int, features: int, vocabulary: int, seed: int) -> tuple[Tensor, ...]:
    torch.manual_seed(seed)
    f = torch.randn(tokens, features, dtype=torch.float64, requires_grad=True)
    w = torch.randn(vocabulary, features, dtype=torch.float64, requires_grad=True)
    b = torch.randn(vocabulary, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(vocabulary, (tokens,))
    targets[torch.rand(tokens) < 0.2] = softmax.NO_TARGET
    return f, w, b, targets


def expected(f: Tensor, w: Tensor, b: Tensor, targets: Tensor) -> tuple[Tensor, list[Tensor]]:
    nats = cross_entropy(linear(f, w, b), targets, ignore_index=-100, reduction="none")
    return nats.detach(), list(torch.autograd.grad(3 * nats.sum(), (f, w, b)))


def absolute_terms(f: Tensor, w: Tensor, b: Tensor, targets: Tensor) -> list[float]:
    """For each gradient of `expected` the norm of the sums of its terms' absolute values."""
    with torch.no_grad():
        errors = linear(f, w, b).softmax(dim=1)
        kept = targets >= 0
        errors[kept, targets[kept]] -= 1
        errors = 3 * (errors * kept[:, None]).abs()
        parts = (errors @ w.abs(), errors.T @ f.abs(), errors.sum(dim=0))
    return [float(part.norm()) for part in parts]


def close(ours: Tensor, theirs: Tensor, tolerance: float) -> bool:
    ours, theirs = ours.detach().double(), theirs.detach().double()
    return float((ours - theirs).norm()) <= tolerance * max(1.0, float(theirs.norm()))


@pytest.mark.usefixtures("processor")
@settings(max_examples=6, deadline=None)
@given(
    tokens=st.integers(1, 40),
    features=st.integers(1, 20),
    vocabulary=st.integers(2, 70),
    seed=st.integers(0, 2**31),
)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6), (torch.bfloat16, 3e-2)]
)
def test_losses_and_gradients(
    dtype: torch.dtype, tolerance: float, tokens: int, features: int, vocabulary: int, seed: int
) -> None:
    *exact, targets = problem(tokens, features, vocabulary, seed)
    nats, gradients = expected(*exact, targets)
    master = torch.float64 if dtype == torch.float64 else torch.float32
    f, w, b = (part.detach().to(master).requires_grad_() for part in exact)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        total = softmax.summed_loss(f, w, b, targets)
        each = softmax.token_losses(f, w, b, targets)
        compiled = softmax.token_losses(f, w, b, targets, compiled=True)
    ours = torch.autograd.grad(3 * total, (f, w, b))
    assert total.dtype == master
    assert close(total, nats.sum(), tolerance)
    assert each.dtype == compiled.dtype == master
    assert close(each, nats, tolerance)
    assert close(compiled, nats, tolerance)
    # A sum's rounding is as large as its terms are, also where these cancel to a small sum.
    for a, c, terms in zip(ours, gradients, absolute_terms(*exact, targets), strict=True):
        assert float((a.double() - c.double()).norm()) <= tolerance * max(1.0, terms)


def test_without_numba_the_numbers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    *exact, targets = problem(30, 7, 50, 0)
    f, w, b = (part.detach().float().requires_grad_() for part in exact)
    results = []
    for available in (True, False):
        monkeypatch.setattr(softmax, "fused_available", lambda available=available: available)
        total = softmax.summed_loss(f, w, b, targets)
        results.append([total, *torch.autograd.grad(total, (f, w, b))])
    assert all(close(a, c, 1e-6) for a, c in zip(*results, strict=True))


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_logits(dtype: torch.dtype) -> None:
    """Logits of ±1000 neither overflow nor vanish; the certain token costs nothing."""
    w = torch.tensor([[1000.0], [-1000.0], [0.0]])
    f, b = torch.ones(2, 1), torch.zeros(3)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        nats = softmax.token_losses(f, w, b, torch.tensor([0, 1]))
    torch.testing.assert_close(nats, torch.tensor([0.0, 2000.0]))


def test_a_model_that_broke_does_not_look_well() -> None:
    """NaN and infinite features give a loss that is not finite, which training must see."""
    for bad in (torch.nan, torch.inf):
        f, w, b = torch.full((4, 3), bad), torch.randn(9, 3), torch.zeros(9)
        targets = torch.arange(4)
        assert not softmax.summed_loss(f, w, b, targets).isfinite()


def test_only_a_slice_of_the_logits_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    original = softmax._exponentials

    def watched(logits: Tensor, targets: Tensor, least: int) -> tuple[Tensor, Tensor]:
        sizes.append(logits.numel())
        return original(logits, targets, least)

    monkeypatch.setattr(softmax, "_exponentials", watched)
    *exact, targets = problem(100, 3, 60, 0)
    softmax.summed_loss(*exact, targets)
    assert sum(sizes) == 100 * 60
    assert 8 * max(sizes) <= softmax.SLICE  # float64


@pytest.mark.usefixtures("processor")
@settings(max_examples=6, deadline=None)
@given(
    tokens=st.integers(1, 40),
    vocabulary=st.integers(2, 70),
    top=st.integers(0, 80),
    seed=st.integers(0, 2**31),
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_distributions(
    dtype: torch.dtype, tolerance: float, tokens: int, vocabulary: int, top: int, seed: int
) -> None:
    exact, w, b, targets = (part.detach() for part in problem(tokens, 5, vocabulary, seed))
    targets = targets.clamp_min(0)
    asked = [part.to(dtype) for part in (exact, w, b)]
    nats, entropy, likeliest, chances = softmax.token_distributions(*asked, targets, top=top)
    of_all = torch.distributions.Categorical(logits=linear(exact, w, b))
    assert close(nats, -of_all.log_prob(targets), tolerance)
    assert close(entropy, of_all.entropy(), tolerance)
    assert likeliest.shape == chances.shape == (tokens, min(top, vocabulary))
    assert close(chances, of_all.probs.gather(1, likeliest), tolerance)
    assert close(chances, of_all.probs.topk(min(top, vocabulary)).values, tolerance)
