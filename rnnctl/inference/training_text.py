"""What a run knows of its training text; what of a sample stands in it word for word.

The ids that a run was trained on are there as long as their store is in the cache. Windows of
tokens are compared with it by rolling hash. With h_n[i] the hash of the n tokens from i on,

    h_(m+n)[i] = h_m[i] + b^m h_n[i+m]    (modulo 2^64)

so hashes of any length come from those of powers of two, for all positions at once. The text is
read in pieces; a piece is only asked whether it holds a stretch longer than the best so far, so
that nearly all of the text costs a few passes. What is found is compared token by token before it
is believed.

N tokens of the text, M of the sample.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnctl.data.cache import cache_directory
from rnnctl.data.documents import Reading
from rnnctl.data.store import Store, open_store
from rnnctl.errors import CorruptRunError
from rnnctl.results.inference import CopiedStretch
from rnnctl.tasks.loading import CORPUS_NAME, Loaded

NOT_KNOWN = "the training text is no longer in the cache"


def corpus_facts(loaded: Loaded) -> dict[str, Any]:
    """What the run knows of its corpus: fingerprint, description, running. {} for bare weights."""
    return loaded.run.facts(CORPUS_NAME)


def trained(loaded: Loaded) -> Reading:
    """How the run's corpus was read; what an older run does not say is left open."""
    settings = loaded.config.corpus
    facts = corpus_facts(loaded).get("reading")
    if isinstance(facts, dict):
        return replace(Reading.from_facts(facts), encoding=settings.encoding)
    return Reading(unit=settings.documents, text=settings.text_field, encoding=settings.encoding)


def heldout_size(loaded: Loaded, split: str) -> tuple[int, int] | None:
    """Documents and bytes of all of "valid" or "test" when the run was made; None if not noted."""
    noted = corpus_facts(loaded).get("heldout")
    if noted is None:
        return None
    try:
        return int(noted[split]["documents"]), int(noted[split]["bytes"])
    except (TypeError, KeyError, ValueError, OverflowError):
        raise CorruptRunError(
            f"{loaded.run.path / CORPUS_NAME} does not say how much was held out"
        ) from None


def by_document(loaded: Loaded) -> bool:
    """Whether the model was trained on documents, and so knows where they end, by `<eos>`."""
    return not corpus_facts(loaded).get("running", True)


def training_store(loaded: Loaded) -> Store | None:
    """The id store that the run was trained on; None when it is gone or altered."""
    wanted = corpus_facts(loaded).get("fingerprint"), loaded.tokenizer.fingerprint
    for manifest in sorted((cache_directory() / "stores").glob("[!.]*/manifest.json")):
        if _made_of(manifest) == wanted:
            store = open_store(manifest.parent)
            if store is not None:
                return store
    return None


def _made_of(manifest: Path) -> tuple[object, object]:
    try:
        content = json.loads(manifest.read_bytes())
        return content["corpus"], content["tokenizer"]
    except (OSError, ValueError, KeyError, TypeError):
        return None, None


class CopyFinder:
    """Finds what was copied from the training text. `known` is False where that text is gone."""

    def __init__(self, loaded: Loaded) -> None:
        self._tokenizer = loaded.tokenizer
        store = training_store(loaded)
        self._text = None if store is None else store.split("train").ids
        self.known = self._text is not None

    def find(self, text: str) -> CopiedStretch | None:
        """The longest stretch of `text` that stands in the training text; None if not known."""
        if self._text is None:
            return None
        return stretch_of(self._tokenizer.encode(text), self._text, self._tokenizer.decode)


def stretch_of(ids: NDArray[np.int32], text: Any, decode: Any) -> CopiedStretch:
    """The longest common stretch of a sample's ids and the training text's, as a record."""
    found = longest_copy(ids, text)
    words = decode(ids[found.start : found.start + found.length])
    return CopiedStretch(tokens=found.length, chars=len(words), text=words, position=found.position)


# -- the longest copy ----------------------------------------------------------------------------

