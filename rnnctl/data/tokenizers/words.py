"""Words: how text is cut into them, natural or by the WikiText protocol; what an unknown one costs.

A token of natural text is a word, a punctuation mark or symbol, or one whitespace character; also
the pieces that BPE merges in. A word or mark takes the one space before it along, so that joining
tokens gives the text back. Apostrophes inside a word belong to it. Scripts written without spaces
(Chinese, Japanese, Thai, Lao, Burmese, Khmer) are cut into characters.

The classes are explicit ranges, not ``\\w``: Python's `re` and the regex engine of `tokenizers`
know different Unicode versions and disagree about combining marks. The repetitions are bounded, so
that matching is linear and a token has at most `MAX_TOKEN` characters. A match that ends at `e`
has looked at no character after `e + 1`; on that rests `complete_prefix`.
"""

from __future__ import annotations

import math
import re
import threading
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from rnnctl.data.tokenizers.base import (
    BOUNDARY,
    BOUNDARY_ID,
    UNKNOWN,
    UNKNOWN_ID,
    Ids,
    Tokenizer,
    check_surrogates,
    fused,
    joined_spans,
    layout,
    own_block,
    split_by,
)

SPACE = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"

_MARKS = (
    "\x00-\x08\x0e-\x1f!-/:-@\\[-\\^`{-\x84\x86-\x9f"
    "\xa1-\xa9\xab-\xb1\xb4\xb6-\xb8\xbb-\xbf\xd7\xf7"
    "\u037e\u0387\u055a-\u055f\u0589\u05be\u05c0\u05c3\u05c6\u05f3\u05f4"
    "\u060c\u061b\u061f\u066a-\u066d\u06d4\u0964\u0965\u0f01-\u0f14"
    "\u2010-\u2027\u2030-\u205e\u20a0-\u20cf\u2190-\u2bff\u2e00-\u2e7f"
    "\ufe10-\ufe1f\ufe30-\ufe6f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uffe0-\uffef"
    "\ufff9-\uffff\U0001f000-\U0001faff"
)
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fff\u3001-\u312f\u31a0-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\uff5b-\uff9f\U00020000-\U0003ffff"
)
SINGLE = f"[{_MARKS}{_UNSPACED}]"
LETTER = f"[^{SPACE}{_MARKS}{_UNSPACED}]"
TOKEN = f" ?{LETTER}{{1,50}}(?:['\u2019]{LETTER}{{1,50}}){{0,3}}| ?{SINGLE}|[{SPACE}]"
MAX_TOKEN = 1 + 50 + 3 * 51

_compiled = re.compile(TOKEN)
find_tokens = _compiled.findall
iter_tokens = _compiled.finditer

# Characters that may wait for a space before they are matched one token after the other.
_HOLD = 4096


def complete_prefix(text: str) -> int:
    """Length of a prefix of `text` whose tokens no further text can change.

    A space begins a token and every other whitespace character is one, so cutting before the last
    space or after the last newline is always right; only where neither is near does it match.
    """
    cut = max(text.rfind(" "), text.rfind("\n") + 1, 0)
    if len(text) - cut <= _HOLD:
        return cut
    for match in _compiled.finditer(text, cut):
        if match.end() + 2 > len(text):
            break
        cut = match.end()
    return cut


# -- the tokenizers ------------------------------------------------------------------------------

# What an unknown word costs beyond its ``<unk>``: its spelling, under the training text's letters.
#
# A model that may say ``<unk>`` would otherwise look better the less it knows. The charge is
# ``-sum(ln p(c))`` over the characters and an end symbol, with `p` the unigram of the training
# split's tokens; a character that never occurred there costs 21 bits (all of Unicode has 2^20.1
# code points).

NEVER_SEEN_NATS = 21 * math.log(2)
_SPELT = 60_000  # words whose charge is remembered


@dataclass
class Spelling:
    """Character counts of the training split's tokens, and how many tokens ended."""

    chars: Mapping[str, int]
    ends: int
    _nats: dict[str, float] = field(default_factory=dict, repr=False)
    _charges: dict[str, float] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        total = sum(self.chars.values()) + self.ends
        self._nats = {c: math.log(total / n) for c, n in self.chars.items() if n > 0}
        self._end = math.log(total / self.ends) if self.ends else NEVER_SEEN_NATS

    def charge(self, token: str) -> float:
        """Nats for spelling `token`, end symbol included."""
        known = self._charges.get(token)
        if known is None:
            known = math.fsum(self._nats.get(c, NEVER_SEEN_NATS) for c in token) + self._end
            if len(self._charges) < _SPELT:
                self._charges[token] = known
        return known

    def charge_character(self, character: str) -> float:
        """Nats for naming one unknown character: its length is known, so there is no end."""
        return self._nats.get(character, NEVER_SEEN_NATS)


