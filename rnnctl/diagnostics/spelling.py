"""Words that consist of several tokens: where they begin, and which are usual.

For character, byte and subword models.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rnnctl.diagnostics.sample import Ids, Sample

Mask = NDArray[np.bool_]
Word = tuple[int, ...]
"""The tokens that a word consists of."""
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
    """Words in ids (T,): each begins with a token of non-space after a space, or brings its own.

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


def usual_words(sample: Sample, words: list[Words]) -> list[Word]:
    """Spellings from the middle of the text's vocabulary, most frequent first.

    Of one kind only, the usual one: with the space before the word, or without.
    """
    counts: dict[Word, int] = {}
    spaced = brings_space(words)
    for ids, found in zip(sample.ids, words, strict=True):
        for place in found.places(spaced=spaced):
            spelling = tuple(int(i) for i in ids[found.starts[place] : found.ends[place]])
            counts[spelling] = counts.get(spelling, 0) + 1
    # Seen once is a name or a slip of the pen.
    kept = [word for word, count in counts.items() if count >= 2 and _plain(word, sample)]
    shown = sample.token_bytes
    assert shown is not None
    # by text: how a model numbers its tokens decides no tie
    usual = sorted(kept, key=lambda word: (-counts[word], [shown(token) for token in word]))
    return middle(usual)


def middle(usual: list[Word]) -> list[Word]:
    """Without the most frequent twentieth and the rarer half, if that leaves enough."""
    # The most frequent ones are function words, likely anywhere; the rarer half the model has
    # hardly met in training, so that it cannot be said to forget them.
    return usual[len(usual) // 20 : len(usual) // 2] if len(usual) >= 40 else usual


def usual_tokens(sample: Sample) -> list[Word]:
    """Tokens from the middle of the text's vocabulary, each a word by itself, most frequent first.

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
        return middle([(int(t),) for t in tokens[np.argsort(-counts, kind="stable")]])
    # by text: how a model numbers its tokens decides no tie
    ranked = sorted(
        zip((-counts).tolist(), map(shown, tokens.tolist()), tokens.tolist(), strict=True)
    )
    return middle([(token,) for *_, token in ranked])


def _plain(word: Word, sample: Sample) -> bool:
    assert sample.token_bytes is not None
    text = b"".join(sample.token_bytes(i) for i in word).decode("utf-8", "replace").strip()
    if sample.unknown_id in word or not sample.not_known.isdisjoint(word):
        return False
    return text.isalpha() if sample.unit == "chars" else len(text) >= 3 and text.islower()
