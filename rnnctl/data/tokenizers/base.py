"""What every tokenizer can do, whatever its level."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from rnnctl.data.tokenizers.encoder import Encoder
from rnnctl.errors import DataError

BOUNDARY_ID = 0
UNKNOWN_ID = 1
BOUNDARY = "<eos>"
UNKNOWN = "<unk>"

Ids = NDArray[np.int32]


class Tokenizer(ABC):
    """Ids are int32 in [0, vocab_size); all methods are pure, instances can be shared.

    Raises: DataError wherever a text holds a lone surrogate, which no encoding can write.
    """

    level: ClassVar[str]
    boundary_id: int = BOUNDARY_ID

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Number of ids, ``<eos>`` (and ``<unk>``) included."""

    @property
    def unknown_id(self) -> int | None:
        """The id of ``<unk>``; None at levels that can write any text."""
        return None

    @abstractmethod
    def encode_charged(self, text: str) -> tuple[Ids, int, float]:
        """Ids (N,), how many are unknown, and what spelling those costs in nats."""

    def spelling_by_token(self, text: str) -> NDArray[np.float64]:
        """What spelling each token of `encode(text)` costs in nats (N,): 0 for a known one."""
        return np.zeros(len(self.encode(text)))

    @abstractmethod
    def token_bytes(self, token_id: int) -> bytes:
        """What the token writes, as UTF-8 (possibly a part of a character)."""

    def spans(self, text: str, ids: Ids) -> NDArray[np.int64]:
        """Where each token of `ids` = `encode(text)` stands: first byte and end, (N, 2), in UTF-8.

        Where a token is not the bytes that it writes (unknown ones), a level says how long it is.
        """
        return _spans([len(self.token_bytes(token)) for token in ids.tolist()])

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The content of ``tokenizer.json``."""

    @abstractmethod
    def cut(self, text: str, max_tokens: int, keep: Literal["head", "tail"]) -> str:
        """What the first or last `max_tokens` tokens of `text` write.

        A character that is cut in the middle (bytes, BPE) stands as U+FFFD.
        """

    def complete_prefix(self, text: str) -> int:
        """Length of a prefix of `text` whose tokens nothing that follows can change."""
        return len(text)

    def encode(self, text: str) -> Ids:
        """Ids (N,) int32. No boundary is added."""
        return self.encode_charged(text)[0]

    def encode_document(
        self, text: str, max_tokens: int | None = None, keep: Literal["head", "tail"] = "head"
    ) -> Ids:
        """Ids (N + 1,) as the store holds a document: cut to `max_tokens`, boundary at the end."""
        ids = cut_ids(self.encode(text), max_tokens, keep)
        return np.append(ids, np.int32(self.boundary_id))

    def decode(self, ids: Iterable[int] | NDArray[Any]) -> str:
        """The text; broken UTF-8 sequences become U+FFFD, a document's end a newline.

        Raises: DataError for an id outside the vocabulary.
        """
        sequence = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids)).tolist()
        for token_id in sequence:
            if not 0 <= token_id < self.vocab_size:
                raise DataError(f"id {token_id} is outside the vocabulary of {self.vocab_size}")
        return self._join(sequence)

    def token_text(self, token_id: int) -> str:
        """The token for a table or a plot: control characters and broken UTF-8 are escaped."""
        if token_id == self.boundary_id:
            return BOUNDARY
        if token_id == self.unknown_id:
            return UNKNOWN
        text = self.token_bytes(token_id).decode("utf-8", "backslashreplace")
        return "".join(c if c.isprintable() else _escape(c) for c in text)

    def spelling_nats(self, text: str) -> tuple[int, float]:
        """Number of unknown tokens in `text` and their total spelling charge in nats."""
        return self.encode_charged(text)[1:]

    def stream(self, pending: bytes = b"") -> Encoder:
        """An encoder that takes bytes as they come."""
        return Encoder(self, pending)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the saved form."""
        from rnnctl.data.tokenizers.serialization import to_bytes

        return hashlib.sha256(to_bytes(self.to_dict())).hexdigest()

    def save(self, path: str | Path) -> None:
        """Write ``tokenizer.json`` to `path` (through a temporary name).

        Raises: StorageError.
        """
        from rnnctl.data.tokenizers.serialization import save

        save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Read what `save` wrote.

        Raises: CorruptRunError for a file that is missing, too large, too deep, or holds anything
        that `save` does not write.
        """
        from rnnctl.data.tokenizers.serialization import load

        return load(Path(path))

    def _join(self, ids: Sequence[int]) -> str:
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")


def cut_ids(ids: Ids, max_tokens: int | None, keep: Literal["head", "tail"]) -> Ids:
    """The first or last `max_tokens` of a document's ids; all of them if there are no more."""
    if max_tokens is None or len(ids) <= max_tokens:
        return ids
    return ids[:max_tokens] if keep == "head" else ids[-max_tokens:]


def joined_spans(tokens: Iterable[str]) -> NDArray[np.int64]:
    """First byte and end of each of `tokens`, which joined are the text: (N, 2), in UTF-8."""
    return _spans([len(token.encode("utf-8")) for token in tokens])


def _spans(sizes: Sequence[int]) -> NDArray[np.int64]:
    ends = np.cumsum(np.array(sizes, dtype=np.int64))
    return np.stack([ends - np.array(sizes, dtype=np.int64), ends], axis=1)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def lone_surrogate(error: UnicodeEncodeError) -> DataError:
    """The error for a text that holds one."""
    code = ord(error.object[error.start])
    return DataError(
        f"character {error.start} is the lone surrogate U+{code:04X}, which is not text",
        hint="remove it, or write the surrogate pair it belongs to",
    )


def check_surrogates(text: str) -> None:
    """Raises: DataError for a text with a lone surrogate."""
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise lone_surrogate(error) from None
