"""What carries events through a template: queues, topics, rules, alarms."""

from __future__ import annotations

from typing import Any

from lehr_local.resource_models import (
    Created,
    Deployment,
    Properties,
    Provider,
    Resource,
    as_map,
    as_text,
    fit,
    without,
)
from lehr_local.schedule_expressions import parse


class Queue(Provider):
    """`AWS::SQS::Queue`: every property but the name and the tags is an attribute of the same name."""

    def create(self, deployment: Deployment, properties: Properties) -> Created:
        sqs = deployment.clients("sqs")
        name = properties.get("QueueName")
        if not name:
            suffix = ".fifo" if as_text(properties.get("FifoQueue", "")) == "true" else ""
            name = deployment.generated_name[: 80 - len(suffix)] + suffix
        tags = {key: str(value) for key, value in as_map(properties.get("Tags")).items()}
        url = sqs.create_queue(QueueName=name, Attributes=self._attributes(properties), tags=tags)["QueueUrl"]
        return Created(url, {"Arn": deployment.arn("sqs", name), "QueueName": name, "QueueUrl": url})

    def update(self, deployment: Deployment, resource: Resource, properties: Properties) -> Created:
        if any(properties.get(name) != resource.properties.get(name) for name in ("QueueName", "FifoQueue")):
            return super().update(deployment, resource, properties)
        deployment.clients("sqs").set_queue_attributes(
            QueueUrl=resource.physical_resource_id,
            Attributes=without(self._attributes(properties), "FifoQueue"),
        )
        return resource.created

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        deployment.clients("sqs").delete_queue(QueueUrl=resource.physical_resource_id)

    def _attributes(self, properties: Properties) -> dict[str, str]:
        return {name: as_text(value) for name, value in without(properties, "QueueName", "Tags").items()}


