"""What a diagnostic needs of a model, and trained models as such.

Axes: T time, B batch, E embedding, F features, S state, H hidden, L layers, V vocabulary, C
classes. The known-answer models of ``rnnctl selftest`` implement the same protocols, so that the
instrument is checked through the very code that measures a user's model.

A *state* is a tuple of tensors (·, B, ·) whose second axis is the batch; only `select`, `merge` and
a subject's own `vector` look inside.

Two ways to look at a model. What it *does* (USE, FIRST→LAST, EFFECT, HOLD, POSITION) is measured
through subjects, in the weights' own precision. What REACH, GATES and the Lyapunov exponents need
are exact derivatives: a `TracedModel`, in float64 on the CPU. `rnnctl.nn.trace.Trace` is a
`TraceLike` and `ExactModel` a `TracedModel`; so are the small linear systems of `known_answers`,
whose answers are known on paper.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from rnnctl.data.batches import pad_documents
from rnnctl.inference.memory import cache_losses, mixture
from rnnctl.inference.memory_settings import Cache
from rnnctl.nn import softmax
from rnnctl.nn.cells import Cell
from rnnctl.nn.models import Classifier, LanguageModel
from rnnctl.nn.trace import Trace

State = tuple[Tensor, ...]


class StateSubject(Protocol):
    """A model with a state that can be looked at (HOLD)."""

    vocab_size: int
    boundary_id: int

    def initial_state(self, batch: int) -> State:
        """The zero state of `batch` sequences."""

    def read(self, ids: Tensor, state: State) -> State:
        """Read ids (T, B) int64 from `state`: the state after."""

    def vector(self, state: State, *, hidden_only: bool = False) -> Tensor:
        """The whole state as one row per sequence: (B, S)."""


class LanguageSubject(Protocol):
    """A model that predicts the next token."""

    vocab_size: int
    boundary_id: int

    def initial_state(self, batch: int) -> State:
        """The zero state of `batch` sequences."""

    def advance(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """Read ids (T, B) int64 from `state`: features (T, B, F) after each token, state after."""

    def scores(self, features: Tensor, tokens: Tensor) -> Tensor:
        """Logits of chosen tokens: features (N, F), tokens (N, K) -> (N, K), no normaliser."""

    def losses(self, features: Tensor, targets: Tensor) -> Tensor:
        """Nats of each target: features (N, F), targets (N,) -> (N,) float64."""


@runtime_checkable
class Guessing(Protocol):
    """A language model that can say which token it expects most; not every one can."""

    def likeliest(self, features: Tensor) -> Tensor:
        """The token that is expected most: features (N, F) -> (N,) int64."""


class ClassifierSubject(Protocol):
    """A model that reads a text and answers with one logit per label."""

    vocab_size: int
    boundary_id: int
    labels: tuple[str, ...]

    def logits(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """ids (T, B) int64, right-padded, lengths (B,) -> (B, C) float64. No boundary in `ids`."""


def select(state: State, index: Tensor | Sequence[int]) -> State:
    """The sequences `index` (N,) of a state (·, B, ·), in that order: (·, N, ·)."""
    wanted = torch.as_tensor(index, dtype=torch.long, device=state[0].device)
    return tuple(part.index_select(1, wanted) for part in state)


def merge(states: Sequence[State]) -> State:
    """Several states side by side, as one batch."""
    return tuple(torch.cat(parts, dim=1) for parts in zip(*states, strict=True))


def numbered(first: int, steps: int, batch: int) -> tuple[Tensor, Tensor]:
    """What tells contexts apart that a subject keeps by number, from `first` on.

    Of each of T steps the number and how many tokens of it were read: (T, B, 2). And the numbers
    as a part of the state: (1, B, 1).
    """
    numbers = torch.arange(first, first + batch)
    read = torch.arange(1, steps + 1)[:, None].expand(steps, batch)
    return torch.stack([numbers.expand(steps, batch), read], dim=-1), numbers.reshape(1, batch, 1)


def read_until(
    subject: LanguageSubject,
    ids: Tensor,
    stops: NDArray[np.int64],
    state: State,
    *,
    columns: NDArray[np.int64] | None = None,
    features: Tensor | None = None,
) -> tuple[Tensor, State]:
    """Read ids (T, B) from `state`; what was held after so many tokens `stops` (N,).

    Returns features (N, F) and the states. `columns` (N,): of which sequence each stop is, else of
    each one once. `features` (B, F): what was held before, for stops at 0. What stands behind a
    sequence's last stop is read and ignored.
    """
    columns = np.arange(len(stops)) if columns is None else columns
    rows: list[Tensor] = []
    states, order, at = [], [], 0
    for stop in np.unique(stops):
        if stop > at:
            read, state = subject.advance(ids[at : int(stop)], state)
            features, at = read[-1], int(stop)
        assert features is not None
        here = np.flatnonzero(stops == stop)
        taken = torch.from_numpy(columns[here])
        rows.append(features[taken])
        states.append(select(state, taken))
        order.append(torch.from_numpy(here))
    # Found by stop, wanted in the order of the sequences.
    back = torch.argsort(torch.cat(order))
    return torch.cat(rows)[back], select(merge(states), back)


def read_pieces(
    subject: LanguageSubject, pieces: Sequence[NDArray[np.int64]], begun: NDArray[np.bool_]
) -> tuple[Tensor, State]:
    """Read texts of any lengths from the zero state: features (B, F) and states after their ends.

    `begun` (B,): those that begin a document are read after the boundary. Others may not be empty.
    """
    whole = [
        np.concatenate([[subject.boundary_id], piece]) if first else piece
        for piece, first in zip(pieces, begun, strict=True)
    ]
    ids, stops = pad_documents(whole, subject.boundary_id)
    return read_until(subject, torch.from_numpy(ids), stops, subject.initial_state(len(whole)))


# -- trained models as subjects ------------------------------------------------------------------

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
        return self.model.read_on(ids, state)

    @torch.no_grad()
    def scores(self, features: Tensor, tokens: Tensor) -> Tensor:
        """See `LanguageSubject`."""
        decoder = self.model.decoder
        # In float64: EFFECT subtracts two of these that hardly differ.
        products = (features[:, None].double() * decoder.weight[tokens].double()).sum(-1)
        return products + decoder.bias[tokens].double()

    @torch.no_grad()
    def losses(self, features: Tensor, targets: Tensor) -> Tensor:
        """See `LanguageSubject`."""
        decoder = self.model.decoder
        if not len(targets):
            return torch.zeros(0, dtype=torch.float64)
        return softmax.token_losses(features, decoder.weight, decoder.bias, targets).double()

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
        where, numbers = numbered(self._next, steps, count)
        for column, parent in enumerate(state[-1][0, :, 0].tolist()):
            read = parent, ids[:, column].clone(), features[:, column].clone()
            self._read[self._next] = read
            self._next += 1
            self._held += steps
        while self._held > HELD:  # of resets that have been measured long ago
            oldest = min(number for number in self._read if number)
            self._held -= len(self._read.pop(oldest)[1])
        return torch.cat([features.double(), where], dim=-1), (*after, numbers)

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
        # Without the boundary the model would be asked in the middle of a text, as it never was.
        ended = torch.cat([ids, ids.new_full((1, ids.shape[1]), self.boundary_id)])
        ended[lengths, torch.arange(ids.shape[1])] = self.boundary_id
        found: Tensor = self.model(ended, lengths + 1)
        return found.double()


# -- exact derivatives ---------------------------------------------------------------------------


class TracedLayer(Protocol):
    """One layer of a trace."""

    @property
    def values(self) -> Mapping[str, Tensor]:
        """States and gates by name ("h", "c", "forget", "keep", …), each (T, B, H)."""

    @property
    def inputs(self) -> Tensor:
        """(T, B, E) what the layer read."""


class TraceLike(Protocol):
    """A recurrent stack after it has read a text, with its exact derivatives."""

    @property
    def layers(self) -> Sequence[TracedLayer]:
        """From the input upwards."""

    @property
    def outputs(self) -> Tensor:
        """(T, B, H) outputs of the last layer."""

    def state_gradients(self, output_gradients: Tensor) -> Mapping[str, Tensor]:
        """Gradients of ``(output_gradients * outputs).sum()``: "h" and, for an LSTM, "c" are
        (L, T, B, H), with respect to the state after each step as independent coordinates;
        "inputs" is (T, B, E).
        """

    def jvp(self, t: int, tangent: State) -> State:
        """(L, B, H) tangents of the state before step t -> after step t, inputs fixed."""

    def vjp(self, t: int, cotangent: State) -> State:
        """(L, B, H) cotangents of the state after step t -> before step t, inputs fixed."""


class TracedModel(Protocol):
    """A model that can be traced over token ids and knows the loss of one step."""

    @property
    def cell(self) -> Cell | None:
        """What the recurrent layers are made of; None for systems that are no such cell."""

    def trace(self, ids: Tensor, state: State | None = None) -> TraceLike:
        """Read ids (T, B) from `state` (zero where None)."""

    def readout_gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(B, H) gradient of each sequence's own loss with respect to its `outputs` (B, H)."""


