"""One step of a language model for some streams: last tokens in, logits out.

A step on its own is mostly overhead in `torch.nn`, whose LSTM prepares its kernel anew each time.
Here the weights are made ready once: what the first layer makes of a token is a table row, where
the vocabulary is small enough, and products of several streams use packed weights. The cell's
mathematics is `cells`'.

B streams, V vocabulary, H hidden, g gates.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import linear

from rnnctl.nn.models import LanguageModel
from rnnctl.nn.products import Product, packed
from rnnctl.nn.recurrent import State

TABLE_NUMBERS = 1 << 24  # 64 MB in fp32


class Stepper:
    """Holds the state of B streams between steps. The model's weights must not change meanwhile.

    state: as `Recurrent.initial_state`, (L, B, H) tensors. The model must be in `eval` mode.
    """

    @torch.inference_mode()
    def __init__(self, model: LanguageModel, state: State) -> None:
        recurrent = model.recurrent
        self._model = model
        self._device = recurrent.get_parameter("weight_hh_l0").device
        self._cell = recurrent.cell
        streams = state[0].shape[1]
        # layers, and in each the coordinates (B, H)
        self._states = [
            tuple(part[layer].to(self._device) for part in state)
            for layer in range(recurrent.num_layers)
        ]
        layers = [recurrent.weights(f"_l{layer}") for layer in range(recurrent.num_layers)]
        self._from_below = [_product(w.w_ih, w.b_ih, streams) for w in layers]
        self._from_before = [_product(w.w_hh, w.b_hh, streams) for w in layers]
        self._decode = _product(model.decoder.weight, model.decoder.bias, streams)
        self._table = self._make_table()

    def _make_table(self) -> Tensor | None:
        """(V, gH): the first layer's input product of every token, if that is small."""
        model = self._model
        rows = self._cell.gate_count * model.recurrent.hidden_size
        if model.vocab_size * rows > TABLE_NUMBERS:
            return None
        ids = torch.arange(model.vocab_size, device=self._device).unsqueeze(0)
        return self._from_below[0](model.embed(ids)[0])

    @torch.inference_mode()
    def step(self, tokens: NDArray[np.integer]) -> NDArray[np.float32]:
        """tokens (B,) -> logits (B, V) of the token after each; the caller may change them."""
        ids = torch.from_numpy(tokens.astype(np.int64)).to(self._device)
        hidden = None
        for layer, state in enumerate(self._states):
            x = self._inputs(ids) if hidden is None else self._from_below[layer](hidden)
            u = self._from_before[layer](state[0])
            gates = self._cell.gate_count
            new, _ = self._cell.step(x.chunk(gates, -1), u.chunk(gates, -1), state)
            self._states[layer], hidden = new, new[0]
        assert hidden is not None
        logits: NDArray[np.float32] = self._decode(self._model.projection(hidden)).cpu().numpy()
        return logits

    def _inputs(self, ids: Tensor) -> Tensor:
        if self._table is not None:
            return self._table[ids]
        return self._from_below[0](self._model.embed(ids.unsqueeze(0))[0])

    @torch.inference_mode()
    def keep(self, rows: NDArray[np.integer]) -> None:
        """Go on with these streams only, in this order."""
        index = torch.from_numpy(rows).to(self._device)
        self._states = [tuple(part[index] for part in state) for state in self._states]


def _product(weight: Tensor, bias: Tensor, streams: int) -> Product:
    """a -> a W^T + b. Packing pays where the weights are used by several rows at once."""
    if streams == 1:
        return lambda a: linear(a, weight, bias)
    return packed(weight, streams, bias)
