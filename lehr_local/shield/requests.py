"""Which permissions a request needs: its actions, their resources and what conditions can ask about it.

A request is read as it arrives, from any client. What one call of the API needs is more than its own name: a
training job needs `iam:PassRole`, a transaction the permission of each item. For services whose calls no role of
a stack makes, the resource is `*`.
Permissions of each API: docs.aws.amazon.com/service-authorization/latest/reference
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

import botocore.session

from lehr_local.shield.dynamodb_requests import PartitionKeyOf, dynamodb_demands
from lehr_local.shield.policies import Demand
from lehr_local.shield.s3_requests import s3_demands

MachineOfToken = Callable[[str], str | None]

_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/\d{8}/([^/]+)/([^/]+)/aws4_request")
_PREFIXES = {"monitoring": "cloudwatch", "email": "ses"}
# Clients whose requests are told apart by method and path.
_REST = {"lambda": "lambda", "batch": "batch", "apigateway": "apigatewayv2"}
# How Step Functions marks the jobs that it waits for (`.sync`).
SYNC_TAG = ("MANAGED_BY_AWS", "STARTED_BY_STEP_FUNCTIONS")
_RULE_ACTIONS = ("events:PutTargets", "events:PutRule", "events:DescribeRule")


@dataclass(frozen=True)
class HttpCall:
    """A request as received: `path` is decoded, `headers` have lower-case names."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class ApiCall:
    """A request understood. Without a signature `access_key_id` is None, and nothing is demanded."""

    access_key_id: str | None
    service: str
    region: str
    operation: str
    demands: tuple[Demand, ...]
    parameters: Mapping[str, Any]


def signer_of(headers: Mapping[str, str], query: str) -> tuple[str, str, str] | None:
    """Access key id, region and service of a signed request; None for one without a signature."""
    match = _CREDENTIAL.search(headers.get("authorization", ""))
    if match is not None:
        return match[1], match[2], match[3]
    presigned = parse_qs(query).get("X-Amz-Credential", [""])[0].split("/")
    return (presigned[0], presigned[2], presigned[3]) if len(presigned) == 5 else None


def classify(
    call: HttpCall,
    account_id: str,
    partition_key_of: PartitionKeyOf = lambda _: None,
    machine_of_token: MachineOfToken = lambda _: None,
) -> ApiCall:
    """What a request needs. `partition_key_of` names the partition key of a DynamoDB table, and `machine_of_token` the
    state machine in which a task waits for a token.
    """
    signer = signer_of(call.headers, call.query)
    if signer is None:
        return ApiCall(None, "", "", "", (), {})
    access_key_id, region, service = signer
    if service == "s3":
        demands = s3_demands(call.method, call.path, call.query, call.headers, call.body)
        operation = demands[0].action.partition(":")[2] if demands else ""
        return ApiCall(access_key_id, service, region, operation, tuple(demands), {})
    operation, parameters = _operation_of(call, service)
    reader = _Reader(service, region, account_id, operation, parameters, partition_key_of, machine_of_token)
    return ApiCall(access_key_id, service, region, operation, tuple(reader.demands()), parameters)


def _operation_of(call: HttpCall, service: str) -> tuple[str, dict[str, Any]]:
    """Name and parameters of the operation, whatever the protocol of the service."""
    if service in _REST:
        return _rest_operation(_REST[service], call)
    target = call.headers.get("x-amz-target", "").rpartition(".")[2]
    if target:
        return target, _json(call.body)
    named = re.fullmatch(r"/service/[^/]+/operation/([^/]+)", call.path)
    if named:
        return named[1], {}
    form = parse_qs(call.query) | parse_qs(call.body.decode("latin-1"))
    parameters = {name: values[0] for name, values in form.items()}
    return parameters.get("Action", "Unknown"), parameters


