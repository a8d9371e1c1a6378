"""The two models: embedding -> recurrent layers -> head.

Axes: T time, B batch, E embedding, H hidden, D directions, F features, V vocabulary, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import NotRequired, TypedDict, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import linear

from rnnctl.errors import UsageError
from rnnctl.nn import softmax
from rnnctl.nn.initialisation import initialise_embedding
from rnnctl.nn.reading import (
    WORTH_A_THREAD,
    Layout,
    can_read,
    can_read_inside,
    each,
    read,
    read_inside,
)
from rnnctl.nn.recurrent import Recurrent, State, TokenDropout, VariationalDropout

POOLS = ("last", "mean", "max", "meanmax")
# Labels are few, so most rare words are seen with one label by chance: they should start small.
CLASSIFIER_EMBEDDING_STD = 0.3


class Reader(TypedDict):
    """What both constructors take, beside what is their own: sizes and options of `Recurrent`."""

    vocab_size: int
    embedding_size: int
    cell: str
    hidden_size: int
    num_layers: int
    dropout_input: NotRequired[float]
    dropout_embedding: NotRequired[float]
    dropout_between: NotRequired[float]
    nonlinearity: NotRequired[str]
    init: NotRequired[str]
    horizon: NotRequired[int | None]
    engine: NotRequired[str]


class _Layers(TypedDict, total=False):
    bidirectional: bool
    dropout_between: float
    nonlinearity: str
    init: str
    horizon: int | None
    engine: str


class _Reader(nn.Module):
    """What both models begin with: ids to vectors, with dropout, and the recurrent layers.

    Dropout is variational (one mask for all steps) and off in `eval`.
    """

    def __init__(
        self,
        *,
        vocab_size: int,
        embedding_size: int,
        cell: str,
        hidden_size: int,
        num_layers: int,
        tied: bool = False,
        embedding_std: float = 1.0,
        dropout_input: float = 0.0,
        dropout_embedding: float = 0.0,
        **layers: Unpack[_Layers],
    ) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.embedding = nn.Embedding(vocab_size, embedding_size)
        initialise_embedding(self.embedding.weight, tied=tied, std=embedding_std)
        # As a decoder's weights tied embeddings must be small (std 1/sqrt(E)), as inputs about 1.
        self.input_scale = math.sqrt(embedding_size) if tied else 1.0
        self.input_std = 1.0 if tied else embedding_std  # of what the layers see at first
        self.token_dropout = TokenDropout(dropout_embedding, vocab_size)
        self.input_dropout = VariationalDropout(dropout_input)
        self.recurrent = Recurrent(cell, embedding_size, hidden_size, num_layers, **layers)
        self.frozen_rows: NDArray[np.int64] = np.zeros(0, np.int64)

    def freeze_rows(self, rows: NDArray[np.int64]) -> None:
        """Let no training change these rows of the embedding: their gradient is zero."""
        self.frozen_rows = rows
        places = torch.from_numpy(rows)
        self.embedding.weight.register_hook(  # type: ignore[no-untyped-call]
            lambda gradient: gradient.index_fill(0, places.to(gradient.device), 0.0)
        )

    def embed(self, ids: Tensor) -> Tensor:
        """ids (T, B) -> vectors (T, B, E), the recurrent layers' inputs."""
        vectors = self.embedding(ids)
        if self.input_scale != 1.0:
            vectors = vectors * self.input_scale
        dropped: Tensor = self.input_dropout(self.token_dropout(vectors, ids))
        return dropped

    def _laid_out(
        self, ids: NDArray[np.integer], lengths: NDArray[np.int64], state: State | None
    ) -> tuple[Layout, Tensor, NDArray[np.int64], State]:
        """What `read` takes: the layout, the inputs (M, E), the input of each row (N,), the state
        before each text, in the layout's order."""
        layout = Layout(lengths)
        # The input product is made once for each token that occurs, not for each of its places.
        occurs = np.zeros(self.vocab_size, bool)
        occurs[ids] = True
        types = torch.from_numpy(np.flatnonzero(occurs))
        vectors = self.embedding(types) * self.input_scale
        rows = (np.cumsum(occurs) - 1)[ids[layout.places]]
        state = self.recurrent.initial_state(len(lengths)) if state is None else state
        return layout, vectors, rows, tuple(part[:, layout.order] for part in state)

    @torch.no_grad()
    def _read(
        self, ids: NDArray[np.integer], lengths: NDArray[np.int64], state: State | None = None
    ) -> tuple[Layout, Tensor, State]:
        """Texts joined, ids (N,) and lengths (B,), without dropout.

        -> the layout; outputs (N, DH) in its rows; the state after each text's last token.
        """
        layout, vectors, rows, state = self._laid_out(ids, lengths, state)
        outputs, state = read(self.recurrent, vectors, rows, layout, state)
        return layout, outputs, tuple(part[:, np.argsort(layout.order)] for part in state)

    @torch.no_grad()
    def inside(
        self,
        ids: NDArray[np.integer],
        lengths: NDArray[np.int64],
        names: Collection[str],
        layers: Sequence[int],
        state: State | None = None,
    ) -> tuple[dict[str, Tensor], State]:
        """What is inside along texts joined, ids (N,) and lengths (B,), from `state` on.

        -> the states and gates among `names` (those of `Recurrent.trace`) of `layers` (L, from 0),
        (N, L, DH) each, after the token was read; and the state after each text. In `eval` mode. Of
        a model that reads in both directions the second half of the units has read what comes
        behind.
        """
        recurrent = self.recurrent
        if not can_read_inside(recurrent):
            found, after = self._trace(ids, lengths, names, state)
            chosen = [found[layer] for layer in layers]
            return {name: torch.stack([one[name] for one in chosen], 1) for name in names}, after
        layout, vectors, rows, state = self._laid_out(ids, lengths, state)
        found, after = read_inside(recurrent, vectors, rows, layout, state, names, layers)
        places = torch.from_numpy(layout.places)
        made, width = {}, recurrent.hidden_size * recurrent.directions
        for name in names:
            values = torch.empty(len(ids), len(layers), width)
            for at, layer in enumerate(layers):
                values[:, at].index_copy_(0, places, found[layer].pop(name))
            made[name] = values
        return made, tuple(part[:, np.argsort(layout.order)] for part in after)

    def _trace(
        self,
        ids: NDArray[np.integer],
        lengths: NDArray[np.int64],
        names: Collection[str],
        state: State | None,
    ) -> tuple[list[dict[str, Tensor]], State]:
        """`inside` for any device and dtype: one text after the other."""
        recurrent = self.recurrent
        state = recurrent.initial_state(len(lengths)) if state is None else state
        device = self.embedding.weight.device
        texts, finals = [], []
        for number, some in enumerate(np.split(ids, np.cumsum(lengths)[:-1])):
            first = tuple(part[:, number : number + 1].to(device) for part in state)
            vectors = self.embed(torch.from_numpy(some.astype(np.int64)).unsqueeze(1).to(device))
            layers, final = recurrent.look_inside(vectors, first)
            texts.append(
                [
                    {name: value[:, 0] for name, value in layer.items() if name in names}
                    for layer in layers
                ]
            )
            finals.append(final)
        found = [
            {name: torch.cat([text[layer][name] for text in texts]) for name in texts[0][layer]}
            for layer in range(recurrent.num_layers)
        ]
        return found, tuple(torch.cat(parts, 1) for parts in zip(*finals, strict=True))


