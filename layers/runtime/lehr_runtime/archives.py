"""Files out of a zip or a tar, none of which is believed: names, sizes and kinds are checked before a byte is used.

Nothing is ever written to a disk by the name that an archive gives. A member that is no plain file, leads out of its
folder, or is an archive itself is refused with its name; what an archive unpacks to is bounded, whatever it claims.
"""

from __future__ import annotations

import io
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO

from lehr.errors import MalformedDataError
from lehr.idx import is_gzipped
from lehr_runtime.decode import inflate

MAX_MEMBERS = 50_000
MAX_NAME_CHARACTERS = 500
_ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_TAR_AT, _TAR = 257, b"ustar"
_ENCRYPTED = 0x1
_READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def is_archive(raw: bytes) -> bool:
    """Whether a file begins as a zip or a tar does; what is gzipped is not looked into."""
    return raw.startswith((_ZIP, _EMPTY_ZIP)) or raw[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR


def read_members(raw: bytes, *, place: str, max_bytes: int) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every file of a zip, a tar or a gzipped tar, in the archive's order; folders are passed over.

    `max_bytes` is what all of them may unpack to together. Raises MalformedDataError naming `place` and the member.
    """
    if raw.startswith((_ZIP, _EMPTY_ZIP)):
        found = _zipped(raw, place, max_bytes)
    else:
        if is_gzipped(raw):
            raw = inflate(raw, place=place, max_bytes=max_bytes)
        if not is_archive(raw):
            raise MalformedDataError("is neither a zip nor a tar, gzipped or plain", place=place)
        found = _tarred(raw, place)
    seen: set[str] = set()
    total = 0
    for name, body in found:
        if name in seen:
            raise MalformedDataError("is there twice", place=f"{place}!{name}")
        if len(seen) >= MAX_MEMBERS:
            raise MalformedDataError(
                f"has more than {MAX_MEMBERS} files", place=place, hint="cut it into several archives"
            )
        seen.add(name)
        total += len(body)
        if total > max_bytes:
            raise _too_large(place, max_bytes)
        if is_archive(body[:512]):
            raise MalformedDataError(
                "is an archive within an archive", place=f"{place}!{name}", hint="unpack the inner one"
            )
        yield name, body


def _zipped(raw: bytes, place: str, max_bytes: int) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            left = max_bytes
            for entry in archive.infolist():
                where = f"{place}!{entry.filename[:MAX_NAME_CHARACTERS]}"
                if entry.is_dir():
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
                name = checked_name(entry.filename, place)
                if entry.file_size > left:
                    raise _too_large(place, max_bytes)
                with archive.open(entry) as file:
                    body = _read(file, left)
                if len(body) > left:
                    raise _too_large(place, max_bytes)
                left -= len(body)
                yield name, body
    except MalformedDataError:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        ValueError,
        LookupError,  # of a member without a name
        struct.error,
        NotImplementedError,
        OSError,
        RuntimeError,
    ) as fault:
        raise MalformedDataError(f"is a damaged zip: {fault}", place=place, hint="pack it again") from fault


def _tarred(raw: bytes, place: str) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as archive:
            for entry in archive:
                where = f"{place}!{entry.name[:MAX_NAME_CHARACTERS]}"
                if entry.isdir():
                    continue
                if not entry.isreg() or entry.issparse():
                    raise MalformedDataError("is no plain file, but a link or a device", place=where)
                name = checked_name(entry.name, place)
                file = archive.extractfile(entry)
                body = file.read() if file else b""
                if len(body) != entry.size:
                    raise MalformedDataError("is truncated", place=where, hint="copy the archive again")
                yield name, body
    except MalformedDataError:
        raise
    except (tarfile.TarError, EOFError, ValueError, OSError, OverflowError) as fault:
        raise MalformedDataError(f"is a damaged tar: {fault}", place=place, hint="pack it again") from fault


def checked_name(name: str, place: str) -> str:
    """A member's name as a path of plain parts. Raises MalformedDataError for one that leads anywhere else."""
    shown = f"{place}!{name[:MAX_NAME_CHARACTERS]}"
    path = PurePosixPath(name)
    if (
        len(name) > MAX_NAME_CHARACTERS
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


def _read(file: IO[bytes], left: int) -> bytes:
    """All of it, or one byte more than is left."""
    return file.read(left + 1)


def _too_large(place: str, max_bytes: int) -> MalformedDataError:
    return MalformedDataError(
        f"unpacks to more than {max_bytes} bytes", place=place, hint="cut it into several archives"
    )
