"""Models whose memory is known on paper.

Linear systems and gated layers with frozen gates for what derivatives say (`TracedModel`), models
that remember exactly so much of a text for what is measured through `LanguageSubject` and
`StateSubject`.

Axes: T time, B batch, H state size, M matrices, V vocabulary, F features, N rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.subject import State
from rnnctl.nn.recurrent import Recurrent
from rnnctl.nn.trace import Trace

VOCABULARY = 24


@dataclass(frozen=True)
class LinearLayer:
    """The only layer of a `LinearTrace`."""

    values: Mapping[str, Tensor]
    inputs: Tensor


class LinearTrace:
    """h_t = A_t h_{t−1} + x_t over a text: states (T, B, H), Jacobians A (T, B, H, H)."""

    def __init__(self, inputs: Tensor, jacobians: Tensor, state: Tensor) -> None:
        steps = []
        for x, jacobian in zip(inputs, jacobians, strict=True):
            state = torch.einsum("bij,bj->bi", jacobian, state) + x
            steps.append(state)
        self.outputs = torch.stack(steps)
        self.jacobians = jacobians
        self.layers: Sequence[LinearLayer] = (LinearLayer({"h": self.outputs}, inputs),)

    def state_gradients(self, output_gradients: Tensor) -> Mapping[str, Tensor]:
        """See `TraceLike.state_gradients`."""
        gradient = torch.zeros_like(output_gradients[0])
        found = []
        for t in reversed(range(len(output_gradients))):
            gradient = gradient + output_gradients[t]
            found.append(gradient)
            gradient = torch.einsum("bij,bi->bj", self.jacobians[t], gradient)
        rows = torch.stack(found[::-1])
        return {"h": rows[None], "inputs": rows}

    def jvp(self, t: int, tangent: State) -> State:
        """See `TraceLike.jvp`."""
        return (torch.einsum("bij,lbj->lbi", self._jacobian(t, tangent), tangent[0]),)

    def vjp(self, t: int, cotangent: State) -> State:
        """See `TraceLike.vjp`."""
        return (torch.einsum("bij,lbi->lbj", self._jacobian(t, cotangent), cotangent[0]),)

    def _jacobian(self, t: int, tangent: State) -> Tensor:
        return self.jacobians[t].expand(tangent[0].shape[1], -1, -1)


class LinearModel:
    """Reads token v with the matrix number v mod M; the loss of target y is readout[y mod R] · h.

    `matrices` (M, H, H), `readout` (R, H), by default one random row; inputs are one random vector
    per token.
    """

    cell = None

    def __init__(self, matrices: Tensor, *, readout: Tensor | None = None) -> None:
        # Of its own, here and below: a known answer must not depend on what was drawn before.
        generator = torch.Generator().manual_seed(0)
        size = matrices.shape[-1]
        self.matrices = matrices.double()
        shape = (VOCABULARY, size)
        self.embedding = torch.randn(shape, generator=generator, dtype=torch.float64)
        drawn = torch.randn(1, size, generator=generator, dtype=torch.float64)
        self.readout = drawn if readout is None else readout.double()

    def trace(self, ids: Tensor, state: State | None = None) -> LinearTrace:
        """See `TracedModel.trace`."""
        inputs = self.embedding[ids % VOCABULARY]
        start = torch.zeros_like(inputs[0]) if state is None else state[0][0]
        return LinearTrace(inputs, self.matrices[ids % len(self.matrices)], start)

    def readout_gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `TracedModel.readout_gradient`."""
        return self.readout[targets % len(self.readout)]


class GatedModel:
    """A real `Recurrent` layer with chosen gates: the frozen-gate LSTM and GRU.

    `recurrent` is used as it is; inputs are one random vector per token.
    """

    def __init__(self, recurrent: Recurrent) -> None:
        generator = torch.Generator().manual_seed(0)
        self.recurrent = recurrent.double()
        self.cell = recurrent.cell
        shape = (VOCABULARY, recurrent.input_size)
        self.embedding = torch.randn(shape, generator=generator, dtype=torch.float64)

    def trace(self, ids: Tensor, state: State | None = None) -> Trace:
        """See `TracedModel.trace`."""
        with torch.no_grad():
            return self.recurrent.trace(self.embedding[ids % VOCABULARY], state)

    def readout_gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `TracedModel.readout_gradient`: the loss is the sum of the outputs."""
        return torch.ones_like(outputs)


def random_text(documents: int, tokens: int, *, vocabulary: int = VOCABULARY) -> Sample:
    """Documents of independent random tokens."""
    ids = np.random.default_rng(0).integers(vocabulary, size=(documents, tokens))
    return Sample(ids=tuple(ids.astype(np.int64)))


def as_ids(sample: Sample) -> Tensor:
    """The first document as a tensor (T,)."""
    return torch.from_numpy(sample.ids[0])


# -- models of text ------------------------------------------------------------------------------

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

    def __init__(self, window: int, vocab_size: int) -> None:
        self.window, self.vocab_size, self.boundary_id = window, vocab_size, 0
        generator = torch.Generator().manual_seed(0)
        shape = (window, vocab_size, vocab_size)
        self.weights = torch.randn(shape, generator=generator, dtype=torch.float64)
        self.weights *= 0.7 / math.sqrt(window)
        # The oldest token counts as much as all others: a window that is one too short shows.
        self.weights[0] *= math.sqrt(window)

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

    def write(self, documents: int, tokens: int) -> Sample:
        """Text that the model itself has written, so that it is right about it."""
        generator = torch.Generator().manual_seed(0)
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

    def __init__(self, size: int, vocab_size: int) -> None:
        self.size, self.vocab_size, self.boundary_id = size, vocab_size, 0
        self._generator = torch.Generator().manual_seed(0)

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
