"""One step of a language model for some streams: last tokens in, logits out.

B streams, V vocabulary.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from rnnctl.nn.models import LanguageModel
from rnnctl.nn.recurrent import State


class Stepper:
    """Holds the state of B streams between steps."""

    def __init__(self, model: LanguageModel, state: State) -> None:
        self._model = model
        self._device = next(model.parameters()).device
        self._state = tuple(part.to(self._device) for part in state)

    @torch.inference_mode()
    def step(self, tokens: NDArray[np.integer]) -> NDArray[np.float32]:
        """tokens (B,) -> logits (B, V) of the token after each; the caller may change them."""
        ids = torch.from_numpy(tokens.astype(np.int64)).unsqueeze(0).to(self._device)
        features, self._state = self._model.features(ids, self._state)
        logits: NDArray[np.float32] = self._model.logits(features[0]).float().cpu().numpy()
        return logits

    def keep(self, rows: NDArray[np.integer]) -> None:
        """Go on with these streams only, in this order."""
        index = torch.from_numpy(rows).to(self._device)
        self._state = tuple(part.index_select(1, index) for part in self._state)
