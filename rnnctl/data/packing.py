"""How a file is packed: compressed streams, and archives with files in them.

What a file is, is told by its first bytes; its name is only checked against them.
"""

from __future__ import annotations

import bz2
import io
import lzma
import os
import shutil
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol

from rnnctl.data.cache import storage_errors
from rnnctl.errors import DataError

CHUNK = 1 << 20
SUFFIXES = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstandard"}
OFFICE_SUFFIXES = {".xlsx", ".xls", ".ods", ".docx", ".doc", ".odt", ".pptx", ".odp"}
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstandard",
}
# After "BZh" and a digit stand six bytes of pi (a block) or of its square root (the end), so that a
# text that begins with these letters is not taken for one.
_BZIP2_BLOCKS = {b"1AY&SY", b"\x17rE8P\x90"}
_ZIP = b"PK\x03\x04"
_TAR_BLOCK = 512
_SMALL = 512  # reads up to this size are filled: they are headers, not content
_SHEETS = {".xlsx", ".xls", ".ods"}


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class Reads:
    """A stream of bytes that gives what is readable now, after a look at its beginning.

    Not through the stream's own buffer where there is a file behind it: a thread that still waits
    would hold the buffer's lock when the process wants to end.
    """

    def __init__(self, stream: _Readable) -> None:
        self._next = _reader(stream)
        self._held = b""

    def peek(self, size: int = 1) -> bytes:
        """What is held of the beginning: at least `size` bytes, fewer only at the end."""
        while len(self._held) < size:
            data = self._next(CHUNK >> 4)
            if not data:
                break
            self._held += data
        return self._held

    def read(self, size: int = -1) -> bytes:
        """One read's worth, at most `size` bytes; everything for a negative size."""
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        if size <= _SMALL:
            self.peek(size)
        if self._held:
            data, self._held = self._held[:size], self._held[size:]
            return data
        return self._next(size)


def _reader(stream: _Readable) -> Callable[[int], bytes]:
    try:
        descriptor = stream.fileno()  # type: ignore[attr-defined]
    except (AttributeError, io.UnsupportedOperation):
        # `read1` gives what is there, where `read` waits for all that was asked for.
        read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
        return read
    return lambda size: os.read(descriptor, size)


def compression(head: bytes) -> str | None:
    """How a stream that begins so is packed; None if it is not. 10 bytes are enough."""
    kind = next((kind for magic, kind in _COMPRESSED.items() if head.startswith(magic)), None)
    return None if kind == "bzip2" and head[4:10] not in _BZIP2_BLOCKS else kind


def check_suffix(path: Path, head: bytes, name: str) -> None:
    """Raises: DataError if the name says that the file is packed, and it is packed otherwise."""
    said = SUFFIXES.get(path.suffix.lower())
    if said and said != compression(head) and head:
        raise DataError(
            f"{name} is not a {said} file", hint="give it the file ending that fits its content"
        )


def unpacked(stream: BinaryIO | Reads, kind: str | None) -> BinaryIO:
    """The content of a compressed stream, as it can be unpacked."""
    if kind == "gzip":
        import gzip

        return gzip.GzipFile(fileobj=stream)  # type: ignore[return-value,arg-type]
    if kind == "bzip2":
        return bz2.BZ2File(stream)  # type: ignore[return-value,arg-type]
    if kind == "xz":
        return lzma.LZMAFile(stream)  # type: ignore[return-value,arg-type]
    if kind == "zstandard":
        found: BinaryIO = _zstd().ZstdFile(stream)
        return found
    return stream  # type: ignore[return-value]