class QueuePolicy(Provider):
    def create(self, deployment: Deployment, properties: Properties) -> Created:
        self._set(deployment, properties, as_text(properties["PolicyDocument"]))
        return Created(deployment.generated_name)

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        self._set(deployment, resource.properties, "")

    def _set(self, deployment: Deployment, properties: Properties, policy: str) -> None:
        for url in properties["Queues"]:
            deployment.clients("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})


class Topic(Provider):
    def create(self, deployment: Deployment, properties: Properties) -> Created:
        sns = deployment.clients("sns")
        name = properties.get("TopicName") or deployment.generated_name
        attributes = {
            key: as_text(value)
            for key, value in without(properties, "TopicName", "Subscription", "Tags").items()
        }
        tags = [{"Key": key, "Value": str(value)} for key, value in as_map(properties.get("Tags")).items()]
        arn = sns.create_topic(Name=name, Attributes=attributes, Tags=tags)["TopicArn"]
        for subscription in properties.get("Subscription", []):
            sns.subscribe(TopicArn=arn, Protocol=subscription["Protocol"], Endpoint=subscription["Endpoint"])
        return Created(arn, {"TopicArn": arn, "TopicName": name})

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        deployment.clients("sns").delete_topic(TopicArn=resource.physical_resource_id)


class TopicPolicy(Provider):
    def create(self, deployment: Deployment, properties: Properties) -> Created:
        for arn in properties["Topics"]:
            deployment.clients("sns").set_topic_attributes(
                TopicArn=arn, AttributeName="Policy", AttributeValue=as_text(properties["PolicyDocument"])
            )
        return Created(deployment.generated_name)

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        """A topic always has a policy; it goes with the topic."""


class Subscription(Provider):
    def create(self, deployment: Deployment, properties: Properties) -> Created:
        sns = deployment.clients("sns")
        attributes = without(properties, "TopicArn", "Protocol", "Endpoint", "Region")
        arn = sns.subscribe(
            TopicArn=properties["TopicArn"],
            Protocol=properties["Protocol"],
            Endpoint=properties.get("Endpoint", ""),
            Attributes={key: as_text(value) for key, value in attributes.items()},
            ReturnSubscriptionArn=True,
        )["SubscriptionArn"]
        return Created(arn, {"Arn": arn})

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        deployment.clients("sns").unsubscribe(SubscriptionArn=resource.physical_resource_id)


class Rule(Provider):
    """`AWS::Events::Rule` with its targets; `put_rule` on an existing name changes it in place."""

    def create(self, deployment: Deployment, properties: Properties) -> Created:
        return self._put(deployment, properties.get("Name") or deployment.generated_name, properties)

    def update(self, deployment: Deployment, resource: Resource, properties: Properties) -> Created:
        name = properties.get("Name", resource.physical_resource_id)
        bus = properties.get("EventBusName", "default")
        if name != resource.physical_resource_id or bus != resource.properties.get("EventBusName", "default"):
            return super().update(deployment, resource, properties)
        self._remove_targets(deployment, resource)
        return self._put(deployment, name, properties)

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        self._remove_targets(deployment, resource)
        deployment.clients("events").delete_rule(**self._key(resource))

    def _put(self, deployment: Deployment, name: str, properties: Properties) -> Created:
        if "ScheduleExpression" in properties:
            parse(properties["ScheduleExpression"])  # moto takes any text.
        events = deployment.clients("events")
        bus = properties.get("EventBusName", "default")
        arn = events.put_rule(**fit(events, "PutRule", without(properties, "RoleArn"), Name=name))["RuleArn"]
        if properties.get("Targets"):
            targets = fit(
                events, "PutTargets", {"Targets": properties["Targets"]}, Rule=name, EventBusName=bus
            )
            events.put_targets(**targets)
        return Created(name, {"Arn": arn})

    def _remove_targets(self, deployment: Deployment, resource: Resource) -> None:
        ids = [target["Id"] for target in resource.properties.get("Targets", [])]
        if ids:
            key = self._key(resource)
            deployment.clients("events").remove_targets(
                Rule=key["Name"], EventBusName=key["EventBusName"], Ids=ids
            )

    def _key(self, resource: Resource) -> dict[str, str]:
        return {
            "Name": resource.physical_resource_id,
            "EventBusName": resource.properties.get("EventBusName", "default"),
        }


class Alarm(Provider):
    """`AWS::CloudWatch::Alarm`: its state changes only when someone sets it, since no metric is evaluated."""

    def create(self, deployment: Deployment, properties: Properties) -> Created:
        name = properties.get("AlarmName") or deployment.generated_name
        self._put(deployment, name, properties)
        return Created(name, {"Arn": deployment.arn("cloudwatch", f"alarm:{name}")})

    def update(self, deployment: Deployment, resource: Resource, properties: Properties) -> Created:
        if properties.get("AlarmName", resource.physical_resource_id) != resource.physical_resource_id:
            return super().update(deployment, resource, properties)
        self._put(deployment, resource.physical_resource_id, properties)
        return resource.created

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        deployment.clients("cloudwatch").delete_alarms(AlarmNames=[resource.physical_resource_id])

    def _put(self, deployment: Deployment, name: str, properties: Properties) -> None:
        cloudwatch = deployment.clients("cloudwatch")
        cloudwatch.put_metric_alarm(**fit(cloudwatch, "PutMetricAlarm", properties, AlarmName=name))


class Dashboard(Provider):
    def create(self, deployment: Deployment, properties: Properties) -> Created:
        name = properties.get("DashboardName") or deployment.generated_name
        deployment.clients("cloudwatch").put_dashboard(
            DashboardName=name, DashboardBody=as_text(properties["DashboardBody"])
        )
        return Created(name)

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        deployment.clients("cloudwatch").delete_dashboards(DashboardNames=[resource.physical_resource_id])


class MetricFilter(Provider):
    def create(self, deployment: Deployment, properties: Properties) -> Created:
        logs = deployment.clients("logs")
        name = properties.get("FilterName") or deployment.generated_name
        logs.put_metric_filter(**fit(logs, "PutMetricFilter", properties, filterName=name))
        return Created(name)

    def delete(self, deployment: Deployment, resource: Resource) -> None:
        arguments: dict[str, Any] = {"logGroupName": resource.properties["LogGroupName"]}
        deployment.clients("logs").delete_metric_filter(filterName=resource.physical_resource_id, **arguments)


PROVIDERS: dict[str, Provider] = {
    "AWS::SQS::Queue": Queue(),
    "AWS::SQS::QueuePolicy": QueuePolicy(),
    "AWS::SNS::Topic": Topic(),
    "AWS::SNS::TopicPolicy": TopicPolicy(),
    "AWS::SNS::Subscription": Subscription(),
    "AWS::Events::Rule": Rule(),
    "AWS::CloudWatch::Alarm": Alarm(),
    "AWS::CloudWatch::Dashboard": Dashboard(),
    "AWS::Logs::MetricFilter": MetricFilter(),
}
