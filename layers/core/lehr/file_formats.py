"""Which format a file of rows has, by its first bytes: names of uploads say nothing, and endings may lie."""

from __future__ import annotations

import struct
from typing import Literal

from lehr.idx import is_gzipped

FileFormat = Literal["idx", "safetensors", "png", "jpeg", "csv"]
START_BYTES = 16
ARCHIVE_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz")


def is_archive_name(name: str) -> bool:
    """Whether a file is to be taken for an archive; what is in one is known once it is unpacked."""
    return name.lower().endswith(ARCHIVE_ENDINGS)


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
