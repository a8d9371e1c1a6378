"""Memory at test time: a cache of what was read, and weights that go on learning.

*Neural cache* (Grave, Joulin & Usunier 2017): the last N pairs of what the output layer read, h_i,
and the token that came then, x_{i+1}, are kept. The cache's distribution gives a token the share of
exp(θ h_t·h_i) of the pairs with that token; the model's and the cache's are mixed with weight λ.

*Dynamic evaluation* (Krause et al. 2018): after each segment of the text has been scored, the
weights take one step against the gradient g of its mean loss, and are drawn back towards where they
were, w_0. Two rules:

* ``sgd``: w ← w − η g + δ (w_0 − w), plain gradient steps;
* ``rms``, the paper's: w ← w − η g / (n + ε) + min(δ n, 1) (w_0 − w). n is the root mean square of
  the weight's own gradient on a text that was held out of training, over that of all weights on
  average: what usually gets small gradients moves further for the same one, and is drawn back less.

Both are proper: at each position the distribution adds up to 1, and it depends on what was read
before only. Every text begins with an empty cache and the run's own weights.

Axes: T tokens, S pairs in the cache, F features, V vocabulary.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnnctl.errors import NotFiniteError, UsageError
from rnnctl.inference.memory_settings import Cache, Dynamic, Memory, Rule
from rnnctl.nn import softmax
from rnnctl.nn.models import LanguageModel
from rnnctl.tasks.loading import Loaded

EPSILON = 1.0
"""ε of the rule ``rms``, in gradients of the usual size: so far a weight that gets none may go."""
GRADIENT_TOKENS, GRADIENT_STREAMS = 16_000, 16
"""Of the held-out text from which gradients' sizes are taken, and how many places at once."""
QUERIES = 512  # positions that look into the cache at once

State = tuple[Tensor, ...]
Ids = NDArray[np.int64]
Floats = NDArray[np.float64]