def _json(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _rest_operation(service: str, call: HttpCall) -> tuple[str, dict[str, Any]]:
    for method, pattern, names, operation in _routes(service):
        match = re.fullmatch(pattern, call.path) if method == call.method else None
        if match is not None:
            labels = {name: unquote(value) for name, value in zip(names, match.groups(), strict=True)}
            return operation, {**_json(call.body if operation != "Invoke" else b""), **labels}
    return "Unknown", {}


@functools.cache
def _routes(service: str) -> list[tuple[str, str, list[str], str]]:
    model = botocore.session.Session().get_service_model(service)
    routes = []
    for name in model.operation_names:
        http = model.operation_model(name).http
        path = http["requestUri"].partition("?")[0]
        labels = re.findall(r"\{([^}+]+)\+?\}", path)
        pattern = re.sub(r"\\\{[^}]+?\\\}", "([^/]+)", re.escape(path)).rstrip("/") + "/?"
        routes.append((http["method"], pattern, labels, name))
    # The more of a path is spelt out, the sooner it is tried.
    return sorted(routes, key=lambda route: -len(route[1].replace("([^/]+)", "")))


class _Reader:
    """Turns the parameters of one operation into demands."""

    def __init__(
        self,
        service: str,
        region: str,
        account_id: str,
        operation: str,
        parameters: Mapping[str, Any],
        partition_key_of: PartitionKeyOf,
        machine_of_token: MachineOfToken,
    ) -> None:
        self._service = _PREFIXES.get(service, service)
        self._region = region
        self._account_id = account_id
        self._operation = operation
        self._parameters = parameters
        self._partition_key_of = partition_key_of
        self._machine_of_token = machine_of_token

    def demands(self) -> list[Demand]:
        if (self._service, self._operation) == ("sts", "GetCallerIdentity"):
            return []  # Needs no permission.
        read = getattr(self, f"_{self._service}", None)
        demands: list[Demand] = read() if read is not None else [self._demand("*")]
        return [*demands, *self._passed_roles()]

    def _demand(self, resource: str, context: Mapping[str, Any] | None = None, action: str = "") -> Demand:
        return Demand(f"{self._service}:{action or self._operation}", resource, context or {})

    def _arn(self, resource: str, service: str = "") -> str:
        return f"arn:aws:{service or self._service}:{self._region}:{self._account_id}:{resource}"

    def _passed_roles(self) -> list[Demand]:
        """A role that is handed to a service, which acts under it from then on."""
        service = {"states": "states", "lambda": "lambda", "sagemaker": "sagemaker"}.get(self._service)
        role = next(
            (self._parameters[name] for name in ("RoleArn", "roleArn", "Role") if name in self._parameters),
            None,
        )
        if (
            service is None
            or not isinstance(role, str)
            or not self._operation.startswith(("Create", "Update"))
        ):
            return []
        return [Demand("iam:PassRole", role, {"iam:PassedToService": f"{service}.amazonaws.com"})]

    def _dynamodb(self) -> list[Demand]:
        return dynamodb_demands(self._operation, self._parameters, self._arn, self._partition_key_of)

    def _states(self) -> list[Demand]:
        if "taskToken" in self._parameters:
            return [self._demand(self._machine_of_token(str(self._parameters["taskToken"])) or "*")]
        names = ("stateMachineArn", "executionArn", "activityArn", "mapRunArn", "resourceArn")
        given = (self._parameters[name] for name in names if name in self._parameters)
        resource = next(given, None)
        if resource is None and "name" in self._parameters:
            resource = self._arn(f"stateMachine:{self._parameters['name']}")
        return [self._demand(resource or "*")]

    def _lambda(self) -> list[Demand]:
        action = {"Invoke": "InvokeFunction"}.get(self._operation, self._operation)
        name = self._parameters.get("FunctionName")
        if not name:
            return [self._demand("*", action=action)]
        arn = str(name) if str(name).startswith("arn:") else self._arn(f"function:{name}")
        return [self._demand(arn, action=action)]

    def _sqs(self) -> list[Demand]:
        url = self._parameters.get("QueueUrl")
        name = url.rstrip("/").rpartition("/")[2] if url else self._parameters.get("QueueName")
        return [self._demand(self._arn(name) if name else "*")]

    def _sns(self) -> list[Demand]:
        arns = (self._parameters.get(name) for name in ("TopicArn", "TargetArn", "ResourceArn"))
        return [self._demand(next(filter(None, arns), "*"))]

    def _events(self) -> list[Demand]:
        if self._operation == "PutEvents":
            return [self._of_event(entry) for entry in self._parameters.get("Entries") or []]
        rule = self._parameters.get("Rule") or self._parameters.get("Name")
        return [self._demand(self._arn(f"rule/{rule}") if rule else "*")]

    def _of_event(self, entry: Mapping[str, Any]) -> Demand:
        bus = str(entry.get("EventBusName") or "default")
        context = {"events:source": entry.get("Source"), "events:detail-type": entry.get("DetailType")}
        arn = bus if bus.startswith("arn:") else self._arn(f"event-bus/{bus}")
        return self._demand(arn, {name: str(value) for name, value in context.items() if value})

    def _iam(self) -> list[Demand]:
        role = self._parameters.get("RoleName")
        return [self._demand(f"arn:aws:iam::{self._account_id}:role/{role}" if role else "*")]

    def _kms(self) -> list[Demand]:
        key = str(self._parameters.get("KeyId") or "")
        return [self._demand(key if not key or key.startswith("arn:") else self._arn(f"key/{key}"))]

    def _logs(self) -> list[Demand]:
        # Group and stream are in the ARN of every action, each empty when the call names none.
        group, stream = (self._parameters.get(name) or "" for name in ("logGroupName", "logStreamName"))
        group = group or self._parameters.get("logGroupIdentifier", "")
        return [self._demand(self._arn(f"log-group:{group}:log-stream:{stream}"))]

    def _cloudwatch(self) -> list[Demand]:
        namespace = self._parameters.get("Namespace")
        return [self._demand("*", {"cloudwatch:namespace": namespace} if namespace else {})]

    def _sagemaker(self) -> list[Demand]:
        name = self._parameters.get("TrainingJobName")
        if not name:
            return self._model_packages()
        arn = self._arn(f"training-job/{name}")
        if self._operation != "CreateTrainingJob":
            return [self._demand(arn)]
        resources = self._parameters.get("ResourceConfig") or {}
        context: dict[str, Any] = {
            "sagemaker:NetworkIsolation": _flag(self._parameters.get("EnableNetworkIsolation")),
            "sagemaker:InterContainerTrafficEncryption": _flag(
                self._parameters.get("EnableInterContainerTrafficEncryption")
            ),
            "sagemaker:MaxRuntimeInSeconds": str(
                (self._parameters.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds", 86400)
            ),
            "sagemaker:InstanceTypes": _instance_types(resources),
        }
        network = self._parameters.get("VpcConfig") or {}
        optional = {
            "sagemaker:VolumeKmsKey": resources.get("VolumeKmsKeyId"),
            "sagemaker:OutputKmsKey": (self._parameters.get("OutputDataConfig") or {}).get("KmsKeyId"),
            "sagemaker:KeepAlivePeriod": str(resources.get("KeepAlivePeriodInSeconds") or ""),
            "sagemaker:VpcSubnets": tuple(map(str, network.get("Subnets") or ())),
            "sagemaker:VpcSecurityGroupIds": tuple(map(str, network.get("SecurityGroupIds") or ())),
        }
        context |= {name: value for name, value in optional.items() if value}
        return self._tagged(arn, context, "AddTags", "StepFunctionsGetEventsForSageMakerTrainingJobsRule")

    def _model_packages(self) -> list[Demand]:
        """The packages of a group are listed without a resource; a new one is of a group, and under its name."""
        package = self._parameters.get("ModelPackageArn") or self._parameters.get("ModelPackageName")
        if package:
            return [self._demand(str(package))]
        group = self._parameters.get("ModelPackageGroupName")
        if not group or self._operation.startswith("List"):
            return [self._demand("*")]
        demand = self._demand(self._arn(f"model-package-group/{group}"))
        if self._operation != "CreateModelPackage":
            return [demand]
        return [demand, self._demand(self._arn(f"model-package/{str(group).lower()}/*"))]

    def _batch(self) -> list[Demand]:
        if self._operation == "SubmitJob":
            queue = self._of_batch("job-queue", self._parameters.get("jobQueue"))
            definition = self._of_batch("job-definition", self._parameters.get("jobDefinition"))
            demands = self._tagged(definition, {}, "TagResource", "StepFunctionsGetEventsForBatchJobsRule")
            return [*demands, self._demand(queue)]
        if self._operation in ("TerminateJob", "CancelJob"):
            return [self._demand(self._of_batch("job", self._parameters.get("jobId")))]
        return [self._demand("*")]

    def _of_batch(self, kind: str, name: Any) -> str:
        return str(name) if str(name).startswith("arn:") else self._arn(f"{kind}/{name}")

    def _tagged(self, arn: str, context: dict[str, Any], tagging: str, rule: str) -> list[Demand]:
        """The demand for a job, with what its tags need, and what Step Functions needs to hear of its end."""
        tags = _tags(self._parameters.get("Tags") or self._parameters.get("tags") or {})
        if not tags:
            return [self._demand(arn, context)]
        tag_context = {f"aws:RequestTag/{key}": value for key, value in tags.items()}
        tag_context["aws:TagKeys"] = tuple(tags)  # type: ignore[assignment]
        demands = [self._demand(arn, {**context, **tag_context}), self._demand(arn, tag_context, tagging)]
        if tags.get(SYNC_TAG[0]) == SYNC_TAG[1]:
            rule_arn = self._arn(f"rule/{rule}", "events")
            demands += [Demand(action, rule_arn) for action in _RULE_ACTIONS]
        return demands


def _instance_types(resources: Mapping[str, Any]) -> tuple[str, ...]:
    """Of a training job: the one type, or those of an ordered list."""
    preferences = resources.get("InstancePreferences") or [resources]
    return tuple(str(item.get("InstanceType", "")) for item in preferences)


def _flag(value: Any) -> str:
    return "true" if value else "false"


def _tags(tags: Any) -> dict[str, str]:
    if isinstance(tags, Mapping):
        return {str(key): str(value) for key, value in tags.items()}
    return {str(tag["Key"]): str(tag["Value"]) for tag in tags}
