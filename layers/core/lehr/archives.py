"""Files out of a zip or a tar, none of which is believed: names, sizes and kinds are checked before a byte is used.

Nothing is ever written to a disk by the name that an archive gives: it is put into a file without one, piece by piece,
so that it takes no memory. A member that is no plain file, leads out of its folder, or is an archive itself is refused
with its name; what an archive unpacks to is bounded, whatever it claims.
"""

from __future__ import annotations

import io
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from threading import Lock
from typing import IO, Any

from lehr.errors import MalformedDataError
from lehr.file_formats import is_archive_name
from lehr.idx import is_gzipped

MAX_MEMBERS = 50_000
MAX_NAME_CHARACTERS = 500
# Of a directory or of one header, which libraries read as a whole: 50,000 members of long names have less.
MAX_HEADER_BYTES = 16 << 20
_CHUNK_BYTES = 1 << 20
_ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_TAR_AT, _TAR = 257, b"ustar"
_START_BYTES = 512
_ENCRYPTED = 0x1
_READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_PASSED_OVER = (".", "__MACOSX")


def is_archive(start: bytes) -> bool:
    """Whether a file begins as a zip or a tar does; what is gzipped is not looked into."""
    return start.startswith((_ZIP, _EMPTY_ZIP)) or start[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR


class Archive:
    """A zip, a tar or a gzipped tar: `sizes` of its files by their names, in its order; hidden ones are passed over.

    `max_bytes` is what all of them may unpack to together. Reading is safe from several threads. Raises
    MalformedDataError naming `place` and the member.
    """

    def __init__(self, pieces: Iterable[bytes], *, place: str, max_bytes: int) -> None:
        self._place, self._max_bytes, self._lock = place, max_bytes, Lock()
        self._entries: dict[str, Any] = {}
        self.sizes: dict[str, int] = {}
        file = _Headers(_stored(pieces, place, max_bytes))
        self._archive: zipfile.ZipFile | tarfile.TarFile
        found: Iterator[tuple[str, int, Any]]
        total = 0
        with self._problems():
            if file.start.startswith((_ZIP, _EMPTY_ZIP)):
                self._archive = zipfile.ZipFile(file)
                found = _zipped(self._archive, place)
            else:
                self._archive = tarfile.TarFile(fileobj=file)
                found = _tarred(self._archive, place)
            for name, size, entry in found:
                total += self._add(name, size, entry)
                if total > max_bytes:
                    raise _too_large(place, max_bytes)
        file.is_of_headers = False

    def _add(self, name: str, size: int, entry: Any) -> int:
        where = f"{self._place}!{name}"
        if size < 0:
            raise MalformedDataError(f"claims {size} bytes", place=where)
        if name in self._entries:
            raise MalformedDataError("is there twice", place=where)
        if len(self._entries) >= MAX_MEMBERS:
            raise MalformedDataError(
                f"has more than {MAX_MEMBERS} files", place=self._place, hint="cut it into several archives"
            )
        if is_archive_name(name):
            raise _nested(where)
        self._entries[name] = entry
        if not any(part.startswith(_PASSED_OVER) for part in name.split("/")):
            self.sizes[name] = size
        return size

    def read(self, name: str) -> bytes:
        """All of a file. Raises KeyError for one that is not there."""
        body = self.read_range(name, 0, self.sizes[name] + 1)
        if len(body) != self.sizes[name]:
            raise MalformedDataError(
                "is truncated, or longer than it says",
                place=f"{self._place}!{name}",
                hint="copy the archive again",
            )
        return body

    def read_range(self, name: str, first: int, count: int) -> bytes:
        """`count` bytes of a file from byte `first` on (fewer where it ends). Raises KeyError as `read` does."""
        if name not in self.sizes:
            raise KeyError(f"{self._place}!{name}")
        count = min(count, self.sizes[name] + 1 - first)
        if count <= 0:
            return b""
        with self._lock, self._problems(name), self._open(name) as file:
            if first:
                file.seek(first)
            body = file.read(count)
        if not first and is_archive(body[:_START_BYTES]):
            raise _nested(f"{self._place}!{name}")
        return body

    def _open(self, name: str) -> IO[bytes]:
        if isinstance(self._archive, zipfile.ZipFile):
            return self._archive.open(self._entries[name])
        return self._archive.extractfile(self._entries[name]) or io.BytesIO()

    @contextmanager
    def _problems(self, name: str = "") -> Iterator[None]:
        """What the libraries raise, in words."""
        try:
            yield
        except MalformedDataError:
            raise
        except (
            zipfile.BadZipFile,
            tarfile.TarError,
            zlib.error,
            EOFError,
            ValueError,
            LookupError,  # of a member without a name
            struct.error,
            NotImplementedError,
            OverflowError,
            OSError,
            RuntimeError,
        ) as fault:
            place = f"{self._place}!{name}" if name else self._place
            raise MalformedDataError(f"is damaged: {fault}", place=place, hint="pack it again") from fault


class _Headers(io.RawIOBase):
    """A file of which no large piece is read at once, as long as it is headers that are read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.is_of_headers = file, True
        self.start = file.read(_START_BYTES)
        self._size = file.seek(0, io.SEEK_END)
        file.seek(0)

    def read(self, count: int | None = -1) -> bytes:
        left = self._size - self._file.tell()
        count = left if count is None or count < 0 else min(count, left)
        if self.is_of_headers and count > MAX_HEADER_BYTES:
            raise ValueError(f"a header of {count} bytes")
        return self._file.read(max(0, count))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


def _stored(pieces: Iterable[bytes], place: str, max_bytes: int) -> IO[bytes]:
    """The archive as a file of its own without a name; inflated, if it is a tar that is gzipped."""
    pieces = iter(pieces)
    first = next(pieces, b"")
    together: Iterable[bytes] = (one for group in ((first,), pieces) for one in group)
    if is_gzipped(first):
        together = _inflated(together, place)
    file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it goes with the archive
    try:
        for piece in together:
            file.write(piece)
            if file.tell() > max_bytes + MAX_HEADER_BYTES:
                raise _too_large(place, max_bytes)
        file.seek(0)
        if not is_archive(file.read(_START_BYTES)):
            raise MalformedDataError("is neither a zip nor a tar, gzipped or plain", place=place)
        file.seek(0)
    except MalformedDataError:
        file.close()
        raise
    return file


def _inflated(pieces: Iterable[bytes], place: str) -> Iterator[bytes]:
    """Members follow one another (RFC 1952, 2.2)."""
    inflater = zlib.decompressobj(wbits=31)
    try:
        for piece in pieces:
            rest = piece
            while rest:
                if inflater.eof:
                    inflater = zlib.decompressobj(wbits=31)
                yield inflater.decompress(rest, _CHUNK_BYTES)
                rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
        while not inflater.eof:
            block = inflater.decompress(b"", _CHUNK_BYTES)
            if not block:
                raise MalformedDataError(
                    "is truncated: its gzip stream breaks off", place=place, hint="copy the file again"
                )
            yield block
    except zlib.error as fault:
        raise MalformedDataError(f"is damaged: {fault}", place=place, hint="copy the file again") from fault


def _zipped(archive: zipfile.ZipFile, place: str) -> Iterator[tuple[str, int, zipfile.ZipInfo]]:
    for entry in archive.infolist():
        where = f"{place}!{entry.filename[:MAX_NAME_CHARACTERS]}"
        if entry.filename.endswith("/"):  # not is_dir, which fails for a name that is empty
            continue
        mode = entry.external_attr >> 16
        if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise MalformedDataError("is no plain file, but a link or a device", place=where)
        if entry.flag_bits & _ENCRYPTED:
            raise MalformedDataError("is encrypted", place=where, hint="pack it without a password")
        if entry.compress_type not in _READABLE:
            raise MalformedDataError(
                f"is packed by method {entry.compress_type}", place=where, hint="pack it with deflate"
            )
        yield checked_name(entry.filename, place), entry.file_size, entry


def _tarred(archive: tarfile.TarFile, place: str) -> Iterator[tuple[str, int, tarfile.TarInfo]]:
    for entry in archive:
        where = f"{place}!{entry.name[:MAX_NAME_CHARACTERS]}"
        if entry.isdir():
            continue
        if not entry.isreg() or entry.issparse():
            raise MalformedDataError("is no plain file, but a link or a device", place=where)
        yield checked_name(entry.name, place), entry.size, entry


def checked_name(name: str, place: str) -> str:
    """A member's name as a path of plain parts. Raises MalformedDataError for one that leads anywhere else."""
    shown = f"{place}!{name[:MAX_NAME_CHARACTERS]}"
    path = PurePosixPath(name)
    if (
        not path.parts
        or len(name) > MAX_NAME_CHARACTERS
        or path.is_absolute()
        or ".." in path.parts
        or "\\" in name
        or not all(character.isprintable() for character in name)
    ):
        raise MalformedDataError(
            "has a name that leads out of the archive, or is none",
            place=shown,
            hint="pack it with names relative to one folder",
        )
    return str(path)


def _nested(where: str) -> MalformedDataError:
    return MalformedDataError("is an archive within an archive", place=where, hint="unpack the inner one")


def _too_large(place: str, max_bytes: int) -> MalformedDataError:
    return MalformedDataError(
        f"unpacks to more than {max_bytes} bytes", place=place, hint="cut it into several archives"
    )
