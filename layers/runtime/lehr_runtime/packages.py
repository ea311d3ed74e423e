"""Loading a model package: nothing is opened before its bytes are those that its version names.

A version is the digest of package.json, which holds the digest of every file: whoever asks for a
version gets exactly the bytes that were judged, or an error that names the file.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from lehr import layout
from lehr.contracts.package import (
    GOLDEN_FILE,
    MODEL_FILE,
    PACKAGE_FILE,
    SIGNATURE_FILE,
    ModelPackage,
    Signature,
    serving_file,
)
from lehr.errors import ContractError, ModelPackageError
from lehr_runtime.golden import MAX_GOLDEN_BYTES, Golden, check_golden, read_golden
from lehr_runtime.graphs import check_graph
from lehr_runtime.predictor import Predictor
from lehr_runtime.session import check_signature, open_session, runtime_of_this_process

if TYPE_CHECKING:
    from lehr.ports import ObjectReader

# A function has 512 MB of /tmp unless its template says more.
MAX_MODEL_BYTES = 450 << 20
MAX_DOCUMENT_BYTES = 1 << 20
_numbers = itertools.count()
_FLAT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


class LoadedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A package whose files were checked, whose graph fits its signature, and which has answered once.

    `graph` says which of the package's two graphs answers; `reason` why it is not the optimised one.
    """

    version: str
    package: ModelPackage
    signature: Signature
    predictor: Predictor
    graph: Literal["portable", "serving"] = "portable"
    reason: str = ""


def load_package(
    store: ObjectReader, project: str, version: str, *, directory: Path, threads: int
) -> LoadedModel:
    """Fetch, check and open models/<project>/<version>/.

    The graph that was optimised for this processor and this ONNX Runtime is opened if the package has one, and
    model.onnx otherwise, or where the optimised one does not give the golden rows' probabilities. The files are
    written to a folder of `directory` and removed once the session holds them (a mapped file outlives its
    name), so that a warm function never fills its disk. The model answers before it is given away: the golden rows,
    and one input of zeros.

    Raises ModelPackageError saying which file is absent, too large, or not what package.json says.
    """
    package = _read_package(store, project, version)
    files = _Files(store, project, version, package)
    signature = _read_signature(files.fetch(SIGNATURE_FILE, MAX_DOCUMENT_BYTES))
    golden = None
    if GOLDEN_FILE in package.files:
        golden = read_golden(files.fetch(GOLDEN_FILE, MAX_GOLDEN_BYTES), place=f"{version}: {GOLDEN_FILE}")
    serving = serving_file(*runtime_of_this_process())
    reason = ""
    directory.mkdir(parents=True, exist_ok=True)
    # Two processes of one machine may load the same version: each writes into a folder of its own.
    folder = directory / f"{version}-{os.getpid()}-{time.monotonic_ns()}-{next(_numbers)}"
    folder.mkdir(mode=0o700)
    try:
        if serving not in package.files:
            reason = f"the package has no {serving}"
        elif golden is None:
            reason = "the package has no golden rows to prove the optimised graph on"
        else:
            names = files.write(serving, folder)
            try:
                predictor = _open(folder, serving, names, signature, golden, threads, is_optimised=True)
            except ModelPackageError as fault:
                reason = str(fault)
                for name in [serving, *names]:
                    (folder / name).unlink()
            else:
                return LoadedModel(
                    version=version,
                    package=package,
                    signature=signature,
                    predictor=predictor,
                    graph="serving",
                )
        names = files.write(MODEL_FILE, folder)
        predictor = _open(folder, MODEL_FILE, names, signature, golden, threads)
    finally:
        _remove(folder)
    return LoadedModel(
        version=version, package=package, signature=signature, predictor=predictor, reason=reason
    )


def _remove(folder: Path) -> None:
    """Not by shutil, which imports four compressions for it."""
    with suppress(OSError):
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def _open(
    folder: Path,
    name: str,
    names: list[str],
    signature: Signature,
    golden: Golden | None,
    threads: int,
    *,
    is_optimised: bool = False,
) -> Predictor:
    """A predictor that has proven itself. Raises ModelPackageError."""
    check_graph((folder / name).read_bytes(), place=name, is_optimised=is_optimised, files=names)
    session = open_session(folder / name, threads=threads, is_optimised=is_optimised)
    check_signature(session, signature)
    predictor = Predictor(session, signature)
    predictor.predict(np.zeros([1, *signature.input.shape[1:]], dtype=signature.input.dtype))
    if golden:
        check_golden(predictor, golden, place=name)
    return predictor


def _read_package(store: ObjectReader, project: str, version: str) -> ModelPackage:
    raw = _get(store, layout.model_file_key(project, version, PACKAGE_FILE))
    try:
        package = ModelPackage.from_json(raw)
    except ContractError as fault:
        raise ModelPackageError(f"{version}: {PACKAGE_FILE}: {fault}") from fault
    if package.version != version or package.project != project:
        raise ModelPackageError(
            f"{PACKAGE_FILE} is of {package.project} {package.version}, not of {project} {version}"
        )
    for name in package.files:
        if not _FLAT_NAME.fullmatch(name):
            raise ModelPackageError(f"{version}: {PACKAGE_FILE} names a file {name[:80]!r}")
    return package


def _read_signature(raw: bytes) -> Signature:
    try:
        return Signature.from_json(raw)
    except ContractError as fault:
        raise ModelPackageError(f"{SIGNATURE_FILE}: {fault}") from fault


class _Files:
    """The files of one package, each fetched whole and checked."""

    def __init__(self, store: ObjectReader, project: str, version: str, package: ModelPackage) -> None:
        self._store, self._project, self._version, self._package = store, project, version, package

    def fetch(self, name: str, max_bytes: int) -> bytes:
        """The checked bytes of one file. Raises ModelPackageError."""
        entry = self._package.files.get(name)
        if entry is None:
            raise ModelPackageError(f"{self._version}: {PACKAGE_FILE} names no {name}")
        if entry.bytes > max_bytes:
            raise ModelPackageError(f"{self._version}: {name} has {entry.bytes} bytes, more than {max_bytes}")
        key = layout.model_file_key(self._project, self._version, name)
        raw = _get(self._store, key, count=entry.bytes + 1)
        if len(raw) != entry.bytes:
            raise ModelPackageError(
                f"{self._version}: {name} does not have the {entry.bytes} bytes of {PACKAGE_FILE}"
            )
        digest = hashlib.sha256(raw).hexdigest()
        if digest != entry.sha256:
            raise ModelPackageError(
                f"{self._version}: {name} has sha256 {digest}, {PACKAGE_FILE} says {entry.sha256}"
            )
        return raw

    def write(self, graph: str, folder: Path) -> list[str]:
        """Put a graph and the files of its weights into `folder`; returns the names of the latter."""
        weights = [name for name in self._package.files if name.startswith(f"{graph}.")]
        total = sum(
            self._package.files[name].bytes for name in [graph, *weights] if name in self._package.files
        )
        if total > MAX_MODEL_BYTES:
            raise ModelPackageError(
                f"{self._version}: the model has {total} bytes, more than {MAX_MODEL_BYTES}"
            )
        for name in [graph, *weights]:
            (folder / name).write_bytes(self.fetch(name, MAX_MODEL_BYTES))
        return weights


def _get(store: ObjectReader, key: str, *, count: int = MAX_DOCUMENT_BYTES) -> bytes:
    """At most `count` bytes are read, whatever lies there."""
    try:
        return store.get_start(key, count)
    except KeyError as fault:
        raise ModelPackageError(f"{store.uri(key)} is not there") from fault
