"""Trained models as the diagnostics see them (`LanguageSubject`, `ClassifierSubject`).

Axes: T time, B batch, F features, H hidden, V vocabulary, C classes.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from rnnctl.diagnostics.subject import State
from rnnctl.nn.models import Classifier, LanguageModel


class ModelSubject:
    """A trained language model or classifier, in eval mode, as a diagnostic sees it.

    They run in the weights' own precision (float32).
    """

    def __init__(
        self, model: LanguageModel | Classifier, *, boundary_id: int, labels: tuple[str, ...] = ()
    ) -> None:
        self.model = model.eval()
        self.boundary_id = boundary_id
        self.labels = labels
        self.cell: str = model.recurrent.cell
        self.vocab_size: int = model.embedding.num_embeddings

    @property
    def language_model(self) -> LanguageModel:
        """The model, where it is known to be a language model."""
        return cast(LanguageModel, self.model)

    @property
    def classifier(self) -> Classifier:
        """The model, where it is known to be a classifier."""
        return cast(Classifier, self.model)

    def initial_state(self, batch: int) -> State:
        """See `LanguageSubject`."""
        return self.model.recurrent.initial_state(batch)

    @torch.no_grad()
    def advance(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """See `LanguageSubject`."""
        return self.language_model.features(ids, state)

    @torch.no_grad()
    def scores(self, features: Tensor, tokens: Tensor) -> Tensor:
        """See `LanguageSubject`."""
        weight, bias = self._decoder()
        scores = torch.einsum("nf,nkf->nk", features.double(), weight[tokens].double())
        return scores if bias is None else scores + bias[tokens].double()

    @torch.no_grad()
    def losses(self, features: Tensor, targets: Tensor) -> Tensor:
        """See `LanguageSubject`. The logits exist for 512 rows at a time only."""
        parts = []
        for rows, wanted in zip(features.split(512), targets.split(512), strict=True):
            logits = self.language_model.logits(rows)
            chosen = logits.gather(1, wanted[:, None])[:, 0]
            parts.append((torch.logsumexp(logits, 1) - chosen).double())
        return torch.cat(parts) if parts else features.new_zeros(0, dtype=torch.float64)

    def vector(self, state: State, *, hidden_only: bool = False) -> Tensor:
        """See `LanguageSubject`: layers after each other, h before c."""
        parts = state[:1] if hidden_only else state
        batch = parts[0].shape[1]
        return torch.cat([part.transpose(0, 1).reshape(batch, -1) for part in parts], dim=1)

    @torch.no_grad()
    def logits(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """See `ClassifierSubject`."""
        return self.classifier(ids, lengths).double()

    @torch.no_grad()
    def final_state(self, ids: Tensor, lengths: Tensor, *, hidden_only: bool = False) -> Tensor:
        """See `ClassifierSubject`."""
        _, state = self.model.recurrent(self.classifier.embed(ids), lengths=lengths)
        return self.vector(state, hidden_only=hidden_only)

    def _decoder(self) -> tuple[Tensor, Tensor | None]:
        """The output layer's rows (V, F) and biases (V,)."""
        decoder = self.language_model.decoder
        return decoder.weight, decoder.bias
