"""The task `batch:submitJob`, with and without `.sync`.

moto has it, but leaves the job running when the execution is stopped, drops the members of SubmitJob that it does not
know, and gives the job of a multi-node definition overrides of a kind that Batch refuses.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

from botocore.exceptions import ClientError
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import FailureEventException
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_batch import (
    StateTaskServiceBatch,
)
from moto.stepfunctions.parser.asl.utils.boto_client import boto_client_for

from lehr_local.job_tasks import JobTask


class BatchJobWait:
    """Looks at one Batch job for one visit of a state."""

    def __init__(self, task: BatchTask, env: Any, client: Any, job_id: str) -> None:
        self._task = task
        self._env = env
        self._client = client
        self._job_id = job_id

    def __call__(self) -> dict[str, Any] | None:
        try:
            answer = self._client.describe_jobs(jobs=[self._job_id])
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
                return None  # A hiccup while looking says nothing about the job.
            raise
        answer.pop("ResponseMetadata", None)
        if not answer["jobs"] or answer["jobs"][0]["status"] not in ("SUCCEEDED", "FAILED"):
            return None
        self._task._normalise_response(response=answer, service_action_name="describe_jobs")
        job: dict[str, Any] = answer["Jobs"][0]
        if job["Status"] == "SUCCEEDED":
            return job
        raise FailureEventException(self._task.failure(self._env, "States.TaskFailed", json.dumps(job)))

    def stop(self) -> None:
        with contextlib.suppress(ClientError):
            self._client.terminate_job(
                jobId=self._job_id, reason="The execution of the state machine has ended."
            )


class BatchTask(JobTask, StateTaskServiceBatch):  # type: ignore[misc]
    """`arn:aws:states:::batch:submitJob` and its `.sync` form."""

    def _validate_service_integration_is_supported(self) -> None:
        if self.resource.api_action != "submitJob":
            raise ValueError(
                f"The resource {self.resource.resource_arn} is not one of Step Functions: "
                "of Batch it knows submitJob."
            )

    def _get_supported_parameters(self) -> set[str] | None:
        # All: what the API does not know is refused by its client, not dropped.
        return None

    def _before_eval_execution(self, env: Any, raw_parameters: dict[str, Any], **arguments: Any) -> None:
        if "NodeOverrides" in raw_parameters:
            super(StateTaskServiceBatch, self)._before_eval_execution(
                env=env, raw_parameters=raw_parameters, **arguments
            )
            return
        super()._before_eval_execution(env=env, raw_parameters=raw_parameters, **arguments)

    def _build_sync_resolver(
        self, env: Any, resource_runtime_part: Any, normalised_parameters: Any, state_credentials: Any
    ) -> BatchJobWait:
        job_id = env.stack.pop()["JobId"]
        client = boto_client_for(
            service="batch", region=resource_runtime_part.region, state_credentials=state_credentials
        )
        return BatchJobWait(self, env, client, job_id)
