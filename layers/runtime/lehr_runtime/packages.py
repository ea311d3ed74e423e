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

from lehr.contracts.package import (
    GOLDEN_FILE,
    INT8_FILE,
    REFERENCE_FILE,
    SIGNATURE_FILE,
    ModelPackage,
    Signature,
    serving_file,
)
from lehr.errors import ContractError, ModelPackageError
from lehr.model_packages import MAX_DOCUMENT_BYTES, read_envelope, read_package
from lehr_runtime.golden import (
    INT8_TOLERANCE,
    MAX_GOLDEN_BYTES,
    TOLERANCE,
    Golden,
    check_golden,
    read_golden,
)
from lehr_runtime.graphs import check_graph
from lehr_runtime.package_files import PackageFiles, together
from lehr_runtime.predictor import Predictor
from lehr_runtime.session import check_signature, open_session, runtime_of_this_process
from lehr_runtime.tables import Inputs, Table

if TYPE_CHECKING:
    from lehr.contracts.reference import ModelReference
    from lehr.ports import ObjectReader, PackageVerifier

_numbers = itertools.count()


class LoadedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A package whose files were checked, whose graph fits its signature, and which has answered once.

    `graph` says which of the package's two graphs answers; `reason` why it is not the optimised one. `reference` is
    there if it was asked for and the package has one.
    """

    version: str
    package: ModelPackage
    signature: Signature
    predictor: Predictor
    graph: Literal["portable", "serving"] = "portable"
    reason: str = ""
    reference: ModelReference | None = None


def load_package(
    store: ObjectReader,
    project: str,
    version: str,
    *,
    directory: Path,
    threads: int,
    verifier: PackageVerifier | None = None,
    has_reference: bool = False,
) -> LoadedModel:
    """Fetch, check and open models/<project>/<version>/. With a `verifier`, only what its key has signed is opened.

    The graph that was optimised for this processor and this ONNX Runtime is opened if the package has one, and
    the signature's (model.onnx, or model.int8.onnx) otherwise, or where the optimised one does not give the golden
    rows' probabilities. The files are written to a folder of `directory` and removed once the session holds them (a
    mapped file outlives its name), so that a warm function never fills its disk. The model answers before it is given
    away: golden rows, or one input of zeros where the package has none.

    Raises ModelPackageError saying which file is absent, too large, or not what package.json says.
    """
    package, digest = read_package(store, project, version)
    files = PackageFiles(store, project, version, package)
    serving = serving_file(*runtime_of_this_process())
    directory.mkdir(parents=True, exist_ok=True)
    # Two threads, and two processes of one machine, may load the same version: each into a folder of its own.
    folder = directory / f"{version}-{os.getpid()}-{time.monotonic_ns()}-{next(_numbers)}"
    folder.mkdir(mode=0o700)
    try:
        is_there = serving in package.files and GOLDEN_FILE in package.files
        signed = [partial(_check_provenance, store, project, package, digest, verifier)] if verifier else []
        is_watched = has_reference and REFERENCE_FILE in package.files
        watched = [partial(files.fetch, REFERENCE_FILE, MAX_DOCUMENT_BYTES)] if is_watched else []
        *first, raw_signature, raw_golden, names = together(
            *signed,
            *watched,
            lambda: files.fetch(SIGNATURE_FILE, MAX_DOCUMENT_BYTES),
            lambda: files.fetch(GOLDEN_FILE, MAX_GOLDEN_BYTES) if GOLDEN_FILE in package.files else b"",
            lambda: files.write(serving, folder) if is_there else [],
        )
        signature = _read_signature(raw_signature)
        golden = read_golden(raw_golden, place=f"{version}: {GOLDEN_FILE}") if raw_golden else None
        loaded = partial(
            LoadedModel,
            version=version,
            package=package,
            signature=signature,
            reference=_read_reference(first[-1]) if is_watched else None,
        )
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


def _check_provenance(
    store: ObjectReader, project: str, package: ModelPackage, digest: str, verifier: PackageVerifier
) -> None:
    """Raises ModelPackageError for a package that the verifier's key has not signed."""
    from lehr.provenance import check_provenance  # only imported for a stack whose packages are signed

    check_provenance(read_envelope(store, project, package.version), package, digest, verifier)


def _read_reference(raw: bytes) -> ModelReference:
    from lehr.contracts.reference import ModelReference  # where nothing is watched, no cold start pays for it

    try:
        return ModelReference.from_json(raw)
    except ContractError as fault:
        raise ModelPackageError(f"{REFERENCE_FILE}: {fault}") from fault


def _read_signature(raw: bytes) -> Signature:
    try:
        return Signature.from_json(raw)
    except ContractError as fault:
        raise ModelPackageError(f"{SIGNATURE_FILE}: {fault}") from fault
