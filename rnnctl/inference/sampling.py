"""From logits to the next token: penalty, temperature, filters, and one uniform number a token.

B: streams, V: vocabulary. Plain numpy: a stream with a small vocabulary takes microseconds a token
here, less than the dispatch of the same operations on tensors.

The order is that of Hugging Face `generate`: repetition penalty, temperature, top-k, top-p, min-p.
A filtered logit is minus infinity, or so low that its weight is 0; at least one token of each
stream always remains.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnnctl.errors import NotFiniteError, UsageError

Logits = NDArray[np.float32]
UNIFORMS_AT_ONCE = 256
BLOCK = 256  # tokens
TEMPERATURES = (1e-37, 1e37)  # what fp32 can divide by
# The lowest logit once it is divided: fp32 holds it, and its weight is 0. Without that floor low
# ones would overflow at low temperatures, which numpy warns of.
IMPOSSIBLE = np.float32(-1e37)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. The defaults draw from the model's own distribution.

    temperature: 0 or more; 0 takes the most probable token. top_k: 0 is off. top_p: share of the
    probability kept, over 0 to 1; 1 is off. min_p: 0 to 1, relative to the most probable token;
    0 is off. repetition_penalty: over 0; 1 is off; counts the last 64 tokens, the prompt's too.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        _require(
            self.temperature >= 0,
            f"--temperature {self.temperature:g}: must be 0 or more",
            "for example 0.8; 0 takes the most probable token",
        )
        _require(
            self.top_k >= 0,
            f"--top-k {self.top_k}: must be 0 (off) or more",
            "for example 40: only the 40 most probable tokens",
        )
        _require(
            0 < self.top_p <= 1,
            f"--top-p {self.top_p:g}: must be over 0 and at most 1 (off)",
            "for example 0.9: the most probable tokens that reach 90 % together",
        )
        _require(
            0 <= self.min_p <= 1,
            f"--min-p {self.min_p:g}: must be 0 (off) to 1",
            "for example 0.05: tokens at least a twentieth as probable as the best",
        )
        _require(
            0 < self.repetition_penalty < float("inf"),
            f"--repetition-penalty {self.repetition_penalty:g}: must be over 0; 1 is off",
            "for example 1.2 makes what was just said less likely",
        )


def _require(holds: bool, problem: str, hint: str) -> None:
    if not holds:
        raise UsageError(problem, hint=hint)


class Uniforms:
    """Uniform numbers in [0, 1), one sequence per stream, that depend on (seed, stream) only.

    So stream 3 says the same whether two or sixty streams are drawn beside it.
    """

    def __init__(self, seed: int, streams: int, *, first: int = 0) -> None:
        self._generators = [np.random.default_rng([seed, first + i]) for i in range(streams)]
        self._block = np.empty((streams, 0))
        self._next = 0

    def keep(self, rows: NDArray[np.integer]) -> None:
        """Go on with these streams only, in this order."""
        self._generators = [self._generators[row] for row in rows]
        self._block = self._block[rows]

    def next(self) -> NDArray[np.float64]:
        """(B,) one number for each stream."""
        if self._next == self._block.shape[1]:
            drawn = [generator.random(UNIFORMS_AT_ONCE) for generator in self._generators]
            self._block, self._next = np.stack(drawn), 0
        self._next += 1
        column: NDArray[np.float64] = self._block[:, self._next - 1]
        return column


def penalize(logits: Logits, recent: NDArray[np.integer], penalty: float) -> Logits:
    """Make tokens of `recent` (B, W) less likely: positive logits / penalty, negative * penalty.

    A negative entry is no token. Equation of CTRL (Keskar et al. 2019) as Hugging Face applies it:
    once per token, however often it occurred.
    """
    if penalty == 1.0 or recent.shape[1] == 0:
        return logits
    out = logits.copy()
    rows, places = np.nonzero(recent >= 0)
    tokens = recent[rows, places]
    said = logits[rows, tokens]
    out[rows, tokens] = np.where(said > 0, said / penalty, said * penalty)
    return out


def keep_top_k(logits: Logits, k: int) -> Logits:
    """Only the k most probable tokens of each row stay; those that tie with the k-th stay too."""
    if k <= 0 or k >= logits.shape[1]:
        return logits
    limit = np.partition(logits, -k, axis=1)[:, -k, None]
    return np.where(logits < limit, np.float32(-np.inf), logits)


def keep_top_p(logits: Logits, p: float) -> Logits:
    """The smallest set of most probable tokens whose probability reaches p (Holtzman et al. 2020).

    A token stays if those before it sum to less than p; so the first always stays.
    """
    if p >= 1.0:
        return logits
    order = np.argsort(-logits, axis=1, kind="stable")
    ranked = probabilities(np.take_along_axis(logits, order, axis=1))
    before = np.cumsum(ranked, axis=1) - ranked
    out = np.full_like(logits, -np.inf)
    kept = np.where(before < p, np.take_along_axis(logits, order, axis=1), np.float32(-np.inf))
    np.put_along_axis(out, order, kept, axis=1)
    return out


def keep_min_p(logits: Logits, p: float) -> Logits:
    """Tokens at least p times as probable as the most probable one stay (Nguyen et al. 2024)."""
    if p <= 0.0:
        return logits
    limit = logits.max(axis=1, keepdims=True) + np.float32(np.log(p))
    return np.where(logits < limit, np.float32(-np.inf), logits)


def probabilities(logits: Logits) -> NDArray[np.float64]:
    """Softmax over the last axis, in float64."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    np.exp(wide, out=wide)
    wide /= wide.sum(axis=-1, keepdims=True)
    return wide


