"""Where Batch jobs of a template run: compute environments, queues, definitions."""

from __future__ import annotations

from typing import Any

from lehr_local.resource_models import (
    Created,
    Deployment,
    Properties,
    Provider,
    Resource,
    as_map,
    fit,
    without,
)


class ComputeEnvironment(Provider):
    """`AWS::Batch::ComputeEnvironment`: Ref and the attribute are the ARN; only state and size can change."""

    def create(self, deployment: Deployment, properties: Properties) -> Created:
        batch = deployment.clients("batch")
        name = properties.get("ComputeEnvironmentName") or deployment.generated_name
        wanted = without(properties, "ReplaceComputeEnvironment", "UpdatePolicy")
        arguments = fit(batch, "CreateComputeEnvironment", wanted, computeEnvironmentName=name)
        arn = batch.create_compute_environment(**arguments)["computeEnvironmentArn"]
        return Created(arn, {"ComputeEnvironmentArn": arn})

    def update(self, deployment: Deployment, resource: Resource, properties: Properties) -> Created:
        mutable = ("State", "Tags", "UpdatePolicy", "ReplaceComputeEnvironment")
        if without(properties, *mutable) == without(resource.properties, *mutable):
            deployment.clients("batch").update_compute_environment(
                computeEnvironment=resource.physical_resource_id,
                state=properties.get("State", "ENABLED"),
            )
            return resource.created
        if properties.get("ComputeEnvironmentName"):
            # moto changes the state only. The name, and with it the ARN that queues hold, stays.
            return super().update(deployment, resource, properties)
        return self.create(deployment, properties)

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        deployment.clients("batch").delete_compute_environment(
            computeEnvironment=resource.physical_resource_id
        )


class JobQueue(Provider):
    """`AWS::Batch::JobQueue`: Ref and the attribute are the ARN."""

    def create(self, deployment: Deployment, properties: Properties) -> Created:
        batch = deployment.clients("batch")
        name = properties.get("JobQueueName") or deployment.generated_name
        arguments = fit(batch, "CreateJobQueue", {"State": "ENABLED", **properties}, jobQueueName=name)
        arn = batch.create_job_queue(**arguments)["jobQueueArn"]
        return Created(arn, {"JobQueueArn": arn})

    def update(self, deployment: Deployment, resource: Resource, properties: Properties) -> Created:
        if properties.get("JobQueueName") != resource.properties.get("JobQueueName"):
            return super().update(deployment, resource, properties)
        batch = deployment.clients("batch")
        wanted = without({"State": "ENABLED", **properties}, "JobQueueName", "Tags")
        batch.update_job_queue(**fit(batch, "UpdateJobQueue", wanted, jobQueue=resource.physical_resource_id))
        return resource.created

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        deployment.clients("batch").delete_job_queue(jobQueue=resource.physical_resource_id)


class JobDefinition(Provider):
    """`AWS::Batch::JobDefinition`: Ref is the ARN with its revision, and every change registers the next one."""

    def create(self, deployment: Deployment, properties: Properties) -> Created:
        name = properties.get("JobDefinitionName") or deployment.generated_name
        return self._register(deployment, name, properties)

    def update(self, deployment: Deployment, resource: Resource, properties: Properties) -> Created:
        if properties.get("JobDefinitionName") != resource.properties.get("JobDefinitionName"):
            return super().update(deployment, resource, properties)
        name = resource.physical_resource_id.rpartition("/")[2].partition(":")[0]
        created = self._register(deployment, name, properties)
        # As on AWS: the former revision is deregistered, and jobs that run keep what they were started with.
        self.delete(deployment, resource)
        return created

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        deployment.clients("batch").deregister_job_definition(jobDefinition=resource.physical_resource_id)

    def _register(self, deployment: Deployment, name: str, properties: Properties) -> Created:
        batch = deployment.clients("batch")
        arguments: dict[str, Any] = fit(
            batch,
            "RegisterJobDefinition",
            without(properties, "Tags"),
            jobDefinitionName=name,
            tags={key: str(value) for key, value in as_map(properties.get("Tags")).items()},
        )
        # moto takes what is left out from the former revision.
        arguments.setdefault("retryStrategy", {"attempts": 1})
        arn = batch.register_job_definition(**arguments)["jobDefinitionArn"]
        return Created(arn, {"JobDefinitionArn": arn})


PROVIDERS: dict[str, Provider] = {
    "AWS::Batch::ComputeEnvironment": ComputeEnvironment(),
    "AWS::Batch::JobQueue": JobQueue(),
    "AWS::Batch::JobDefinition": JobDefinition(),
}
