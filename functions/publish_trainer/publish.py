"""The trainer as objects in S3, under the hash of their content: what turns a stock container of AWS into the trainer.

    trainer/<version>/lehr.tar.gz               lehr, lehr_runtime and lehr_trainer, as this function's layers have them
    trainer/<version>/trainer-packages.tar.gz   third-party packages for the container, packed by `sam build`
    trainer/<version>/start.sh                  unpacks them and becomes the trainer
    trainer/<version>/SHA256SUMS                the three before it; written last, and its sha256 is the version

Layers that nobody has built, as the local cloud takes them, have no third-party packages: the machine's are used.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path

from functions.publish_trainer.archive import pack
from lehr import layout
from lehr.contracts.workflow import OWN_ENTRYPOINT, STOCK_ENTRYPOINT, PublishedTrainer
from lehr.errors import ConfigurationError
from lehr.ports import ObjectStore

CODE = ("lehr", "lehr_runtime", "lehr_trainer")
PACKAGES = "trainer-packages.tar.gz"
START = "start.sh"
SUMS = "SHA256SUMS"


def find_code() -> dict[str, Path]:
    """The folders of the trainer's own packages, found but not imported. Raises ConfigurationError."""
    folders = {}
    for name in CODE:
        found = importlib.util.find_spec(name)
        if found is None or not found.submodule_search_locations:
            raise ConfigurationError(f"the package {name} is in none of the function's layers")
        folders[name] = Path(next(iter(found.submodule_search_locations)))
    return folders


def bundle(code: Mapping[str, Path]) -> dict[str, bytes]:
    """The files of the channel by name, SHA256SUMS last."""
    files = {
        START: (code["lehr_trainer"] / START).read_bytes(),
        "lehr.tar.gz": pack(code.values()),
    }
    packages = code["lehr_trainer"].parent / PACKAGES
    if packages.is_file():
        files[PACKAGES] = packages.read_bytes()
    lines = [f"{hashlib.sha256(body).hexdigest()}  {name}\n" for name, body in sorted(files.items())]
    return files | {SUMS: "".join(lines).encode()}


def publish(files: Mapping[str, bytes], artifacts: ObjectStore) -> tuple[str, str]:
    """Write what is not there yet. Returns the version, 16 hex digits, and the URI of the channel."""
    version = hashlib.sha256(files[SUMS]).hexdigest()[:16]
    if not artifacts.exists(layout.trainer_file_key(version, SUMS)):
        for name, body in files.items():
            artifacts.put_once(layout.trainer_file_key(version, name), body)
    return version, artifacts.uri(layout.trainer_prefix(version))


def stock_trainer(
    files: Mapping[str, bytes], artifacts: ObjectStore, *, gpu_image: str, cpu_image: str
) -> PublishedTrainer:
    """The trainer in a stock image."""
    version, uri = publish(files, artifacts)
    return PublishedTrainer(
        version=version, uri=uri, gpu_image=gpu_image, cpu_image=cpu_image, entrypoint=STOCK_ENTRYPOINT
    )


def own_trainer(image: str) -> PublishedTrainer:
    """The trainer in an image of the user's, built from trainer_image/Dockerfile: nothing to publish."""
    return PublishedTrainer(version="", uri="", gpu_image=image, cpu_image=image, entrypoint=OWN_ENTRYPOINT)
