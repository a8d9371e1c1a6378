"""What a language model remembers of a text, as a small file.

One safetensors file: the state's tensors, and in its header the last token, the bytes that are not
a whole token yet, and a fingerprint of the model and tokenizer it belongs to. Opening one runs no
code, and a state of another model is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from rnnctl import integrity, storage
from rnnctl.data.tokenizers import Tokenizer
from rnnctl.errors import DataError, StorageError
from rnnctl.inference.memory import TextMemory
from rnnctl.nn.models import LanguageModel

FORMAT = "rnnctl.state/1"
RECENT = 64  # tokens
_MAX_FILE = 1 << 28
_MAX_HEADER = 1 << 26


@dataclass(frozen=True, slots=True)
class TextState:
    """The state after a text.

    state: one (L, 1, H) tensor per coordinate, on the CPU; last_token: fed to the model next;
    pending: bytes seen whose tokens are not certain yet; tokens, bytes: read since the beginning;
    recent: the last tokens read, RECENT at most, which a repetition penalty counts; memory: a cache
    and weights that learn, if there are any, which no file holds.
    """

    state: tuple[Tensor, ...]
    last_token: int
    pending: bytes = b""
    tokens: int = 0
    bytes: int = 0
    recent: tuple[int, ...] = ()
    memory: TextMemory | None = None


def beginning(model: LanguageModel, tokenizer: Tokenizer) -> TextState:
    """The state before any text: zeros, and the boundary symbol to begin with."""
    return TextState(model.recurrent.initial_state(1, device="cpu"), tokenizer.boundary_id)


def fingerprint(model: LanguageModel, tokenizer: Tokenizer) -> str:
    """SHA-256 over the weights and the tokenizer: what a state belongs to."""
    return integrity.digest_of(
        chain([tokenizer.fingerprint.encode()], _bytes_of(model.state_dict()))
    )


def save(path: Path, after: TextState, owner: str) -> None:
    """Write the file, whole or not at all. Raises StorageError."""
    tensors = {f"state.{i}": part.contiguous() for i, part in enumerate(after.state)}
    header = {
        "format": FORMAT,
        "model": owner,
        "last_token": str(after.last_token),
        "pending": after.pending.hex(),
        "tokens": str(after.tokens),
        "bytes": str(after.bytes),
        "recent": " ".join(map(str, after.recent)),
    }
    # Over the header too: with another last token the same state means something else.
    header["checksum"] = _checksum(tensors, header)
    storage.remove_leftovers(path.resolve().parent)
    # Behind a link: it goes on pointing to the newest state.
    storage.write_atomic(path.resolve(), safetensors.torch.save(tensors, header))


def _checksum(tensors: dict[str, Tensor], header: dict[str, str]) -> str:
    """SHA-256 over the tensors and everything in the header but the checksum itself."""
    fields = sorted((name, value) for name, value in header.items() if name != "checksum")
    return integrity.digest_of(chain([repr(fields).encode()], _bytes_of(tensors)))


def _bytes_of(tensors: Mapping[str, Tensor]) -> Iterator[bytes]:
    """Names, shapes, kinds and values of tensors, by name."""
    for name, value in sorted(tensors.items()):
        yield f"{name} {tuple(value.shape)} {value.dtype}".encode()
        yield value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()


def load(path: Path, model: LanguageModel, tokenizer: Tokenizer, owner: str) -> TextState:
    """Read what `save` wrote. DataError when it is no state, damaged, or of another model."""
    data = _read(path)
    header = _header(path)
    if header.get("format") != FORMAT:
        raise DataError(f"{path} is not a state of `rnnctl score`", hint=_HINT)
    if header.get("model") != owner:
        raise DataError(f"{path} is the state of another model", hint=_HINT)
    try:
        tensors = safetensors.torch.load(data)
        if header.get("checksum") != _checksum(tensors, header):
            raise DataError(f"{path} is damaged: it is not what was written", hint=_HINT)
        after = TextState(
            state=tuple(tensors[f"state.{i}"] for i in range(len(tensors))),
            last_token=int(header["last_token"]),
            pending=bytes.fromhex(header["pending"]),
            tokens=int(header["tokens"]),
            bytes=int(header["bytes"]),
            recent=tuple(map(int, header.get("recent", "").split())),  # older files have none
        )
    except (safetensors.SafetensorError, KeyError, ValueError) as problem:
        raise DataError(f"{path} is damaged: {problem}", hint=_HINT) from None
    _check(path, after, model, tokenizer)
    return after


_HINT = "write it again with `rnnctl score RUN --state-out FILE`, with the same run"


def _read(path: Path) -> bytes:
    try:
        # A file from anywhere: nothing is read or set aside because its header says so.
        if path.stat().st_size > _MAX_FILE:
            raise DataError(f"{path} is too large to be a state", hint=_HINT)
        data = path.read_bytes()
    except OSError as problem:
        raise StorageError(f"cannot read {path}: {problem.strerror}", hint=_HINT) from problem
    if len(data) < 8 or struct.unpack("<Q", data[:8])[0] > min(len(data) - 8, _MAX_HEADER):
        raise DataError(f"{path} is not a safetensors file, or is cut off", hint=_HINT)
    return data


def _header(path: Path) -> dict[str, str]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (safetensors.SafetensorError, OSError) as problem:
        raise DataError(f"{path} is not a safetensors file: {problem}", hint=_HINT) from None


def _check(path: Path, after: TextState, model: LanguageModel, tokenizer: Tokenizer) -> None:
    wanted = model.recurrent.initial_state(1, device="cpu")
    shapes = [(tuple(part.shape), part.dtype) for part in wanted]
    fits = [(tuple(part.shape), part.dtype) for part in after.state] == shapes
    finite = all(bool(torch.isfinite(part).all()) for part in after.state)
    tokens = (after.last_token, *after.recent)
    if not (fits and finite and min(tokens) >= 0 and max(tokens) < tokenizer.vocab_size):
        raise DataError(f"{path} holds a state that does not fit the model", hint=_HINT)
