"""Whether a model package is whole: every file is there, with the bytes that package.json says."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

from lehr import layout
from lehr.contracts.package import PACKAGE_FILE, ModelPackage, PackagedFile
from lehr.errors import ContractError, UserError
from lehr.ports import ObjectStore

_READERS = 8


def refuse_broken_package(artifacts: ObjectStore, project: str, version: str) -> None:
    """Read every file of a package once, several at a time. Raises UserError naming the first that is not as it was."""
    key = layout.model_file_key(project, version, PACKAGE_FILE)
    try:
        package = ModelPackage.from_json(artifacts.get(key))
    except KeyError as fault:
        raise _broken(version, f"{artifacts.uri(key)} is not there") from fault
    except ContractError as fault:
        raise _broken(version, f"{artifacts.uri(key)} cannot be read") from fault
    if package.version != version or package.project != project:
        raise _broken(version, f"{artifacts.uri(key)} is of {package.project} {package.version}")
    with ThreadPoolExecutor(_READERS) as threads:
        faults = threads.map(
            lambda item: _fault_of(artifacts, layout.model_file_key(project, version, item[0]), item[1]),
            sorted(package.files.items()),
        )
        for fault_found in faults:
            if fault_found:
                raise _broken(version, fault_found)


def _fault_of(artifacts: ObjectStore, key: str, entry: PackagedFile) -> str:
    digest = _Digest()
    try:
        artifacts.get_into(key, entry.bytes + 1, digest)
    except KeyError:
        return f"{artifacts.uri(key)} is not there"
    if (digest.size, digest.sha256.hexdigest()) != (entry.bytes, entry.sha256):
        return f"{artifacts.uri(key)} does not have the bytes that {PACKAGE_FILE} names"
    return ""


def _broken(version: str, what: str) -> UserError:
    return UserError(
        f"the package of {version} is not whole: {what}",
        hint="restore it within 30 days as docs/operations.md says, or name another former champion",
    )


class _Digest:
    """A sink that keeps nothing but size and digest."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.size, self.sha256 = 0, hashlib.sha256()

    def write(self, piece: bytes) -> None:
        self.size += len(piece)
        self.sha256.update(piece)