class Gradients:
    """n of the rule ``rms``, `sizes`, for each of the model's parameters in their order."""

    def __init__(self, sizes: Sequence[Tensor]) -> None:
        self.sizes = sizes
        self._pulls: dict[float, list[Tensor]] = {}

    @cached_property
    def factors(self) -> list[Tensor]:
        """1 / (n + ε), for all texts."""
        return [1 / (one + EPSILON) for one in self.sizes]

    def pulls(self, decay: float) -> list[Tensor]:
        """min(δ n, 1), for all texts."""
        if decay not in self._pulls:
            self._pulls = {decay: [(decay * one).clamp_(max=1) for one in self.sizes]}
        return self._pulls[decay]

    @classmethod
    def of(cls, model: LanguageModel, documents: Sequence[Ids], boundary: int) -> Gradients:
        """Those on the beginning of some documents, in segments of the usual length."""
        text = np.concatenate([np.append(np.int64(boundary), ids) for ids in documents])
        text = text[: GRADIENT_TOKENS + 1]
        streams = max(1, min(GRADIENT_STREAMS, (len(text) - 1) // Dynamic.segment))
        length = (len(text) - 1) // streams
        device = model.decoder.weight.device
        inputs, targets = (
            torch.from_numpy(text[k : k + streams * length].reshape(streams, length).T.copy())
            for k in (0, 1)
        )
        weights = list(model.parameters())
        squares = [torch.zeros_like(one) for one in weights]
        state = model.recurrent.initial_state(streams)
        for begin in range(0, length, Dynamic.segment):
            part = slice(begin, begin + Dynamic.segment)
            ids = inputs[part].to(device)
            with torch.enable_grad():
                loss, state = model.loss(ids, targets[part].to(device), state)
                found = torch.autograd.grad(loss / ids.numel(), weights, allow_unused=True)
            state = tuple(one.detach() for one in state)
            for square, gradient in zip(squares, found, strict=True):
                if gradient is not None:
                    square.addcmul_(gradient, gradient)
        with torch.no_grad():
            # Relative to the usual size, so that one rate suits models of every size.
            roots = [one.sqrt() for one in squares]
            usual = sum(float(one.double().sum()) for one in roots) / sum(map(Tensor.numel, roots))
            return cls([one / max(usual, 1e-30) for one in roots])


def prepared(loaded: Loaded, memory: Memory) -> Memory:
    """The memory with what its rule needs to know of the model, from the run's validation text.

    Raises UsageError where the run keeps none.
    """
    if memory.dynamic is None or memory.dynamic.rule != "rms" or memory.gradients is not None:
        return memory
    if not isinstance(loaded.model, LanguageModel):
        return memory  # whoever reads with it says that it is none
    encoded = (loaded.tokenizer.encode(one.text) for one in loaded.run.heldout("valid"))
    documents = [ids.astype(np.int64) for ids in encoded if len(ids)]
    if not documents:
        raise UsageError(
            f"{loaded.run.path} keeps no validation text, which says how large the gradients of "
            "each weight usually are",
            hint="use --dynamic-rule sgd, or train without --no-keep-text",
        )
    found = Gradients.of(loaded.model, documents, loaded.tokenizer.boundary_id)
    return replace(memory, gradients=found)


class TextMemory:
    """One text as it is read. `model` is not changed: a copy of it learns."""

    def __init__(self, model: LanguageModel, memory: Memory) -> None:
        self._cache, self._dynamic = memory.cache, memory.dynamic
        self._model = model
        weight = model.decoder.weight
        self._keys = torch.zeros((0, weight.shape[1]), dtype=weight.dtype, device=weight.device)
        self._values = torch.zeros(0, dtype=torch.long, device=weight.device)
        self._weights: list[Tensor] = []
        if self._dynamic is not None:
            self._model = copy.deepcopy(model).eval()
            self._weights = list(self._model.parameters())
        self._start = [one.detach().clone() for one in self._weights]
        self._factors: Sequence[Tensor | None] = [None] * len(self._weights)
        self._pulls: Sequence[Tensor | None] = [None] * len(self._weights)
        if self._dynamic is not None and self._dynamic.rule == "rms":
            assert memory.gradients is not None, "the rule rms needs the sizes of gradients"
            self._factors = memory.gradients.factors
            if self._dynamic.decay:
                self._pulls = memory.gradients.pulls(self._dynamic.decay)
        self._segment: list[tuple[int, int]] = []  # inputs and targets since the last step
        self._before: State | None = None  # the state at the segment's beginning

    def fork(self) -> TextMemory:
        """The same, to go on by itself."""
        # The cache's tensors are shared: they are never changed, but replaced by new ones.
        other = copy.copy(self)
        other._segment = list(self._segment)
        if self._dynamic is not None:
            other._model = copy.deepcopy(self._model)
            other._weights = list(other._model.parameters())
        return other

    # -- scoring ---------------------------------------------------------------------------------

    def read(self, inputs: Ids, targets: Ids, state: State) -> tuple[Floats, State]:
        """inputs, targets (T,) and a state (L, 1, H) -> nats (T,) and the state after.

        Raises: NotFiniteError where weights that go on learning have diverged.
        """
        device = self._model.decoder.weight.device
        state = tuple(part.to(device) for part in state)
        found, begin = [], 0
        while begin < len(inputs):
            end = len(inputs)
            if self._dynamic is not None:
                # A piece ends where the weights change: what comes behind is read with the new
                # ones.
                end = min(end, begin + self._dynamic.segment - len(self._segment))
            features, after = self.advance(inputs[begin:end], state)
            found.append(self._nats(features, targets[begin:end]))
            self._learn(inputs[begin:end], targets[begin:end], state)
            state, begin = after, end
        nats = np.concatenate(found) if found else np.zeros(0)
        if self._dynamic is not None and not np.isfinite(nats).all():
            raise NotFiniteError(
                "dynamic evaluation",
                hint="the weights learnt too fast: give a lower --dynamic or a higher "
                "--dynamic-decay",
            )
        return nats, state

    def _nats(self, features: Tensor, targets: Ids) -> Floats:
        """Nats of each target (T,); the pairs go into the cache."""
        decoder = self._model.decoder
        wanted = torch.from_numpy(targets).to(features.device)
        own = softmax.token_losses(
            features, decoder.weight, decoder.bias, wanted, compiled=True
        ).double()
        if self._cache is None:
            return own.cpu().numpy()
        parts = [
            self._mixed(own[k : k + QUERIES], features[k : k + QUERIES], wanted[k : k + QUERIES])
            for k in range(0, len(wanted), QUERIES)
        ]
        return torch.cat(parts).cpu().numpy()

    def _mixed(self, own: Tensor, features: Tensor, targets: Tensor) -> Tensor:
        cache = self._cache
        assert cache is not None
        before = len(self._values)
        # The pairs of this very stretch too: each question sees those before its own place, which
        # `cache_losses` hides the others from.
        self._observe(features, targets, keep=before + len(targets))
        cached = cache_losses(
            features, self._keys, self._values, targets, before, cache.size, cache.theta
        )
        self._trim()
        return mixture(own, cached, cache.weight)

    def _observe(self, features: Tensor, targets: Tensor, *, keep: int) -> None:
        self._keys = torch.cat([self._keys, features.detach()])[-keep:]
        self._values = torch.cat([self._values, targets])[-keep:]

    def _trim(self) -> None:
        size = self._cache.size if self._cache is not None else 0
        self._keys, self._values = self._keys[-size:], self._values[-size:]

    # -- one step at a time ----------------------------------------------------------------------

    def advance(self, inputs: Ids, state: State) -> tuple[Tensor, State]:
        """What the output layer reads (T, F) after each of `inputs` (T,), and the state after."""
        return self._model.features_along(inputs, state)

    def log_chances(self, features: Tensor) -> Tensor:
        """ln of the probabilities of all tokens (V,) where the output layer reads (1, F)."""
        with torch.no_grad():
            own = torch.log_softmax(self._model.logits(features).double(), -1)[0]
            cache = self._cache
            if cache is None or not len(self._values) or cache.weight == 0:
                return own
            alike = cache.theta * (self._keys.double() @ features[0].double())
            share = torch.zeros_like(own).index_add_(0, self._values, torch.softmax(alike, 0))
            return torch.logaddexp(
                own + math.log1p(-cache.weight), share.log() + math.log(cache.weight)
            )

    def follow(self, given: int, came: int, features: Tensor, state: State) -> None:
        """After `given` was read from `state`, which made `features` (1, F), `came` came."""
        if self._cache is not None:
            values = torch.tensor([came], device=self._values.device)
            self._observe(features, values, keep=self._cache.size)
        self._learn(np.array([given]), np.array([came]), state)

    # -- learning --------------------------------------------------------------------------------

    def _learn(self, inputs: Ids, targets: Ids, state: State) -> None:
        """Note what was read from `state`; take a step where the segment is complete."""
        if self._dynamic is None:
            return
        if not self._segment:
            self._before = state
        self._segment += zip(inputs.tolist(), targets.tolist(), strict=True)
        if len(self._segment) < self._dynamic.segment:
            return
        ids, wanted = (
            torch.tensor(side, device=state[0].device)[:, None]
            for side in zip(*self._segment, strict=True)
        )
        with torch.enable_grad():
            loss, _ = self._model.loss(ids, wanted, self._before)
            gradients = torch.autograd.grad(loss / len(ids), self._weights, allow_unused=True)
        with torch.no_grad():
            for weight, gradient, origin, factor, pull in zip(
                self._weights, gradients, self._start, self._factors, self._pulls, strict=True
            ):
                if gradient is not None and factor is not None:
                    weight.addcmul_(gradient, factor, value=-self._dynamic.rate)
                elif gradient is not None:
                    weight.sub_(gradient, alpha=self._dynamic.rate)
                if pull is not None:
                    weight.lerp_(origin, pull)
                elif self._dynamic.decay:
                    weight.lerp_(origin, self._dynamic.decay)
        self._segment = []


def cache_losses(
    features: Tensor,
    keys: Tensor,
    values: Tensor,
    targets: Tensor,
    before: int | Tensor,
    size: int,
    theta: float,
) -> Tensor:
    """−ln of the cache's probability of each target (T,): infinite where it is not in the cache.

    features (T, F) ask; keys (S, F) and values (S,) are the pairs, of which question t may see the
    `size` ones before number `before` + t, or before number `before`[t]. NaN where there are none.
    """
    # float64, for the exponentials are summed over thousands of pairs of very different size.
    alike = (theta * (features @ keys.T)).double()  # (T, S)
    if isinstance(before, int):
        before = before + torch.arange(len(features), device=keys.device)
    last = before[:, None]
    number = torch.arange(len(keys), device=keys.device)
    hidden = (number >= last) | (number < last - size)
    alike = alike.masked_fill(hidden, -torch.inf)
    hits = alike.masked_fill(values != targets[:, None], -torch.inf)
    total, found = torch.logsumexp(alike, 1), torch.logsumexp(hits, 1)
    return torch.where(torch.isinf(total), torch.nan, total - found)


def mixture(own: Tensor, cached: Tensor, weight: float) -> Tensor:
    """−ln((1 − λ) e^−own + λ e^−cached) (T,); `own` where there is no cache yet (NaN)."""
    if weight == 0:
        return own
    mixed = -torch.logaddexp(math.log1p(-weight) - own, math.log(weight) - cached)
    return torch.where(torch.isnan(cached), own, mixed)


class MemoryStepper:
    """As `rnnctl.nn.stepping.Stepper`: last tokens in, logits out; each stream has its memory."""

    def __init__(self, memories: Sequence[TextMemory], state: State) -> None:
        self._memories = [one.fork() for one in memories]
        self._states = [tuple(part[:, b : b + 1] for part in state) for b in range(len(memories))]
        self._read: list[tuple[int, Tensor, State] | None] = [None] * len(memories)

    def step(self, last: NDArray[np.integer]) -> NDArray[np.float32]:
        """The last tokens (B,) -> ln of the probabilities of the next ones (B, V)."""
        rows = []
        for b, token in enumerate(last.tolist()):
            memory, read = self._memories[b], self._read[b]
            if read is not None:
                memory.follow(read[0], token, read[1], read[2])
            before = self._states[b]
            features, self._states[b] = memory.advance(np.array([token]), before)
            self._read[b] = (token, features, before)
            rows.append(memory.log_chances(features).float().cpu().numpy())
        found: NDArray[np.float32] = np.stack(rows)
        return found

    def keep(self, rows: NDArray[np.integer]) -> None:
        """Go on with some of the streams only."""
        kept = rows.tolist()
        self._memories = [self._memories[b] for b in kept]
        self._states = [self._states[b] for b in kept]
        self._read = [self._read[b] for b in kept]


# -- choosing the settings -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tried:
    """One setting and the mean nats per token with it."""

    memory: Memory
    nats: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """The model alone, the best setting that helps (None: none does), and the others in order."""

    plain: Tried
    best: Tried | None
    others: tuple[Tried, ...]


def ranking(
    plain: Tried, tried: Iterable[Tried], helps: Callable[[Tried], bool] = lambda one: True
) -> Ranking:
    """`tried` by their loss; the best is the first that is better than `plain`, and `helps`."""
    others = sorted(tried, key=lambda one: one.nats)
    better = (k for k, one in enumerate(others) if one.nats < plain.nats and helps(one))
    chosen = next(better, None)
    best = None if chosen is None else others.pop(chosen)
    return Ranking(plain, best, tuple(others))


SIZES = (100, 500, 2000)
ALIKE = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # θ times the mean square length of what is compared
WEIGHTS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
RATES = tuple(10 ** (k / 2) for k in range(-5, 4))
DECAYS = (0.0, 0.001, 0.01)


def text_nats(
    model: LanguageModel,
    documents: Sequence[NDArray[np.integer]],
    boundary: int,
    memory: Memory,
) -> Floats:
    """Nats of each document (D,), every one read from the beginning with a memory of its own."""
    sums = []
    for ids in documents:
        inputs = np.append(np.int64(boundary), ids[:-1]).astype(np.int64)
        state = model.recurrent.initial_state(1)
        text = TextMemory(model, memory)
        total = 0.0
        for begin in range(0, len(ids), 1024):
            part = slice(begin, begin + 1024)
            nats, state = text.read(inputs[part], ids[part].astype(np.int64), state)
            total += float(nats.sum())
        sums.append(total)
    return np.array(sums)


def tune_cache(model: LanguageModel, documents: Sequence[Ids], boundary: int) -> Ranking:
    """All settings of the grid, against no cache (weight 0).

    Everything is read once: only what is made of the products h_t·h_i differs between settings.
    """
    weight = model.decoder.weight
    lengths = 0.0
    count = sum(len(ids) for ids in documents)
    whole = []
    for ids in documents:
        text = TextMemory(model, Memory())
        inputs = np.append(np.int64(boundary), ids[:-1]).astype(np.int64)
        features, _ = text.advance(inputs, model.recurrent.initial_state(1))
        lengths += float(features.double().square().sum())
        whole.append(features)
    # θ multiplies a product of features, whose size is the model's own: the grid is relative to
    # that.
    thetas = [_round(one / max(1e-12, lengths / count)) for one in ALIKE]
    sums = {(n, t, w): 0.0 for n in SIZES for t in thetas for w in (*WEIGHTS,)}
    plain = 0.0
    for ids, features in zip(documents, whole, strict=True):
        targets = torch.from_numpy(ids.astype(np.int64)).to(weight.device)
        own = softmax.token_losses(
            features, weight, model.decoder.bias, targets, compiled=True
        ).double()
        plain += float(own.sum())
        for begin in range(0, len(ids), QUERIES):
            end = min(len(ids), begin + QUERIES)
            first = max(0, begin - max(SIZES))
            keys, values = features[first:end], targets[first:end]
            for theta in thetas:
                for size in SIZES:
                    found = cache_losses(
                        features[begin:end], keys, values, targets[begin:end], begin - first,
                        size, theta,
                    )  # fmt: skip
                    for share in WEIGHTS:
                        mixed = mixture(own[begin:end], found, share)
                        sums[size, theta, share] += float(mixed.sum())
    tried = [
        Tried(Memory(cache=Cache(size, theta, share)), total / count)
        for (size, theta, share), total in sums.items()
    ]
    return ranking(Tried(Memory(), plain / count), tried)


def tune_dynamic(
    model: LanguageModel,
    documents: Sequence[Ids],
    further: Sequence[Ids],
    boundary: int,
    gradients: Gradients,
) -> Ranking:
    """Of each rule rising rates until they no longer help, then decays, against no learning.

    What is best on so short a text may diverge on a longer one: the best is the first that is
    better than no learning on the `further` text too, if there is any.
    """

    def nats(dynamic: Dynamic | None, texts: Sequence[Ids]) -> float:
        memory = Memory(dynamic=dynamic, gradients=gradients)
        try:
            return float(text_nats(model, texts, boundary, memory).sum())
        except NotFiniteError:
            return math.inf

    def tried(dynamic: Dynamic | None) -> Tried:
        memory = Memory(dynamic=dynamic, gradients=gradients)
        return Tried(memory, nats(dynamic, documents) / sum(map(len, documents)))

    found: list[Tried] = []
    for rule in get_args(Rule):
        rising: list[Tried] = []
        for rate in map(_round, RATES):
            rising.append(tried(Dynamic(rate, rule=rule)))
            # From there on it only becomes worse, up to rates at which the weights diverge.
            if len(rising) > 1 and rising[-1].nats > rising[-2].nats:
                break
        best = min(rising, key=lambda one: one.nats).memory.dynamic
        assert best is not None
        found += [*rising, *(tried(Dynamic(best.rate, d, rule=rule)) for d in DECAYS[1:])]
    if not further:
        return ranking(tried(None), found)
    plain = nats(None, further)
    return ranking(tried(None), found, lambda one: nats(one.memory.dynamic, further) < plain)


def _round(value: float) -> float:
    """To two digits, as it is printed."""
    return float(f"{value:.2g}")
