"""The same training as a job of AWS Batch: what SageMaker does around the container is done here.

    python -m lehr_trainer batch

Downloads the channels, restores the checkpoints, trains (`lehr_trainer.main.run`), copies checkpoints to S3 while it
trains, and uploads `model.tar.gz`. Told by the state machine through the environment:

    LEHR_CODE_URI LEHR_MANIFEST_URI                  channels: prefixes in S3
    LEHR_TRAIN_URI LEHR_VALIDATION_URI               two more: lists of shards, no second one if nothing is held out
    LEHR_INITIAL_URI LEHR_INITIAL_VERSION            another, and whose weights it has: empty if random ones are meant
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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lehr.contracts.package import TRAINED_FILES
from lehr_trainer.errors import JobInputError
from lehr_trainer.main import run
from lehr_trainer.ranks import find_ranks
from lehr_trainer.stop import StopFlag
from lehr_trainer.transfer import (
    S3Folder,
    download_channels,
    kept_in_s3,
    open_channel,
    upload_model,
    write_config,
)

STOPPED = 75  # EX_TEMPFAIL of sysexits.h
CHANNELS = ("code", "manifest", "train", "validation", "initial")


def run_batch_job(root: Path, environ: Mapping[str, str], client: Any, stop: StopFlag) -> int:
    """The whole job. Returns the exit code."""
    is_main = find_ranks(environ, {}).rank == 0
    _write_inputs(root, environ, client)
    if not is_main:
        return run(root, stop, environ)
    checkpoints = S3Folder(client, environ["LEHR_CHECKPOINT_URI"], root / "checkpoints")
    restored = checkpoints.download()
    print(f"{restored} checkpoint file(s) restored from {environ['LEHR_CHECKPOINT_URI']}", flush=True)
    with kept_in_s3(checkpoints):
        code = run(root, stop, environ)
    if code != 0:
        return code
    if not all((root / "model" / name).is_file() for name in TRAINED_FILES):
        return STOPPED
    upload_model(root, environ["LEHR_OUTPUT_URI"], client)
    return 0


def _write_inputs(root: Path, environ: Mapping[str, str], client: Any) -> None:
    """Lay out the files of the /opt/ml contract."""
    channels = {
        name: open_channel(client, name, uri, root / "input/data" / name)
        for name in CHANNELS
        if (uri := environ.get(f"LEHR_{name.upper()}_URI", ""))
    }
    download_channels(channels)
    write_config(root, list(channels), json.loads(environ["LEHR_HYPERPARAMETERS"]))


def run_here(root: Path, stop: StopFlag) -> int:
    """The job that the environment of this process describes. Returns the exit code."""
    from lehr.aws.clients import make_client

    try:
        return run_batch_job(root, os.environ, make_client("s3"), stop)
    except (KeyError, ValueError, FileNotFoundError, JobInputError) as fault:
        print(f"FAILED: {fault}", flush=True)
        return 1