PIECE = 1 << 19  # tokens of the text at once
_BASE = 0x9E3779B97F4A7C15
_WORD = 1 << 64
_FILTER_BITS = 16

AnyIds = NDArray[np.integer]
Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Copy:
    """`length` tokens from `start` of the sample stand at `position` of the text."""

    start: int
    length: int
    position: int


def longest_copy(sample: AnyIds, text: AnyIds) -> Copy:
    """The longest common stretch of sample (M,) and text (N,), the first in the text among equals.

    Memory is bounded by PIECE and M, time by about N log(length).
    """
    best = Copy(0, 0, 0)
    if len(sample) == 0 or len(text) == 0:
        return best
    ours = _Ladder(sample)
    step = PIECE
    for begin in range(0, len(text), step):
        # the overlap lets a stretch that crosses the border be seen whole
        piece = _Ladder(text[begin : begin + step + len(sample)])
        found = _longer(ours, piece, best.length)
        if found is not None:
            best = Copy(found.start, found.length, found.position + begin)
    return best


def _longer(ours: _Ladder, piece: _Ladder, than: int) -> Copy | None:
    """The longest common stretch if it is longer than `than`: galloping, then bisection."""
    found = _common(ours, piece, than + 1)
    if found is None:
        return None
    low, step = than + 1, 1
    while (better := _common(ours, piece, low + step)) is not None:
        found, low, step = better, low + step, 2 * step
    high = low + step  # a common stretch of `low` exists, none of `high`
    while high - low > 1:
        middle = (low + high) // 2
        better = _common(ours, piece, middle)
        if better is None:
            high = middle
        else:
            found, low = better, middle
    return found


def _common(ours: _Ladder, piece: _Ladder, length: int) -> Copy | None:
    """A common stretch of exactly `length` tokens."""
    mine, theirs = ours.hashes(length), piece.hashes(length)
    if len(mine) == 0 or len(theirs) == 0:
        return None
    for position in _members(theirs, mine):
        for start in np.flatnonzero(mine == theirs[position]):
            same = ours.ids[start : start + length] == piece.ids[position : position + length]
            if bool(np.all(same)):
                return Copy(int(start), length, int(position))
    return None


def _members(theirs: Hashes, mine: Hashes) -> NDArray[np.intp]:
    """Places in `theirs` whose value occurs in `mine`; a small table sorts out most of them."""
    table = np.zeros(1 << _FILTER_BITS, dtype=bool)
    shift = np.uint64(64 - _FILTER_BITS)
    table[mine >> shift] = True
    maybe = np.flatnonzero(table[theirs >> shift])
    kept: NDArray[np.intp] = maybe[np.isin(theirs[maybe], mine)]
    return kept


class _Ladder:
    """Hashes of all windows of a sequence, of any length, from those of powers of two."""

    def __init__(self, ids: AnyIds) -> None:
        self.ids = ids
        self._powers = [_scrambled(ids)]

    def hashes(self, length: int) -> Hashes:
        """(N - length + 1,) one hash for each window; empty where there is none."""
        count = len(self.ids) - length + 1
        if count <= 0:
            return np.zeros(0, dtype=np.uint64)
        total = np.zeros(count, dtype=np.uint64)
        done = 0
        for level in range(length.bit_length()):
            if length >> level & 1:
                part = self._level(level)[done : done + count]
                total += part * np.uint64(pow(_BASE, done, _WORD))
                done += 1 << level
        return total

    def _level(self, level: int) -> Hashes:
        """Windows of 2**level tokens."""
        while len(self._powers) <= level:
            half = self._powers[-1]
            size = 1 << (len(self._powers) - 1)
            factor = np.uint64(pow(_BASE, size, _WORD))
            self._powers.append(half[:-size] + half[size:] * factor)
        return self._powers[level]


def _scrambled(ids: AnyIds) -> Hashes:
    """Ids spread over 64 bits (splitmix64), or sums of small numbers would collide."""
    value = ids.astype(np.uint64) + np.uint64(_BASE)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Hashes = value ^ (value >> np.uint64(31))
    return mixed
