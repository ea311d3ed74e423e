"""Another registry is made to say of a project's model versions what Lehr's says.

Each look goes through all versions and changes what differs, whoever made it differ: so what a fault has left is made
up for by the next look, and what was changed over there by hand is set right. Nothing is read back from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from functions.mirror_registry.standings import Standing, standings
from lehr import layout
from lehr.contracts.package import PACKAGE_FILE, SIGNATURE_FILE, ModelPackage
from lehr.contracts.registry import ModelRecord
from lehr.ports import EVERY_RUN, MirroredPackage, ModelRegistry, ObjectStore, PackageMirror

_FIGURES = ("accuracy", "rmse", "mean_iou", "map50")


@dataclass
class Look:
    """Model versions that were added and changed; and those of which something went wrong, with what it was."""

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)


def mirror(project: str, registry: ModelRegistry, artifacts: ObjectStore, packages: PackageMirror) -> Look:
    """Make the mirror of a project agree; of a project without models there is none.

    A version that cannot be added ends the look: versions are numbered over there in the order of their arrival, and an
    older one that comes later would be taken for the newest.
    """
    look = Look()
    models = sorted(registry.models(project), key=lambda record: record.created_at)
    if not models:
        return look
    runs = registry.runs(project, limit=EVERY_RUN)
    said = standings(models, runs, registry.champions(project), registry.erasures(project))
    code = {run.run: run.code_sha for run in runs}
    there = {package.version: package for package in reversed(packages.packages(project))}
    for record in models:
        standing, package = said[record.version], there.get(record.version)
        if package is None and standing.is_erased:
            continue
        try:
            if package is None:
                package = _add(record, code.get(record.run, ""), artifacts, packages)
                look.added.append(record.version)
        except Exception as fault:
            look.faults[record.version] = f"{type(fault).__name__}: {fault}"
            break
        try:
            if _differs(package, standing, packages):
                packages.set_status(package, standing.status, standing.reason, _figures(standing))
                look.changed.append(record.version)
        except Exception as fault:
            look.faults[record.version] = f"{type(fault).__name__}: {fault}"
    return look


def _add(
    record: ModelRecord, code_sha: str, artifacts: ObjectStore, packages: PackageMirror
) -> MirroredPackage:
    """Of a version only what never changes: an attempt that is made again asks for the same."""
    project, version = record.project, record.version
    properties = {
        "version": version,
        "run": record.run,
        "trial": record.trial,
        "dataset_version": record.dataset_version,
        "code_sha": code_sha,
        "package_sha256": record.package_sha256,
        "signature_sha256": _signature_sha256(record, artifacts),
    }
    source = artifacts.uri(layout.model_prefix(project, version))
    return packages.add(project, version, source, properties)


def _signature_sha256(record: ModelRecord, artifacts: ObjectStore) -> str:
    """Of signature.json, as package.json has it."""
    raw = artifacts.get(layout.model_file_key(record.project, record.version, PACKAGE_FILE))
    signature = ModelPackage.from_json(raw).files.get(SIGNATURE_FILE)
    return signature.sha256 if signature else ""


def _differs(package: MirroredPackage, standing: Standing, packages: PackageMirror) -> bool:
    """The champion's reason is looked at too: that it serves again changes no status of one that was approved."""
    if package.status != standing.status:
        return True
    return standing.is_champion and not packages.has_reason(package, standing.reason)


def _figures(standing: Standing) -> Mapping[str, str]:
    """What the test split said of it, where that is known."""
    found = {name: getattr(standing.run, name, None) for name in _FIGURES}
    return {name: f"{value:g}" for name, value in found.items() if value is not None}
