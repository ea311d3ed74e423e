"""The life of one training job: Starting, Downloading, Training, Uploading, and one of the three ends.

SageMaker's states, times and reasons are kept on moto's own job object, from which DescribeTrainingJob and
ListTrainingJobs answer.
"""

from __future__ import annotations

import datetime
import logging
import math
import threading
import time
from typing import Any

from moto.core.utils import utcnow

from lehr_local.cloudwatch_logs import LogStream, log_permit
from lehr_local.errors import LocalCloudError
from lehr_local.host_processes import HostProcesses
from lehr_local.processes import Supervisor
from lehr_local.spot_capacity import SpotCapacity
from lehr_local.training_container import TrainingContainer
from lehr_local.training_log import TrainingLog
from lehr_local.training_storage import (
    CheckpointSync,
    InterruptedTransferError,
    TrainingStorage,
    TransferError,
)

logger = logging.getLogger(__name__)

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
CHECKPOINT_INTERVAL_S = 3.0
# What SageMaker does to a log under the role of the job.
_LOG_ACTIONS = ("CreateLogGroup", "DescribeLogStreams", "CreateLogStream", "PutLogEvents")


class TrainingRun:
    """Runs one job in a thread. `job` is moto's record of it, `container` its folder and its request.

    A job of several instances is a process for each, with a folder and a log of its own. Model and output are those of
    the first.
    """

    def __init__(
        self, job: Any, container: TrainingContainer, supervisor: Supervisor, storage: TrainingStorage
    ) -> None:
        self._job = job
        self._container = container
        self._supervisor = supervisor
        self._storage = storage
        # What may change while DescribeTrainingJob reads it changes under this lock.
        self._lock = threading.Lock()
        self._is_stopping = threading.Event()
        # The secondary status of a job that has used its time up.
        self._over_time = ""
        self._has_ended = False
        self._hosts = container.on_all_hosts()
        self._logs = [_log_of(host) for host in self._hosts]
        self._processes = HostProcesses(self._hosts, self._logs)
        self._checkpoints: list[CheckpointSync] = []
        self._capacity = SpotCapacity(container.request)
        self._enter("Starting", "Preparing the instances for training")
        self._thread = threading.Thread(target=self._run, name=f"training-{container.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> bool:
        """Ask the job to stop, as StopTrainingJob does; False if it has ended already."""
        with self._lock:
            if self._has_ended:
                return False
            if not self._is_stopping.is_set():
                self._is_stopping.set()
                self._job.training_job_status = "Stopping"
                self._enter("Stopping", "Stopping the training job")
                self._processes.terminate()
            return True

    def interrupt(self, gone_for_s: float) -> bool:
        """Take the spot instance away for a while; False if the job trains on none at this moment."""
        with self._lock:
            is_training = (
                self._processes.is_any_alive and not self._is_stopping.is_set() and not self._over_time
            )
            if not is_training or not self._capacity.is_spot:
                return False
            self._capacity.take_away(gone_for_s)
            self._processes.terminate()
            return True

    def kill(self) -> None:
        """End the processes without grace; the job then ends as it would have ended."""
        with self._lock:
            self._processes.kill()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; False if it did not come in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            status, secondary, reason = self._work()
        except TransferError as error:
            status, secondary, reason = "Failed", "Failed", str(error)
        except LocalCloudError as error:
            status, secondary, reason = "Failed", "Failed", f"ClientError: {error}"
        except InterruptedTransferError:
            status, secondary, reason = "Stopped", "Stopped", None
        except Exception as error:
            logger.exception("the training job %s could not be run", self._container.name)
            status, secondary, reason = "Failed", "Failed", f"InternalServerError: {error!r}"
        if self._is_stopping.is_set() and secondary == "Failed" and not self._processes.were_started:
            # A stop that came while the job was being prepared wins over what the preparation ran into.
            status, secondary, reason = "Stopped", "Stopped", None
        for log in self._logs:
            log.close()
        for host in self._hosts:
            host.clean()
        self._end(status, secondary, reason)

    def _work(self) -> tuple[str, str, str | None]:
        """Everything from the folder to the artifacts; gives status, secondary status and reason."""
        while True:
            exit_code = self._occupy_instance()
            if not self._capacity.is_gone or self._is_stopping.is_set():
                break
            with self._lock:
                self._enter("Interrupted", "The spot instance was reclaimed; waiting for capacity")
            end = self._capacity.wait(self._is_stopping)
            if end is not None:
                return "Stopped", end, None
            with self._lock:
                self._enter("Starting", "Launching requested ML instances")
        if exit_code is None:
            return "Stopped", "Stopped", None
        with self._lock:
            self._enter("Uploading", "Uploading generated training model")
        was_stopped = self._is_stopping.is_set() or bool(self._over_time)
        output = self._job.output_data_config["S3OutputPath"].rstrip("/")
        prefix = f"{output}/{self._container.name}/output"
        self._storage.upload_archive(self._container.output_data_dir, f"{prefix}/output.tar.gz")
        if exit_code != 0 and not was_stopped:
            text = (self._processes.failed_host or self._container).failure_text()
            return "Failed", "Failed", f"AlgorithmError: {text}, exit code: {exit_code}"
        self._storage.upload_archive(self._container.model_dir, f"{prefix}/model.tar.gz")
        if self._over_time:
            return "Stopped", self._over_time, None
        if was_stopped:
            return "Stopped", "Stopped", None
        return "Completed", "Completed", None

    def _occupy_instance(self) -> int | None:
        """Prepare, download, train and save checkpoints on one instance; gives what `_train` gives."""
        for host in self._hosts:
            host.prepare()
        self._capacity.begin()
        with self._lock:
            self._job.training_start_time = self._job.training_start_time or utcnow()
            self._enter("Downloading", "Downloading input data")
        self._download()
        exit_code = self._train()
        if exit_code is not None:
            for checkpoints in self._checkpoints:
                checkpoints.push()
        if self._capacity.is_gone:
            self._capacity.end()
        return exit_code

    def _download(self) -> None:
        request = self._container.request
        config = request.get("CheckpointConfig")
        self._checkpoints = [
            CheckpointSync(self._storage, host.checkpoint_dir, config["S3Uri"])
            for host in self._hosts
            if config
        ]
        for channel in request.get("InputDataConfig") or []:
            for host in self._hosts:
                self._storage.download_channel(
                    channel["DataSource"]["S3DataSource"],
                    host.channel_dir(channel["ChannelName"]),
                    request["RoleArn"],
                    self._is_stopping.is_set,
                )
        for checkpoints in self._checkpoints:
            checkpoints.restore(self._is_stopping.is_set)

    def _train(self) -> int | None:
        """Run the processes to their end; gives the exit code as a container has it, None if none was started."""
        with self._lock:
            if self._is_stopping.is_set():
                return None
            self._processes.start(self._supervisor)
            self._enter("Training", "Training image download completed. Training in progress.")
        deadline, end = self._capacity.deadline()
        while True:
            is_ending = self._over_time or self._capacity.is_gone or self._is_stopping.is_set()
            left_s = math.inf if is_ending else max(deadline - time.monotonic(), 0.0)
            try:
                code = self._processes.wait(min(CHECKPOINT_INTERVAL_S, left_s))
            except TimeoutError:
                if time.monotonic() >= deadline:
                    self._stop_for_time(end)
                self._push_checkpoints()
            else:
                return code if code >= 0 else 128 - code

    def _stop_for_time(self, end: str) -> None:
        with self._lock:
            if self._over_time or self._is_stopping.is_set() or self._capacity.is_gone:
                return
            self._over_time = end
            self._job.training_job_status = "Stopping"
            self._enter("Stopping", f"{end}: stopping the job")
        self._processes.terminate()

    def _push_checkpoints(self) -> None:
        try:
            for checkpoints in self._checkpoints:
                checkpoints.push()
        except TransferError as error:
            logger.warning("the checkpoints of %s wait for the next round: %s", self._container.name, error)

    def _enter(self, secondary: str, message: str) -> None:
        """Begin a secondary status. While the job stops it stays at Stopping, whatever is still done."""
        now = utcnow()
        transitions = [dict(item) for item in getattr(self._job, "secondary_status_transitions", [])]
        if transitions and transitions[-1]["Status"] == "Stopping" and secondary in ("Training", "Uploading"):
            return
        if transitions:
            transitions[-1]["EndTime"] = now
        transitions.append({"Status": secondary, "StartTime": now, "StatusMessage": message})
        self._job.secondary_status_transitions = transitions
        self._job.secondary_status = secondary
        self._job.last_modified_time = now

    def _end(self, status: str, secondary: str, reason: str | None) -> None:
        metrics = [
            item | {"Timestamp": datetime.datetime.fromtimestamp(item["Timestamp"], tz=datetime.UTC)}
            for item in self._logs[0].final_metrics()
        ]
        with self._lock:
            self._has_ended = True
            job = self._job
            self._enter(secondary, reason or f"Training job {status.lower()}")
            job.training_end_time = utcnow()
            # Without the waits between two instances. The discount of spot is a matter of the price here.
            job.training_time_in_seconds = math.ceil(self._capacity.used_s)
            job.billable_time_in_seconds = job.training_time_in_seconds
            job.final_metric_data_list = metrics or None
            job.failure_reason = reason
            # Last, because who waits for the end waits for this.
            job.training_job_status = status


def _log_of(host: TrainingContainer) -> TrainingLog:
    settings, request = host.settings, host.request
    stream = LogStream(
        settings.account_id,
        settings.region,
        LOG_GROUP,
        f"{host.name}/{host.host}-{int(time.time())}",
        log_permit(settings, request["RoleArn"], *_LOG_ACTIONS),
    )
    return TrainingLog(stream.write, request["AlgorithmSpecification"].get("MetricDefinitions") or ())
