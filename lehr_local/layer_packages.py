"""Which packages of a layer can be imported on this machine.

`sam build` fills a layer with wheels for Lambda: another Python, often another processor. Such packages would fail to
import here, and they would hide the same packages of this environment, which work. They are left out; the others come
from the layer as on AWS.
"""

from __future__ import annotations

import functools
import importlib.machinery
import logging
import os
import platform
import re
import shutil
import sys
import tempfile
from pathlib import Path

logger = logging.getLogger(__name__)

_VERSION = f"{sys.version_info.major}{sys.version_info.minor}"
_TAGGED = re.compile(r"\.cpython-(\d+)[a-z]*-([\w-]+)\.so$")
# e_machine of the ELF header: en.wikipedia.org/wiki/Executable_and_Linkable_Format
_MACHINES = {"x86_64": 0x3E, "amd64": 0x3E, "aarch64": 0xB7, "arm64": 0xB7}


@functools.lru_cache(maxsize=128)
def usable(folder: Path) -> Path:
    """`folder` itself, or a folder of links to those of its entries that can be imported here."""
    foreign = foreign_packages(folder)
    if not foreign:
        return folder
    logger.warning(
        "%s: %s are built for another platform or Python; those of this environment are used",
        folder,
        ", ".join(sorted(foreign)),
    )
    view = folder.with_name(f"{folder.name}-on-{_VERSION}-{platform.machine()}")
    if view.is_dir():
        return view
    scratch = Path(tempfile.mkdtemp(prefix=".linking-", dir=folder.parent))
    left_out = foreign | _metadata_of(folder, foreign)
    for entry in folder.iterdir():
        if entry.name not in left_out:
            (scratch / entry.name).symlink_to(entry)
    try:
        scratch.rename(view)
    except OSError:
        # Another process of the function was first.
        shutil.rmtree(scratch, ignore_errors=True)
    return view


def foreign_packages(folder: Path) -> set[str]:
    """Names of the entries that hold compiled code which cannot be loaded here."""
    if not folder.is_dir():
        return set()
    return {entry.name for entry in folder.iterdir() if any(map(_is_foreign, _libraries(entry)))}


def _libraries(entry: Path) -> list[Path]:
    if entry.is_file():
        return [entry] if entry.name.endswith(".so") else []
    found = []
    for directory, _, names in os.walk(entry):
        found += [Path(directory) / name for name in names if name.endswith(".so") or ".so." in name]
    return found


def _is_foreign(library: Path) -> bool:
    tagged = _TAGGED.search(library.name)
    if tagged is not None and not library.name.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES[:1])):
        return True
    with library.open("rb") as file:
        head = file.read(20)
    if head[:4] != b"\x7fELF":
        return False  # A linker script or an empty stub.
    order = "little" if head[5] == 1 else "big"
    machine = int.from_bytes(head[18:20], order)  # type: ignore[arg-type]
    return machine != _MACHINES.get(platform.machine().lower(), machine)


def _metadata_of(folder: Path, packages: set[str]) -> set[str]:
    """The `.dist-info` of distributions that one of `packages` belongs to."""
    found = set()
    for record in folder.glob("*.dist-info/RECORD"):
        owned = {line.split("/", 1)[0].split(",", 1)[0] for line in record.read_text().splitlines()}
        if owned & packages:
            found.add(record.parent.name)
    return found
