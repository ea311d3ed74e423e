"""The schedules of a template: `AWS::Scheduler::Schedule` and their groups."""

from __future__ import annotations

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
from lehr_local.schedule_expressions import parse


class Schedule(Provider):
    """`AWS::Scheduler::Schedule`: Ref is its name."""

    def create(self, deployment: Deployment, properties: Properties) -> Created:
        _check(properties)
        scheduler = deployment.clients("scheduler")
        name = properties.get("Name") or deployment.generated_name[:64]
        arn = scheduler.create_schedule(**fit(scheduler, "CreateSchedule", properties, Name=name))[
            "ScheduleArn"
        ]
        return Created(name, {"Arn": arn})

    def update(self, deployment: Deployment, resource: Resource, properties: Properties) -> Created:
        if any(
            properties.get(name) != resource.properties.get(name)
            for name in ("Name", "GroupName", "ActionAfterCompletion")
        ):
            return super().update(deployment, resource, properties)
        _check(properties)
        scheduler = deployment.clients("scheduler")
        wanted = {"State": "ENABLED", **properties}
        scheduler.update_schedule(
            **fit(scheduler, "UpdateSchedule", wanted, Name=resource.physical_resource_id)
        )
        return resource.created

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        scheduler = deployment.clients("scheduler")
        try:
            scheduler.delete_schedule(
                Name=resource.physical_resource_id, GroupName=resource.properties.get("GroupName", "default")
            )
        except scheduler.exceptions.ResourceNotFoundException:
            """One that fires once may have deleted itself."""


class ScheduleGroup(Provider):
    def create(self, deployment: Deployment, properties: Properties) -> Created:
        scheduler = deployment.clients("scheduler")
        name = properties.get("Name") or deployment.generated_name[:64]
        tags = [{"Key": key, "Value": str(value)} for key, value in as_map(properties.get("Tags")).items()]
        arn = scheduler.create_schedule_group(Name=name, Tags=tags)["ScheduleGroupArn"]
        return Created(name, {"Arn": arn})

    def update(self, deployment: Deployment, resource: Resource, properties: Properties) -> Created:
        if without(properties, "Tags") != without(resource.properties, "Tags"):
            return super().update(deployment, resource, properties)
        return resource.created

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        deployment.clients("scheduler").delete_schedule_group(Name=resource.physical_resource_id)


def _check(properties: Properties) -> None:
    parse(properties["ScheduleExpression"], properties.get("ScheduleExpressionTimezone", "UTC"))


PROVIDERS: dict[str, Provider] = {
    "AWS::Scheduler::Schedule": Schedule(),
    "AWS::Scheduler::ScheduleGroup": ScheduleGroup(),
}
