"""The role of a state machine in what its executions do.

moto's interpreter hands the role of an execution to the function that makes its clients, which ignores it; and it runs
the items of a distributed Map without the child executions that on AWS the role must be allowed to start.
"""

from __future__ import annotations

import sys
from typing import Any

from botocore.config import Config
from moto.stepfunctions.parser.api import HistoryEventType, MapRunFailedEventDetails
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.common.timeouts.timeout import TimeoutSeconds
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration import (
    distributed_iteration_component,
)
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.utils import boto_client

from lehr_local import state_failures
from lehr_local.authority import AccessDeniedError
from lehr_local.settings import LocalSettings

_INTERPRETER = ("moto.stepfunctions.parser.", "lehr_local.")
# As moto has it: a task takes as long as its state allows.
_LIMIT_S = TimeoutSeconds.DEFAULT_TIMEOUT_SECONDS
_CONFIG = Config(
    parameter_validation=False,
    retries={"total_max_attempts": 1},
    connect_timeout=_LIMIT_S,
    read_timeout=_LIMIT_S,
)
_ERROR = "StepFunctions.AccessDeniedException"
# Every client that the interpreter makes, it makes with a name that it has imported.
_NAME = "boto_client_for"


def install(settings: LocalSettings) -> None:
    """Make executions act under the role of their state machine. Idempotent; the last settings count.

    Comes after the modules that run tasks have been imported, and after `state_failures.install`.
    """
    clients = boto_client.boto3

    def boto_client_for(region: str, service: str, state_credentials: Any = None) -> Any:
        return clients.client(
            service_name=service,
            region_name=region,
            endpoint_url=settings.endpoint_url,
            config=_CONFIG,
            access_key_id=settings.authority.key_of(state_credentials.role_arn),
        )

    for name, module in list(sys.modules.items()):
        if name.startswith(_INTERPRETER) and name != __name__ and _NAME in vars(module):
            setattr(module, _NAME, boto_client_for)

    def map_run(component: Any, env: Any, eval_input: Any) -> None:
        _demand_child_executions(settings, env)
        state_failures.run_items(component, env, eval_input)

    distributed_iteration_component.DistributedIterationComponent._map_run = map_run


def _demand_child_executions(settings: LocalSettings, env: Any) -> None:
    machine_arn = str(env.states.context_object.context_object_data["StateMachine"]["Id"])
    children = machine_arn.replace(":stateMachine:", ":execution:") + "/items:*"
    try:
        role = env.aws_execution_details.role_arn
        settings.authority.demand(role, "states:StartExecution", machine_arn)
        settings.authority.demand(role, "states:DescribeExecution", children)
    except AccessDeniedError as error:
        raise FailureEventException(
            FailureEvent(
                env=env,
                error_name=state_failures.error_name_of(_ERROR),
                event_type=HistoryEventType.MapRunFailed,
                event_details=EventDetails(
                    mapRunFailedEventDetails=MapRunFailedEventDetails(error=_ERROR, cause=str(error))
                ),
            )
        ) from error
