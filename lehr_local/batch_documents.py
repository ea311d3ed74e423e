"""What DescribeJobs and ListJobs answer, made from the records of the jobs. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from lehr_local.batch_run import BatchJob

STATUSES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")


def array_status(children: Sequence[BatchJob]) -> str:
    """Of an array job: PENDING until all children have ended, then FAILED if one of them has failed."""
    counted = Counter(child.status for child in children)
    if counted["SUCCEEDED"] + counted["FAILED"] < len(children):
        return "PENDING"
    return "FAILED" if counted["FAILED"] else "SUCCEEDED"


def summary(job: BatchJob, children: Sequence[BatchJob] = ()) -> dict[str, Any]:
    """An element of ListJobs, and the beginning of one of DescribeJobs."""
    document: dict[str, Any] = {
        "jobId": job.job_id,
        "jobArn": job.arn,
        "jobName": job.name,
        "createdAt": job.created_at,
        "status": job.status,
        "jobDefinition": job.plan.definition,
        "container": {} if job.exit_code is None else {"exitCode": job.exit_code},
    }
    optional = {
        "statusReason": job.status_reason,
        "startedAt": job.started_at,
        "stoppedAt": job.stopped_at,
    }
    document |= {name: value for name, value in optional.items() if value is not None}
    if children:
        counted = Counter(child.status for child in children)
        document["arrayProperties"] = {
            "statusSummary": {status: counted[status] for status in STATUSES},
            "size": len(children),
        }
    elif job.array_index is not None:
        document["arrayProperties"] = {"index": job.array_index}
    if job.plan.is_multi_node:
        document["nodeProperties"] = {"numNodes": len(job.plan.containers)}
    return document


def description(job: BatchJob, children: Sequence[BatchJob] = (), node: int | None = None) -> dict[str, Any]:
    """An element of DescribeJobs; with `node` that of one node of a multi-node job."""
    shown = job.plan.main_node if node is None else node
    container = dict(job.plan.containers[shown])
    if job.exit_code is not None and shown == job.plan.main_node:
        container["exitCode"] = job.exit_code
    if shown < len(job.log_streams):
        container["logStreamName"] = job.log_streams[shown]
    document = summary(job, children) | {
        "jobQueue": job.queue_arn,
        "dependsOn": list(job.plan.depends_on),
        "parameters": dict(job.plan.parameters),
        "retryStrategy": dict(job.plan.retry_strategy),
        "attempts": [dict(attempt) for attempt in job.attempts],
        "tags": dict(job.tags),
        "container": container,
        "isCancelled": job.is_cancelled,
        "isTerminated": job.is_terminated,
    }
    if job.plan.timeout_s is not None:
        document["timeout"] = {"attemptDurationSeconds": job.plan.timeout_s}
    if job.plan.is_multi_node:
        if node is None:
            document["nodeProperties"] = job.plan.node_properties
        else:
            document["jobId"] = f"{job.job_id}#{node}"
            document["nodeDetails"] = {"nodeIndex": node, "isMainNode": node == job.plan.main_node}
    return document