_REMEMBERED = 60_000  # pieces, about 12 MB: a filter meets new words for ever
_REMEMBERED_CHARS = 4_000_000

_blank = re.compile(f"[{SPACE}]")
_dark = re.compile(f"[^{SPACE}]+")
# The ASCII separators that str.split() takes for whitespace and Unicode's White_Space does not.
_separators = re.compile("[\x1c-\x1f]")


class _Numbers(dict[str, int]):
    """Numbers of pieces, given out as pieces come."""

    def __init__(self, learn: Callable[[str], int]) -> None:
        super().__init__()
        self._learn = learn

    def __missing__(self, piece: str) -> int:
        number = self[piece] = self._learn(piece)
        return number


class PieceCache:
    """Ids of ``" " + piece`` for pieces between spaces, remembered: most pieces come again.

    A space always begins a token (see `TOKEN`), so a text may be cut at its spaces and the parts
    encoded one by one. `charge`, if given, says how many tokens of a part are unknown and what
    spelling them costs. Per piece of a text there is one look-up, the rest is numpy's.
    """

    def __init__(
        self,
        encode: Callable[[str], list[int]],
        charge: Callable[[str], tuple[int, float]] | None = None,
    ) -> None:
        self._encode = encode
        self._charge = charge
        # Instances are shared between threads, and what one learns another may be looking up.
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._numbers = _Numbers(self._learn)
        self._chars = 0
        # By number of the piece, and the ids of all pieces one after the other.
        self._starts, self._sizes, self._ids = array("q"), array("i"), array("i")
        self._unknown, self._nats = array("i"), array("d")

    def _learn(self, piece: str) -> int:
        ids = self._encode(" " + piece)
        unknown, nats = self._charges(" " + piece, ids)
        self._chars += len(piece)
        self._starts.append(len(self._ids))
        self._sizes.append(len(ids))
        self._ids.extend(ids)
        self._unknown.append(unknown)
        self._nats.append(nats)
        return len(self._sizes) - 1

    def _charges(self, part: str, ids: list[int]) -> tuple[int, float]:
        return self._charge(part) if self._charge and UNKNOWN_ID in ids else (0, 0.0)

    def encode(self, text: str) -> tuple[Ids, int, float]:
        """Ids, unknown tokens and their charge in nats of a whole text."""
        first, *pieces = text.split(" ")
        begin = self._encode(first)
        unknown, nats = self._charges(first, begin)
        ids = np.array(begin, dtype=np.int32)
        if not pieces:
            return ids, unknown, nats
        with self._lock:
            find = self._numbers.__getitem__
            numbers = np.fromiter(map(find, pieces), np.int64, len(pieces))
            ids = np.concatenate([ids, self._joined(numbers)])
            if self._charge:
                counts = np.frombuffer(self._unknown, np.int32)[numbers]
                charged = np.frombuffer(self._nats, np.float64)[numbers[counts > 0]]
                unknown, nats = unknown + int(counts.sum()), math.fsum([nats, *charged.tolist()])
            # All at once: to know which of them are old would cost more than to learn the others
            # again.
            if len(self._numbers) > _REMEMBERED or self._chars > _REMEMBERED_CHARS:
                self._forget()
        return ids, unknown, nats

    def _joined(self, numbers: NDArray[np.int64]) -> Ids:
        """The ids of pieces, one after the other."""
        starts = np.frombuffer(self._starts, np.int64)[numbers]
        sizes = np.frombuffer(self._sizes, np.int32)[numbers]
        ends = np.cumsum(sizes, dtype=np.int64)
        places = np.repeat(starts - (ends - sizes), sizes) + np.arange(ends[-1])
        joined: Ids = np.frombuffer(self._ids, np.int32)[places]
        return joined


def lower_case(token: str) -> str:
    """Each character by itself in lower case.

    `str.lower` alone would write a Greek sigma at the end of a word in another way than the
    Lowercase of `tokenizers` does.
    """
    return token.lower() if token.isascii() else "".join(map(str.lower, token))


