"""Language models that are exact about what they remember.

Axes: T time, B batch, V vocabulary, F features, N rows. All are `LanguageSubject`s and
`StateSubject`s; what they remember needs no training and has an answer on paper.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.subject import State

NONE = -1.0
"""Stands for a token that was never read."""


class LeakyModel:
    """s ← λ s + e(x), logits = E s with orthonormal E: an old word counts λ^d of a new one.

    `embedding` (V, S) is E, by default the identity.
    """

    def __init__(self, rate: float, vocab_size: int, embedding: Tensor | None = None) -> None:
        self.rate, self.vocab_size, self.boundary_id = rate, vocab_size, 0
        identity = torch.eye(vocab_size, dtype=torch.float64)
        self.embedding = identity if embedding is None else embedding.double()

    def initial_state(self, batch: int) -> State:
        """See `StateSubject`."""
        return (torch.zeros(1, batch, self.embedding.shape[1], dtype=torch.float64),)

    def advance(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """See `LanguageSubject`; the features are the states."""
        current, rows = state[0][0], []
        for vectors in self.embedding[ids]:
            current = self.rate * current + vectors
            rows.append(current)
        return torch.stack(rows) if rows else state[0][:0], (current[None],)

    def read(self, ids: Tensor, state: State) -> State:
        """See `StateSubject`."""
        return self.advance(ids, state)[1]

    def scores(self, features: Tensor, tokens: Tensor) -> Tensor:
        """See `LanguageSubject`."""
        return torch.einsum("ns,nks->nk", features, self.embedding[tokens])

    def losses(self, features: Tensor, targets: Tensor) -> Tensor:
        """See `LanguageSubject`."""
        logits = features @ self.embedding.T
        return torch.logsumexp(logits, 1) - logits.gather(1, targets[:, None])[:, 0]

    def likeliest(self, features: Tensor) -> Tensor:
        """See `Guessing`."""
        return (features @ self.embedding.T).argmax(1)

    def vector(self, state: State, *, hidden_only: bool = False) -> Tensor:
        """See `StateSubject`."""
        return state[0][0]


class WindowModel:
    """Sees the last `window` tokens and nothing else; its state is those tokens, oldest first.

    Logits are a random nonlinear function of the window. `vector` is one-hot, so that everything
    in the window can be read out linearly: a delay line.
    """

    def __init__(self, window: int, vocab_size: int, *, seed: int = 0) -> None:
        self.window, self.vocab_size, self.boundary_id = window, vocab_size, 0
        generator = torch.Generator().manual_seed(seed)
        shape = (window, vocab_size, vocab_size)
        self.weights = torch.randn(shape, generator=generator, dtype=torch.float64)
        self.weights *= 0.7 / math.sqrt(window)
        self.weights[0] *= math.sqrt(window)  # the oldest token counts as much as all others

    def initial_state(self, batch: int) -> State:
        """See `StateSubject`."""
        return (torch.full((1, batch, self.window), NONE, dtype=torch.float64),)

    def windows(self, ids: Tensor, state: State) -> Tensor:
        """What is seen after each token of ids (T, B): (T, B, window)."""
        everything = torch.cat([state[0][0].T, ids.double()])  # (window + T, B)
        return everything.unfold(0, self.window, 1)[1:]

    def read(self, ids: Tensor, state: State) -> State:
        """See `StateSubject`."""
        everything = torch.cat([state[0][0].T, ids.double()])
        return (everything[len(everything) - self.window :].T[None].contiguous(),)

    def advance(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """See `LanguageSubject`; the features are the logits."""
        total = self._one_hot(self.windows(ids, state)) @ self.weights.flatten(0, 1)
        return 4 * torch.tanh(total), self.read(ids, state)

    def _one_hot(self, seen: Tensor) -> Tensor:
        """(…, window) tokens -> (…, window · V), zeros where nothing was read."""
        return (seen[..., None] == torch.arange(self.vocab_size)).double().flatten(-2)

    def write(self, documents: int, tokens: int, *, seed: int = 0) -> Sample:
        """Text that the model itself has written, so that it is right about it."""
        generator = torch.Generator().manual_seed(seed)
        ids = torch.zeros(1, documents, dtype=torch.int64)
        state, rows = self.initial_state(documents), []
        for _ in range(tokens):
            logits, state = self.advance(ids, state)
            ids = torch.multinomial(logits[0].softmax(-1), 1, generator=generator).T
            rows.append(ids)
        return Sample(ids=tuple(torch.cat(rows).T.contiguous().numpy()))

    def scores(self, features: Tensor, tokens: Tensor) -> Tensor:
        """See `LanguageSubject`."""
        return features.gather(1, tokens)

    def losses(self, features: Tensor, targets: Tensor) -> Tensor:
        """See `LanguageSubject`."""
        return torch.logsumexp(features, 1) - features.gather(1, targets[:, None])[:, 0]

    def likeliest(self, features: Tensor) -> Tensor:
        """See `Guessing`."""
        return features.argmax(1)

    def vector(self, state: State, *, hidden_only: bool = False) -> Tensor:
        """See `StateSubject`: (B, window · V)."""
        return self._one_hot(state[0][0])


class CopyOracle(WindowModel):
    """Knows that x(t) = x(t − lag) with probability q, and nothing where it has not seen so far."""

    def __init__(self, lag: int, q: float, vocab_size: int) -> None:
        super().__init__(lag, vocab_size)
        self.q = q

    def advance(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """See `LanguageSubject`; the feature is the token that the next one may repeat."""
        return self.windows(ids, state)[..., :1], self.read(ids, state)

    def losses(self, features: Tensor, targets: Tensor) -> Tensor:
        """See `LanguageSubject`."""
        source = features[:, 0]
        repeated = (source == targets.double()).double()
        copied = self.q * repeated + (1 - self.q) / self.vocab_size
        blind = torch.full_like(copied, 1 / self.vocab_size)
        return -torch.where(source == NONE, blind, copied).log()

    def likeliest(self, features: Tensor) -> Tensor:
        """See `Guessing`; where nothing was seen, any token."""
        return features[:, 0].clamp(min=0).long()


class RandomStates:
    """A state of noise that has nothing to do with the text."""

    def __init__(self, size: int, vocab_size: int, *, seed: int = 0) -> None:
        self.size, self.vocab_size, self.boundary_id = size, vocab_size, 0
        self._generator = torch.Generator().manual_seed(seed)

    def initial_state(self, batch: int) -> State:
        """See `StateSubject`."""
        return (torch.zeros(1, batch, self.size, dtype=torch.float64),)

    def read(self, ids: Tensor, state: State) -> State:
        """See `StateSubject`."""
        noise = torch.randn(state[0].shape, generator=self._generator, dtype=torch.float64)
        return (noise,)

    def vector(self, state: State, *, hidden_only: bool = False) -> Tensor:
        """See `StateSubject`."""
        return state[0][0]
