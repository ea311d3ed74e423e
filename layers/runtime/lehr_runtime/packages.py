"""Loading a model package: nothing is opened before its bytes are those that its version names.

A version is the digest of package.json, which holds the digest of every file: whoever asks for a
version gets exactly the bytes that were judged, or an error that names the file.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from lehr import layout
from lehr.contracts.package import MODEL_FILE, PACKAGE_FILE, SIGNATURE_FILE, ModelPackage, Signature
from lehr.errors import ContractError, ModelPackageError
from lehr.ports import ObjectReader
from lehr_runtime.predictor import Predictor
from lehr_runtime.session import check_signature, open_session

# A function has 512 MB of /tmp unless its template says more.
MAX_MODEL_BYTES = 450 << 20
MAX_DOCUMENT_BYTES = 1 << 20
_FLAT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
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

    The graph and its external weights are written to `directory`/<version>/ and removed once the session
    holds them (a mapped file outlives its name), so that a warm function never fills its disk. The model
    answers one input of zeros first: what it would get wrong for every request, it gets wrong here.

    Raises ModelPackageError saying which file is absent, too large, or not what package.json says.
    """
    package = _read_package(store, project, version)
    signature = _read_signature(_fetch(store, project, version, package, SIGNATURE_FILE, MAX_DOCUMENT_BYTES))
    names = [name for name in package.files if name == MODEL_FILE or name.startswith(f"{MODEL_FILE}.")]
    total = sum(package.files[name].bytes for name in names)
    if total > MAX_MODEL_BYTES:
        raise ModelPackageError(f"{version}: the model has {total} bytes, more than {MAX_MODEL_BYTES}")
    directory.mkdir(parents=True, exist_ok=True)
    # Two processes of one machine may load the same version: each writes into a folder of its own.
    folder = Path(tempfile.mkdtemp(prefix=f"{version}-", dir=directory))
    try:
        for name in [MODEL_FILE, *(other for other in names if other != MODEL_FILE)]:
            (folder / name).write_bytes(_fetch(store, project, version, package, name, MAX_MODEL_BYTES))
        session = open_session(folder / MODEL_FILE, threads=threads)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    check_signature(session, signature)
    predictor = Predictor(session, signature)
    predictor.predict(np.zeros([1, *signature.input.shape[1:]], dtype=signature.input.dtype))
    return LoadedModel(version=version, package=package, signature=signature, predictor=predictor)


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


def _fetch(
    store: ObjectReader, project: str, version: str, package: ModelPackage, name: str, max_bytes: int
) -> bytes:
    """The checked bytes of one file of the package."""
    entry = package.files.get(name)
    if entry is None:
        raise ModelPackageError(f"{version}: {PACKAGE_FILE} names no {name}")
    if entry.bytes > max_bytes:
        raise ModelPackageError(f"{version}: {name} has {entry.bytes} bytes, more than {max_bytes}")
    raw = _get(store, layout.model_file_key(project, version, name), count=entry.bytes + 1)
    if len(raw) != entry.bytes:
        raise ModelPackageError(f"{version}: {name} does not have the {entry.bytes} bytes of {PACKAGE_FILE}")
    digest = hashlib.sha256(raw).hexdigest()
    if digest != entry.sha256:
        raise ModelPackageError(f"{version}: {name} has sha256 {digest}, {PACKAGE_FILE} says {entry.sha256}")
    return raw


def _get(store: ObjectReader, key: str, *, count: int = MAX_DOCUMENT_BYTES) -> bytes:
    """At most `count` bytes are read, whatever lies there."""
    try:
        return store.get_start(key, count)
    except KeyError as fault:
        raise ModelPackageError(f"{store.uri(key)} is not there") from fault
