"""Folders as one tar.gz with the same bytes for the same files, whoever packs them, where and when."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

LEFT_OUT = {"__pycache__"}


def pack(entries: Iterable[Path]) -> bytes:
    """Each file or folder of `entries` under its own name, in order of names; owners and times are left out."""
    tape = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=tape, mode="wb", compresslevel=6, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT, dereference=True) as tar,
    ):
        for entry in sorted(entries, key=lambda path: path.name):
            tar.add(entry, arcname=entry.name, filter=_plain)
    return tape.getvalue()


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if LEFT_OUT & set(Path(member.name).parts):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member
