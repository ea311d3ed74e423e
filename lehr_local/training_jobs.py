"""SageMaker's training jobs in the local cloud: CreateTrainingJob starts a process under the `/opt/ml` contract.

moto gives a job that is born Completed, drops its Environment and cannot stop it. Here the two calls are
replaced; describing and listing stay moto's and read the record that `TrainingRun` keeps.

Several instances are several processes, with a folder and a log each, that meet on the loopback interface.

Not simulated: images (the entry point runs on this machine), instance types, GPUs that are not there,
shortage of capacity (a spot interruption comes on request only), VPCs, an enforced network isolation (there are no
credentials, but there is a network), Pipe mode (refused), FastFile mode (downloads like File), warm pools,
debugger.
"""

from __future__ import annotations

import copy
import inspect
import json
import threading
import time
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.sagemaker.exceptions import AWSValidationException, ResourceInUseException
from moto.sagemaker.models import FakeTrainingJob
from moto.sagemaker.responses import SageMakerResponse

from lehr_local.authority import AccessDeniedError
from lehr_local.processes import Supervisor
from lehr_local.settings import LocalSettings
from lehr_local.training_container import TrainingContainer, selected_instance_type
from lehr_local.training_request import refusal
from lehr_local.training_run import TrainingRun
from lehr_local.training_storage import TrainingStorage

_CLOSE_GRACE_S = 5.0
_CLOSE_LIMIT_S = 15.0


class TrainingJobs:
    """All training jobs of one local cloud."""

    def __init__(self, settings: LocalSettings, supervisor: Supervisor) -> None:
        self._settings = settings
        self._supervisor = supervisor
        self._storage = TrainingStorage(settings)
        self._lock = threading.Lock()
        self._runs: dict[str, TrainingRun] = {}
        self._is_closed = False

    def create(self, backend: Any, request: dict[str, Any]) -> str:
        """Start a job and give its ARN; raises what CreateTrainingJob raises."""
        reason = refusal(request)
        if reason is not None:
            raise AWSValidationException(reason)
        self._assume_role(request["RoleArn"])
        name = request["TrainingJobName"]
        with self._lock:
            if self._is_closed:
                raise AWSValidationException("The local cloud is shutting down.")
            if name in backend.training_jobs:
                raise ResourceInUseException(
                    "Training job names must be unique within an AWS account and region, and a training job "
                    f"with this name already exists ({backend.training_jobs[name].arn})"
                )
            job = _record(backend, request)
            container = TrainingContainer(self._settings, request)
            storage = self._storage.acting_as(request["RoleArn"])
            run = TrainingRun(job, container, self._supervisor, storage)
            self._runs[job.arn] = run
            backend.training_jobs[name] = job
            run.start()
        return str(job.arn)

    def _assume_role(self, role_arn: str) -> None:
        context = {"aws:SourceAccount": self._settings.account_id}
        try:
            self._settings.authority.demand_for_service(
                "sagemaker.amazonaws.com", "sts:AssumeRole", role_arn, context
            )
        except AccessDeniedError as error:
            raise AWSValidationException(
                f"Could not assume role {role_arn}. Please ensure that the role exists and allows principal "
                "'sagemaker.amazonaws.com' to assume the role."
            ) from error

    def stop(self, backend: Any, name: str) -> None:
        """Ask a job to stop; raises what StopTrainingJob raises."""
        backend.describe_training_job(name)  # Raises if there is none.
        job = backend.training_jobs[name]
        run = self._runs.get(job.arn)
        if run is None or not run.stop():
            raise AWSValidationException(
                f"The request was rejected because the training job is in status {job.training_job_status}."
            )

    def interrupt(self, name: str, gone_for_s: float) -> bool:
        """Take the spot instances of running jobs away, by name; False if there is none."""
        runs = [run for arn, run in list(self._runs.items()) if arn.rpartition("/")[2] == name]
        return any(run.interrupt(gone_for_s) for run in runs)

    def close(self) -> None:
        """Stop all jobs, with seconds of grace instead of minutes, and wait for their ends. Idempotent."""
        with self._lock:
            self._is_closed = True
            runs = list(self._runs.values())
        running = [run for run in runs if run.stop()]
        deadline = time.monotonic() + _CLOSE_GRACE_S
        for run in running:
            if not run.join(max(deadline - time.monotonic(), 0.0)):
                run.kill()
        deadline = time.monotonic() + _CLOSE_LIMIT_S
        for run in running:
            run.join(max(deadline - time.monotonic(), 0.0))


def install(settings: LocalSettings, supervisor: Supervisor) -> TrainingJobs:
    """Make moto, in this process, run training jobs. The last installation is the one that counts."""
    jobs = TrainingJobs(settings, supervisor)

    def create_training_job(response: Any) -> ActionResult:
        arn = jobs.create(response.sagemaker_backend, json.loads(response.body))
        return ActionResult({"TrainingJobArn": arn})

    def stop_training_job(response: Any) -> ActionResult:
        jobs.stop(response.sagemaker_backend, json.loads(response.body)["TrainingJobName"])
        return EmptyResult()

    SageMakerResponse.create_training_job = create_training_job
    SageMakerResponse.stop_training_job = stop_training_job
    return jobs


def _record(backend: Any, request: dict[str, Any]) -> Any:
    """moto's record of a job that has just begun; its attributes are the members of DescribeTrainingJob."""
    members = [name for name in inspect.signature(FakeTrainingJob).parameters if name not in _PLACE]
    job = FakeTrainingJob(
        account_id=backend.account_id,
        region_name=backend.region_name,
        **{name: copy.deepcopy(request.get(name.title().replace("_", ""))) for name in members},
    )
    # moto puts metric definitions and a metric of its own into every job.
    job.algorithm_specification = copy.deepcopy(request["AlgorithmSpecification"])
    job.environment = request.get("Environment")
    job.retry_strategy = copy.deepcopy(request.get("RetryStrategy"))
    if job.resource_config.get("InstancePreferences"):
        # There is always capacity here.
        job.resource_config["SelectedInstanceType"] = selected_instance_type(request)
    job.training_job_status = "InProgress"
    job.secondary_status_transitions = []
    # All members exist from the start: moto reads them while the job's thread sets them.
    for name in _SET_LATER:
        setattr(job, name, None)
    return job


_PLACE = ("account_id", "region_name")
_SET_LATER = (
    "training_start_time",
    "training_end_time",
    "training_time_in_seconds",
    "billable_time_in_seconds",
    "final_metric_data_list",
    "failure_reason",
)
