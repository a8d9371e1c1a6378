"""Making a tokenizer from the training split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rnnctl import catalog
from rnnctl.config import TokenizerConfig
from rnnctl.data.cache import write_cached
from rnnctl.data.tokenizers.base import Tokenizer
from rnnctl.data.tokenizers.serialization import check_loads
from rnnctl.errors import CorruptRunError

if TYPE_CHECKING:
    from rnnctl.data.corpus import Corpus
    from rnnctl.data.tokenizers.levels import Level

_TRAINER = 1  # raise when the same text comes to give another vocabulary


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
    level: Level = catalog.load("level", config.level)
    tokenizer = level.train(texts, config, running)
    check_loads(tokenizer)
    return tokenizer
