"""``tokenizer.json``: Hugging Face's format, written by hand and read with suspicion.

Every part but the vocabulary follows from the level, so reading means: rebuild the file from what
was read and refuse it unless both are the same. A stranger's regular expression, normaliser or
post-processor is thereby never run. Size and number of values are looked at before parsing.

What the format has no place for (level, letter counts) stands as ``rnnctl`` inside ``model``, which
`tokenizers` skips.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnctl import catalog
from rnnctl.data.cache import write_cached
from rnnctl.errors import CorruptRunError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from rnnctl.data.tokenizers.base import Tokenizer
    from rnnctl.data.tokenizers.levels import Level

FORMAT = 1
MAX_BYTES = 32 << 20
MAX_VALUES = 2_000_000
MAX_CONTAINERS = 1_000_000
MAX_VOCABULARY = 500_000


def layout(
    *,
    model: dict[str, Any],
    pre_tokenizer: dict[str, Any] | None,
    decoder: dict[str, Any] | None,
    normalizer: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The outermost object of the format."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": decoder,
        "model": model,
    }


def own_block(
    level: str, *, words: str | None = None, spelling: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What only `rnnctl` reads."""
    return {"format": FORMAT, "level": level, "words": words, "spelling": spelling}


def fused() -> dict[str, Any]:
    """Decoding by joining."""
    return {"type": "Fuse"}


def split_by(regex: str) -> dict[str, Any]:
    """Cutting into the matches of `regex`."""
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


def byte_alphabet() -> dict[int, str]:
    """GPT-2's printable character for each byte."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in set(printable)]
    return {b: chr(b) for b in printable} | {b: chr(0x100 + i) for i, b in enumerate(others)}


def to_bytes(content: dict[str, Any]) -> bytes:
    """The file's bytes: equal tokenizers give equal files."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def save(tokenizer: Tokenizer, path: Path) -> None:
    """Write it, whole or not at all. Raises: StorageError."""
    write_cached(path, to_bytes(tokenizer.to_dict()))


def load(path: Path) -> Tokenizer:
    """Read and check it. Raises: CorruptRunError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CorruptRunError(f"{path}: the tokenizer cannot be read ({error.strerror})") from error
    try:
        return from_bytes(data)
    except RefusedError as error:
        raise CorruptRunError(
            f"{path}: not a tokenizer that rnnctl wrote: {error}",
            hint="take the file from the run's own backup, or train the run again",
        ) from None


class RefusedError(Exception):
    """Why the file is refused."""


def from_bytes(data: bytes) -> Tokenizer:
    """The tokenizer in `data`. Raises: RefusedError."""
    content = _parse(data)
    model = content.get("model") if isinstance(content, dict) else None
    own = model.get("rnnctl") if isinstance(model, dict) else None
    if not isinstance(own, dict) or not isinstance(model, dict):
        raise RefusedError("it lacks the part that says what level it is")
    if own.get("format") != FORMAT:
        raise RefusedError(f"format {own.get('format')!r:.40} is not known to this version")
    tokenizer = _rebuild(own, _vocabulary(model.get("vocab")), model.get("merges"))
    if tokenizer.to_dict() != content:
        raise RefusedError("it holds parts that rnnctl does not write")
    return tokenizer


def check_loads(tokenizer: Tokenizer) -> None:
    """UsageError for a tokenizer that `load` would refuse, so that no training begins with it."""
    data = to_bytes(tokenizer.to_dict())
    try:
        _check_size(data)
    except RefusedError as problem:
        fits = int(0.9 * tokenizer.vocab_size * min(1, MAX_BYTES / len(data)))
        raise UsageError(
            f"a vocabulary of {tokenizer.vocab_size:,} tokens cannot be kept: {problem}",
            hint=f"give a smaller --vocab-size, such as {fits}",
        ) from None
    if tokenizer.vocab_size > MAX_VOCABULARY:
        raise UsageError(
            f"a vocabulary of {tokenizer.vocab_size:,} tokens cannot be kept",
            hint=f"--vocab-size {MAX_VOCABULARY} is the largest",
        )


def _check_size(data: bytes) -> None:
    if len(data) > MAX_BYTES:
        raise RefusedError(f"its file is larger than {MAX_BYTES >> 20} MiB")
    if data.count(b",") > MAX_VALUES or data.count(b"[") + data.count(b"{") > MAX_CONTAINERS:
        raise RefusedError("its file holds too many values")


def _parse(data: bytes) -> Any:
    _check_size(data)
    try:
        return json.loads(data.decode("utf-8"))
    except RecursionError:
        raise RefusedError("it is nested too deeply") from None
    except ValueError as error:
        raise RefusedError(f"it is not JSON ({error})") from None


def _vocabulary(vocab: object) -> list[str]:
    """The tokens by id: ids must run from 0 without a gap."""
    if not isinstance(vocab, dict) or not vocab or len(vocab) > MAX_VOCABULARY:
        raise RefusedError("it has no usable vocabulary")
    tokens: list[str | None] = [None] * len(vocab)
    for token, number in vocab.items():
        if type(number) is not int or not 0 <= number < len(tokens):
            raise RefusedError(f"the id of {token[:40]!r} is out of range")
        tokens[number] = checked_text(token)
    complete = [token for token in tokens if token is not None]
    if len(complete) != len(tokens):
        raise RefusedError("two tokens have the same id")
    return complete


def checked_text(value: object) -> str:
    """A token or a character of one. Raises: RefusedError."""
    if not isinstance(value, str):
        raise RefusedError("a token is no text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise RefusedError("a token holds a lone surrogate") from None
    return value


def _rebuild(own: dict[str, Any], tokens: list[str], merges: object) -> Tokenizer:
    name = own.get("level")
    try:
        level: Level = catalog.load("level", name if isinstance(name, str) else "")
    except (UsageError, MissingExtraError):
        raise RefusedError(f"its level {name!r:.40} is not known") from None
    return level.restore(own, tokens, merges)
