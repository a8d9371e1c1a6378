"""Products by other ways than `linear` give what `linear` gives."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import linear

from rnnctl.nn import products

DTYPES = [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 2e-2)]


@pytest.mark.usefixtures("processor")
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("rows", [1, 2, 33])
@pytest.mark.parametrize("width", [5, 48])
def test_packed_is_linear(dtype: torch.dtype, tolerance: float, rows: int, width: int) -> None:
    torch.manual_seed(0)
    a, w = torch.randn(rows, 17).to(dtype), torch.randn(width, 17).to(dtype)
    b, d = torch.randn(width).to(dtype), torch.randn(rows, width).to(dtype)
    options = {"rtol": tolerance, "atol": 10 * tolerance}
    for bias in (b, None):
        ours = products.packed(w, rows, bias)(a)
        torch.testing.assert_close(ours, linear(a, w, bias), **options)
    torch.testing.assert_close(products.packed(w.t(), rows)(d), d @ w, **options)
    torch.testing.assert_close(products.transposed(w, rows)(d), d @ w, **options)
    torch.testing.assert_close(products.weight_gradient(d, a), d.t() @ a, **options)


@pytest.mark.parametrize("many", [4, 100])
def test_the_product_of_a_vector_is_linear(many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "MANY", many)  # by rows, by columns
    w, b, a = torch.randn(9, 17), torch.randn(9), torch.randn(17)
    ours = products.of_vector(w, b)(a.numpy())
    torch.testing.assert_close(torch.from_numpy(ours), linear(a, w, b), rtol=1e-5, atol=1e-5)


def test_without_onednn_all_is_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_onednn", lambda: None)
    a, w = torch.randn(9, 17), torch.randn(5, 17)
    assert not products.can_pack(w)
    assert torch.equal(products.packed(w, 9)(a), linear(a, w))
    assert torch.equal(products.weight_gradient(a, a), a.t() @ a)


def test_a_packed_weight_is_a_copy() -> None:
    w, a = torch.randn(6, 4), torch.randn(9, 4)
    product = products.packed(w, 9)
    before = product(a)
    w.add_(1)
    assert torch.equal(product(a), before)
