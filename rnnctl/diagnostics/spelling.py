"""Words that consist of several tokens: where they begin, and EFFECT on them.

For character, byte and subword models. The normaliser of a spelled word does not cancel, so the
word's log-probability is read off by teacher forcing: at the beginning of the word d words later
the model is made to spell w and w′ in both arms, four short expansions per distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rnnctl.diagnostics.sample import Sample
from rnnctl.diagnostics.settings import Settings
from rnnctl.diagnostics.subject import LanguageSubject, State, merge, read_until, select
from rnnctl.diagnostics.swaps import Swaps, distances, draw_pairs, fit_window

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]
T = TypeVar("T")
PREFIX = 96  # tokens of natural text before the swapped word
BATCH = 128
SPACE = b" \t\n\r\x0b\x0c"
SPACED = (b" ", b"\n")  # what a subword that begins a word may bring


@dataclass(frozen=True)
class Words:
    """Where words are in one sequence of ids: `starts` (W,) and the ends of their letters (W,).

    `spaced` (W,): the first token brings the space before the word. `whole` (W,): there are
    letters, and no further letter follows them, so that another word can stand in the place.
    """

    starts: Ids
    ends: Ids
    spaced: Mask
    whole: Mask

    def places(self, *, spaced: bool) -> Ids:
        """Which words can be replaced by words that do, or do not, bring their space: (P,)."""
        return np.flatnonzero(self.whole & (self.spaced == spaced))


def find_words(ids: Ids, token_bytes: list[bytes]) -> Words:
    """Word beginnings: a token that begins a non-space after a space, or brings its own space.

    `token_bytes[i]` is the text of id i. A word's letters end before the first token with anything
    but letters in it.
    """
    starts, ends, brings, after_space, open_word = [], [], [], True, False
    for position, token in enumerate(ids):
        text = token_bytes[int(token)]
        spaced = text[:1] in SPACED and len(text) > 1
        if (after_space and text[:1] not in SPACE) or spaced:
            if open_word:
                ends.append(position)
            starts.append(position)
            brings.append(spaced)
            open_word = True
        if open_word and not _letters(text):
            ends.append(position)
            open_word = False
        after_space = text[-1:] in (b" ", b"\n", b"\t", b"\r") or text == b""
    if open_word:
        ends.append(len(ids))
    after = [token_bytes[int(ids[end])][:1] if end < len(ids) else b"" for end in ends]
    whole = [
        end > start and not _letters(text)
        for start, end, text in zip(starts, ends, after, strict=True)
    ]
    return Words(
        np.array(starts, dtype=np.int64),
        np.array(ends, dtype=np.int64),
        np.array(brings, dtype=bool),
        np.array(whole, dtype=bool),
    )


def brings_space(words: list[Words]) -> bool:
    """Whether most words bring the space before them: `` word``, and not ``word`` after a space."""
    found = [words_here.spaced[words_here.whole] for words_here in words]
    return bool(found) and 2 * sum(map(np.sum, found)) > sum(map(len, found))


def _letters(text: bytes) -> bool:
    stripped = text.lstrip(SPACE)
    return bool(stripped) and all(byte >= 128 or chr(byte).isalpha() for byte in stripped)


def word_pairs(
    sample: Sample, words: list[Words], draw: np.random.Generator
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Up to 64 pairs of spellings with equally many tokens, from the same decile of frequency."""
    tokens = sample.token_bytes
    assert tokens is not None
    ranked = usual_words(sample, words)
    groups: dict[tuple[int, int, int], list[int]] = {}
    for rank, word in enumerate(ranked):
        chars = sum(len(tokens(i)) for i in word)
        groups.setdefault((10 * rank // len(ranked), len(word), chars), []).append(rank)
    drawn = draw_pairs(list(groups.values()), draw)
    return [(ranked[int(a)], ranked[int(b)]) for a, b in drawn]


def usual_words(sample: Sample, words: list[Words]) -> list[tuple[int, ...]]:
    """Spellings from the middle of the text's vocabulary, most frequent first.

    Of one kind only, the usual one: with the space before the word, or without.
    """
    counts: dict[tuple[int, ...], int] = {}
    spaced = brings_space(words)
    for ids, found in zip(sample.ids, words, strict=True):
        for place in found.places(spaced=spaced):
            spelling = tuple(int(i) for i in ids[found.starts[place] : found.ends[place]])
            counts[spelling] = counts.get(spelling, 0) + 1
    kept = [word for word, count in counts.items() if count >= 2 and _plain(word, sample)]
    shown = sample.token_bytes
    assert shown is not None
    # by text: how a model numbers its tokens decides no tie
    usual = sorted(kept, key=lambda word: (-counts[word], [shown(token) for token in word]))
    return middle(usual)


def middle(usual: list[T]) -> list[T]:
    """Without the most frequent twentieth and the rarer half, if that leaves enough."""
    return usual[len(usual) // 20 : len(usual) // 2] if len(usual) >= 40 else usual


def usual_tokens(sample: Sample) -> list[int]:
    """Tokens from the middle of the text's vocabulary, most frequent first.

    Words of at least three letters (characters, in text without spaces between words), seen
    twice, where tokens have a text.
    """
    if not sample.ids:
        return []
    tokens, counts = np.unique(np.concatenate(sample.ids), return_counts=True)
    shown = sample.token_bytes
    if shown is not None:
        plain = [_plain((int(t),), sample) for t in tokens]
        keep = np.array(plain) & (counts >= 2)
        tokens, counts = tokens[keep], counts[keep]
    if shown is None:
        return middle([int(t) for t in tokens[np.argsort(-counts, kind="stable")]])
    # by text: how a model numbers its tokens decides no tie
    ranked = sorted(
        zip((-counts).tolist(), map(shown, tokens.tolist()), tokens.tolist(), strict=True)
    )
    return middle([token for *_, token in ranked])


def _plain(word: tuple[int, ...], sample: Sample) -> bool:
    assert sample.token_bytes is not None
    text = b"".join(sample.token_bytes(i) for i in word).decode("utf-8", "replace").strip()
    if sample.unknown_id in word or not sample.not_known.isdisjoint(word):
        return False
    return text.isalpha() if sample.unit == "chars" else len(text) >= 3 and text.islower()


def swaps(subject: LanguageSubject, sample: Sample, settings: Settings) -> Swaps | str:
    """Swaps of spelled words; or a sentence that says why there are none."""
    if sample.token_bytes is None:
        return "the tokens have no text"
    draw = np.random.default_rng((settings.seed, 10))
    table = [sample.token_bytes(i) for i in range(subject.vocab_size)]
    fitted = fit_window(sample, PREFIX, settings.distance_words)
    if fitted is None:
        return f"no two texts are longer than {PREFIX} tokens and 16 words"
    units, longest = fitted
    words = [find_words(ids, table) for ids in units.ids]
    pairs = word_pairs(units, words, draw)
    if len(pairs) < 2:
        return "the text has too few words of middling frequency to swap"
    points = np.array(distances(longest))
    places = _places(units, words, int(points[-1]))
    while len(places) < 2 and len(points) > 8:
        points = points[:-1]
        places = _places(units, words, int(points[-1]))
    if len(places) < 2:
        return "no text is long enough"
    deltas, texts, used = [], [], []
    for first in range(0, settings.swaps, BATCH):
        count = min(BATCH, settings.swaps - first)
        chosen = [places[int(k)] for k in draw.integers(0, len(places), count)]
        pair = draw.integers(0, len(pairs), count)
        items = [_item(units.ids[text], words[text], word, points) for text, word in chosen]
        deltas.append(_deltas(subject, items, [pairs[int(k)] for k in pair]))
        texts.append(np.array([text for text, _ in chosen]))
        used.append(pair)
    return Swaps(
        points.astype(np.float64),
        np.concatenate(deltas),
        np.concatenate(texts),
        np.concatenate(used),
        units.resampling_unit,
    )


def _places(units: Sample, words: list[Words], longest: int) -> list[tuple[int, int]]:
    """(unit, word) where a word may be swapped: enough tokens before it, enough words after it."""
    spaced = brings_space(words)
    return [
        (u, int(w))
        for u, found in enumerate(words)
        for w in found.places(spaced=spaced)
        if found.starts[w] >= PREFIX and w + longest + 1 < len(found.starts)
    ]


@dataclass(frozen=True)
class Item:
    """Text before the swapped word, after it, and after how many of those tokens to look (K,)."""

    before: Ids
    after: Ids
    looks: Ids


def _item(ids: Ids, words: Words, word: int, points: Ids) -> Item:
    start, end = int(words.starts[word]), int(words.ends[word])
    looks = words.starts[word + 1 + points] - end
    return Item(ids[start - PREFIX : start], ids[end : end + int(looks[-1])], looks)


def _deltas(
    subject: LanguageSubject,
    items: list[Item],
    pairs: list[tuple[tuple[int, ...], tuple[int, ...]]],
) -> Floats:
    """Δ (N, K) in nats of log-odds."""
    before = torch.from_numpy(np.stack([item.before for item in items], axis=1))
    _, state = subject.advance(before, subject.initial_state(len(items)))
    spellings = [_padded([pair[arm] for pair in pairs]) for arm in (0, 1)]
    lengths = np.array([len(pair[0]) for pair in pairs])
    odds = []
    for arm in (0, 1):
        features, at_word = read_until(subject, spellings[arm], lengths, state)
        found = _looks(subject, items, features, at_word)
        chances = [
            _spelled(subject, *found, spellings[word], lengths, len(items)) for word in (0, 1)
        ]
        odds.append(chances[0] - chances[1])
    return 0.5 * (odds[0] - odds[1])


def _padded(words: list[tuple[int, ...]]) -> Tensor:
    """Spellings as (M, N), the last token repeated."""
    longest = max(map(len, words))
    return torch.tensor([word + word[-1:] * (longest - len(word)) for word in words]).T


def _looks(
    subject: LanguageSubject, items: list[Item], features: Tensor, state: State
) -> tuple[Tensor, State]:
    """Features (K·N, F) and states, distance by distance, at every look of every item."""
    longest = max(len(item.after) for item in items)
    text = np.stack([np.resize(item.after, longest) for item in items], axis=1)
    ids = torch.from_numpy(text)
    looks = np.stack([item.looks for item in items], axis=1)  # (K, N)
    times = np.unique(looks)
    rows, states, order, at = [], [], [], 0
    for time in times:
        if time > at:
            read, state = subject.advance(ids[at : int(time)], state)
            features, at = read[-1], int(time)
        where = np.argwhere(looks == time)
        columns = torch.from_numpy(where[:, 1])
        rows.append(features[columns])
        states.append(select(state, columns))
        order.append(torch.from_numpy(where[:, 0] * len(items) + where[:, 1]))
    back = torch.argsort(torch.cat(order))
    return torch.cat(rows)[back], select(merge(states), back)


def _spelled(
    subject: LanguageSubject,
    features: Tensor,
    state: State,
    spelling: Tensor,
    lengths: Ids,
    items: int,
) -> Floats:
    """ln P of each item's word (M, N) at each of its looks: (N, K)."""
    distances = len(features) // items
    ids = spelling.repeat(1, distances)  # (M, K·N)
    rows = features[None]
    if len(ids) > 1:
        read, _ = subject.advance(ids[:-1], state)
        rows = torch.cat([rows, read])
    losses = subject.losses(rows.flatten(0, 1), ids.reshape(-1)).reshape(ids.shape)
    within = torch.arange(len(ids))[:, None] < torch.from_numpy(lengths).repeat(distances)
    total = -(losses * within).sum(0).reshape(distances, items)
    return total.T.double().cpu().numpy()
