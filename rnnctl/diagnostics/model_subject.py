"""Trained models as the diagnostics see them (protocols in `subject`), in the weights' precision.

Axes: T time, B batch, F features, S state, V vocabulary, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rnnctl.diagnostics.subject import State
from rnnctl.nn.models import Classifier, LanguageModel

ROWS = 512  # logits that exist at once


class _States:
    """What both kinds of model share: `StateSubject`."""

    def __init__(self, model: LanguageModel | Classifier, boundary_id: int) -> None:
        self.recurrent = model.recurrent
        self.embed = model.embed
        self.vocab_size: int = model.embedding.num_embeddings
        self.boundary_id = boundary_id

    def initial_state(self, batch: int) -> State:
        """See `StateSubject`."""
        return self.recurrent.initial_state(batch)

    @torch.no_grad()
    def read(self, ids: Tensor, state: State) -> State:
        """See `StateSubject`."""
        after: State = self.recurrent(self.embed(ids), state)[1]
        return after

    def vector(self, state: State, *, hidden_only: bool = False) -> Tensor:
        """See `StateSubject`: layers after each other, h before c."""
        parts = state[:1] if hidden_only else state
        batch = parts[0].shape[1]
        return torch.cat([part.transpose(0, 1).reshape(batch, -1) for part in parts], dim=1)


class LanguageModelSubject(_States):
    """A trained language model: `LanguageSubject` and `StateSubject`."""

    def __init__(self, model: LanguageModel, *, boundary_id: int) -> None:
        super().__init__(model, boundary_id)
        self.model = model.eval()

    @torch.no_grad()
    def advance(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """See `LanguageSubject`."""
        return self.model.features(ids, state)

    @torch.no_grad()
    def scores(self, features: Tensor, tokens: Tensor) -> Tensor:
        """See `LanguageSubject`."""
        decoder = self.model.decoder
        products = (features[:, None].double() * decoder.weight[tokens].double()).sum(-1)
        return products + decoder.bias[tokens].double()

    @torch.no_grad()
    def losses(self, features: Tensor, targets: Tensor) -> Tensor:
        """See `LanguageSubject`."""
        parts = [torch.zeros(0, dtype=torch.float64)]
        for first in range(0, len(targets), ROWS):
            rows, wanted = features[first : first + ROWS], targets[first : first + ROWS]
            logits = self.model.logits(rows)
            chosen = logits.gather(1, wanted[:, None])[:, 0]
            parts.append((torch.logsumexp(logits, 1) - chosen).double())
        return torch.cat(parts)

    @torch.no_grad()
    def likeliest(self, features: Tensor) -> Tensor:
        """See `Guessing`."""
        parts = [torch.zeros(0, dtype=torch.int64)]
        for first in range(0, len(features), ROWS):
            parts.append(self.model.logits(features[first : first + ROWS]).argmax(1).cpu())
        return torch.cat(parts)


class ClassifierModelSubject(_States):
    """A trained classifier: `ClassifierSubject` and `StateSubject`."""

    def __init__(self, model: Classifier, *, boundary_id: int, labels: tuple[str, ...]) -> None:
        super().__init__(model, boundary_id)
        self.model = model.eval()
        self.labels = labels

    @torch.no_grad()
    def logits(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """See `ClassifierSubject`. The model answers at the boundary after each text.

        So it does in training and in `rnnctl.inference.classify`.
        """
        ended = torch.cat([ids, ids.new_full((1, ids.shape[1]), self.boundary_id)])
        ended[lengths, torch.arange(ids.shape[1])] = self.boundary_id
        found: Tensor = self.model(ended, lengths + 1)
        return found.double()
