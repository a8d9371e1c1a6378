"""Making a tokenizer from the training split."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rnnctl.config import TokenizerConfig
from rnnctl.data.cache import write_cached
from rnnctl.data.tokenizers import pattern
from rnnctl.data.tokenizers.base import BOUNDARY, UNKNOWN, Tokenizer, check_surrogates
from rnnctl.data.tokenizers.bpe import BpeTokenizer
from rnnctl.data.tokenizers.characters import ByteTokenizer, CharTokenizer
from rnnctl.data.tokenizers.serialization import MAX_VOCABULARY, byte_alphabet, check_loads
from rnnctl.data.tokenizers.spelling import Spelling
from rnnctl.data.tokenizers.words import NaturalWords, WhitespaceWords, whitespace_tokens
from rnnctl.errors import CorruptRunError, DataError, UsageError

if TYPE_CHECKING:
    from rnnctl.data.corpus import Corpus

_TRAINER = 1  # raise when the same text comes to give another vocabulary
DEFAULT_BPE_VOCABULARY = 4096
DEFAULT_WORD_VOCABULARY = 50_000
_FEW_PAGES = 10_000
_MOST_TYPES = 4_000_000
_MOST_PIECES = 400_000
_BPE_SAMPLE = 64 << 20
_RECOGNISED_WITHIN = 1 << 20


def make_tokenizer(
    corpus: Corpus, config: TokenizerConfig, *, cache: Path | None = None
) -> Tokenizer:
    """The tokenizer of a corpus, from its training split only; kept in `cache` if given.

    Raises: as `train_tokenizer`, and StorageError.
    """
    what = [_TRAINER, corpus.fingerprint, config.model_dump()]
    name = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]
    path = None if cache is None else cache / "tokenizers" / f"{name}.json"
    found = path and _kept(path)
    if found:
        return found
    texts = (document.text for document in corpus.documents("train"))
    tokenizer = train_tokenizer(texts, config, running=corpus.running)
    if path:
        tokenizer.save(path)
        write_cached(path.with_suffix(".sha256"), tokenizer.fingerprint.encode())
    return tokenizer


def _kept(path: Path) -> Tokenizer | None:
    """What was saved there; None if it is not there or not what it was."""
    try:
        said = path.with_suffix(".sha256").read_text("ascii")
        tokenizer = Tokenizer.load(path)
    except (OSError, ValueError, CorruptRunError):
        return None
    return tokenizer if tokenizer.fingerprint == said else None


def train_tokenizer(
    texts: Iterable[str], config: TokenizerConfig, *, running: bool = False
) -> Tokenizer:
    """Count `texts` and make the vocabulary; the result depends on nothing else.

    running: `texts` are parts of one text; words cut by a part's end count as whole.

    Raises: DataError where there is no text, UsageError for an impossible vocabulary size, and for
    a vocabulary that is too large to be kept.
    """
    tokenizer = _train(texts, config, running=running)
    check_loads(tokenizer)
    return tokenizer


def _train(texts: Iterable[str], config: TokenizerConfig, *, running: bool) -> Tokenizer:
    if config.level == "byte":
        return ByteTokenizer()
    if config.level == "word" and config.words == "auto":
        protocol, texts = _recognise(iter(texts))
        config = config.model_copy(update={"words": protocol})
    texts = _whole_words(texts, config) if running else texts
    if config.level == "char":
        return _train_characters(texts, config)
    if config.level == "bpe":
        return _train_bpe(texts, config.vocab_size or DEFAULT_BPE_VOCABULARY)
    if config.words == "whitespace":
        return _train_whitespace(texts, config)
    return _train_natural(texts, config)


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
    marked = words.count(UNKNOWN) * 2000 > len(words)
    return ("whitespace" if marked else "natural"), chain(seen, texts)


def _whole_words(texts: Iterable[str], config: TokenizerConfig) -> Iterator[str]:
    """The same text in parts that end where a token ends."""
    empty = Spelling({}, 0)
    cutter = (WhitespaceWords if config.words == "whitespace" else NaturalWords)((), empty)
    held = ""
    for text in texts:
        held += text
        cut = cutter.complete_prefix(held)
        if cut:
            yield held[:cut]
            held = held[cut:]
    yield held


def _train_characters(texts: Iterable[str], config: TokenizerConfig) -> Tokenizer:
    counts = np.zeros(0x110000, dtype=np.int64)
    for text in texts:
        check_surrogates(text)
        codes = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
        part = np.bincount(codes)
        counts[: len(part)] += part
    found = {chr(code): int(counts[code]) for code in np.flatnonzero(counts).tolist()}
    if not found:
        raise _no_text()
    kept = _most_frequent(found, config.min_count or 1, (config.vocab_size or 0) - 2)
    return CharTokenizer(sorted(kept), found)


def _train_natural(texts: Iterable[str], config: TokenizerConfig) -> Tokenizer:
    counts = _count_natural(texts)
    if not counts:
        raise _no_text()
    # Words seen once become <unk>, so that the model learns what surrounds an unknown word; a
    # text of a few pages would have too few words left.
    min_count = config.min_count or (2 if counts.total() > _FEW_PAGES else 1)
    kept = _most_frequent(counts, min_count, (config.vocab_size or DEFAULT_WORD_VOCABULARY) - 2)
    blanks = {c for c in counts if c.isspace() and len(c) == 1}
    return NaturalWords(_ordered({*kept, *blanks} - {BOUNDARY, UNKNOWN}, counts), _spell(counts))


def _train_whitespace(texts: Iterable[str], config: TokenizerConfig) -> Tokenizer:
    counts: Counter[str] = Counter()
    for text in texts:
        check_surrogates(text)
        counts.update(whitespace_tokens(text))
        _forget_rare(counts)
    for name in (BOUNDARY, UNKNOWN):
        counts.pop(name, None)
    if not counts:
        raise _no_text()
    limit = (config.vocab_size or MAX_VOCABULARY) - 2
    kept = _most_frequent(counts, config.min_count or 1, limit)
    return WhitespaceWords(_ordered(kept, counts), _spell(counts))


def _count_natural(texts: Iterable[str]) -> Counter[str]:
    """How often each token occurs. Pieces between spaces are counted first: there are fewer."""
    counts: Counter[str] = Counter()
    pieces: Counter[str] = Counter()
    for text in texts:
        check_surrogates(text)
        first, *others = text.split(" ")
        counts.update(pattern.find_tokens(first))
        pieces.update(others)
        if len(pieces) > _MOST_PIECES:
            _count_pieces(pieces, counts)
    _count_pieces(pieces, counts)
    return counts


def _count_pieces(pieces: Counter[str], counts: Counter[str]) -> None:
    for piece, times in pieces.items():
        for token in pattern.find_tokens(" " + piece):
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
    if limit == -1 or limit == 0:
        raise UsageError(
            "--vocab-size must leave room for one token beside <eos> and <unk>",
            hint="3 is the smallest",
        )
    kept = {token for token, n in counts.items() if n >= min_count}
    if 0 < limit < len(kept):
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
        "the training split holds no text", hint="give a larger corpus or another --split"
    )


def _train_bpe(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    if not 257 < vocab_size <= MAX_VOCABULARY:
        raise UsageError(
            f"--vocab-size {vocab_size} does not suit --level bpe",
            hint=f"between 258 (256 bytes, <eos>, one merge) and {MAX_VOCABULARY}",
        )
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern.TOKEN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(byte_alphabet().values())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 1, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(_sample(texts), trainer)
    model = json.loads(backend.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return BpeTokenizer(tokens, [(left, right) for left, right in model["merges"]])


def _sample(texts: Iterable[str]) -> Iterator[str]:
    """The first 64 M characters: more change the merges little and cost minutes."""
    taken = 0
    for text in texts:
        check_surrogates(text)
        yield text
        taken += len(text)
        if taken > _BPE_SAMPLE:
            return
