"""Unpacks the code of functions and layers, once per content, where their processes can import it."""

from __future__ import annotations

import contextlib
import io
import shutil
import stat
import tempfile
import zipfile
from pathlib import Path

from lehr_local.errors import LocalCloudError


def unpack(archive: bytes, target: Path) -> Path:
    """Unpack a zip into `target`, unless it is there already, and return `target`.

    `target` is named by the content, so a folder that exists is complete: it appears by one rename. Raises
    LocalCloudError if the archive is no zip, or names a file outside of it.
    """
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=target.parent))
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as source:
            for member in source.infolist():
                _extract(source, member, scratch)
        scratch.chmod(0o755)
        # Another thread may have been first; what it unpacked is the same.
        with contextlib.suppress(OSError):
            scratch.rename(target)
    except zipfile.BadZipFile as error:
        raise LocalCloudError(f"The code is not a zip archive ({error}).") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _extract(source: zipfile.ZipFile, member: zipfile.ZipInfo, root: Path) -> None:
    # `ZipFile.extract` would quietly drop the dots of `../x` and write somewhere else: refuse instead.
    name = member.filename
    if name.startswith("/") or "\\" in name or ".." in name.split("/"):
        raise LocalCloudError(f"The code archive names a file outside of it: {name!r}.")
    mode = member.external_attr >> 16
    if stat.S_ISLNK(mode):
        raise LocalCloudError(
            f"The code archive holds a symbolic link, {name!r}.", "Package the file itself."
        )
    path = Path(source.extract(member, root))
    if not member.is_dir():
        path.chmod(0o755 if mode & stat.S_IXUSR else 0o644)
