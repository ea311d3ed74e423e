"""What SageMaker moves between S3 and a training container: channels in, checkpoints both ways, artifacts out.

The errors are worded as SageMaker words them in FailureReason, because people search for those words.
"""

from __future__ import annotations

import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from lehr.channel_lists import ListedFile, read_channel_list
from lehr.errors import ContractError
from lehr_local.settings import ACCESS_KEY_ID, SECRET_ACCESS_KEY, LocalSettings


class TransferError(Exception):
    """Raised when an input is missing or an artifact cannot be stored; its text is a FailureReason."""


class InterruptedTransferError(Exception):
    """Raised when a download ends early because the job was stopped."""


class TrainingStorage:
    """S3 as the platform sees it; one object may serve all jobs, from any thread."""

    def __init__(self, settings: LocalSettings, access_key_id: str = ACCESS_KEY_ID) -> None:
        self._settings = settings
        self._access_key_id = access_key_id
        self._region = settings.region
        self._client: Any = boto3.Session().client(
            "s3",
            endpoint_url=settings.endpoint_url,
            region_name=settings.region,
            aws_access_key_id=access_key_id,
            aws_secret_access_key=SECRET_ACCESS_KEY,
            config=Config(retries={"mode": "standard", "max_attempts": 5}, max_pool_connections=32),
        )
        self._transfer = TransferConfig(max_concurrency=4)

    def acting_as(self, role_arn: str) -> TrainingStorage:
        """The same, under the role of a job, as SageMaker does it on AWS."""
        key = self._settings.authority.key_of(role_arn)
        return self if key == self._access_key_id else TrainingStorage(self._settings, key)

    def download_channel(
        self, source: Mapping[str, Any], folder: Path, role_arn: str, is_stopping: Callable[[], bool]
    ) -> None:
        """Fetch what an S3DataSource names; raises TransferError if there is nothing."""
        uri = source["S3Uri"]
        bucket, prefix = split_uri(uri)
        try:
            if source["S3DataType"] == "ManifestFile":
                count = self._fetch(self._listed(bucket, prefix), folder, is_stopping)
            else:
                count = self._fetch(self._below(bucket, prefix), folder, is_stopping)
        except ContractError as error:
            raise TransferError(
                f"ClientError: Data download failed:Could not parse manifest: {error}"
            ) from error
        except ClientError as error:
            raise TransferError(
                f"ClientError: Data download failed:{error.response['Error']['Code']}: "
                f'{error.response["Error"]["Message"]} (S3 URL "{uri}")'
            ) from error
        if count == 0:
            raise TransferError(
                f'ClientError: Data download failed:No S3 objects found under S3 URL "{uri}" given in input '
                "data source. Please ensure that the bucket exists in the selected region "
                f'({self._region}), that objects exist under that S3 prefix, and that the role "{role_arn}" has '
                f'"s3:ListBucket" permissions on bucket "{bucket}".'
            )

    def upload_archive(self, folder: Path, uri: str) -> bool:
        """Store the content of `folder` as a tar.gz at `uri`; False if there is nothing to store."""
        if not any(folder.iterdir()):
            return False
        archive = folder.with_name(f"{folder.name}.tar.gz")
        try:
            # Weights hardly shrink; the lowest level costs a fifth of the time of the default.
            with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
                for member in sorted(folder.iterdir()):
                    tar.add(member, arcname=member.name)
            self.upload(archive, uri)
        finally:
            archive.unlink(missing_ok=True)
        return True

    def upload(self, path: Path, uri: str) -> None:
        """Store one file at `uri`; raises TransferError."""
        bucket, key = split_uri(uri)
        try:
            self._client.upload_file(str(path), bucket, key, Config=self._transfer)
        except (ClientError, boto3.exceptions.S3UploadFailedError) as error:
            raise TransferError(f"ClientError: Artifact upload failed:Error 7: {error}") from error

    def _below(self, bucket: str, prefix: str) -> Iterator[ListedFile]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for item in (item for page in pages for item in page.get("Contents", [])):
            yield ListedFile(bucket=bucket, key=item["Key"], name=relative_name(item["Key"], prefix))

    def _listed(self, bucket: str, key: str) -> Iterator[ListedFile]:
        raw = self._client.get_object(Bucket=bucket, Key=key)["Body"].read()
        yield from read_channel_list(raw, f"s3://{bucket}/{key}")

    def _fetch(self, files: Iterable[ListedFile], folder: Path, is_stopping: Callable[[], bool]) -> int:
        count = 0
        for file in files:
            if is_stopping():
                raise InterruptedTransferError
            path = folder / file.name
            if not path.resolve().is_relative_to(folder.resolve()):
                raise TransferError(
                    f"ClientError: The key {file.key!r} would leave the folder of its channel."
                )
            count += 1
            if file.key.endswith("/"):
                continue  # What the console makes for an empty folder.
            path.parent.mkdir(parents=True, exist_ok=True)
            self._client.download_file(file.bucket, file.key, str(path), Config=self._transfer)
        return count

    def restore(self, uri: str, folder: Path, is_stopping: Callable[[], bool]) -> None:
        """Fetch the checkpoints under `uri`, if there are any; raises TransferError."""
        bucket, prefix = split_uri(uri.rstrip("/") + "/")
        try:
            self._fetch(self._below(bucket, prefix), folder, is_stopping)
        except ClientError as error:
            raise TransferError(f"ClientError: Checkpoint download failed:{error}") from error


class CheckpointSync:
    """Copies the files of a folder to S3 whenever they have changed; nothing is deleted in S3."""

    def __init__(self, storage: TrainingStorage, folder: Path, uri: str) -> None:
        self._storage = storage
        self._folder = folder
        self._uri = uri.rstrip("/")
        self._lock = threading.Lock()
        self._stored: dict[str, tuple[int, int]] = {}

    def restore(self, is_stopping: Callable[[], bool]) -> None:
        """Fill the folder from S3; what came from there is not sent back until it changes."""
        self._storage.restore(self._uri, self._folder, is_stopping)
        self._stored = dict(self._changed())

    def push(self) -> None:
        """Send what has changed, oldest first, so that a pointer file follows what it points to."""
        with self._lock:
            for name, state in self._changed():
                try:
                    self._storage.upload(self._folder / name, f"{self._uri}/{name}")
                except FileNotFoundError:
                    continue  # Renamed or removed since it was listed.
                self._stored[name] = state

    def _changed(self) -> list[tuple[str, tuple[int, int]]]:
        changed = []
        for path in self._folder.rglob("*"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            name = path.relative_to(self._folder).as_posix()
            state = (status.st_mtime_ns, status.st_size)
            if path.is_file() and self._stored.get(name) != state:
                changed.append((name, state))
        return sorted(changed, key=lambda entry: entry[1])


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an `s3://` URI; raises TransferError if it is none."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise TransferError(f"ClientError: {uri!r} is not an S3 URI.")
    return bucket, key


def relative_name(key: str, prefix: str) -> str:
    """Where under the channel's folder an object lies, as SageMaker lays it out.

    >>> relative_name("data/train/a.csv", "data/train")
    'a.csv'
    >>> relative_name("data/train/a.csv", "data/tr")
    'train/a.csv'
    >>> relative_name("data/train/a.csv", "data/train/a.csv")
    'a.csv'
    """
    if key != prefix and (not prefix or prefix.endswith("/") or key[len(prefix)] == "/"):
        return key[len(prefix) :].lstrip("/")
    return key[prefix.rfind("/") + 1 :]
