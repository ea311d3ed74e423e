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

from lehr.channel_lists import read_channel_list

SYNC_S = 20.0
LISTED = ("train", "validation")


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
        return len({name for key, etag, name in self._entries() if self._fetch(key, etag, name)})

    def _entries(self) -> Iterator[tuple[str, str, str]]:
        """Key, ETag and name in the folder of each object."""
        for page in self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix
        ):
            for entry in page.get("Contents", []):
                key = entry["Key"]
                yield key, entry.get("ETag", ""), key.removeprefix(self._prefix).lstrip("/") or _last(key)

    def _fetch(self, key: str, etag: str, name: str) -> bool:
        target = (self._folder / name).resolve()
        if not target.is_relative_to(self._folder.resolve()):
            raise ValueError(f"s3://{self._bucket}/{key} would be written outside of its channel")
        is_kept = (
            target.is_file() and self._etags.get(name) == etag and self._same.get(name) == _stamp(target)
        )
        if not is_kept:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._client.download_file(self._bucket, key, str(target))
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


class S3List(S3Folder):
    """The objects of a list (`lehr.channel_lists`) at `uri`, which no one overwrites: their names are their content."""

    def _entries(self) -> Iterator[tuple[str, str, str]]:
        try:
            raw = self._client.get_object(Bucket=self._bucket, Key=self._prefix)["Body"].read()
        except self._client.exceptions.NoSuchKey:
            return
        for listed in read_channel_list(raw, self.uri):
            if listed.bucket != self._bucket:
                raise ValueError(f"{self.uri} lists objects of another bucket, {listed.bucket}")
            yield listed.key, "", listed.name


def open_channel(client: Any, name: str, uri: str, folder: Path) -> S3Folder:
    """Channels of shards are lists, for versions of a dataset share their shards; the others are prefixes."""
    return (S3List if name in LISTED else S3Folder)(client, uri, folder)


def _last(key: str) -> str:
    return key.rpartition("/")[2]


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
