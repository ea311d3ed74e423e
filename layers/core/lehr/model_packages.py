"""Reading what a model package says of itself, and checking all of it: what loading and promoting have in common."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from lehr import layout
from lehr.contracts.package import PACKAGE_FILE, ModelPackage, PackagedFile
from lehr.contracts.provenance import PROVENANCE_FILE
from lehr.errors import ContractError, ModelPackageError

if TYPE_CHECKING:
    from lehr.contracts.provenance import Statement
    from lehr.ports import ObjectReader, PackageVerifier

MAX_DOCUMENT_BYTES = 1 << 20
_READERS = 8
_FILE_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


def get_start(store: ObjectReader, key: str, count: int) -> bytes:
    """At most `count` bytes are read, whatever lies there. Raises ModelPackageError if nothing does."""
    try:
        return store.get_start(key, count)
    except KeyError as fault:
        raise ModelPackageError(f"{store.uri(key)} is not there") from fault


def read_package(store: ObjectReader, project: str, version: str) -> tuple[ModelPackage, str]:
    """package.json of a version, and the sha256 of its bytes. Raises ModelPackageError if it is of another."""
    raw = get_start(store, layout.model_file_key(project, version, PACKAGE_FILE), MAX_DOCUMENT_BYTES)
    try:
        package = ModelPackage.from_json(raw)
    except ContractError as fault:
        raise ModelPackageError(f"{version}: {PACKAGE_FILE}: {fault}") from fault
    digest = hashlib.sha256(raw).hexdigest()
    if digest[: len(package.version)] != version or package.version != version or package.project != project:
        raise ModelPackageError(
            f"{PACKAGE_FILE} is of {package.project} {package.version}, not of {project} {version}"
        )
    for name in package.files:
        if not 1 <= len(name) <= 128 or name[0] in ".-" or not _FILE_CHARACTERS.issuperset(name):
            raise ModelPackageError(f"{version}: {PACKAGE_FILE} names a file {name[:80]!r}")
    return package, digest


def read_envelope(store: ObjectReader, project: str, version: str) -> bytes | None:
    """The signature beside a package; None if there is none."""
    from lehr.provenance import MAX_ENVELOPE_BYTES

    try:
        return store.get_start(
            layout.model_file_key(project, version, PROVENANCE_FILE), MAX_ENVELOPE_BYTES + 1
        )
    except KeyError:
        return None


def check_file(version: str, name: str, entry: PackagedFile, size: int, sha256: str) -> None:
    """Compare what was read of a file with package.json. Raises ModelPackageError."""
    if size != entry.bytes:
        raise ModelPackageError(f"{version}: {name} does not have the {entry.bytes} bytes of {PACKAGE_FILE}")
    if sha256 != entry.sha256:
        raise ModelPackageError(f"{version}: {name} has sha256 {sha256}, {PACKAGE_FILE} says {entry.sha256}")


def check_package(
    store: ObjectReader, project: str, version: str, verifier: PackageVerifier | None
) -> tuple[ModelPackage, Statement | None]:
    """Check every byte of a package, and its signature if there is a verifier.

    Files are read piece by piece and several at a time, so that a model need not fit into memory. Raises
    ModelPackageError that names the first file which is absent or not what was published.
    """
    from concurrent.futures import (
        ThreadPoolExecutor,
    )  # the endpoint, which checks what it opens, does without

    package, digest = read_package(store, project, version)
    statement = None
    if verifier is not None:
        from lehr.provenance import check_provenance

        statement = check_provenance(read_envelope(store, project, version), package, digest, verifier)

    def check(name: str, entry: PackagedFile) -> None:
        sink, key = _Digest(), layout.model_file_key(project, version, name)
        try:
            store.get_into(key, entry.bytes + 1, sink)
        except KeyError as fault:
            raise ModelPackageError(f"{store.uri(key)} is not there") from fault
        check_file(version, name, entry, sink.size, sink.digest.hexdigest())

    with ThreadPoolExecutor(_READERS) as threads:
        for _ in threads.map(check, package.files, package.files.values()):
            pass
    return package, statement


class _Digest:
    """A sink that keeps nothing of what it is given but its digest."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.digest, self.size = hashlib.sha256(), 0

    def write(self, piece: bytes) -> None:
        self.digest.update(piece)
        self.size += len(piece)
