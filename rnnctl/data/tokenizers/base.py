"""What every tokenizer can do, whatever its level; how one is made and how it is kept.

``tokenizer.json`` is Hugging Face's format, written by hand and read with suspicion. Every part but
the vocabulary follows from the level, so reading means: rebuild the file from what was read and
refuse it unless both are the same. A stranger's regular expression, normaliser or post-processor is
thereby never run. Size and number of values are looked at before parsing. What the format has no
place for (level, letter counts) stands as ``rnnctl`` inside ``model``, which `tokenizers` skips.
"""

from __future__ import annotations

import codecs
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from rnnctl import catalog, integrity
from rnnctl.config import TokenizerConfig
from rnnctl.data.cache import kept_folder, write_cached
from rnnctl.errors import CorruptRunError, DataError, MissingExtraError, UsageError

if TYPE_CHECKING:
    from rnnctl.data.corpus import Corpus
    from rnnctl.data.tokenizers.levels import Level


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

    def __init__(self, tokenizer: Tokenizer, pending: bytes = b"", *, begins: bool = True) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._text = ""
        self._decoded = 0
        self._given = ""  # the text of the ids given out last
        self._begins = begins
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
        return self._tokenizer.spelling_of_more(self._given)

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
        if text and self._begins:
            self._begins = False
            text = self._tokenizer.led(text)
        ids, unknown, nats = self._tokenizer.encode_more(text)
        self._given = text
        self.unknown += unknown
        self.unknown_nats += nats
        return ids

    def _decode(self, data: bytes, *, final: bool) -> str:
        # An error's place counts from the bytes that were held of the call before.
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
    lowercase: bool = False
    """Whether words are read in lower case, so that their losses are those of such a text."""

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

    def led(self, text: str) -> str:
        """The beginning of a text as it is read: of some tokenizers with a space before it."""
        return text

    def encode_more(self, text: str) -> tuple[Ids, int, float]:
        """As `encode_charged`, of text that goes on, or is `led` already."""
        return self.encode_charged(text)

    def spelling_of_more(self, text: str) -> NDArray[np.float64]:
        """What spelling each token of `encode_more(text)` costs in nats (N,)."""
        return self.spelling_by_token(text)

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

    def cut(self, text: str, max_tokens: int, keep: Literal["head", "tail"]) -> str:
        """What the first or last `max_tokens` tokens of `text` write.

        A character that is cut in the middle (bytes, BPE) stands as U+FFFD.
        """
        return self.decode(cut_ids(self.encode(text), max_tokens, keep))

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
        return with_end(ids, self.boundary_id)

    def decode(self, ids: Iterable[int] | NDArray[Any]) -> str:
        """The text; broken UTF-8 sequences become U+FFFD, a document's end a newline.

        Raises: DataError for an id outside the vocabulary.
        """
        sequence = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids)).tolist()
        for token_id in sequence:
            if not 0 <= token_id < self.vocab_size:
                raise DataError(f"id {token_id} is outside the vocabulary of {self.vocab_size}")
        return b"".join(map(self.token_bytes, sequence)).decode("utf-8", "replace")

    def token_text(self, token_id: int) -> str:
        """The token for a table or a plot: control characters and broken UTF-8 are escaped."""
        if token_id == self.boundary_id:
            return BOUNDARY
        if token_id == self.unknown_id:
            return UNKNOWN
        text = self.token_bytes(token_id).decode("utf-8", "backslashreplace")
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

    def spelling_nats(self, text: str) -> tuple[int, float]:
        """Number of unknown tokens in `text` and their total spelling charge in nats."""
        return self.encode_charged(text)[1:]

    def stream(self, pending: bytes = b"", *, begins: bool = True) -> Encoder:
        """An encoder that takes bytes as they come. begins: no id of the text was given out yet."""
        return Encoder(self, pending, begins=begins)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the saved form."""
        return integrity.digest(to_bytes(self.to_dict()))

    def save(self, path: str | Path) -> None:
        """Write ``tokenizer.json`` to `path` (through a temporary name).

        Raises: StorageError.
        """
        write_cached(Path(path), to_bytes(self.to_dict()))

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """The tokenizer that `save` wrote.

        Raises: CorruptRunError for a file that is missing, too large, too deep, or holds anything
        that `save` does not write.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise CorruptRunError(
                f"{path}: the tokenizer cannot be read ({error.strerror})"
            ) from error
        try:
            return from_bytes(data)
        except RefusedError as error:
            raise CorruptRunError(
                f"{path}: not a tokenizer that rnnctl wrote: {error}",
                hint="take the file from the run's own backup, or train the run again",
            ) from None


