"""Spot interruptions on request: `python -m lehr_local interrupt JOB`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lehr_local.batch_jobs import BatchJobs
from lehr_local.control_requests import Action
from lehr_local.errors import LocalCloudError
from lehr_local.training_jobs import TrainingJobs


def interruption(training: TrainingJobs, batch: BatchJobs) -> Action:
    """The action that takes the instance of a job away: `{"job": name or id, "gone_for_s": seconds}`."""

    def interrupt(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        job, gone_for_s = str(parameters["job"]), float(parameters.get("gone_for_s", 0))
        if training.interrupt(job, gone_for_s):
            return {"interrupted": job, "service": "sagemaker"}
        if batch.reclaim(job):
            return {"interrupted": job, "service": "batch"}
        raise LocalCloudError(
            f"No job {job} can be interrupted now.",
            "It has to be training, and a training job needs EnableManagedSpotTraining.",
        )

    return interrupt
