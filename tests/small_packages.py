"""Model packages that nobody can load, for whoever only moves them or looks whether they are whole."""

from __future__ import annotations

import hashlib

from lehr import layout
from lehr.contracts.package import PACKAGE_FILE, ModelPackage, PackagedFile
from lehr.ports import ObjectStore


def publish_small_package(artifacts: ObjectStore, project: str, graph: bytes) -> str:
    """Write a package of two files, package.json last; returns its version, which `graph` decides."""
    files = {"model.onnx": graph, "card.md": b"# card"}
    package = ModelPackage(
        project=project,
        files={
            name: PackagedFile(sha256=hashlib.sha256(body).hexdigest(), bytes=len(body))
            for name, body in files.items()
        },
    )
    for name, body in (files | {PACKAGE_FILE: package.to_json()}).items():
        artifacts.put_once(layout.model_file_key(project, package.version, name), body)
    return package.version
