"""What SageMaker does around a container, where there is none: data in, checkpoints both ways, model out."""

from __future__ import annotations

import json
import tarfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

SYNC_S = 20.0


class S3Folder:
    """A prefix in S3 and the local folder that mirrors it."""

    def __init__(self, client: Any, uri: str, folder: Path) -> None:
        self._client, self._folder, self._uri = client, folder, uri
        self._bucket, _, self._prefix = uri.removeprefix("s3://").partition("/")
        self._same: dict[str, tuple[int, int]] = {}  # size and time of the files that S3 has too
        self._etags: dict[str, str] = {}

    @property
    def uri(self) -> str:
        return self._uri

    def download(self) -> int:
        """Fetch every object under the prefix; one object, if the prefix is its whole key. Returns how many there are.

        What was fetched before and has changed neither here nor there is kept. An object that is deleted meanwhile is
        left out.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        found = set()
        for page in self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix
        ):
            for entry in page.get("Contents", []):
                name = entry["Key"].removeprefix(self._prefix).lstrip("/") or entry["Key"].rpartition("/")[2]
                if self._fetch(entry, name):
                    found.add(name)
        return len(found)

    def _fetch(self, entry: Mapping[str, Any], name: str) -> bool:
        target = (self._folder / name).resolve()
        if not target.is_relative_to(self._folder.resolve()):
            raise ValueError(f"s3://{self._bucket}/{entry['Key']} would be written outside of its channel")
        etag = str(entry.get("ETag", ""))
        is_kept = (
            target.is_file() and self._etags.get(name) == etag and self._same.get(name) == _stamp(target)
        )
        if not is_kept:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._client.download_file(self._bucket, entry["Key"], str(target))
            except ClientError as fault:
                if fault.response["Error"]["Code"] not in {"404", "NoSuchKey"}:
                    raise
                return False
        self._etags[name], self._same[name] = etag, _stamp(target)
        return True

    def upload_changed(self) -> None:
        """Send the files that are new or changed since the last call, and drop those that are gone."""
        present = {
            path.name: path
            for path in self._folder.iterdir()
            if path.is_file() and path.suffix != ".unfinished"
        }
        for name, path in present.items():
            try:
                stamp = _stamp(path)
                if self._same.get(name) != stamp:
                    self._client.upload_file(str(path), self._bucket, self._prefix + name)
                    self._same[name] = stamp
            except FileNotFoundError:
                continue  # rotated away between the listing and now
        for name in set(self._same) - set(present):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name)
            del self._same[name]


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def download_channels(channels: Mapping[str, S3Folder]) -> None:
    """Fetch each channel. Raises FileNotFoundError for an empty one."""
    for name, folder in channels.items():
        if not folder.download():
            raise FileNotFoundError(f"channel {name}: there is nothing under {folder.uri}")


def write_config(root: Path, channels: Sequence[str], hyperparameters: Mapping[str, str]) -> None:
    """The files of the /opt/ml contract that say what the job is; of its hosts, the environment tells."""
    config = root / "input/config"
    config.mkdir(parents=True, exist_ok=True)
    (root / "model").mkdir(exist_ok=True)
    documents = {
        "hyperparameters.json": dict(hyperparameters),
        "inputdataconfig.json": {name: {"TrainingInputMode": "File"} for name in channels},
    }
    for name, document in documents.items():
        (config / name).write_text(json.dumps(document))


@contextmanager
def kept_in_s3(checkpoints: S3Folder) -> Iterator[None]:
    """Copy checkpoints while the training goes on, and once more when it has ended."""
    done = threading.Event()
    keeper = threading.Thread(target=_keep, args=(checkpoints, done), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        done.set()
        keeper.join()
        checkpoints.upload_changed()


def _keep(checkpoints: S3Folder, done: threading.Event) -> None:
    while not done.wait(SYNC_S):
        try:
            checkpoints.upload_changed()
        except Exception as fault:
            # The next round tries again; a checkpoint that is not copied fails no training.
            print(f"checkpoints not copied: {fault}", flush=True)


def upload_model(root: Path, uri: str, client: Any) -> None:
    """`model.tar.gz` as SageMaker makes it: the files of model/ at the top."""
    archive = root / "model.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted((root / "model").iterdir()):
            tar.add(path, arcname=path.name)
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    client.upload_file(str(archive), bucket, f"{prefix}model.tar.gz")
    archive.unlink()
