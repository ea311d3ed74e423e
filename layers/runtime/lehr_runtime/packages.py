"""Loading a model package: nothing is opened before its bytes are those that its version names.

A version is the digest of package.json, which holds the digest of every file: whoever asks for a
version gets exactly the bytes that were judged, or an error that names the file.
"""

from __future__ import annotations

import itertools
import os
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from lehr import layout
from lehr.contracts.package import (
    GOLDEN_FILE,
    INT8_FILE,
    PACKAGE_FILE,
    SIGNATURE_FILE,
    ModelPackage,
    Signature,
    serving_file,
)
from lehr.errors import ContractError, ModelPackageError
from lehr_runtime.golden import (
    INT8_TOLERANCE,
    MAX_GOLDEN_BYTES,
    TOLERANCE,
    Golden,
    check_golden,
    read_golden,
)
from lehr_runtime.graphs import check_graph
from lehr_runtime.package_files import PackageFiles, get_start, together
from lehr_runtime.predictor import Predictor
from lehr_runtime.session import check_signature, open_session, runtime_of_this_process
from lehr_runtime.tables import Inputs, Table

if TYPE_CHECKING:
    from lehr.ports import ObjectReader

MAX_DOCUMENT_BYTES = 1 << 20
_numbers = itertools.count()
_FILE_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


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
    the signature's (model.onnx, or model.int8.onnx) otherwise, or where the optimised one does not give the golden
    rows' probabilities. The files are written to a folder of `directory` and removed once the session holds them (a
    mapped file outlives its name), so that a warm function never fills its disk. The model answers before it is given
    away: golden rows, or one input of zeros where the package has none.

    Raises ModelPackageError saying which file is absent, too large, or not what package.json says.
    """
    package = _read_package(store, project, version)
    files = PackageFiles(store, project, version, package)
    serving = serving_file(*runtime_of_this_process())
    directory.mkdir(parents=True, exist_ok=True)
    # Two threads, and two processes of one machine, may load the same version: each into a folder of its own.
    folder = directory / f"{version}-{os.getpid()}-{time.monotonic_ns()}-{next(_numbers)}"
    folder.mkdir(mode=0o700)
    try:
        is_there = serving in package.files and GOLDEN_FILE in package.files
        raw_signature, raw_golden, names = together(
            lambda: files.fetch(SIGNATURE_FILE, MAX_DOCUMENT_BYTES),
            lambda: files.fetch(GOLDEN_FILE, MAX_GOLDEN_BYTES) if GOLDEN_FILE in package.files else b"",
            lambda: files.write(serving, folder) if is_there else [],
        )
        signature = _read_signature(raw_signature)
        golden = read_golden(raw_golden, place=f"{version}: {GOLDEN_FILE}") if raw_golden else None
        loaded = partial(LoadedModel, version=version, package=package, signature=signature)
        if serving not in package.files:
            reason = f"the package has no {serving}"
        elif golden is None:
            reason = "the package has no golden rows to prove the optimised graph on"
        else:
            try:
                predictor = _open(folder, serving, names, signature, golden, threads, is_optimised=True)
            except ModelPackageError as fault:
                reason = str(fault)
                for name in [serving, *names]:
                    (folder / name).unlink()
            else:
                return loaded(predictor=predictor, graph="serving")
        names = files.write(signature.graph, folder)
        return loaded(
            predictor=_open(folder, signature.graph, names, signature, golden, threads), reason=reason
        )
    finally:
        _remove(folder)


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
    if golden:
        tolerance = INT8_TOLERANCE if signature.graph == INT8_FILE else TOLERANCE
        check_golden(predictor, golden, place=name, tolerance=tolerance)
    else:
        predictor.predict(_zeros(signature))
    return predictor


def _zeros(signature: Signature) -> Inputs:
    """One input of zeros, and of texts that no category has."""
    numbers = np.zeros([1, *signature.input.shape[1:]], dtype=signature.input.dtype)
    table = signature.of_table
    if table and table.categories:
        return Table(numbers, np.full([1, *table.categories.shape[1:]], "", dtype=object))
    return numbers


def _read_package(store: ObjectReader, project: str, version: str) -> ModelPackage:
    raw = get_start(store, layout.model_file_key(project, version, PACKAGE_FILE), MAX_DOCUMENT_BYTES)
    try:
        package = ModelPackage.from_json(raw)
    except ContractError as fault:
        raise ModelPackageError(f"{version}: {PACKAGE_FILE}: {fault}") from fault
    if package.version != version or package.project != project:
        raise ModelPackageError(
            f"{PACKAGE_FILE} is of {package.project} {package.version}, not of {project} {version}"
        )
    for name in package.files:
        if not 1 <= len(name) <= 128 or name[0] in ".-" or not _FILE_CHARACTERS.issuperset(name):
            raise ModelPackageError(f"{version}: {PACKAGE_FILE} names a file {name[:80]!r}")
    return package


def _read_signature(raw: bytes) -> Signature:
    try:
        return Signature.from_json(raw)
    except ContractError as fault:
        raise ModelPackageError(f"{SIGNATURE_FILE}: {fault}") from fault
