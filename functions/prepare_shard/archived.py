"""An archive as a unit: its files are the examples, each in the folder of its label as if it had been dropped alone."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from functions.prepare_shard.decoded import Decoded, Fault, bare
from functions.prepare_shard.masks import Fetch
from lehr.contracts.file_units import FileExample, PrepareFilesUnit
from lehr.errors import MalformedDataError, MismatchedDataError
from lehr_runtime.archives import read_members
from lehr_runtime.files import decode_file

# Of what the archive unpacks to, and of its rows: with the archive itself, half of the function's 2 GB.
MAX_UNPACKED_BYTES = 512 << 20
MAX_ROW_BYTES = 256 << 20


def read_archived(
    unit: PrepareFilesUnit, archive: FileExample, fetch: Fetch
) -> Iterator[tuple[str, Decoded | Fault]]:
    """Every file of the archive by its name, decoded or with what is wrong with it; hidden files are passed over.

    Raises MalformedDataError for an archive that is damaged, hostile or too large.
    """
    key = archive.file.key
    most = MAX_ROW_BYTES // (prod(unit.input.shape) * (2 if len(unit.input.shape) == 1 else 1))
    count = 0
    for name, body in read_members(fetch(archive.file), place=key, max_bytes=MAX_UNPACKED_BYTES):
        if any(part.startswith((".", "__MACOSX")) for part in name.split("/")):
            continue
        count += 1
        if count > most:
            raise MalformedDataError(
                f"has more than {most} files of this size", place=key, hint="cut it into several archives"
            )
        place = f"{key}!{name}"
        try:
            label = _label(unit, name, place)
            yield place, Decoded(decode_file(body, unit.input, place=place), np.array(label, dtype=np.uint8))
        except (MalformedDataError, MismatchedDataError) as fault:
            yield place, bare(fault)
    if not count:
        raise MalformedDataError("holds no files", place=key)


def _label(unit: PrepareFilesUnit, name: str, place: str) -> int:
    folder = name.rpartition("/")[0].rpartition("/")[2]
    if folder not in unit.archive_labels:
        raise MismatchedDataError(f"its folder {folder!r} is none of data.labels", place=place)
    return unit.archive_labels.index(folder)
