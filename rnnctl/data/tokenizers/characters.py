"""Characters and bytes through lookup tables, and pieces of words that are merged from bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from rnnctl.data.tokenizers.base import (
    BOUNDARY,
    BOUNDARY_ID,
    UNKNOWN,
    UNKNOWN_ID,
    Ids,
    Tokenizer,
    byte_alphabet,
    check_surrogates,
    encoded,
    fused,
    joined_spans,
    layout,
    own_block,
    split_by,
)
from rnnctl.data.tokenizers.words import TOKEN, PieceCache, Spelling, complete_prefix

if TYPE_CHECKING:
    import tokenizers


CODE_POINTS = 0x110000


class CharTokenizer(Tokenizer):
    """One id per character: ``<eos>`` 0, ``<unk>`` 1, then `characters` in the order given."""

    level: ClassVar[str] = "char"

    def __init__(self, characters: Sequence[str], counts: Mapping[str, int]) -> None:
        self.characters = tuple(characters)
        self.counts = dict(counts)
        # No ends: how long a character is need not be said.
        self._spelling = Spelling(self.counts, 0)
        # These 512 bytes stay in the processor's nearest cache, the 4 MB of the whole table do not.
        self._ascii = self._table[:128].copy()

    @property
    def vocab_size(self) -> int:
        return len(self.characters) + 2

    @property
    def unknown_id(self) -> int:
        return UNKNOWN_ID

    @cached_property
    def _table(self) -> Ids:
        table = np.full(CODE_POINTS, UNKNOWN_ID, dtype=np.int32)
        codes = np.array([ord(c) for c in self.characters], dtype=np.int64)
        table[codes] = np.arange(2, len(codes) + 2, dtype=np.int32)
        return table

    def encode_charged(self, text: str) -> tuple[Ids, int, float]:
        if text.isascii():
            codes: np.ndarray[Any, Any] = np.frombuffer(text.encode("ascii"), dtype=np.uint8)
            ids = np.take(self._ascii, codes, mode="clip")
        else:
            codes = np.frombuffer(encoded(text, "utf-32-le"), dtype="<u4")
            ids = np.take(self._table, codes, mode="clip")
        unknown = np.flatnonzero(ids == UNKNOWN_ID)
        if not len(unknown):
            return ids, 0, 0.0
        values, times = np.unique(codes[unknown], return_counts=True)
        charges = (
            self._spelling.charge_character(chr(c)) * n
            for c, n in zip(values.tolist(), times.tolist(), strict=True)
        )
        return ids, len(unknown), math.fsum(charges)

    def spelling_by_token(self, text: str) -> NDArray[np.float64]:
        ids = self.encode(text)
        charges = np.zeros(len(ids))
        for place in np.flatnonzero(ids == UNKNOWN_ID).tolist():
            charges[place] = self._spelling.charge_character(text[place])
        return charges

    def spans(self, text: str, ids: Ids) -> NDArray[np.int64]:
        return joined_spans(text)

    def token_bytes(self, token_id: int) -> bytes:
        if token_id == self.boundary_id:
            return b"\n"
        if token_id == UNKNOWN_ID:
            return UNKNOWN.encode()
        return self.characters[token_id - 2].encode()

    def cut(self, text: str, max_tokens: int, keep: Literal["head", "tail"]) -> str:
        return text[:max_tokens] if keep == "head" else text[-max_tokens:]

    def to_dict(self) -> dict[str, Any]:
        vocab = {BOUNDARY: 0, UNKNOWN: 1} | {c: i for i, c in enumerate(self.characters, 2)}
        own = own_block(self.level, spelling={"chars": self.counts, "ends": 0})
        return layout(
            model=merging(vocab, [], own, unknown=UNKNOWN), pre_tokenizer=None, decoder=fused()
        )


class ByteTokenizer(Tokenizer):
    """One id per byte of the text's UTF-8: ``<eos>`` 0, byte `b` is `b + 1`."""

    level: ClassVar[str] = "byte"

    @property
    def vocab_size(self) -> int:
        return 257

    def encode_charged(self, text: str) -> tuple[Ids, int, float]:
        read = np.frombuffer(encoded(text, "utf-8"), dtype=np.uint8)
        return read.astype(np.int32) + np.int32(1), 0, 0.0

    def token_bytes(self, token_id: int) -> bytes:
        return b"\n" if token_id == self.boundary_id else bytes((token_id - 1,))

    def to_dict(self) -> dict[str, Any]:
        alphabet = byte_alphabet()
        vocab = {BOUNDARY: 0} | {alphabet[b]: b + 1 for b in range(256)}
        return layout(
            model=merging(vocab, [], own_block(self.level)),
            pre_tokenizer=byte_level(),
            decoder=byte_level(),
        )


def merging(
    vocab: dict[str, int],
    merges: list[list[str]],
    own: dict[str, Any],
    unknown: str | None = None,
) -> dict[str, Any]:
    """A BPE model of the Hugging Face format; without merges it has one token per character."""
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": unknown,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": vocab,
        "merges": merges,
        "rnnctl": own,
    }


def byte_level() -> dict[str, Any]:
    """Bytes as characters, nothing else: no prefix space, no cutting."""
    return {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": False,
    }


# -- byte pairs ----------------------------------------------------------------------------------


class BpeTokenizer(Tokenizer):
    """``<eos>`` 0; pieces cut by `TOKEN`, written as bytes, merged pair by pair.

    `tokens` are the vocabulary from id 1 on in the byte alphabet, `merges` the pairs in order.
    `tokenizers` merges; pieces it has merged before are remembered.
    """

    level: ClassVar[str] = "bpe"

    def __init__(self, tokens: Sequence[str], merges: Sequence[tuple[str, str]]) -> None:
        self.tokens = tuple(tokens)
        self.merges = tuple(merges)
        numbers = {character: byte for byte, character in byte_alphabet().items()}
        self._bytes = [b"\n", *(bytes(numbers[c] for c in token) for token in self.tokens)]
        self._cache = PieceCache(self._encode_piece)
        self._backend: tokenizers.Tokenizer | None = None

    @property
    def vocab_size(self) -> int:
        return len(self.tokens) + 1

    def complete_prefix(self, text: str) -> int:
        return complete_prefix(text)

    def encode_charged(self, text: str) -> tuple[Ids, int, float]:
        check_surrogates(text)
        return self._cache.encode(text)

    def token_bytes(self, token_id: int) -> bytes:
        return self._bytes[token_id]

    def to_dict(self) -> dict[str, Any]:
        vocab = {BOUNDARY: BOUNDARY_ID} | {token: i for i, token in enumerate(self.tokens, 1)}
        pieces = {
            "type": "Sequence",
            "pretokenizers": [split_by(TOKEN), byte_level()],
        }
        merges = [list(pair) for pair in self.merges]
        return layout(
            model=merging(vocab, merges, own_block(self.level)),
            pre_tokenizer=pieces,
            decoder=byte_level(),
        )

    def _encode_piece(self, piece: str) -> list[int]:
        # Not when it is made: who only decodes need not wait for the import.
        if self._backend is None:
            import tokenizers

            self._backend = tokenizers.Tokenizer.from_str(json.dumps(self.to_dict()))
        return list(self._backend.encode(piece).ids)
