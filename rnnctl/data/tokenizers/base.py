"""What every tokenizer can do, whatever its level."""

from __future__ import annotations

import codecs
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from rnnctl.errors import DataError

# Encoding bytes as they come: any chunks, the same ids as the whole text at once.


class MalformedTextError(DataError):
    """Bytes that are not UTF-8. `offset` is the byte's place in everything fed so far."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(
            f"byte {offset} is not valid UTF-8 ({reason})",
            hint="convert the text to UTF-8 first, for instance with `iconv -t UTF-8`",
        )
        self.offset = offset
        self.reason = reason


class Encoder:
    """Made by `Tokenizer.stream`. After `feed(a)` … `finish()` the ids joined are `encode(whole)`.

    `pending` are the bytes seen whose tokens are not certain yet (half a character, an unfinished
    word): ``tokenizer.stream(pending)`` goes on from there. `unknown` and `unknown_nats` count the
    unknown tokens given out so far and their spelling.

    Raises: MalformedTextError from `feed` or `finish`; the encoder is of no use afterwards.
    """

    def __init__(self, tokenizer: Tokenizer, pending: bytes = b"") -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._text = ""
        self._decoded = 0
        self._given = ""  # the text of the ids given out last
        self.unknown = 0
        self.unknown_nats = 0.0
        if pending:
            self._text = self._decode(pending, final=False)

    @property
    def pending(self) -> bytes:
        """The bytes fed that no returned id stands for yet."""
        return self._text.encode("utf-8") + self._decoder.getstate()[0]

    @property
    def charges(self) -> NDArray[np.float64]:
        """The spelling of each token given out last, nats (N,): 0 for a known one."""
        return self._tokenizer.spelling_by_token(self._given)

    def feed(self, data: bytes) -> NDArray[np.int32]:
        """Ids (N,) int32 of all tokens that are certain now."""
        self._text += self._decode(data, final=False)
        cut = self._tokenizer.complete_prefix(self._text)
        ready, self._text = self._text[:cut], self._text[cut:]
        return self._encode(ready)

    def finish(self) -> NDArray[np.int32]:
        """Ids (N,) int32 of what was pending; the text has ended."""
        ready, self._text = self._text + self._decode(b"", final=True), ""
        return self._encode(ready)

    def _encode(self, text: str) -> NDArray[np.int32]:
        ids, unknown, nats = self._tokenizer.encode_charged(text)
        self._given = text
        self.unknown += unknown
        self.unknown_nats += nats
        return ids

    def _decode(self, data: bytes, *, final: bool) -> str:
        held = len(self._decoder.getstate()[0])
        try:
            text = self._decoder.decode(data, final)
        except UnicodeDecodeError as error:
            raise MalformedTextError(self._decoded - held + error.start, error.reason) from None
        self._decoded += len(data)
        return text


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
