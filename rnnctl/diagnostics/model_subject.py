"""Trained models as the diagnostics see them (protocols in `subject`), in the weights' precision.

Axes: T time, B batch, F features, S state, V vocabulary, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rnnctl.diagnostics.subject import State
from rnnctl.inference.memory import Cache, cache_losses, mixture
from rnnctl.nn.models import Classifier, LanguageModel

ROWS = 512  # logits that exist at once
HELD = 2_000_000  # tokens whose features a cached subject keeps


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


class CachedModelSubject(LanguageModelSubject):
    """A trained language model with a cache of what it has read (`rnnctl.inference.memory`).

    The state's last part numbers a context, whose tokens and features are kept here; the last two
    features are that number and how many of its tokens were read. What replaces the state replaces
    the cache too.
    """

    def __init__(self, model: LanguageModel, *, boundary_id: int, cache: Cache) -> None:
        super().__init__(model, boundary_id=boundary_id)
        self.cache = cache
        width = model.decoder.weight.shape[1]
        empty = torch.zeros(0, dtype=torch.long), torch.zeros(0, width)
        self._read: dict[int, tuple[int, Tensor, Tensor]] = {0: (-1, *empty)}
        self._next, self._held = 1, 0

    def initial_state(self, batch: int) -> State:
        """See `StateSubject`."""
        return (*super().initial_state(batch), torch.zeros((1, batch, 1), dtype=torch.long))

    @torch.no_grad()
    def advance(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """See `LanguageSubject`."""
        features, after = super().advance(ids, state[:-1])
        steps, count = ids.shape
        numbers = torch.arange(self._next, self._next + count)
        for column, parent in enumerate(state[-1][0, :, 0].tolist()):
            read = parent, ids[:, column].clone(), features[:, column].clone()
            self._read[self._next] = read
            self._next += 1
            self._held += steps
        while self._held > HELD:  # of resets that have been measured long ago
            oldest = min(number for number in self._read if number)
            self._held -= len(self._read.pop(oldest)[1])
        where = torch.stack(
            [
                numbers.expand(steps, count),
                torch.arange(1, steps + 1)[:, None].expand(steps, count),
            ],
            dim=-1,
        )
        return torch.cat([features.double(), where], dim=-1), (
            *after,
            numbers.reshape(1, count, 1),
        )

    @torch.no_grad()
    def losses(self, features: Tensor, targets: Tensor) -> Tensor:
        """See `LanguageSubject`."""
        number, steps = features[:, -2].long(), features[:, -1].long()
        rows = features[:, :-2].float()
        own = super().losses(rows, targets)
        found = own.clone()
        for one in torch.unique(number).tolist():
            here = torch.nonzero(number == one)[:, 0]
            tokens, keys = self._chain(one)
            before = len(tokens) - len(self._read[one][1]) + steps[here] - 1
            cached = cache_losses(
                rows[here], keys[:-1], tokens[1:], targets[here], before,
                self.cache.size, self.cache.theta,
            )  # fmt: skip
            found[here] = mixture(own[here], cached, self.cache.weight)
        return found

    def _chain(self, number: int) -> tuple[Tensor, Tensor]:
        """All tokens of a context (T,), and the features after each of them (T, F)."""
        tokens, keys, held = [], [], 0
        while number > 0 and held <= self.cache.size + len(self._read[number][1]):
            number, ids, features = self._read[number]
            tokens.append(ids)
            keys.append(features)
            held += len(ids)
        return torch.cat(tokens[::-1]), torch.cat(keys[::-1])


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
