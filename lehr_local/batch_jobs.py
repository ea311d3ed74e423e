"""AWS Batch in the local cloud: SubmitJob starts processes, one for each node.

moto keeps compute environments, queues and definitions; its jobs are Docker containers, or succeed at once without
running. Here the five calls about jobs are replaced.

Not simulated: images (the command runs on this machine), instance types, sizes and numbers, queue priorities and fair
share, volumes; secrets, EKS and ECS properties are refused.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from moto.batch.exceptions import ClientException

from lehr_local.batch_documents import array_status, description, summary
from lehr_local.batch_request import JobPlan, RefusedError, plan
from lehr_local.batch_run import ENDS, BatchJob, BatchRun, now_ms
from lehr_local.processes import Supervisor
from lehr_local.settings import LocalSettings

_LOOK_S = 0.05
_CLOSE_GRACE_S = 5.0
_CLOSE_LIMIT_S = 15.0


class BatchJobs:
    """All Batch jobs of one local cloud."""

    def __init__(self, settings: LocalSettings, supervisor: Supervisor) -> None:
        self._settings = settings
        self._supervisor = supervisor
        self._lock = threading.Lock()
        self._runs: dict[str, BatchRun] = {}
        self._children: dict[str, list[BatchRun]] = {}
        self._is_closed = False

    def submit(self, backend: Any, request: dict[str, Any]) -> dict[str, str]:
        """Start a job and give the answer of SubmitJob; raises ClientException."""
        definition = backend.get_job_definition(_name_of(request.get("jobDefinition") or ""))
        if definition is None:
            raise ClientException(f"JobDefinition {request.get('jobDefinition')} does not exist.")
        queue = backend.get_job_queue(request.get("jobQueue") or "")
        if queue is None:
            raise ClientException(f"Job queue {request.get('jobQueue')} does not exist.")
        if queue.state != "ENABLED":
            raise ClientException(f"Job queue {queue.name} is not enabled.")
        try:
            resolved = plan(request, definition)
        except RefusedError as error:
            raise ClientException(str(error)) from error
        job_id = str(uuid.uuid4())

        def run_of(own_id: str, index: int | None = None) -> BatchRun:
            job = BatchJob(
                job_id=own_id,
                arn=f"arn:aws:batch:{backend.region_name}:{backend.account_id}:job/{own_id}",
                name=request["jobName"],
                queue=queue.name,
                queue_arn=queue.arn,
                compute_environment=queue.environments[0].name if queue.environments else "",
                definition_name=definition.name,
                plan=resolved,
                tags=dict(request.get("tags") or {}),
                array_index=index,
                created_at=now_ms(),
            )
            return BatchRun(job, self._settings, self._supervisor)

        with self._lock:
            if self._is_closed:
                raise ClientException("The local cloud is shutting down.")
            waits_for = [item["jobId"] for item in resolved.depends_on if "jobId" in item]
            unknown = [name for name in waits_for if name not in self._runs]
            if unknown:
                raise ClientException(f"Job {unknown[0]}, which dependsOn names, does not exist.")
            self._runs[job_id] = run = run_of(job_id)
            if resolved.array_size:
                children = [run_of(f"{job_id}:{index}", index) for index in range(resolved.array_size)]
                self._children[job_id] = children
                self._runs.update({child.job.job_id: child for child in children})
        threading.Thread(target=self._run, args=(run,), name=f"batch-{job_id}", daemon=True).start()
        return {"jobId": job_id, "jobName": request["jobName"], "jobArn": run.job.arn}

    def describe(self, job_ids: list[str]) -> list[dict[str, Any]]:
        """The jobs that exist, of those named by id or ARN; `id#1` is a node of a multi-node job."""
        found = []
        for name in job_ids:
            job_id, _, node = name.rpartition("/")[2].partition("#")
            run = self._runs.get(job_id)
            if run is not None:
                children = [child.job for child in self._children.get(job_id, ())]
                found.append(description(run.job, children, int(node) if node else None))
        return found

    def search(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        """The elements of ListJobs, newest first: RUNNING ones unless a status or a filter is given."""
        array, parent = request.get("arrayJobId"), request.get("multiNodeJobId")
        if parent is not None:
            run = self._runs.get(parent)
            nodes = range(len(run.job.plan.containers)) if run else range(0)
            return [item for node in nodes for item in self.describe([f"{parent}#{node}"])]
        if array is not None:
            runs = list(self._children.get(array, ()))
        else:
            runs = [run for run in list(self._runs.values()) if run.job.array_index is None]
        queue, status = request.get("jobQueue"), request.get("jobStatus")
        if queue is not None:
            runs = [run for run in runs if queue in (run.job.queue, run.job.queue_arn)]
        filters = request.get("filters") or []
        for item in filters:
            runs = [run for run in runs if _is_named(run.job, item)]
        if not filters:
            runs = [run for run in runs if run.job.status == (status or "RUNNING")]
        return [
            summary(run.job, [child.job for child in self._children.get(run.job.job_id, ())])
            for run in reversed(runs)
        ]

    def end(self, job_id: str, reason: str | None, *, is_cancel: bool) -> None:
        """CancelJob or TerminateJob; a job that has ended is left alone, as on AWS."""
        if not reason:
            raise ClientException("A reason must be given.")
        run = self._runs.get(job_id.rpartition("/")[2].partition("#")[0])
        if run is None:
            raise ClientException(f"Job {job_id} does not exist.")
        for each in [run, *self._children.get(run.job.job_id, ())]:
            each.end(reason, is_cancel=is_cancel)

    def reclaim(self, name: str) -> bool:
        """Take the host of a running job away, by id or by name; False if there is none."""
        runs = [run for run in list(self._runs.values()) if name in (run.job.job_id, run.job.name)]
        # All of them, not only the first: a name may be that of several jobs.
        reclaimed = [run.reclaim_host() for run in runs]
        return any(reclaimed)

    def close(self) -> None:
        """End all jobs, with seconds of grace, and wait for their ends. Idempotent."""
        with self._lock:
            self._is_closed = True
            runs = list(self._runs.values())
        running = [run for run in runs if run.end("The local cloud is shutting down.")]
        for limit_s, act in ((_CLOSE_GRACE_S, BatchRun.kill), (_CLOSE_LIMIT_S, None)):
            deadline = time.monotonic() + limit_s
            for run in running:
                if not run.wait(max(deadline - time.monotonic(), 0.0)) and act is not None:
                    act(run)

    def _run(self, run: BatchRun) -> None:
        job = run.job
        if job.plan.depends_on and not self._wait_for_dependencies(run, job.plan):
            return
        children = self._children.get(job.job_id)
        if children is None:
            job.status = "RUNNABLE"
            run.run()
            return
        job.status = "PENDING"
        is_sequential = any(
            item.get("type") == "SEQUENTIAL" and "jobId" not in item for item in job.plan.depends_on
        )
        workers = 1 if is_sequential else max(os.cpu_count() or 1, 1)
        with ThreadPoolExecutor(workers, thread_name_prefix=f"batch-{job.job_id}") as pool:
            for child in children:
                child.job.status = "RUNNABLE"
                pool.submit(self._run_child, child)
        status = array_status([child.job for child in children])
        run.finish(status, "Array Child Job failed" if status == "FAILED" else "")

    def _run_child(self, child: BatchRun) -> None:
        index = child.job.array_index
        pairs = [
            f"{item['jobId']}:{index}"
            for item in child.job.plan.depends_on
            if item.get("type") == "N_TO_N" and "jobId" in item
        ]
        if self._wait_for(child, pairs):
            child.run()

    def _wait_for_dependencies(self, run: BatchRun, resolved: JobPlan) -> bool:
        run.job.status = "PENDING"
        return self._wait_for(
            run,
            [
                item["jobId"]
                for item in resolved.depends_on
                if "jobId" in item and item.get("type") != "N_TO_N"
            ],
        )

    def _wait_for(self, run: BatchRun, job_ids: list[str]) -> bool:
        """Whether all of `job_ids` have succeeded; otherwise `run` and its children have failed."""
        reason = None
        for job_id in job_ids:
            dependency = self._runs.get(job_id)
            while dependency is not None and dependency.job.status not in ENDS:
                if run.stop_reason is not None:
                    reason = run.stop_reason
                    break
                dependency.wait(_LOOK_S)
            if dependency is None or dependency.job.status == "FAILED":
                reason = reason or "Dependent Job failed"
            if reason:
                for each in [*self._children.get(run.job.job_id, ()), run]:
                    each.finish("FAILED", reason)
                return False
        return True


def _name_of(identifier: str) -> str:
    # An ARN without a revision names the active revision, as the bare name does.
    if identifier.startswith("arn:") and not identifier.rpartition(":")[2].isdigit():
        return identifier.rpartition("/")[2]
    return identifier


def _is_named(job: BatchJob, item: dict[str, Any]) -> bool:
    subject = {"JOB_NAME": job.name, "JOB_DEFINITION": job.definition_name, "JOB_STATUS": job.status}
    value = subject.get(item.get("name", ""))
    if value is None:
        raise ClientException(f"The filter {item.get('name')} is not simulated by the local cloud.")
    return any(
        value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern
        for pattern in item.get("values", [])
    )
