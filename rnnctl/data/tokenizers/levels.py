"""What is particular to each level: how its tokenizer is made of text, and made again of a file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from rnnctl.config import TokenizerConfig
from rnnctl.data.tokenizers.base import (
    BOUNDARY,
    MAX_VOCABULARY,
    UNKNOWN,
    RefusedError,
    Tokenizer,
    byte_alphabet,
    check_surrogates,
    checked_text,
    encoded,
)
from rnnctl.data.tokenizers.characters import (
    CODE_POINTS,
    BpeTokenizer,
    ByteTokenizer,
    CharTokenizer,
)
from rnnctl.data.tokenizers.words import (
    TOKEN,
    NaturalWords,
    Spelling,
    WhitespaceWords,
    find_tokens,
    lower_case,
    whitespace_tokens,
)
from rnnctl.errors import DataError, UsageError

DEFAULT_BPE_VOCABULARY = 4096
DEFAULT_WORD_VOCABULARY = 50_000
# Tokens, of about thirty pages.
_FEW_PAGES = 10_000
# Different tokens, and pieces between spaces, that are counted at once.
_MOST_TYPES = 4_000_000
_MOST_PIECES = 400_000
_BPE_SAMPLE = 64 << 20
_RECOGNISED_WITHIN = 1 << 20


@dataclass(frozen=True, slots=True)
class Level:
    """An entry of the catalog.

    train: from texts, settings and whether the texts are parts of one running text to a tokenizer;
    raises DataError for no text, UsageError for an impossible size. restore: from what the
    tokenizer's `to_dict` has under ``model.rnnctl``, the tokens by id and the merges to the same
    tokenizer; raises `RefusedError` for what it did not write.
    """

    train: Callable[[Iterable[str], TokenizerConfig, bool], Tokenizer]
    restore: Callable[[Mapping[str, Any], list[str], object], Tokenizer]


# -- characters and bytes --------------------------------------------------------------------


def _train_chars(texts: Iterable[str], config: TokenizerConfig, running: bool) -> Tokenizer:
    counts = np.zeros(CODE_POINTS, dtype=np.int64)
    for text in texts:
        part = np.bincount(np.frombuffer(encoded(text, "utf-32-le"), dtype="<u4"))
        counts[: len(part)] += part
    found = {chr(code): int(counts[code]) for code in np.flatnonzero(counts).tolist()}
    if not found:
        raise _no_text()
    kept = _most_frequent(found, config.min_count or 1, (config.vocab_size or 0) - 2)
    return CharTokenizer(sorted(kept), found)


def _restore_chars(own: Mapping[str, Any], tokens: list[str], merges: object) -> Tokenizer:
    if any(len(token) != 1 for token in tokens[2:]):
        raise RefusedError("a character's token is not one character")
    return CharTokenizer(tokens[2:], _spelling(own)[0])


CHAR = Level(_train_chars, _restore_chars)
BYTE = Level(lambda texts, config, running: ByteTokenizer(), lambda *parts: ByteTokenizer())


# -- words -----------------------------------------------------------------------------------


def _train_words(texts: Iterable[str], config: TokenizerConfig, running: bool) -> Tokenizer:
    if config.words == "auto":
        protocol, texts = _recognise(iter(texts))
        config = config.model_copy(update={"words": protocol})
    texts = _whole_words(texts, config) if running else texts
    whitespace = config.words == "whitespace"
    # As they are read later. Of running text that concerns one word.
    if config.lead and not running:
        texts = (f" {text}" if text else text for text in texts)
    return (_train_whitespace if whitespace else _train_natural)(texts, config)


def _restore_words(own: Mapping[str, Any], tokens: list[str], merges: object) -> Tokenizer:
    words = own.get("words")
    if words not in ("natural", "whitespace"):
        raise RefusedError(f"its words {words!r:.40} are not known")
    spelling, lower = Spelling(*_spelling(own)), own.get("lowercase") is True
    if words == "natural":
        return NaturalWords(tokens[2:], spelling, lead=own.get("lead") is True, lowercase=lower)
    return WhitespaceWords(tokens[2:], spelling, lowercase=lower)


WORD = Level(_train_words, _restore_words)


# -- pieces of words -------------------------------------------------------------------------


def _train_pieces(texts: Iterable[str], config: TokenizerConfig, running: bool) -> Tokenizer:
    vocab_size = config.vocab_size or DEFAULT_BPE_VOCABULARY
    if not 257 < vocab_size <= MAX_VOCABULARY:
        raise UsageError(
            f"--vocab-size {vocab_size} is not possible with --level bpe",
            hint=f"use 258 (256 bytes, <eos>, one merge) to {MAX_VOCABULARY}",
        )
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(TOKEN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    # All bytes from the beginning, so that any text can be written; and room for <eos>.
    alphabet = sorted(byte_alphabet().values())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 1, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(_sample(_whole_words(texts, config) if running else texts), trainer)
    model = json.loads(backend.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return BpeTokenizer(tokens, [(left, right) for left, right in model["merges"]])


def _restore_pieces(own: Mapping[str, Any], tokens: list[str], merges: object) -> Tokenizer:
    return BpeTokenizer(_bytes_only(tokens[1:]), _merges(merges, tokens))


BPE = Level(_train_pieces, _restore_pieces)


# -- counting --------------------------------------------------------------------------------


def _recognise(texts: Iterator[str]) -> tuple[str, Iterator[str]]:
    """The protocol for a text: cut already and with ``<unk>`` in it, or natural."""
    seen: list[str] = []
    size = 0
    for text in texts:
        seen.append(text)
        size += len(text)
        if size > _RECOGNISED_WITHIN:
            break
    words = whitespace_tokens(" ".join(seen))
    # The WikiText files hold one in 40 to 250 words; a text that speaks of it holds fewer.
    marked = words.count(UNKNOWN) * 2000 > len(words)
    return ("whitespace" if marked else "natural"), chain(seen, texts)


def _whole_words(texts: Iterable[str], config: TokenizerConfig) -> Iterator[str]:
    """The same text in parts that end where a token ends."""
    empty = Spelling({}, 0)
    # Where a token ends does not hang on the vocabulary: an empty one will do.
    cutter = (WhitespaceWords if config.words == "whitespace" else NaturalWords)((), empty)
    held = ""
    for text in texts:
        held += text
        cut = cutter.complete_prefix(held)
        if cut:
            yield held[:cut]
            held = held[cut:]
    yield held


def _train_natural(texts: Iterable[str], config: TokenizerConfig) -> Tokenizer:
    counts = _count_natural(texts)
    if not counts:
        raise _no_text()
    if config.lowercase:
        counts = _in_lower_case(counts)
    # Words seen once become <unk>, so that the model learns what surrounds an unknown word; a
    # text of a few pages would have too few words left.
    min_count = config.min_count or (2 if counts.total() > _FEW_PAGES else 1)
    kept = _most_frequent(counts, min_count, (config.vocab_size or DEFAULT_WORD_VOCABULARY) - 2)
    # However rare: without them joined tokens would not be the text again.
    blanks = {c for c in counts if c.isspace() and len(c) == 1}
    words = _ordered({*kept, *blanks} - {BOUNDARY, UNKNOWN}, counts)
    return NaturalWords(words, _spell(counts), lead=config.lead, lowercase=config.lowercase)


def _train_whitespace(texts: Iterable[str], config: TokenizerConfig) -> Tokenizer:
    counts: Counter[str] = Counter()
    for text in texts:
        check_surrogates(text)
        counts.update(whitespace_tokens(text))
        _forget_rare(counts)
    if config.lowercase:
        counts = _in_lower_case(counts)
    for name in (BOUNDARY, UNKNOWN):
        counts.pop(name, None)
    if not counts:
        raise _no_text()
    limit = (config.vocab_size or MAX_VOCABULARY) - 2
    kept = _most_frequent(counts, config.min_count or 1, limit)
    words = _ordered(kept, counts)
    return WhitespaceWords(words, _spell(counts), lowercase=config.lowercase)


def _count_natural(texts: Iterable[str]) -> Counter[str]:
    """How often each token occurs. Pieces between spaces are counted first: there are fewer."""
    counts: Counter[str] = Counter()
    pieces: Counter[str] = Counter()
    for text in texts:
        check_surrogates(text)
        first, *others = text.split(" ")
        counts.update(find_tokens(first))
        pieces.update(others)
        if len(pieces) > _MOST_PIECES:
            _count_pieces(pieces, counts)
    _count_pieces(pieces, counts)
    return counts


def _in_lower_case(counts: Counter[str]) -> Counter[str]:
    joined: Counter[str] = Counter()
    for token, times in counts.items():
        joined[lower_case(token)] += times
    return joined


def _count_pieces(pieces: Counter[str], counts: Counter[str]) -> None:
    for piece, times in pieces.items():
        for token in find_tokens(" " + piece):
            counts[token] += times
    pieces.clear()
    _forget_rare(counts)


def _forget_rare(counts: Counter[str]) -> None:
    """Keep memory bounded on endless text: beyond millions of types the singletons go."""
    least = 1
    while len(counts) > _MOST_TYPES:
        for token in [token for token, n in counts.items() if n <= least]:
            del counts[token]
        least += 1


def _most_frequent(counts: dict[str, int], min_count: int, limit: int) -> set[str]:
    # A limit of -2 is what no --vocab-size leaves after <eos> and <unk>: none.
    if limit == -1 or limit == 0:
        raise UsageError(
            "--vocab-size must leave room for one token besides <eos> and <unk>",
            hint="3 is the smallest",
        )
    kept = {token for token, n in counts.items() if n >= min_count}
    if 0 < limit < len(kept):
        # Equally frequent ones by alphabet: the order of the texts is to decide nothing.
        kept = set(sorted(kept, key=lambda token: (-counts[token], token))[:limit])
    return kept


def _ordered(tokens: Iterable[str], counts: dict[str, int]) -> list[str]:
    """Frequent ones first, as people expect."""
    return sorted(tokens, key=lambda token: (-counts[token], token))


def _spell(counts: Counter[str]) -> Spelling:
    letters: Counter[str] = Counter()
    for token, times in counts.items():
        for character in token:
            letters[character] += times
    return Spelling(dict(sorted(letters.items())), counts.total())


def _no_text() -> DataError:
    return DataError(
        "the training split holds no text", hint="use a larger corpus or another --split"
    )


def _sample(texts: Iterable[str]) -> Iterator[str]:
    """The first 64 M characters: more change the merges little and cost minutes."""
    taken = 0
    for text in texts:
        check_surrogates(text)
        yield text
        taken += len(text)
        if taken > _BPE_SAMPLE:
            return


# -- what a file must hold -------------------------------------------------------------------


def _spelling(own: Mapping[str, Any]) -> tuple[dict[str, int], int]:
    spelling = own.get("spelling")
    counts = spelling.get("chars") if isinstance(spelling, dict) else None
    ends = spelling.get("ends") if isinstance(spelling, dict) else None
    if not isinstance(counts, dict) or type(ends) is not int or not 0 <= ends < 1 << 62:
        raise RefusedError("it lacks the letter counts")
    for character, count in counts.items():
        if len(checked_text(character)) != 1 or type(count) is not int or not 0 < count < 1 << 62:
            raise RefusedError("its letter counts are invalid")
    return counts, ends


def _bytes_only(tokens: list[str]) -> list[str]:
    alphabet = set(byte_alphabet().values())
    if not alphabet.issubset(tokens) or any(not t or not alphabet.issuperset(t) for t in tokens):
        raise RefusedError("its vocabulary does not cover the 256 bytes")
    return tokens


def _merges(merges: object, tokens: list[str]) -> list[tuple[str, str]]:
    known = set(tokens)
    pairs: list[tuple[str, str]] = []
    for pair in merges if isinstance(merges, list) else [None]:
        if not (isinstance(pair, list) and len(pair) == 2):
            raise RefusedError("its merges are not pairs")
        left, right = checked_text(pair[0]), checked_text(pair[1])
        if not known.issuperset((left, right, left + right)):
            raise RefusedError("it merges tokens that are not in its vocabulary")
        pairs.append((left, right))
    return pairs