class WordTokenizer(Tokenizer):
    """What the two word levels share: ``<eos>`` 0, ``<unk>`` 1, then `words` in the order given.

    lowercase: a word is the token of its `lower_case`, and tokens joined are in lower case.
    """

    level: ClassVar[str] = "word"
    protocol: ClassVar[str]

    def __init__(
        self, words: Sequence[str], spelling: Spelling, *, lowercase: bool = False
    ) -> None:
        self.words = tuple(words)
        self.spelling = spelling
        self.lowercase = lowercase
        self._ids = {word: i for i, word in enumerate(self.words, 2)}

    @property
    def vocab_size(self) -> int:
        return len(self.words) + 2

    @property
    def unknown_id(self) -> int:
        return UNKNOWN_ID

    def token_bytes(self, token_id: int) -> bytes:
        if token_id == BOUNDARY_ID:
            return b"\n"
        return (UNKNOWN if token_id == UNKNOWN_ID else self.words[token_id - 2]).encode()

    def charges(self, tokens: Sequence[str]) -> tuple[int, float]:
        """How many of `tokens` are unknown, and what spelling them costs in nats."""
        unknown = [token for token in tokens if token not in self._ids]
        return len(unknown), math.fsum(map(self.spelling.charge, unknown))

    def charges_each(self, tokens: Sequence[str]) -> NDArray[np.float64]:
        """What spelling each of `tokens` costs in nats (N,)."""
        charge, known = self.spelling.charge, self._ids
        return np.array([0.0 if token in known else charge(token) for token in tokens], np.float64)

    def own(self) -> dict[str, Any]:
        """What Hugging Face's format has no place for."""
        spelling = {"chars": dict(self.spelling.chars), "ends": self.spelling.ends}
        own = own_block(self.level, words=self.protocol, spelling=spelling)
        return own | {"lowercase": True} if self.lowercase else own

    def written(self, tokens: list[str]) -> list[str]:
        """Tokens of a text as the vocabulary writes them."""
        return [lower_case(token) for token in tokens] if self.lowercase else tokens

    def normalizer(self, first: dict[str, Any] | None) -> dict[str, Any] | None:
        """What is done to a text before it is cut: `first`, then lower case where it is wanted."""
        if not self.lowercase:
            return first
        lower = {"type": "Lowercase"}
        return lower if first is None else {"type": "Sequence", "normalizers": [first, lower]}

    def model(self) -> dict[str, Any]:
        """The model part of ``tokenizer.json``."""
        vocab = {BOUNDARY: BOUNDARY_ID, UNKNOWN: UNKNOWN_ID} | self._ids
        return {"type": "WordLevel", "unk_token": UNKNOWN, "vocab": vocab, "rnnctl": self.own()}


class NaturalWords(WordTokenizer):
    """Words, marks and whitespace as `TOKEN` cuts them; tokens joined are the text again.

    lead: texts are read with a space before them, so that their first word is the same token as
    anywhere else. Tokens joined then begin with that space.
    """

    protocol: ClassVar[str] = "natural"

    def __init__(
        self,
        words: Sequence[str],
        spelling: Spelling,
        *,
        lead: bool = False,
        lowercase: bool = False,
    ) -> None:
        super().__init__(words, spelling, lowercase=lowercase)
        self.lead = lead
        self._cache = PieceCache(self._encode_piece, self._charge_piece)

    def complete_prefix(self, text: str) -> int:
        return complete_prefix(text)

    def encode_charged(self, text: str) -> tuple[Ids, int, float]:
        check_surrogates(text)
        return self._cache.encode(self.led(text))

    def encode_more(self, text: str) -> tuple[Ids, int, float]:
        check_surrogates(text)
        return self._cache.encode(text)

    def spelling_by_token(self, text: str) -> NDArray[np.float64]:
        return self.spelling_of_more(self.led(text))

    def spelling_of_more(self, text: str) -> NDArray[np.float64]:
        return self.charges_each(self.written(find_tokens(text)))

    def led(self, text: str) -> str:
        return f" {text}" if self.lead and text else text

    def spans(self, text: str, ids: Ids) -> NDArray[np.int64]:
        # The space that was put before the text is none of its bytes.
        return np.maximum(joined_spans(find_tokens(self.led(text))) - self.lead, 0)

    def cut(self, text: str, max_tokens: int, keep: Literal["head", "tail"]) -> str:
        read = self.led(text)
        if keep == "tail":
            return "".join(find_tokens(read)[-max_tokens:]).removeprefix(" " * self.lead)
        ends = (match.end() for match in islice(iter_tokens(read), max_tokens))
        return text[: max(max(ends, default=0) - self.lead, 0)]

    def own(self) -> dict[str, Any]:
        return super().own() | {"lead": True} if self.lead else super().own()

    def to_dict(self) -> dict[str, Any]:
        space = {"type": "Prepend", "prepend": " "} if self.lead else None
        return layout(
            model=self.model(),
            normalizer=self.normalizer(space),
            pre_tokenizer=split_by(TOKEN),
            decoder=fused(),
        )

    def _charge_piece(self, piece: str) -> tuple[int, float]:
        return self.charges(self.written(find_tokens(piece)))

    def _encode_piece(self, piece: str) -> list[int]:
        get = self._ids.get
        return [get(token, UNKNOWN_ID) for token in self.written(find_tokens(piece))]