class LanguageModel(_Reader):
    """Predicts the next token: embedding, recurrent layers, (projection,) decoder.

    `tied`: the decoder's weight is the embedding's; where E and H differ, a linear projection
    H -> E stands between. The inputs of a tied model are scaled by sqrt(E), see
    `initialise_embedding`.
    """

    def __init__(
        self, *, tied: bool = False, dropout_output: float = 0.0, **reader: Unpack[Reader]
    ) -> None:
        super().__init__(tied=tied, **reader)
        embedding_size, hidden_size = reader["embedding_size"], reader["hidden_size"]
        self.output_dropout = VariationalDropout(dropout_output)
        # Tying needs features as wide as the embedding; a projection makes them so.
        projected = tied and embedding_size != hidden_size
        self.projection = nn.Linear(hidden_size, embedding_size) if projected else nn.Identity()
        self.decoder = nn.Linear(embedding_size if tied else hidden_size, self.vocab_size)
        # So that at first no token is preferred; `start_from_frequencies` may change it.
        nn.init.zeros_(self.decoder.bias)
        if tied:
            self.decoder.weight = self.embedding.weight

    def features(
        self, ids: Tensor, state: State | None = None, starts: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """ids (T, B) -> what the decoder reads (T, B, F), and the state after the last step.

        starts (T, B) bool: the state is zeroed before that step.
        """
        outputs, state = self.recurrent(self.embed(ids), state, starts)
        return self.projection(self.output_dropout(outputs)), state

    @torch.no_grad()
    def read_on(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """As `features`, in `eval` mode and without gradients, for many tokens at once.

        Sequences go side by side in as many groups as there are threads, where there is that much
        to read: a step is too short to be shared between threads.
        """
        steps, texts = ids.shape
        parts = min(torch.get_num_threads(), texts, ids.numel() // WORTH_A_THREAD)
        if parts == 0 or not can_read(self.recurrent):
            return self.features(ids, state)
        columns = ids.numpy().T

        def work(some: NDArray[np.int64]) -> tuple[Tensor, State]:
            first, last = int(some[0]), int(some[-1]) + 1
            lengths = np.full(len(some), steps)
            begun = tuple(part[:, first:last] for part in state)
            _, outputs, after = self._read(columns[first:last].reshape(-1), lengths, begun)
            return outputs.view(steps, len(some), -1), after

        read = each(work, np.array_split(np.arange(texts), parts))
        outputs = torch.cat([part for part, _ in read], 1)
        after = tuple(
            torch.cat(part, 1) for part in zip(*(state for _, state in read), strict=True)
        )
        return self.projection(outputs), after

    def logits(self, features: Tensor) -> Tensor:
        """features (…, F) -> (…, V)."""
        return linear(features, self.decoder.weight, self.decoder.bias)

    def loss(
        self,
        ids: Tensor,
        targets: Tensor,
        state: State | None = None,
        starts: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Summed nats of the targets (T, B) given ids (T, B), with gradient; and the state.

        Targets NO_TARGET do not count. Divide by their number for the mean. Accumulated in fp32, or
        float64 for a float64 model, also under autocast.
        """
        features, state = self.features(ids, state, starts)
        nats = softmax.summed_loss(
            features.flatten(0, 1), self.decoder.weight, self.decoder.bias, targets.flatten()
        )
        return nats, state

    @torch.no_grad()
    def text_losses(
        self,
        inputs: NDArray[np.integer],
        targets: NDArray[np.integer],
        lengths: NDArray[np.int64],
        state: State | None = None,
    ) -> tuple[NDArray[np.float32], State]:
        """As `token_losses` in `eval` mode, for texts joined: (N,), (N,), (B,) -> nats (N,), state.

        Needs `can_read(self.recurrent)`.
        """
        layout, outputs, state = self._read(inputs, lengths, state)
        wanted = torch.from_numpy(targets[layout.places].astype(np.int64))
        nats = np.empty(len(targets), np.float32)
        features, decoder = self.projection(outputs), self.decoder
        nats[layout.places] = softmax.token_losses(
            features, decoder.weight, decoder.bias, wanted, compiled=True
        ).numpy()
        return nats, state

    @torch.no_grad()
    def text_features(
        self, inputs: NDArray[np.integer], lengths: NDArray[np.int64], state: State | None = None
    ) -> tuple[Tensor, State]:
        """What the decoder reads (N, F) at every token of joined texts, (N,), (B,); and the state.

        Needs `can_read(self.recurrent)`.
        """
        layout, outputs, state = self._read(inputs, lengths, state)
        outputs = self.projection(outputs)
        features = torch.empty_like(outputs)
        features[torch.from_numpy(layout.places)] = outputs
        return features, state

    @torch.no_grad()
    def features_along(
        self, inputs: NDArray[np.integer], state: State | None = None
    ) -> tuple[Tensor, State]:
        """What the decoder reads (T, F) at every token of one text (T,), on any device.

        From `state` on; and the state after.
        """
        if can_read(self.recurrent):
            return self.text_features(inputs, np.array([len(inputs)]), state)
        ids = torch.from_numpy(inputs.astype(np.int64)).unsqueeze(1)
        features, state = self.features(ids.to(self.embedding.weight.device), state)
        return features[:, 0], tuple(part.detach() for part in state)

    @torch.no_grad()
    def token_losses(
        self,
        ids: Tensor,
        targets: Tensor,
        state: State | None = None,
        starts: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """As `loss`, but the nats of every target (T, B), 0 for NO_TARGET; without gradient."""
        features, state = self.features(ids, state, starts)
        nats = softmax.token_losses(
            features.flatten(0, 1), self.decoder.weight, self.decoder.bias, targets.flatten()
        )
        return nats.view(targets.shape), state


class Classifier(_Reader):
    """Reads a document and names its class: embedding, recurrent layers, pooling, linear head.

    `pool`: how the states become one vector: `last` (each direction's final state), `mean`, `max`
    over the document's own steps, or `meanmax`, both side by side.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        bidirectional: bool = False,
        pool: str = "last",
        dropout_output: float = 0.0,
        **reader: Unpack[Reader],
    ) -> None:
        if pool not in POOLS:
            raise UsageError(f"unknown pooling: {pool}", hint=f"use one of {', '.join(POOLS)}")
        super().__init__(
            bidirectional=bidirectional, embedding_std=CLASSIFIER_EMBEDDING_STD, **reader
        )
        self.num_classes = num_classes
        self.pool = pool
        self.output_dropout = nn.Dropout(dropout_output)
        width = reader["hidden_size"] * self.recurrent.directions * (2 if pool == "meanmax" else 1)
        self.output = nn.Linear(width, num_classes)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """ids (T, B) right-padded, lengths (B,) at least 1 -> logits (B, C)."""
        return self.of_vectors(self.embed(ids), lengths)

    def of_vectors(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """As `forward`, of embedded texts: vectors (T, B, E) -> logits (B, C)."""
        outputs, state = self.recurrent(vectors, lengths=lengths, hidden_only=True)
        return self.head(self.readout(outputs, state, lengths))

    @torch.no_grad()
    def read(self, ids: NDArray[np.integer], lengths: NDArray[np.int64]) -> Tensor:
        """As `forward` in `eval` mode, for texts joined: ids (N,), lengths (B,) -> logits (B, C).

        Needs `can_read(self.recurrent)`.
        """
        layout, outputs, state = self._read(ids, lengths)
        if self.pool == "last":
            return self.head(torch.cat(tuple(state[0][-self.recurrent.directions :]), -1))
        # Text by text, without padding: a mean or maximum over each text's own rows.
        readout = torch.empty(len(lengths), self.output.in_features)
        joined = torch.empty_like(outputs)
        joined[layout.places] = outputs  # (N, DH), text after text
        for row, text in zip(readout, torch.split(joined, lengths.tolist()), strict=True):
            parts = [text.mean(0)] if self.pool != "max" else []
            parts += [text.amax(0)] if self.pool != "mean" else []
            torch.cat(parts, out=row)
        return self.head(readout)

    def readout(self, outputs: Tensor, state: State, lengths: Tensor) -> Tensor:
        """outputs (T, B, DH), final state, lengths (B,) -> one vector per document (B, R)."""
        if self.pool == "last":
            last = state[0][-self.recurrent.directions :]  # (D, B, H)
            return torch.cat(tuple(last), -1)
        time = torch.arange(outputs.shape[0], device=outputs.device).unsqueeze(1)
        padding = (time >= lengths.to(outputs.device)).unsqueeze(-1)  # (T, B, 1)
        # In fp32 also under autocast: a mean over hundreds of steps in bf16 loses its digits.
        outputs = outputs if outputs.dtype == torch.float64 else outputs.float()
        parts = []
        if self.pool != "max":
            count = lengths.to(outputs).unsqueeze(-1)
            parts.append(outputs.masked_fill(padding, 0).sum(0) / count)
        if self.pool != "mean":
            parts.append(outputs.masked_fill(padding, -torch.inf).amax(0))
        return torch.cat(parts, -1)

    def head(self, readout: Tensor) -> Tensor:
        """readout (B, R) -> logits (B, C)."""
        logits: Tensor = self.output(self.output_dropout(readout))
        return logits


@contextmanager
def weights_held(model: nn.Module) -> Iterator[None]:
    """Derivatives by the inputs alone: those of the weights are not computed within this."""
    # About half of a pass backwards is for the weights.
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in learning:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in learning:
            weight.requires_grad_(True)
