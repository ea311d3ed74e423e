"""Reading model.tar.gz, which a training job wrote and is therefore not trusted.

Nothing is extracted: the members that a package consists of are read into memory, one by one, under caps.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Collection

from lehr.contracts.package import OPTIONAL_FILES, TRAINED_FILES, WEIGHTS_FILE
from lehr.contracts.workflow import TrialResult
from lehr.errors import ModelPackageError
from lehr.ports import ObjectStore

MAX_FILE_BYTES = 256 * 1024 * 1024
MAX_ARCHIVE_BYTES = 1024 * 1024 * 1024
MAX_MEMBERS = 100


def fetch_archive(
    result: TrialResult,
    artifacts: ObjectStore,
    *,
    names: Collection[str] = (*TRAINED_FILES, *OPTIONAL_FILES),
) -> dict[str, bytes]:
    """The trained files of a trial's own archive, as `read_archive`. Raises ModelPackageError."""
    prefix = artifacts.uri("")
    if not result.model.startswith(prefix):
        raise ModelPackageError(f"trial {result.id}: its model is not in {prefix}")
    try:
        raw = artifacts.get(result.model.removeprefix(prefix))
    except KeyError as fault:
        raise ModelPackageError(f"trial {result.id}: {result.model} does not exist") from fault
    return read_archive(raw, place=result.model, names=names)


def read_archive(
    raw: bytes, *, place: str, names: Collection[str] = (*TRAINED_FILES, *OPTIONAL_FILES)
) -> dict[str, bytes]:
    """The trained files of an archive by name. Raises ModelPackageError if one is missing, too large or no file.

    An optional one may be missing.
    """
    files: dict[str, bytes] = {}
    total = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r|gz") as archive:
            for number, member in enumerate(archive):
                if number >= MAX_MEMBERS:
                    raise ModelPackageError(f"{place}: more than {MAX_MEMBERS} members")
                total += member.size
                if total > MAX_ARCHIVE_BYTES:
                    raise ModelPackageError(f"{place}: unpacked it is over {MAX_ARCHIVE_BYTES} bytes")
                name = member.name.removeprefix("./")
                if name not in names:
                    continue
                if not member.isreg() or name in files:
                    raise ModelPackageError(f"{place}: {name} is not one regular file")
                if name == WEIGHTS_FILE and member.size > MAX_FILE_BYTES:
                    continue  # the model can serve without; only a training cannot start from it
                if member.size > MAX_FILE_BYTES:
                    raise ModelPackageError(f"{place}: {name} is {member.size} bytes, over {MAX_FILE_BYTES}")
                content = archive.extractfile(member)
                files[name] = content.read() if content else b""
    except (tarfile.TarError, EOFError, OSError, zlib.error) as fault:
        raise ModelPackageError(f"{place}: not a readable model archive: {fault}") from fault
    missing = [name for name in names if name not in files and name not in OPTIONAL_FILES]
    if missing:
        raise ModelPackageError(f"{place}: {', '.join(missing)} missing")
    return files
