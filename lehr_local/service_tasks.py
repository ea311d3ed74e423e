"""The task `sagemaker:createTrainingJob`, with and without `.sync`, which moto's interpreter lacks.

Here the interpreter also learns which tasks are ours: this one, and that of Batch in `batch_task`.
"""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task import state_task_factory
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service_callback,
    state_task_service_factory,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.resource import ResourceCondition
from moto.stepfunctions.parser.asl.utils.boto_client import boto_client_for

from lehr_local.batch_task import BatchTask
from lehr_local.job_tasks import JobTask

POLL_INTERVAL_S = 0.1
# How Step Functions marks a job that it waits for.
_TAG = {"Key": "MANAGED_BY_AWS", "Value": "STARTED_BY_STEP_FUNCTIONS"}

_moto_task_for = state_task_service_factory.state_task_service_for


def install() -> None:
    """Make moto's interpreter know the task and look at jobs often. Idempotent."""
    state_task_service_callback._DELAY_SECONDS_SYNC_CONDITION_CHECK = POLL_INTERVAL_S
    for module in (state_task_service_factory, state_task_factory):
        module.state_task_service_for = state_task_service_for


def state_task_service_for(service_name: str) -> Any:
    """The task of a service; called with the keyword by moto's parser."""
    tasks: dict[str, Callable[[], Any]] = {"sagemaker": SageMakerTask, "batch": BatchTask}
    make = tasks.get(service_name)
    return make() if make is not None else _moto_task_for(service_name=service_name)


class TrainingJobWait:
    """Looks at one training job for one visit of a state."""

    def __init__(self, task: SageMakerTask, env: Any, client: Any, job_name: str) -> None:
        self._task = task
        self._env = env
        self._client = client
        self._job_name = job_name

    def __call__(self) -> dict[str, Any] | None:
        """The description of the completed job, or None while it runs; raises States.TaskFailed."""
        try:
            job: dict[str, Any] = self._client.describe_training_job(TrainingJobName=self._job_name)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
                return None  # A hiccup while looking says nothing about the job.
            raise
        if job["TrainingJobStatus"] in ("InProgress", "Stopping"):
            return None
        job.pop("ResponseMetadata", None)
        job = json.loads(json.dumps(job, default=_epoch_ms))
        if job["TrainingJobStatus"] == "Completed":
            return job
        raise FailureEventException(self._task.failure(self._env, "States.TaskFailed", json.dumps(job)))

    def stop(self) -> None:
        """Stop the job; one that has ended by itself is left as it is."""
        with contextlib.suppress(ClientError):
            self._client.stop_training_job(TrainingJobName=self._job_name)


class SageMakerTask(JobTask):
    """`arn:aws:states:::sagemaker:createTrainingJob` and its `.sync` form."""

    def __init__(self) -> None:
        # SageMaker takes no task token; the interpreter needs that pattern for its own end of the wait.
        super().__init__(
            supported_integration_patterns={ResourceCondition.WaitForTaskToken, ResourceCondition.Sync}
        )

    def _validate_service_integration_is_supported(self) -> None:
        if self.resource.api_action != "createTrainingJob":
            raise ValueError(
                f"The resource {self.resource.resource_arn} is not simulated by the local cloud: "
                "of SageMaker it knows createTrainingJob."
            )

    def _get_supported_parameters(self) -> set[str] | None:
        return None

    def _eval_service_task(
        self, env: Any, resource_runtime_part: Any, normalised_parameters: Any, state_credentials: Any
    ) -> None:
        client = boto_client_for(
            service="sagemaker", region=resource_runtime_part.region, state_credentials=state_credentials
        )
        request = dict(normalised_parameters)
        if self.resource.condition == ResourceCondition.Sync:
            request["Tags"] = [*request.get("Tags", []), _TAG]
        response = client.create_training_job(**request)
        response.pop("ResponseMetadata", None)
        env.stack.append(response)

    def _build_sync_resolver(
        self, env: Any, resource_runtime_part: Any, normalised_parameters: Any, state_credentials: Any
    ) -> TrainingJobWait:
        env.stack.pop()
        client = boto_client_for(
            service="sagemaker", region=resource_runtime_part.region, state_credentials=state_credentials
        )
        return TrainingJobWait(self, env, client, normalised_parameters["TrainingJobName"])

    def _from_error(self, env: Any, ex: Exception) -> FailureEvent:
        if isinstance(ex, ClientError):
            return self.failure(env, sagemaker_error_name(ex), str(ex))
        return super()._from_error(env=env, ex=ex)


def _epoch_ms(moment: datetime.datetime) -> int:
    # Integrations of this generation write times as Java's serialiser does.
    return round(moment.timestamp() * 1000)


def sagemaker_error_name(error: ClientError) -> str:
    """The name by which Retry and Catch match an error of the SageMaker API."""
    code = error.response["Error"]["Code"]
    if code in ("ValidationException", "ValidationError"):
        # Errors that the API does not model come under the name of the service.
        return "SageMaker.AmazonSageMakerException"
    return f"SageMaker.{code}" if code.endswith("Exception") else f"SageMaker.{code}Exception"
