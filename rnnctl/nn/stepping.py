"""One step at a time, for generating text: weights packed once, one compiled pass per layer.

A step of `torch.nn` spends most of its time on copying weights into another layout and on small
operations. Here the copies are made once and kept until a weight changes.

Axes: B batch, E embedding, H hidden, L layers, g gates, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rnnctl.nn.cells import Cell, LayerWeights, Parts, State
from rnnctl.nn.products import Product, packed

if TYPE_CHECKING:
    from collections.abc import Iterable

Versions = tuple[torch.dtype, bool, list[tuple[int, int]]]


def versions(dtype: torch.dtype, many: bool, weights: Iterable[Tensor | None]) -> Versions:
    """What changes whenever a weight is changed in place or replaced, or the kind of product is."""
    return dtype, many, [(w.data_ptr(), w._version) for w in weights if w is not None]


def cast(weight: Tensor, rows: int, bias: Tensor, dtype: torch.dtype) -> Product:
    """`packed` with the product in `dtype`, from fp32 to fp32."""
    product = packed(weight.to(dtype), rows, bias.to(dtype))
    if dtype == torch.float32:
        return product
    return lambda a: product(a.to(dtype)).float()


class Stepper:
    """The layers' weights as packed products; valid while the weights are what they were.

    `step` takes what the bottom layer's input product gave (B, gH), see `bottom`.
    """

    def __init__(
        self, cell: Cell, layers: list[LayerWeights], rows: int, dtype: torch.dtype
    ) -> None:
        self.cell = cell
        self.bottom: Product = cast(layers[0].w_ih, rows, layers[0].b_ih, dtype)
        self._upper = [cast(layer.w_ih, rows, layer.b_ih, dtype) for layer in layers[1:]]
        self._recurrent = [cast(layer.w_hh, rows, layer.b_hh, dtype) for layer in layers]

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """x (B, gH), state parts (L, B, H) -> outputs (B, H), state."""
        after: list[Parts] = []
        for layer, product in enumerate(self._recurrent):
            if layer:
                x = self._upper[layer - 1](after[-1][0])
            before = tuple(part[layer] for part in state)
            after.append(self._pass(x, product(before[0]), before))
        return after[-1][0], tuple(torch.stack(parts) for parts in zip(*after, strict=True))

    def _pass(self, x: Tensor, u: Tensor, before: Parts) -> Parts:
        from rnnctl.nn.fused import step_once  # imports numba

        return step_once(self.cell, x, u, before)
