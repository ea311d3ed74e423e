"""Our hooks into moto's Batch: every private name of it that we rely on is touched in this file.

Besides the calls about jobs this concerns compute environments. moto starts the instances of one in its EC2, so it
refuses subnets, security groups, roles and instance types that it does not know, and wants a service role; on AWS the
first four exist, and the role is the service-linked one.
"""

from __future__ import annotations

import json
from typing import Any

from moto.batch.exceptions import ClientException
from moto.batch.models import (
    COMPUTE_ENVIRONMENT_NAME_REGEX,
    BatchBackend,
    ComputeEnvironment,
    JobDefinition,
    batch_backends,
)
from moto.batch.responses import BatchResponse
from moto.core.config import default_user_config

from lehr_local.batch_jobs import BatchJobs
from lehr_local.processes import Supervisor
from lehr_local.settings import LocalSettings

_moto_describe_definition = JobDefinition.describe
_KINDS = ("EC2", "SPOT", "FARGATE", "FARGATE_SPOT")


def install(settings: LocalSettings, supervisor: Supervisor) -> BatchJobs:
    """Make moto, in this process, run Batch jobs. The last installation is the one that counts."""
    jobs = BatchJobs(settings, supervisor)

    def submit_job(response: Any) -> str:
        return json.dumps(jobs.submit(_backend(response), json.loads(response.body)))

    def describe_jobs(response: Any) -> str:
        return json.dumps({"jobs": jobs.describe(json.loads(response.body).get("jobs") or [])})

    def list_jobs(response: Any) -> str:
        return json.dumps({"jobSummaryList": jobs.search(json.loads(response.body))})

    def terminate_job(response: Any) -> str:
        request = json.loads(response.body)
        jobs.end(request["jobId"], request.get("reason"), is_cancel=False)
        return "{}"

    def cancel_job(response: Any) -> str:
        request = json.loads(response.body)
        jobs.end(request["jobId"], request.get("reason"), is_cancel=True)
        return "{}"

    # Not the backend that succeeds at once: nothing of moto's jobs is used, and this one can be described plainly.
    default_user_config["batch"] = {"use_docker": True}
    BatchResponse.submitjob = submit_job
    BatchResponse.describejobs = describe_jobs
    BatchResponse.listjobs = list_jobs
    BatchResponse.terminatejob = terminate_job
    BatchResponse.canceljob = cancel_job
    BatchBackend.create_compute_environment = _create_compute_environment
    JobDefinition.describe = _describe_definition
    return jobs


def _backend(response: Any) -> Any:
    return batch_backends[response.current_account][response.region]


def _create_compute_environment(
    backend: Any,
    compute_environment_name: str,
    _type: str,
    state: str | None,
    compute_resources: dict[str, Any] | None,
    service_role: str | None,
    tags: dict[str, str] | None = None,
) -> Any:
    if not COMPUTE_ENVIRONMENT_NAME_REGEX.match(compute_environment_name or ""):
        raise ClientException(f"'{compute_environment_name}' is not the name of a compute environment.")
    if backend.get_compute_environment_by_name(compute_environment_name) is not None:
        raise ClientException(f"Object already exists: {compute_environment_name}")
    kind = str(_type).upper()
    if kind not in ("MANAGED", "UNMANAGED"):
        raise ClientException(f"type {_type} must be one of MANAGED | UNMANAGED")
    if kind == "MANAGED":
        _check_resources(compute_resources or {})
    environment = ComputeEnvironment(
        compute_environment_name,
        kind,
        state or "ENABLED",
        compute_resources,
        service_role
        or f"arn:aws:iam::{backend.account_id}:role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch",
        account_id=backend.account_id,
        region_name=backend.region_name,
    )
    cluster = f"AWSBatch-{compute_environment_name}"
    arn = f"arn:aws:ecs:{backend.region_name}:{backend.account_id}:cluster/{cluster}"
    environment.set_ecs(arn, cluster)
    backend.ecs_backend.create_cluster(cluster)  # moto deletes it with the environment.
    backend._compute_environments[environment.arn] = environment
    if tags:
        backend.tag_resource(environment.arn, tags)
    return environment


def _check_resources(resources: dict[str, Any]) -> None:
    if resources.get("type") not in _KINDS:
        raise ClientException(f"computeResources.type must be one of {' | '.join(_KINDS)}.")
    if not resources.get("subnets"):
        raise ClientException("At least 1 subnet must be provided.")
    if int(resources.get("maxvCpus", 0)) < 1:
        raise ClientException("maxvCpus must be at least 1.")
    if "FARGATE" in resources["type"]:
        return
    for member in ("instanceTypes", "instanceRole"):
        if not resources.get(member):
            raise ClientException(f"computeResources.{member} is required.")
    if int(resources.get("minvCpus", 0)) > int(resources["maxvCpus"]):
        raise ClientException("maxvCpus must be at least minvCpus.")


def _describe_definition(definition: Any) -> dict[str, Any]:
    document: dict[str, Any] = _moto_describe_definition(definition)
    if definition.node_properties is not None:
        document["nodeProperties"] = definition.node_properties
    # Members that moto leaves as None are not there on AWS.
    return {name: value for name, value in document.items() if value is not None}
