"""The files of a model package: each is read under a cap and checked against package.json before anybody uses it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lehr import layout
from lehr.contracts.package import PACKAGE_FILE, ModelPackage, PackagedFile
from lehr.errors import ModelPackageError
from lehr.model_packages import check_file, get_start

if TYPE_CHECKING:
    from io import FileIO

    from lehr.ports import ObjectReader

# A function has 512 MB of /tmp unless its template says more.
MAX_MODEL_BYTES = 450 << 20


class PackageFiles:
    """The files that package.json names, by name."""

    def __init__(self, store: ObjectReader, project: str, version: str, package: ModelPackage) -> None:
        self._store, self._project, self._version, self._package = store, project, version, package

    def fetch(self, name: str, max_bytes: int) -> bytes:
        """The checked bytes of one file. Raises ModelPackageError."""
        entry = self._entry(name, max_bytes)
        raw = get_start(self._store, self._key(name), entry.bytes + 1)
        check_file(self._version, name, entry, len(raw), hashlib.sha256(raw).hexdigest())
        return raw

    def write(self, graph: str, folder: Path) -> list[str]:
        """Put a graph and the files of its weights into `folder`; returns the names of the latter.

        They go to the disk piece by piece, since a model is the largest thing that a function holds.
        """
        weights = [name for name in self._package.files if name.startswith(f"{graph}.")]
        total = sum(
            self._package.files[name].bytes for name in [graph, *weights] if name in self._package.files
        )
        if total > MAX_MODEL_BYTES:
            raise ModelPackageError(
                f"{self._version}: the model has {total} bytes, more than {MAX_MODEL_BYTES}"
            )
        for name in [graph, *weights]:
            self._write(name, folder / name)
        return weights

    def _write(self, name: str, path: Path) -> None:
        entry = self._entry(name, MAX_MODEL_BYTES)
        key = self._key(name)
        with path.open("wb", buffering=0) as file:
            sink = _HashedFile(file)
            try:
                self._store.get_into(key, entry.bytes + 1, sink)
            except KeyError as fault:
                raise ModelPackageError(f"{self._store.uri(key)} is not there") from fault
        check_file(self._version, name, entry, sink.size, sink.sha256())

    def _entry(self, name: str, max_bytes: int) -> PackagedFile:
        entry = self._package.files.get(name)
        if entry is None:
            raise ModelPackageError(f"{self._version}: {PACKAGE_FILE} names no {name}")
        if entry.bytes > max_bytes:
            raise ModelPackageError(f"{self._version}: {name} has {entry.bytes} bytes, more than {max_bytes}")
        return entry

    def _key(self, name: str) -> str:
        return layout.model_file_key(self._project, self._version, name)


def together(*calls: Callable[[], Any]) -> list[Any]:
    """What each call gives, all begun at once: what they wait for is the network. Raises the first one's error."""
    results: list[Any] = [None] * len(calls)
    faults: list[BaseException | None] = [None] * len(calls)

    def run(index: int) -> None:
        try:
            results[index] = calls[index]()
        except BaseException as fault:
            faults[index] = fault

    threads = [threading.Thread(target=run, args=[index], daemon=True) for index in range(len(calls) - 1)]
    for thread in threads:
        thread.start()
    run(len(calls) - 1)
    for thread in threads:
        thread.join()
    for fault in faults:
        if fault:
            raise fault
    return results


class _HashedFile:
    """A file whose digest is made as it is written, while the network is waited for."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self.restart()

    def restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._digest, self.size = hashlib.sha256(), 0

    def write(self, piece: bytes) -> None:
        self._digest.update(piece)
        left = memoryview(piece)
        while left:  # a raw file may take a part
            left = left[self._file.write(left) :]
        self.size += len(piece)

    def sha256(self) -> str:
        return self._digest.hexdigest()
