"""`RunningJobs` over SageMaker and Batch: the jobs of this stack's runs that are billed at this moment.

A job is this stack's if its name begins with the stack's prefix (`lehr-<part of the stack's id>-`), which the state
machine gives it; another stack of the same account has another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from lehr.ports import RunningJob

PROJECT_TAG, RUN_TAG = "lehr:project", "lehr:run"
_BATCH_STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")


class SageMakerJobs:
    """Training jobs of SageMaker, known by their name; whose they are stands in the environment they were given."""

    def __init__(self, client: Any, prefix: str) -> None:
        self._client, self._prefix = client, prefix

    def running(self) -> Iterator[RunningJob]:
        pages = self._client.get_paginator("list_training_jobs").paginate(
            NameContains=self._prefix, StatusEquals="InProgress"
        )
        for page in pages:
            for summary in page["TrainingJobSummaries"]:
                name = summary["TrainingJobName"]
                if name.startswith(self._prefix):
                    job = self._client.describe_training_job(TrainingJobName=name)
                    yield from self._ours(name, job)

    def _ours(self, name: str, job: dict[str, Any]) -> Iterator[RunningJob]:
        environment = job.get("Environment") or {}
        project, run = environment.get("LEHR_PROJECT"), environment.get("LEHR_RUN")
        if project and run:
            yield RunningJob(name=name, handle=name, project=project, run=run, created_at=job["CreationTime"])

    def stop(self, job: RunningJob, reason: str) -> bool:
        """Ask the job to stop. False: it had ended by itself."""
        try:
            self._client.stop_training_job(TrainingJobName=job.handle)
        except ClientError as fault:
            if fault.response["Error"]["Code"] not in {"ValidationException", "ResourceNotFound"}:
                raise
            return False
        return True


class BatchJobs:
    """Jobs of Batch in these queues (names or ARNs), known by name and tags. One of several nodes is one job."""

    def __init__(self, client: Any, queues: Sequence[str], prefix: str) -> None:
        self._client, self._queues, self._prefix = client, queues, prefix

    def running(self) -> Iterator[RunningJob]:
        seen: set[str] = set()  # a job that moves on while it is looked for is listed twice
        for queue in self._queues:
            for status in _BATCH_STATUSES:
                pages = self._client.get_paginator("list_jobs").paginate(jobQueue=queue, jobStatus=status)
                for page in pages:
                    ids = [
                        job["jobId"]
                        for job in page["jobSummaryList"]
                        if job["jobName"].startswith(self._prefix)
                    ]
                    yield from self._described([job_id for job_id in ids if job_id not in seen])
                    seen.update(ids)

    def _described(self, ids: list[str]) -> Iterator[RunningJob]:
        for first in range(0, len(ids), 100):
            for job in self._client.describe_jobs(jobs=ids[first : first + 100])["jobs"]:
                tags = job.get("tags") or {}
                if tags.get(PROJECT_TAG) and tags.get(RUN_TAG):
                    yield RunningJob(
                        name=job["jobName"],
                        handle=job["jobId"],
                        project=tags[PROJECT_TAG],
                        run=tags[RUN_TAG],
                        created_at=datetime.fromtimestamp(job["createdAt"] / 1000, UTC),
                    )

    def stop(self, job: RunningJob, reason: str) -> bool:
        """Terminate the job, whatever it is doing; one that has ended is left as it is, and nobody is told."""
        self._client.terminate_job(jobId=job.handle, reason=reason)
        return True
