"""Trained models as the diagnostics see them (`LanguageSubject`, `ClassifierSubject`, `Traceable`).

Axes: T time, B batch, F features, H hidden, V vocabulary, C classes.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor

from rnnctl.diagnostics.subject import State
from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.nn.trace import Trace


class ModelSubject:
    """A trained language model or classifier, in eval mode, as a diagnostic sees it.

    Forward-only measurements run in the weights' own precision (float32); `trace` in float64 on a
    copy made when first asked for.
    """

    def __init__(
        self, model: LanguageModel | Classifier, *, boundary_id: int, labels: tuple[str, ...] = ()
    ) -> None:
        self.model = model.eval()
        self.boundary_id = boundary_id
        self.labels = labels
        self.cell: str = model.recurrent.cell
        self.vocab_size: int = model.embedding.num_embeddings
        self._exact: LanguageModel | Classifier | None = None

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
        weight, bias = self.model_decoder()
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

    @property
    def exact(self) -> LanguageModel | Classifier:
        """A float64 copy of the model on the CPU, for derivatives."""
        if self._exact is None:
            self._exact = copy.deepcopy(self.model).double().cpu()
        return self._exact

    def trace(self, ids: Tensor, state: State | None = None) -> Trace:
        """See `Traceable`."""
        with torch.no_grad():
            return self.exact.recurrent.trace(self.exact.embed(ids.cpu()), state)

    def readout_gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `Traceable`. For a classifier the answer is read from this output alone."""
        leaf = outputs.detach().clone().requires_grad_(True)
        if isinstance(self.exact, Classifier):
            width = outputs.shape[-1]
            repeated = leaf.repeat(1, self.exact.head.in_features // width)
            logits = self.exact.head(repeated)
        else:
            logits = self.exact.logits(self.exact.project(leaf))
        loss = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, leaf)
        return gradient

    def model_decoder(self) -> tuple[Tensor, Tensor | None]:
        """The output layer's rows (V, F) and biases (V,)."""
        decoder = self.language_model.decoder
        return decoder.weight, decoder.bias
