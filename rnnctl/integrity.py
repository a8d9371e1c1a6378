"""What says that bytes are what was written: SHA-256, and all of its uses, in one place.

* A *name*: what was made of the same things is found again under the `key` of these things.
* An *identity*: the digest of a text, a tokenizer, a model or a file (`digest`, `digest_of_file`).
* A *file beside its digest* (`check_file`): in a run's `current.json`, in the manifest of a
  checkpoint, in `files.json` of a folder of the cache.
* *JSON that carries its own digest* (`seal`): it ends in a line `"checksum": "<sha256 of every byte
  before that line>"`, so a single altered bit anywhere is found, without a second file that could
  be exchanged for another.

Here too are the limits within which the JSON of a run is read. The log of a run, which grows line
by line, chains its lines in its own way (`rnnctl.runs.log`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rnnctl.errors import CorruptRunError, RunError, word

if TYPE_CHECKING:
    from hashlib import _Hash

MAX_SMALL = 1 << 20
MAX_RESULT = 64 << 20
# Parsed JSON takes many times its size when it is all brackets; no large record comes near these.
LARGE = 8 << 20
MAX_VALUES = 4_000_000
MAX_CONTAINERS = 1_000_000
_SEAL = re.compile(rb',\n  "checksum": "([0-9a-f]{64})"\n}\n\Z')
_SEAL_BYTES = len(',\n  "checksum": ""\n}\n') + 64
_HINT = "`rnnctl runs --verify` checks all files of a run"
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}\Z")


def hasher() -> _Hash:
    """A SHA-256 that grows with what it is fed, for what comes in parts (`update`, `hexdigest`)."""
    return hashlib.sha256()


def digest(*parts: bytes) -> str:
    """The digest of bytes, parts joined."""
    return digest_of(parts)


def digest_of(parts: Iterable[bytes | memoryview]) -> str:
    """The digest of what comes in parts, in constant memory."""
    whole = hasher()
    for part in parts:
        whole.update(part)
    return whole.hexdigest()


def digest_of_file(path: Path) -> str:
    """The digest of a file, in constant memory. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_source(function: Any) -> str:
    """The digest of the file in which a function is defined: another one when it is edited.

    "" for what no file of Python defines.
    """
    code = getattr(function, "__code__", None)
    path = None if code is None else Path(code.co_filename)
    return "" if path is None or not path.is_file() else digest_of_file(path)


def key(what: Any) -> str:
    """A name of 32 characters for what JSON can write: equal things, and only they, share it."""
    return digest(json.dumps(what).encode())[:32]


def check_file(path: Path, wanted: str, size: object, run: Path) -> Path:
    """`path`, a file of `run`, if it is there with that size and checksum. CorruptRunError
    otherwise.
    """
    hint = (
        f"`rnnctl train --resume {word(run)}` continues from the last good checkpoint, if there is "
        "one"
    )
    if not path.is_file():
        raise CorruptRunError(f"{path} is missing", hint=hint)
    try:
        actual, found = path.stat().st_size, digest_of_file(path)
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from error
    # First the size: it tells a file that is cut off from one that was altered.
    if actual != size:
        raise CorruptRunError(
            f"{path} is cut off or altered: {actual:,} bytes instead of {size}", hint=hint
        )
    if found != wanted:
        raise CorruptRunError(f"{path} is altered: its checksum does not fit", hint=hint)
    return path


def seal(content: dict[str, Any], *, ascii_only: bool = False) -> bytes:
    """The bytes of a sealed file holding `content` (no key "checksum", no NaN).

    `ascii_only` also writes what no encoding can, such as names of files that are not UTF-8.
    """
    assert content and "checksum" not in content
    text = json.dumps(content, indent=2, ensure_ascii=ascii_only, allow_nan=False)
    body = text.removesuffix("\n}").encode("utf-8")
    return body + f',\n  "checksum": "{digest(body)}"\n}}\n'.encode()


def unseal(path: Path, *, limit: int = MAX_SMALL) -> dict[str, Any]:
    """Content of a sealed file. CorruptRunError when it is altered, cut off, or no such file."""
    data = read_limited(path, limit)
    match = _SEAL.search(data[-_SEAL_BYTES:])
    if match is None:
        raise CorruptRunError(
            f"{path} is cut off or altered: it does not end in its checksum", hint=_HINT
        )
    if digest(data[:-_SEAL_BYTES]).encode() != match.group(1):
        raise CorruptRunError(f"{path} is altered: its checksum does not fit", hint=_HINT)
    content = parse_json(data, path)
    content.pop("checksum")
    return content


def read_json(path: Path, *, limit: int = MAX_SMALL) -> dict[str, Any]:
    """The JSON object in a file. CorruptRunError where it holds none, or far too much."""
    return parse_json(read_limited(path, limit), path)


def read_limited(path: Path, limit: int) -> bytes:
    """Bytes of a file that must not be larger than `limit`, before memory is spent on it."""
    try:
        size = path.stat().st_size
        if size > limit:
            raise CorruptRunError(f"{path} is unexpectedly large: {size:,} bytes")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise CorruptRunError(f"{path} is missing") from error
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from error


def parse_json(data: bytes, path: Path) -> dict[str, Any]:
    """A JSON object without NaN, of bounded depth and size in memory. CorruptRunError otherwise."""
    # Asked of the bytes: when the parser finds out, the memory is gone.
    containers = data.count(b"[") + data.count(b"{")
    if len(data) > LARGE and (data.count(b",") > MAX_VALUES or containers > MAX_CONTAINERS):
        raise CorruptRunError(f"{path} holds more values than any record has", hint=_HINT)
    try:
        content = json.loads(data.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise CorruptRunError(f"{path} is not valid JSON", hint=_HINT) from error
    if not isinstance(content, dict):
        raise CorruptRunError(f"{path} does not hold a JSON object", hint=_HINT)
    return content


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def safe_name(name: str, path: Path) -> str:
    """`name` if it is a plain file name that cannot leave its folder; CorruptRunError otherwise."""
    if not _SAFE_NAME.match(name):
        raise CorruptRunError(f"{path} names a file that no run can hold: {name[:60]!r}")
    return name


def inside(path: Path, root: Path) -> Path:
    """`path` if it stays inside `root` after symbolic links; CorruptRunError otherwise.

    Nor may it be anything but a file or a folder: to open a pipe would wait without end.
    """
    if not path.resolve().is_relative_to(root.resolve()):
        raise CorruptRunError(f"{path} leads out of the run directory")
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise CorruptRunError(f"{path} is neither a file nor a folder")
    return path
