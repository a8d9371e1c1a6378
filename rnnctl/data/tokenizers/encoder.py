"""Encoding bytes as they come: any chunks, the same ids as the whole text at once."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from rnnctl.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rnnctl.data.tokenizers.base import Tokenizer


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