def _zstd() -> Any:
    """The module of Python's library since 3.14; before, the same as a package of its own."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


def _unpacking_errors(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """What a damaged packed file raises. A function, so that zstd is imported only where one is."""
    return EOFError, zlib.error, lzma.LZMAError, OSError, _zstd().ZstdError, *more


class Unpacked:
    """The content of a compressed stream that is called `name` in errors."""

    def __init__(self, stream: BinaryIO | Reads, kind: str, name: str) -> None:
        self._name = name
        self._stream = unpacked(stream, kind)
        self._read = getattr(self._stream, "read1", self._stream.read)

    def read(self, size: int = -1) -> bytes:
        """What can be unpacked of what is there. Raises: DataError for a damaged stream."""
        try:
            data: bytes = self._read(size)
        except _unpacking_errors() as error:
            raise damaged(self._name, error) from error
        return data


def read_unpacked(stream: BinaryIO | Reads, size: int, name: str) -> bytes:
    """Up to `size` bytes. Raises: DataError for a damaged file."""
    try:
        return stream.read(size)
    except _unpacking_errors() as error:
        raise damaged(name, error) from error


def damaged(name: str, error: BaseException) -> DataError:
    """What to say of a packed file that cannot be unpacked."""
    return DataError(f"{name} is damaged or cut off ({error})", hint="fetch or pack the file again")


# -- archives --------------------------------------------------------------------------------


def archive_kind(stream: Reads, kind: str | None) -> str | None:
    """ "zip", "tar", or None for a stream that is no archive; `kind` is its compression."""
    if kind is None:
        head = stream.peek()
        if head.startswith(_ZIP):
            return "zip"
        # A tape archive is written in blocks, so that its first header comes in one read.
        return "tar" if _is_tar(head) else None
    size = 1
    while True:
        packed = stream.peek(size)
        head = _beginning(packed, kind)
        # A pipe may bring line by line what somebody waits for, and no first line is in a header.
        if len(head) >= _TAR_BLOCK or b"\n" in head or len(packed) < size or size > CHUNK >> 4:
            return "tar" if _is_tar(head) else None
        size = len(packed) + 1


def _beginning(packed: bytes, kind: str) -> bytes:
    """What the first bytes of a compressed stream unpack to, at most a block."""
    try:
        if kind == "zstandard":
            return bytes(_zstd().ZstdFile(io.BytesIO(packed)).read1(_TAR_BLOCK))
        made: dict[str, Callable[[], Any]] = {
            # 31: the largest window (15), and a gzip header around it (16).
            "gzip": lambda: zlib.decompressobj(31),
            "bzip2": bz2.BZ2Decompressor,
            "xz": lzma.LZMADecompressor,
        }
        found: bytes = made[kind]().decompress(packed, _TAR_BLOCK)
    except _unpacking_errors(ValueError):  # damaged: whoever reads it says so
        return b""
    return found


def _is_tar(head: bytes) -> bool:
    # The mark of POSIX and of GNU archives; those of before 1988 have none and are not known.
    return head[257:262] == b"ustar"


def is_archive(path: Path) -> bool:
    """Whether the file at `path` is a zip or tape archive, compressed or not. Raises: OSError."""
    with path.open("rb") as file:
        stream = Reads(file)
        return archive_kind(stream, compression(stream.peek(_TAR_BLOCK))) is not None


def unpack_archive(path: Path, folder: Path, name: str) -> None:
    """Write the files of an archive below `folder`.

    Links, devices, hidden files and names that lead outside are passed over.

    Raises: DataError for an office document, a locked or a damaged archive; StorageError.
    """
    # Documents of office programs are zip archives of XML, which nobody takes for a corpus.
    refuse_office(path, name)
    try:
        opened = _zipped(path, name) if zipfile.is_zipfile(path) else _taped(path)
        for member, content in opened:
            place = _place(member, folder)
            if place is None:
                continue
            with storage_errors(place):
                place.parent.mkdir(parents=True, exist_ok=True)
                target = place.open("wb")
            with target:
                while data := content.read(CHUNK):
                    with storage_errors(place):
                        target.write(data)
    except _unpacking_errors(tarfile.TarError, zipfile.BadZipFile, RuntimeError) as error:
        raise damaged(name, error) from error


def _zipped(path: Path, name: str) -> Iterator[tuple[str, BinaryIO]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            # Bit 0 of a member says that it is encrypted.
            if member.flag_bits & 1:
                raise DataError(f"{name} is protected by a password", hint="unpack it first")
            if not member.is_dir():
                with archive.open(member) as content:
                    yield member.filename, content  # type: ignore[misc]


def _taped(path: Path) -> Iterator[tuple[str, BinaryIO]]:
    with path.open("rb") as file:
        stream = Reads(file)
        source = unpacked(stream, compression(stream.peek(_TAR_BLOCK)))
        # As a stream: going back in a compressed file means to unpack it from its beginning.
        with tarfile.open(fileobj=source, mode="r|") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None:
                    yield member.name, content  # type: ignore[misc]


def _place(member: str, folder: Path) -> Path | None:
    """Where a member goes; None for one that is not wanted or would go somewhere else."""
    # Windows writes backslashes, and a colon after a drive; macOS adds __MACOSX with notes of its
    # own.
    parts = [part for part in PurePosixPath(member.replace("\\", "/")).parts if part != "/"]
    unwanted = any(part.startswith(".") or part == "__MACOSX" or ":" in part for part in parts)
    return None if unwanted or not parts else folder.joinpath(*parts)


def refuse_office(path: Path, name: str) -> None:
    """Raises: DataError for a file of an office program, with the way to a text or a table."""
    suffix = Path(name).suffix.lower()
    sheet = suffix in _SHEETS
    inside = False
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except zipfile.BadZipFile as error:
            raise damaged(name, error) from error
        inside = "[Content_Types].xml" in names or "mimetype" in names
        sheet = sheet or any(one.startswith("xl/") for one in names)
    if suffix in OFFICE_SUFFIXES or inside:
        what = "a spreadsheet" if sheet else "a document of an office program"
        way = "CSV (UTF-8)" if sheet else "plain text (UTF-8)"
        raise DataError(
            f"{name} is {what}, not text", hint=f"save it as {way} there: File, Save as, {way}"
        )


def copy_stream(stream: Reads, path: Path) -> None:
    """Write what comes to a file. Raises: StorageError, OSError from reading."""
    with storage_errors(path):
        target = path.open("wb")
    with target:
        shutil.copyfileobj(stream, target, CHUNK)