def final_state(trace: TraceLike) -> State:
    """The stacked state after the last step: (L, B, H) for "h" and, where there is one, "c"."""
    names = [name for name in ("h", "c") if name in trace.layers[0].values]
    return tuple(torch.stack([layer.values[name][-1] for layer in trace.layers]) for name in names)


class ExactModel:
    """A float64 copy of a trained model on the CPU, dropout off, as a `TracedModel`.

    `precision`: another one, where it is enough and the model large.

    A classifier's answer is read from the last state alone, whatever its pooling: what arrives
    *through recurrence*. Pooled parts (mean, max) are then all equal to that state. One direction
    only; a bidirectional model is refused by `Recurrent.trace`.
    """

    def __init__(
        self, model: LanguageModel | Classifier, precision: torch.dtype = torch.float64
    ) -> None:
        # On the CPU, since not every accelerator has float64; fused kernels are left out, since
        # they do not hand out what happens inside (`rnnctl.nn.trace`).
        self.model = copy.deepcopy(model).cpu().to(precision).eval()
        self.cell: Cell = model.recurrent.cell

    @torch.no_grad()
    def trace(self, ids: Tensor, state: State | None = None) -> Trace:
        """See `TracedModel.trace`."""
        return self.model.recurrent.trace(self.model.embed(ids.cpu()), state)

    def readout_gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See `TracedModel.readout_gradient`; the loss is the cross-entropy in nats."""
        leaf = outputs.detach().requires_grad_()
        with torch.enable_grad():
            # A sum over sequences, whose losses do not meet: the gradient of each is its own. (Over
            # steps a sum would hide what vanishes, see `reach.one_step_of`.)
            loss = cross_entropy(self._logits(leaf), targets, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, leaf)
        return gradient

    @torch.no_grad()
    def log_chances(self, outputs: Tensor) -> Tensor:
        """(B, V) log-probabilities of the next token, or of the labels, from `outputs` (B, H)."""
        return self._logits(outputs).log_softmax(-1)

    def _logits(self, outputs: Tensor) -> Tensor:
        if isinstance(self.model, Classifier):
            parts = self.model.output.in_features // outputs.shape[-1]
            return self.model.head(outputs.repeat(1, parts))
        features: Tensor = self.model.projection(outputs)
        return self.model.logits(features)
