"""Which format a file of rows has, by its first bytes: names of uploads say nothing, and endings may lie."""

from __future__ import annotations

import posixpath
import re
import struct
from fnmatch import fnmatchcase
from typing import Literal

from lehr.idx import is_gzipped

FileFormat = Literal["idx", "safetensors", "png", "jpeg", "csv"]
START_BYTES = 16
ARCHIVE_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz")
_MEMBER = re.compile(r"(.*?\.(?:zip|tar|tar\.gz|tgz))!(.+)", re.IGNORECASE | re.DOTALL)


def is_archive_name(name: str) -> bool:
    """Whether a file is to be taken for an archive; what is in one is known once it is unpacked."""
    return name.lower().endswith(ARCHIVE_ENDINGS)


def member_name(archive: str, name: str) -> str:
    """What a file in an archive is called: `data.zip!round/1.png`."""
    return f"{archive}!{name}"


def split_member(name: str) -> tuple[str, str] | None:
    """The archive and the name in it of a file that is called as `member_name` says; None for any other."""
    found = _MEMBER.fullmatch(name)
    return (found[1], found[2]) if found else None


def is_named(name: str, pattern: str) -> bool:
    """Whether a pattern means a file; one of archives means all that is in them."""
    named = split_member(name)
    return fnmatchcase(name if named is None or split_member(pattern) else named[0], pattern)


def unpacked_name(name: str) -> str:
    """What a file is called where its archive is unpacked as it lies."""
    named = split_member(name)
    return posixpath.join(posixpath.dirname(named[0]), named[1]) if named else name


def shown_name(name: str) -> str:
    """The last part of a file's name, and of one in an archive that of the archive before its own."""
    named = split_member(name)
    return member_name(posixpath.basename(named[0]), named[1]) if named else posixpath.basename(name)


def beside(name: str, path: str) -> str:
    """What `path`, relative to the folder of the file `name`, is called: in the archive that `name` is in, if any."""
    archive, inner = split_member(name) or ("", name)
    joined = posixpath.normpath(posixpath.join(posixpath.dirname(inner), path))
    return member_name(archive, joined) if archive else joined


def file_format(start: bytes) -> FileFormat:
    """The format that the first START_BYTES of a file announce; text is CSV, and so is all that nothing else fits."""
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if start.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if is_gzipped(start) or start[:2] == b"\0\0":
        return "idx"
    # Eight bytes of little-endian length, then a JSON object: https://huggingface.co/docs/safetensors#format
    if len(start) > 8 and start[8:9] == b"{" and struct.unpack("<Q", start[:8])[0] < 1 << 32:
        return "safetensors"
    return "csv"