def choose(
    logits: Logits, sampling: Sampling, recent: NDArray[np.integer], uniforms: NDArray[np.float64]
) -> NDArray[np.int64]:
    """The next token of each stream.

    logits (B, V), where minus infinity forbids a token; recent (B, W) the tokens that the
    repetition penalty counts; uniforms (B,) in [0, 1), one for each stream. Returns (B,).

    NotFiniteError where a stream's logits say nothing.
    """
    logits = penalize(logits, recent, sampling.repetition_penalty)
    highest = np.maximum.reduce(logits, axis=1, keepdims=True)
    if not all(map(math.isfinite, highest[:, 0].tolist())):
        raise NotFiniteError("the next token")
    if sampling.temperature == 0:
        greedy: NDArray[np.int64] = logits.argmax(axis=1)
        return greedy
    logits = logits - highest
    if sampling.temperature != 1.0:
        least, most = TEMPERATURES
        temperature = np.float32(min(max(sampling.temperature, least), most))
        if temperature < 1:  # where a division could overflow
            np.maximum(logits, IMPOSSIBLE * temperature, out=logits)
        logits /= temperature
    logits = keep_top_k(logits, sampling.top_k)
    logits = keep_top_p(logits, sampling.top_p)
    logits = keep_min_p(logits, sampling.min_p)
    return _invert(np.exp(logits), uniforms)


def _invert(weights: NDArray[np.float32], uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
    """Inverse transform: the first token whose running sum of weights (B, V) exceeds u x sum.

    With many tokens first the block, then the token in it: a running sum is slow.
    """
    size = weights.shape[1]
    if size <= 2 * BLOCK:
        running = np.add.accumulate(weights, axis=1, dtype=np.float64)
        return _first_beyond(running, uniforms * running[:, -1])
    starts = np.arange(0, size, BLOCK)
    running = np.add.reduceat(weights, starts, axis=1, dtype=np.float64).cumsum(axis=1)
    targets = uniforms * running[:, -1]
    blocks = _first_beyond(running, targets)
    before = np.where(blocks > 0, running[np.arange(len(blocks)), blocks - 1], 0.0)
    places = starts[blocks][:, None] + np.arange(BLOCK)
    inside = np.take_along_axis(weights, np.minimum(places, size - 1), axis=1)
    inside[places >= size] = 0
    running = inside.cumsum(axis=1, dtype=np.float64) + before[:, None]
    return starts[blocks] + _first_beyond(running, targets)


def _first_beyond(running: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.int64]:
    """Where each row's running sum first exceeds its target: a place that has a weight.

    A target that rounding has put at the whole sum is taken for one just below it.
    """
    if len(running) == 1:  # searching takes a third of the time of comparing
        row = running[0]
        place: NDArray[np.int64] = row.searchsorted(targets, side="right")
        return place if place[0] < len(row) else np.searchsorted(row, row[-1:])
    targets = np.minimum(targets, np.nextafter(running[:, -1], 0))
    places: NDArray[np.int64] = (running <= targets[:, None]).sum(axis=1)
    return places
