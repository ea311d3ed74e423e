"""The life of one Batch job: RUNNABLE, STARTING, RUNNING, one attempt after the other, and one of the two ends."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lehr_local.batch_container import BatchContainer
from lehr_local.batch_request import JobPlan
from lehr_local.batch_retries import EXITED, TIMED_OUT, AttemptEnd, is_retried
from lehr_local.cloudwatch_logs import LogStream
from lehr_local.errors import LocalCloudError
from lehr_local.processes import ManagedProcess, Supervisor
from lehr_local.settings import LocalSettings
from lehr_local.training_log import TrainingLog

logger = logging.getLogger(__name__)

LOG_GROUP = "/aws/batch/job"
# Between SIGTERM and SIGKILL, as ECS has it.
STOP_GRACE_S = 30.0
ENDS = ("SUCCEEDED", "FAILED")
BEFORE_START = ("SUBMITTED", "PENDING", "RUNNABLE")


@dataclass(kw_only=True)
class BatchJob:
    """What DescribeJobs says of a job; plain values, changed under the lock of its run."""

    job_id: str
    arn: str
    name: str
    queue: str
    queue_arn: str
    compute_environment: str
    definition_name: str
    plan: JobPlan
    tags: dict[str, str] = field(default_factory=dict)
    array_index: int | None = None
    status: str = "SUBMITTED"
    status_reason: str | None = None
    created_at: int = 0
    started_at: int | None = None
    stopped_at: int | None = None
    attempts: list[dict[str, Any]] = field(default_factory=list)
    log_streams: list[str] = field(default_factory=list)
    exit_code: int | None = None
    is_cancelled: bool = False
    is_terminated: bool = False


class BatchRun:
    """Runs one job, in the thread that calls `run`."""

    def __init__(self, job: BatchJob, settings: LocalSettings, supervisor: Supervisor) -> None:
        self.job = job
        self._settings = settings
        self._supervisor = supervisor
        self._lock = threading.Lock()
        self._processes: list[ManagedProcess] = []
        self._stop_reason: str | None = None
        self._host_reason: str | None = None
        self._has_ended = threading.Event()

    def run(self) -> None:
        """Run attempts until one succeeds, none is left, or the job is ended."""
        try:
            while True:
                end = self._attempt()
                if self._stop_reason is not None or not is_retried(
                    self.job.plan.retry_strategy, len(self.job.attempts), end
                ):
                    break
                self._enter("RUNNABLE")
        except LocalCloudError as error:
            end = AttemptEnd(exit_code=None, status_reason=f"CannotStartContainerError: {error}")
        except Exception as error:
            logger.exception("the Batch job %s could not be run", self.job.job_id)
            end = AttemptEnd(exit_code=None, status_reason=f"InternalError: {error!r}")
        self.finish("SUCCEEDED" if end.has_succeeded else "FAILED", end.status_reason)

    def finish(self, status: str, reason: str) -> None:
        """Write the end down. A reason that somebody gave for ending the job wins over what was seen."""
        with self._lock:
            if self._has_ended.is_set():
                return
            self.job.status_reason = self._stop_reason or reason
            self.job.stopped_at = now_ms()
            # Last, because who waits for the end waits for this.
            self.job.status = status
            self._has_ended.set()

    def end(self, reason: str, *, is_cancel: bool = False) -> bool:
        """Cancel or terminate; a cancel leaves a job alone that has started. False if nothing was done."""
        with self._lock:
            if self._has_ended.is_set() or (is_cancel and self.job.status not in BEFORE_START):
                return False
            if self._stop_reason is None:
                self._stop_reason = reason
                self.job.is_cancelled, self.job.is_terminated = is_cancel, not is_cancel
                for process in self._processes:
                    process.terminate(STOP_GRACE_S)
            return True

    def reclaim_host(self) -> bool:
        """Take the host away, as EC2 does with a spot instance; False if the job runs on none."""
        with self._lock:
            if self.job.status != "RUNNING" or self._host_reason is not None:
                return False
            self._host_reason = f"Host EC2 (instance i-{uuid.uuid4().hex[:17]}) terminated."
            for process in self._processes:
                process.terminate(STOP_GRACE_S)
            return True

    def kill(self) -> None:
        with self._lock:
            for process in self._processes:
                process.kill()

    def wait(self, timeout_s: float) -> bool:
        return self._has_ended.wait(timeout_s)

    @property
    def stop_reason(self) -> str | None:
        return self._stop_reason

    def _attempt(self) -> AttemptEnd:
        if self._stop_reason is not None:
            return AttemptEnd(exit_code=None, status_reason=self._stop_reason)
        job = self.job
        self._enter("STARTING")
        self._host_reason = None
        containers = [self._container(index) for index in range(len(job.plan.containers))]
        logs = [self._log(container) for container in containers]
        main = job.plan.main_node
        attempt: dict[str, Any] = {
            "container": {"logStreamName": logs[main][0], "networkInterfaces": []},
            "startedAt": now_ms(),
        }
        try:
            with self._lock:
                job.log_streams = [stream for stream, _ in logs]
                job.attempts.append(attempt)
                if job.started_at is None:
                    job.started_at = attempt["startedAt"]
            end = self._run_nodes(containers, [log for _, log in logs], main)
        finally:
            for _, log in logs:
                log.close()
            for container in containers:
                container.clean()
        with self._lock:
            attempt |= {"stoppedAt": now_ms(), "statusReason": end.status_reason}
            if end.exit_code is not None:
                attempt["container"]["exitCode"] = end.exit_code
            job.exit_code = end.exit_code
        return end

    def _run_nodes(self, containers: list[BatchContainer], logs: list[TrainingLog], main: int) -> AttemptEnd:
        """Start all nodes, the main one first; the attempt ends with the main node."""
        order = [main, *(index for index in range(len(containers)) if index != main)]
        with self._all_ended():
            for index in order:
                containers[index].prepare()
                with self._lock:
                    if self._stop_reason is not None:
                        return AttemptEnd(exit_code=None, status_reason=self._stop_reason)
                    self._processes.append(
                        self._supervisor.spawn(
                            containers[index].argv(),
                            env=containers[index].environment(),
                            cwd=containers[index].home,
                            on_line=logs[index].add,
                        )
                    )
            self._enter("RUNNING")
            limit_s = self.job.plan.timeout_s
            process = self._processes[0]
            try:
                code = process.wait(timeout_s=None if limit_s is None else float(limit_s))
            except TimeoutError:
                process.terminate(STOP_GRACE_S)
                code = process.wait()
                return AttemptEnd(exit_code=_as_container(code), status_reason=TIMED_OUT)
        if self._stop_reason is not None:
            return AttemptEnd(exit_code=_as_container(code), status_reason=self._stop_reason)
        if self._host_reason is not None:
            return AttemptEnd(exit_code=None, status_reason=self._host_reason)
        return AttemptEnd(exit_code=_as_container(code), status_reason=EXITED)

    @contextlib.contextmanager
    def _all_ended(self) -> Iterator[None]:
        """The nodes that the main one leaves behind are stopped, and waited for."""
        try:
            yield
        finally:
            with self._lock:
                processes, self._processes = self._processes, []
                for process in processes:
                    process.terminate(STOP_GRACE_S)
            for process in processes:
                process.wait()

    def _enter(self, status: str) -> None:
        with self._lock:
            self.job.status = status

    def _container(self, node: int) -> BatchContainer:
        job = self.job
        return BatchContainer(
            settings=self._settings,
            document=job.plan.containers[node],
            job_id=job.job_id,
            attempt=len(job.attempts) + 1,
            queue=job.queue,
            compute_environment=job.compute_environment,
            array_index=job.array_index,
            node_index=node if job.plan.is_multi_node else None,
            node_count=len(job.plan.containers),
            main_node=job.plan.main_node,
        )

    def _log(self, container: BatchContainer) -> tuple[str, TrainingLog]:
        configuration = container.document.get("logConfiguration") or {}
        group = (configuration.get("options") or {}).get("awslogs-group") or LOG_GROUP
        stream = f"{self.job.definition_name}/default/{uuid.uuid4().hex}"
        target = LogStream(self._settings.account_id, self._settings.region, group, stream)
        return stream, TrainingLog(target.write)


def _as_container(code: int) -> int:
    return code if code >= 0 else 128 - code


def now_ms() -> int:
    return time.time_ns() // 1_000_000
