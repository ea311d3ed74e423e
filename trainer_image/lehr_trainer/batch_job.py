"""The same training as a job of AWS Batch: what SageMaker does around the container is done here.

    python -m lehr_trainer batch

Downloads the channels, restores the checkpoints, trains (`lehr_trainer.main.run`), copies checkpoints to S3 while it
trains, and uploads `model.tar.gz`. Told by the state machine through the environment:

    LEHR_CODE_URI LEHR_MANIFEST_URI LEHR_TRAIN_URI   channels
    LEHR_VALIDATION_URI                              one more, empty if nothing is held out
    LEHR_HYPERPARAMETERS                             [training] of the trial, a JSON object of strings
    LEHR_CHECKPOINT_URI LEHR_OUTPUT_URI              where checkpoints and model.tar.gz go
    LEHR_PROJECT LEHR_RUN LEHR_TRIAL                 whose job it is
    AWS_BATCH_JOB_NUM_NODES and its like             how many nodes the job has, and which this is (`ranks.py`)

Of several nodes the main one alone restores and copies checkpoints and uploads the model.

Exit codes: 0 trained, 1 failed (the last line says why), 75 stopped before the end: the next attempt resumes.
"""

from __future__ import annotations

import json
import os
import tarfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lehr.contracts.package import TRAINED_FILES
from lehr_trainer.errors import JobInputError
from lehr_trainer.main import run
from lehr_trainer.ranks import find_ranks
from lehr_trainer.stop import StopFlag

SYNC_S = 20.0
STOPPED = 75  # EX_TEMPFAIL of sysexits.h
CHANNELS = ("code", "manifest", "train", "validation")


class S3Folder:
    """A prefix in S3 and the local folder that mirrors it."""

    def __init__(self, client: Any, uri: str, folder: Path) -> None:
        self._client, self._folder = client, folder
        self._bucket, _, self._prefix = uri.removeprefix("s3://").partition("/")
        self._uploaded: dict[str, tuple[int, int]] = {}

    def download(self) -> int:
        """Fetch every object under the prefix; one object, if the prefix is its whole key. Returns how many."""
        self._folder.mkdir(parents=True, exist_ok=True)
        count = 0
        for page in self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix
        ):
            for entry in page.get("Contents", []):
                name = entry["Key"].removeprefix(self._prefix).lstrip("/") or entry["Key"].rpartition("/")[2]
                target = (self._folder / name).resolve()
                if not target.is_relative_to(self._folder.resolve()):
                    raise ValueError(
                        f"s3://{self._bucket}/{entry['Key']} would be written outside of its channel"
                    )
                target.parent.mkdir(parents=True, exist_ok=True)
                self._client.download_file(self._bucket, entry["Key"], str(target))
                count += 1
        return count

    def upload_changed(self) -> None:
        """Send the files that are new or changed since the last call, and drop those that are gone."""
        present = {
            path.name: path for path in self._folder.iterdir() if path.is_file() and path.suffix != ".tmp"
        }
        for name, path in present.items():
            try:
                stat = path.stat()
                if self._uploaded.get(name) != (stat.st_size, stat.st_mtime_ns):
                    self._client.upload_file(str(path), self._bucket, self._prefix + name)
                    self._uploaded[name] = (stat.st_size, stat.st_mtime_ns)
            except FileNotFoundError:
                continue  # rotated away between the listing and now
        for name in set(self._uploaded) - set(present):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name)
            del self._uploaded[name]


def run_batch_job(root: Path, environ: Mapping[str, str], client: Any, stop: StopFlag) -> int:
    """The whole job. Returns the exit code."""
    is_main = find_ranks(environ, {}).rank == 0
    _write_inputs(root, environ, client)
    if not is_main:
        return run(root, stop, environ)
    checkpoints = S3Folder(client, environ["LEHR_CHECKPOINT_URI"], root / "checkpoints")
    restored = checkpoints.download()
    print(f"{restored} checkpoint file(s) restored from {environ['LEHR_CHECKPOINT_URI']}", flush=True)

    done = threading.Event()
    keeper = threading.Thread(target=_keep_checkpoints, args=(checkpoints, done), daemon=True)
    keeper.start()
    try:
        code = run(root, stop, environ)
    finally:
        done.set()
        keeper.join()
        checkpoints.upload_changed()
    if code != 0:
        return code
    if not all((root / "model" / name).is_file() for name in TRAINED_FILES):
        return STOPPED
    _upload_model(root, environ["LEHR_OUTPUT_URI"], client)
    return 0


def _write_inputs(root: Path, environ: Mapping[str, str], client: Any) -> None:
    """Lay out the files of the /opt/ml contract."""
    channels = {name: uri for name in CHANNELS if (uri := environ.get(f"LEHR_{name.upper()}_URI", ""))}
    for name, uri in channels.items():
        if not S3Folder(client, uri, root / "input/data" / name).download():
            raise FileNotFoundError(f"channel {name}: there is nothing under {uri}")
    config = root / "input/config"
    config.mkdir(parents=True, exist_ok=True)
    (root / "model").mkdir(exist_ok=True)
    documents = {
        "hyperparameters.json": json.loads(environ["LEHR_HYPERPARAMETERS"]),
        "inputdataconfig.json": {name: {"TrainingInputMode": "File"} for name in channels},
    }
    for name, document in documents.items():
        (config / name).write_text(json.dumps(document))


def _keep_checkpoints(checkpoints: S3Folder, done: threading.Event) -> None:
    while not done.wait(SYNC_S):
        try:
            checkpoints.upload_changed()
        except (
            Exception
        ) as fault:  # the next round tries again; a checkpoint that is not copied fails no training
            print(f"checkpoints not copied: {fault}", flush=True)


def _upload_model(root: Path, uri: str, client: Any) -> None:
    """`model.tar.gz` as SageMaker makes it: the files of model/ at the top."""
    archive = root / "model.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted((root / "model").iterdir()):
            tar.add(path, arcname=path.name)
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    client.upload_file(str(archive), bucket, f"{prefix}model.tar.gz")


def run_here(root: Path, stop: StopFlag) -> int:
    """The job that the environment of this process describes. Returns the exit code."""
    from lehr.aws.clients import make_client

    try:
        return run_batch_job(root, os.environ, make_client("s3"), stop)
    except (KeyError, ValueError, FileNotFoundError, JobInputError) as fault:
        print(f"FAILED: {fault}", flush=True)
        return 1
