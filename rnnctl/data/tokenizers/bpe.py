"""Byte-pair encoding over bytes: any text can be written, frequent words are one token."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from rnnctl.data.tokenizers import pattern
from rnnctl.data.tokenizers.base import (
    BOUNDARY,
    BOUNDARY_ID,
    Ids,
    Tokenizer,
    check_surrogates,
    cut_ids,
)
from rnnctl.data.tokenizers.characters import byte_level, merging
from rnnctl.data.tokenizers.serialization import byte_alphabet, layout, own_block, split_by
from rnnctl.data.tokenizers.words import PieceCache

if TYPE_CHECKING:
    import tokenizers


class BpeTokenizer(Tokenizer):
    """``<eos>`` 0; pieces cut by `pattern`, written as bytes, merged pair by pair.

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
        return pattern.complete_prefix(text)

    def encode_charged(self, text: str) -> tuple[Ids, int, float]:
        check_surrogates(text)
        return self._cache.encode(text)

    def token_bytes(self, token_id: int) -> bytes:
        return self._bytes[token_id]

    def cut(self, text: str, max_tokens: int, keep: Literal["head", "tail"]) -> str:
        ids = self.encode(text)
        return self.decode(cut_ids(ids, max_tokens, keep))

    def to_dict(self) -> dict[str, Any]:
        vocab = {BOUNDARY: BOUNDARY_ID} | {token: i for i, token in enumerate(self.tokens, 1)}
        pieces = {
            "type": "Sequence",
            "pretokenizers": [split_by(pattern.TOKEN), byte_level()],
        }
        merges = [list(pair) for pair in self.merges]
        return layout(
            model=merging(vocab, merges, own_block(self.level)),
            pre_tokenizer=pieces,
            decoder=byte_level(),
        )

    def _encode_piece(self, piece: str) -> list[int]:
        if self._backend is None:
            import tokenizers

            self._backend = tokenizers.Tokenizer.from_str(json.dumps(self.to_dict()))
        return list(self._backend.encode(piece).ids)
