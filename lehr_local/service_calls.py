"""Names and types at the border between a state and the API that it calls, as Step Functions has them.

The states language writes `JobName` where the API writes `jobName`, and it has no timestamps. moto's
interpreter kept the conversion and emptied the two methods that call it; here they are filled again. Without
them every call with arguments in lower camel case fails, and a timestamp in a result breaks the execution.
"""

from __future__ import annotations

import datetime
import functools
from typing import Any

import botocore.session
from botocore.model import OperationModel
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service import (
    StateTaskService,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_aws_sdk import (
    StateTaskServiceAwsSdk,
)
from moto.stepfunctions.parser.utils import camel_to_snake_case


def install() -> None:
    """Make moto's interpreter convert requests and responses. Idempotent."""
    StateTaskService._normalise_parameters = _to_request
    StateTaskService._normalise_response = _from_response
    StateTaskServiceAwsSdk._normalise_service_error_name = staticmethod(_error_prefix)


def _to_request(
    task: Any,
    parameters: dict[str, Any],
    boto_service_name: str | None = None,
    service_action_name: str | None = None,
) -> None:
    shape = _operation_of(task, boto_service_name, service_action_name).input_shape
    if shape is not None:
        task._to_boto_request(parameters, shape)


def _from_response(
    task: Any,
    response: Any,
    boto_service_name: str | None = None,
    service_action_name: str | None = None,
) -> None:
    shape = _operation_of(task, boto_service_name, service_action_name).output_shape
    if shape is not None:
        task._from_boto_response(response, shape)
    _replace_timestamps(response)


def _error_prefix(service_name: str) -> str:
    """The first part of an error's name in an aws-sdk task: S3, DynamoDb, Ssm, as the SDK for Java has them."""
    boto_name = StateTaskService._SERVICE_NAME_SFN_TO_BOTO_OVERRIDES.get(service_name, service_name)
    service_id = _service_model(boto_name).service_id.replace(" ", "")
    return str(StateTaskService._to_sfn_cased(service_id))


def _operation_of(task: Any, service: str | None, action: str | None) -> OperationModel:
    return _operation(task._get_boto_service_name(service), task._get_boto_service_action(action))


@functools.lru_cache(maxsize=256)
def _operation(service: str, method: str) -> OperationModel:
    model = _service_model(service)
    for name in model.operation_names:
        if camel_to_snake_case(name) == method:
            return model.operation_model(name)
    raise ValueError(f"The service {service} has no operation {method}.")


@functools.lru_cache(maxsize=64)
def _service_model(service: str) -> Any:
    return botocore.session.Session().get_service_model(service)


def _replace_timestamps(value: Any) -> Any:
    """`value`, changed in place, with every datetime as an ISO 8601 string in UTC."""
    if isinstance(value, dict):
        for key, member in value.items():
            value[key] = _replace_timestamps(member)
    elif isinstance(value, list):
        value[:] = [_replace_timestamps(member) for member in value]
    elif isinstance(value, datetime.datetime):
        return value.astimezone(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value