class WhitespaceWords(WordTokenizer):
    """The WikiText protocol: tokens between whitespace, ``<eos>`` at each newline.

    A literal ``<unk>`` or ``<eos>`` in the text is that token, and is not charged for spelling: the
    text itself says no more. Decoded, every word has a space before it and every line ends in
    space and newline, which is how the WikiText files are written.
    """

    protocol: ClassVar[str] = "whitespace"

    def __init__(
        self, words: Sequence[str], spelling: Spelling, *, lowercase: bool = False
    ) -> None:
        super().__init__(words, spelling, lowercase=lowercase)
        self._ids |= {BOUNDARY: BOUNDARY_ID, UNKNOWN: UNKNOWN_ID}

    def complete_prefix(self, text: str) -> int:
        cut = max(text.rfind(" "), text.rfind("\n")) + 1
        # Other blanks are looked for only in a long text that has neither of these.
        if cut or len(text) < 4096:
            return cut
        return max((match.end() for match in _blank.finditer(text)), default=0)

    def encode_charged(self, text: str) -> tuple[Ids, int, float]:
        check_surrogates(text)
        tokens = self.written(whitespace_tokens(text))
        get = self._ids.get
        # -1 for an unknown word: an <unk> in the text itself is 1, and not charged for.
        ids = np.array([get(token, -1) for token in tokens], dtype=np.int32)
        outside = np.flatnonzero(ids < 0)
        if not len(outside):
            return ids, 0, 0.0
        ids[outside] = UNKNOWN_ID
        charge = self.spelling.charge
        return ids, len(outside), math.fsum(charge(tokens[i]) for i in outside.tolist())

    def spelling_by_token(self, text: str) -> NDArray[np.float64]:
        return self.charges_each(self.written(whitespace_tokens(text)))

    def spans(self, text: str, ids: Ids) -> NDArray[np.int64]:
        # What stands between the tokens is dropped, so it is looked for and counted as a piece.
        pieces = re.split(f"(\n|{_dark.pattern})", text)
        return joined_spans(pieces)[1::2]

    def token_bytes(self, token_id: int) -> bytes:
        word = super().token_bytes(token_id)
        return b" " + word

    def token_text(self, token_id: int) -> str:
        return super().token_text(token_id).removeprefix(" ")

    def cut(self, text: str, max_tokens: int, keep: Literal["head", "tail"]) -> str:
        ends = [match.end() for match in re.finditer(f"\n|{_dark.pattern}", text)]
        if len(ends) <= max_tokens:
            return text
        return text[: ends[max_tokens - 1]] if keep == "head" else text[ends[-max_tokens - 1] :]

    def to_dict(self) -> dict[str, Any]:
        line_ends = {"type": "Replace", "pattern": {"String": "\n"}, "content": f" {BOUNDARY} "}
        return layout(
            model=self.model(),
            normalizer=self.normalizer(line_ends),
            pre_tokenizer={"type": "WhitespaceSplit"},
            decoder=None,
        )

    def model(self) -> dict[str, Any]:
        model = super().model()
        model["vocab"] = dict(sorted(self._ids.items(), key=lambda item: item[1]))
        return model


def whitespace_tokens(text: str) -> list[str]:
    """`text` between whitespace, with a token ``<eos>`` for every newline."""
    marked = text.replace("\n", f" {BOUNDARY} ")
    return _dark.findall(marked) if _separators.search(marked) else marked.split()
