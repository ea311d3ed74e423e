"""What the local cloud replaces in moto is there to be replaced, in the pinned version.

A name that moto no longer uses could be assigned without an error and would change nothing. What each replacement
does is tested through the API in tests/integration/local_cloud.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PARSER = "moto.stepfunctions.parser"
STATE = f"{PARSER}.asl.component.state"
SERVICE = f"{STATE}.exec.state_task.service"
COMMON = f"{PARSER}.asl.component.common"
TEMPLATE = f"{COMMON}.jsonata"
TERMINAL = f"{TEMPLATE}.jsonata_template_value_terminal"

# Module, name in it, and the parameters with which moto calls it.
HOOKS: list[tuple[str, str, list[str] | None]] = [
    (
        f"{SERVICE}.state_task_service",
        "StateTaskService._normalise_parameters",
        ["self", "parameters", "boto_service_name", "service_action_name"],
    ),
    (
        f"{SERVICE}.state_task_service",
        "StateTaskService._normalise_response",
        ["self", "response", "boto_service_name", "service_action_name"],
    ),
    (
        f"{SERVICE}.state_task_service_aws_sdk",
        "StateTaskServiceAwsSdk._normalise_service_error_name",
        ["service_name"],
    ),
    (f"{SERVICE}.state_task_service_factory", "state_task_service_for", ["service_name"]),
    (f"{STATE}.exec.state_task.state_task_factory", "state_task_service_for", ["service_name"]),
    (f"{SERVICE}.state_task_service_callback", "_DELAY_SECONDS_SYNC_CONDITION_CHECK", None),
    (
        f"{SERVICE}.state_task_service_callback",
        "StateTaskServiceCallback._eval_sync",
        ["self", "env", "sync_resolver", "timeout_seconds", "callback_endpoint", "heartbeat_endpoint"],
    ),
    (f"{SERVICE}.state_task_service_callback", "CustomErrorName", None),
    (f"{STATE}.exec.state_map.iteration.iteration_worker", "CustomErrorName", None),
    (f"{STATE}.exec.state_parallel.branches_decl", "CustomErrorName", None),
    (f"{STATE}.fail.state_fail", "CustomErrorName", None),
    (
        f"{STATE}.exec.state_map.iteration.itemprocessor.distributed_item_processor_worker",
        "DistributedItemProcessorWorker._eval_job",
        ["self", "env", "job"],
    ),
    (
        f"{STATE}.exec.state_map.iteration.distributed_iteration_component",
        "DistributedIterationComponent._map_run",
        ["self", "env", "eval_input"],
    ),
    (f"{COMMON}.string.string_expression", "StringJSONata.__init__", ["self", "expression"]),
    (f"{COMMON}.string.string_expression", "StringJSONata._eval_body", ["self", "env"]),
    (f"{COMMON}.string.string_expression", "StringVariableSample._eval_body", ["self", "env"]),
    (f"{TEMPLATE}.jsonata_template_value_array", "JSONataTemplateValueArray._field_name", ["self"]),
    (f"{TEMPLATE}.jsonata_template_value_object", "JSONataTemplateValueObject._field_name", ["self"]),
    (TERMINAL, "JSONataTemplateValueTerminalLit._field_name", ["self"]),
    (TERMINAL, "JSONataTemplateValueTerminalStringJSONata._field_name", ["self"]),
    (f"{PARSER}.asl.parse.preprocessor", "Preprocessor._query_language_per_scope", None),
    (f"{PARSER}.asl.utils.boto_client", "boto3", None),
    (
        f"{PARSER}.asl.eval.event.event_manager",
        "EventManager.add_event",
        ["self", "context", "event_type", "event_details", "timestamp", "update_source_event_id"],
    ),
    (
        f"{PARSER}.asl.eval.environment",
        "Environment.set_stop",
        ["self", "stop_date", "cause", "error"],
    ),
    (f"{PARSER}.asl.eval.environment", "Environment.set_timed_out", ["self"]),
    (f"{PARSER}.backend.execution", "Execution.get_start_execution_details", ["self"]),
    (
        f"{PARSER}.backend.execution",
        "BaseExecutionWorkerCommunication._reflect_execution_status",
        ["self"],
    ),
    ("moto.stepfunctions.responses", "StepFunctionResponse.stop_execution", ["self"]),
    ("moto.stepfunctions.responses", "StepFunctionResponse.describe_execution", ["self"]),
    ("moto.stepfunctions.responses", "StepFunctionResponse.get_execution_history", ["self"]),
    ("moto.stepfunctions.responses", "StepFunctionResponse.send_task_failure", ["self"]),
    (f"{PARSER}.api", "InvalidDefinition.TYPE", None),
    ("moto.sagemaker.responses", "SageMakerResponse.create_training_job", ["self"]),
]

INSPECT = """
import functools, importlib, inspect, json, sys
answers = []
for module, name in json.load(sys.stdin):
    value = functools.reduce(getattr, name.split("."), importlib.import_module(module))
    answers.append(list(inspect.signature(value).parameters) if inspect.isfunction(value) else None)
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def signatures() -> dict[tuple[str, str], list[str] | None]:
    """Looked up in a process in which nothing has been replaced."""
    places = [(module, name) for module, name, _ in HOOKS]
    answer = subprocess.run(
        [sys.executable, "-c", INSPECT], input=json.dumps(places), capture_output=True, text=True, check=True
    )
    return dict(zip(places, json.loads(answer.stdout), strict=True))


@pytest.mark.parametrize(("module", "name", "parameters"), HOOKS, ids=[name for _, name, _ in HOOKS])
def test_moto_has_what_is_replaced(
    signatures: dict[tuple[str, str], list[str] | None],
    module: str,
    name: str,
    parameters: list[str] | None,
) -> None:
    assert signatures[module, name] == parameters
