"""The same training as a Lambda function, in slices: what SageMaker does around the container is done here.

    python -m awslambdaric lehr_trainer.function.handler

A slice downloads the channels, restores the checkpoints, trains (`lehr_trainer.main.run`) until shortly before the
deadline of its invocation, copies checkpoints to S3 and answers; the state machine calls the next one. Since a
training resumes bit for bit, slices give the same model as one piece. A warm process keeps the data it has; each
shard is compared with the manifest's sha256 in every slice anyway.

    LEHR_SLICE_S   a slice takes this many seconds at most, whatever the timeout of the function leaves

Only /tmp can be written to in Lambda, so that stands in for /opt/ml.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from lehr.contracts.package import TRAINED_FILES
from lehr.contracts.slices import SliceAnswer, SliceProgress, SliceRequest
from lehr.function_types import function_type
from lehr_trainer.stop import StopFlag, TrainingStopped
from lehr_trainer.transfer import (
    S3Folder,
    download_channels,
    kept_in_s3,
    open_channel,
    upload_model,
    write_config,
)

MARGIN_S = 60.0
MARGIN_SHARE = 0.25
STALLED_SLICES = 2
TRAINING_FAILED = "States.TaskFailed"

Run = Callable[[Path, StopFlag, Mapping[str, str]], int]


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """SliceRequest in, SliceAnswer out. What is no fault of the training, as S3 that does not answer, is raised."""
    began = time.monotonic()
    request = SliceRequest.from_value(event)
    time_left_s = context.get_remaining_time_in_millis() / 1000
    if wish := os.environ.get("LEHR_SLICE_S"):
        time_left_s = min(time_left_s, float(wish))
    # Imported here: torch takes longer to load than Lambda gives to the import of a handler.
    from lehr_trainer.main import run

    answer = workplace().train(request, run, deadline=began + time_left_s, began=began)
    place = {"log_group": context.log_group_name, "log_stream": context.log_stream_name}
    machine = function_type(int(context.memory_limit_in_mb))
    return answer.to_value() | {"job": request.job, "instance_type": machine} | place


def training_s(time_left_s: float) -> float:
    """For how long to train if the invocation ends in `time_left_s`: the rest is for the checkpoint or the export."""
    return time_left_s - min(MARGIN_S, MARGIN_SHARE * time_left_s)


@cache
def workplace() -> Workplace:
    """The one of this process."""
    from lehr.aws.clients import make_client

    return Workplace(Path(tempfile.gettempdir()) / "lehr", make_client("s3"))


class Workplace:
    """The folder of one process, in which slices of one training after the other are made."""

    def __init__(self, root: Path, client: Any) -> None:
        self._root, self._client = root, client
        self._channels: dict[str, S3Folder] = {}

    def train(self, request: SliceRequest, run: Run, *, deadline: float, began: float) -> SliceAnswer:
        """One slice, until `deadline` at the latest; both times are of time.monotonic()."""
        progress = request.progress
        limit_s = request.max_runtime_s - progress.seconds
        if limit_s <= 0:
            return self._failed(
                f"the training has taken backend.max_runtime_s = {request.max_runtime_s} and stands at update "
                f"{progress.update}: raise it, or train on a machine that is faster",
                progress,
            )
        stops_at = min(began + training_s(deadline - began), began + limit_s)
        _log(f"slice {progress.slices + 1} of {request.job}, {stops_at - began:.0f} s")
        self._prepare(request)
        checkpoints = S3Folder(self._client, request.checkpoint_uri, self._root / "checkpoints")
        _log(f"{checkpoints.download()} checkpoint file(s) restored from {request.checkpoint_uri}")
        stop = StopFlag()
        with kept_in_s3(checkpoints), _set_at(stop, stops_at):
            code = run(self._root, stop, _environ(request))
        return self._answer(request, code, stop.stopped, began)

    def _answer(
        self, request: SliceRequest, code: int, stopped: TrainingStopped | None, began: float
    ) -> SliceAnswer:
        before = request.progress
        after = SliceProgress(
            slices=before.slices + 1,
            update=stopped.ended if stopped else before.update,
            stalled=before.stalled + 1 if stopped and not _has_moved(before, stopped) else 0,
            seconds=before.seconds + math.ceil(time.monotonic() - began),
        )
        if code != 0:
            reason = (self._root / "output/failure").read_text("utf-8")
            self._channels.clear()  # a file that is not what it should be is not kept
            return self._failed(reason, after)
        if stopped is None:
            missing = [name for name in TRAINED_FILES if not (self._root / "model" / name).is_file()]
            if missing:
                return self._failed(f"the trainer has ended and left no {missing[0]}", after)
            upload_model(self._root, request.output_uri, self._client)
            return _answer("Completed", after)
        if after.stalled >= STALLED_SLICES:
            return self._failed(
                f"{after.stalled} slices in a row have moved nothing: this one began at update {stopped.began}, and "
                f"the one before had reached {before.update}; its log says which checkpoint was not taken, and why",
                after,
            )
        return _answer("continues", after)

    def _failed(self, reason: str, progress: SliceProgress) -> SliceAnswer:
        _log(f"the training failed: {reason}")
        return _answer("Failed", progress, error=TRAINING_FAILED, reason=reason)

    def _prepare(self, request: SliceRequest) -> None:
        """The files of the /opt/ml contract. Data of the slice before stays, if it is this one's too."""
        for name in ("checkpoints", "model", "output"):
            shutil.rmtree(self._root / name, ignore_errors=True)
        wanted = {
            "code": request.code_uri,
            "manifest": request.manifest_uri,
            "train": request.train_uri,
            "validation": request.validation_uri,
            "initial": request.initial_uri,
        }
        wanted = {name: uri for name, uri in wanted.items() if uri}
        for path in (self._root / "input/data").glob("*"):
            kept = self._channels.get(path.name)
            if kept is None or kept.uri != wanted.get(path.name):
                shutil.rmtree(path)
                self._channels.pop(path.name, None)
        for name, uri in wanted.items():
            folder = self._root / "input/data" / name
            self._channels.setdefault(name, open_channel(self._client, name, uri, folder))
        download_channels(self._channels)
        write_config(self._root, list(wanted), request.hyperparameters)


def _answer(status: Any, progress: SliceProgress, **more: str) -> SliceAnswer:
    """What the training says; the handler adds whose it is and where it ran."""
    return SliceAnswer(status=status, job="", progress=progress, instance_type="", **more)


def _has_moved(before: SliceProgress, stopped: TrainingStopped) -> bool:
    """Whether a slice began where the one before had ended, and got further."""
    return stopped.began >= before.update and stopped.ended > before.update


@contextmanager
def _set_at(stop: StopFlag, moment: float) -> Iterator[None]:
    """Set the flag when the clock (time.monotonic) says so."""

    def ring() -> None:
        stop.is_set = True

    timer = threading.Timer(max(0.0, moment - time.monotonic()), ring)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _environ(request: SliceRequest) -> dict[str, str]:
    whose = {"LEHR_PROJECT": request.project, "LEHR_RUN": request.run, "LEHR_TRIAL": request.trial}
    return os.environ | whose | {"LEHR_INITIAL_VERSION": request.initial_version}


def _log(line: str) -> None:
    print(line, flush=True)