def with_end(ids: Ids, boundary_id: int) -> Ids:
    """Ids (N,) and the boundary behind them (N + 1,); five times as fast as `np.append`."""
    whole = np.empty(len(ids) + 1, np.int32)
    whole[:-1], whole[-1] = ids, boundary_id
    return whole


def cut_ids(ids: Ids, max_tokens: int | None, keep: Literal["head", "tail"]) -> Ids:
    """The first or last `max_tokens` of a document's ids (N,); all if there are no more."""
    if max_tokens is None or len(ids) <= max_tokens:
        return ids
    return ids[:max_tokens] if keep == "head" else ids[-max_tokens:]


def joined_spans(tokens: Iterable[str]) -> NDArray[np.int64]:
    """First byte and end of each of `tokens`, which joined are the text: (N, 2), in UTF-8."""
    return _spans([len(token.encode("utf-8")) for token in tokens])


def _spans(sizes: Sequence[int]) -> NDArray[np.int64]:
    ends = np.cumsum(np.array(sizes, dtype=np.int64))
    return np.stack([ends - np.array(sizes, dtype=np.int64), ends], axis=1)


def encoded(text: str, codec: Literal["utf-8", "utf-32-le"]) -> bytes:
    """The bytes of a text. Raises: DataError for a lone surrogate, which no encoding can write."""
    try:
        return text.encode(codec)
    except UnicodeEncodeError as error:
        code = ord(error.object[error.start])
        raise DataError(
            f"character {error.start} is the lone surrogate U+{code:04X}, which is not text",
            hint="remove it, or write the surrogate pair it belongs to",
        ) from None


def check_surrogates(text: str) -> None:
    """Raises: DataError for a text with a lone surrogate."""
    if not text.isascii():
        encoded(text, "utf-8")


# -- tokenizer.json ------------------------------------------------------------------------------

FORMAT = 1
# A tokenizer.json may be a stranger's: these limits are looked at before it is parsed, for which
# Python takes some ten times the room of the file.
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
    # As GPT-2's bytes_to_unicode has it, and the ByteLevel of `tokenizers` after it.
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in set(printable)]
    return {b: chr(b) for b in printable} | {b: chr(0x100 + i) for i, b in enumerate(others)}


def to_bytes(content: dict[str, Any]) -> bytes:
    """The file's bytes: equal tokenizers give equal files."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


class RefusedError(Exception):
    """Why the file is refused."""


def from_bytes(data: bytes) -> Tokenizer:
    """The tokenizer in `data`. Raises: RefusedError."""
    content = _parse(data)
    model = content.get("model") if isinstance(content, dict) else None
    own = model.get("rnnctl") if isinstance(model, dict) else None
    if not isinstance(own, dict) or not isinstance(model, dict):
        raise RefusedError("the part that names its level is missing")
    if own.get("format") != FORMAT:
        raise RefusedError(f"format {own.get('format')!r:.40} is not known to this version")
    tokenizer = _rebuild(own, _vocabulary(model.get("vocab")), model.get("merges"))
    # So that nothing of a stranger's file but its words is ever used, see above.
    if tokenizer.to_dict() != content:
        raise RefusedError("it holds parts that rnnctl does not write")
    return tokenizer


def check_loads(tokenizer: Tokenizer) -> None:
    """UsageError for a tokenizer that `Tokenizer.load` would refuse, before a training begins."""
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
        # Not isinstance, for which true is a number.
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
        raise RefusedError("a token is not text")
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


# -- making one from the training split ----------------------------------------------------------

_FILE = "tokenizer.json"
_TRAINER = 1  # raise when the same text comes to give another vocabulary


def make_tokenizer(
    corpus: Corpus, config: TokenizerConfig, *, cache: Path | None = None
) -> Tokenizer:
    """The tokenizer of a corpus, from its training split only; kept in `cache` if given.

    Raises: as `train_tokenizer`, and StorageError.
    """

    def make() -> Tokenizer:
        texts = (document.text for document in corpus.documents("train"))
        return train_tokenizer(texts, config, running=corpus.running)

    if cache is None:
        return make()
    what = [_TRAINER, corpus.fingerprint, config.model_dump()]
    if config.level not in catalog.LEVELS:  # another package's, which has no `_TRAINER` to raise
        level: Level = catalog.load("level", config.level)
        what.append(integrity.digest_of_source(level.train))
    name = integrity.key(what)
    folder = kept_folder(cache / "tokenizers" / name, lambda new: make().save(new / _FILE))
    return Tokenizer.load(folder / _FILE)


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
