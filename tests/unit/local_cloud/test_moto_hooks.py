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
    # Every module of a task has imported it by its name; one of them stands for all.
    (
        f"{SERVICE}.state_task_service_dynamodb",
        "boto_client_for",
        ["region", "service", "state_credentials"],
    ),
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
    # By which the shield finds who waits for a token.
    (f"{PARSER}.asl.eval.callback.callback", "CallbackPoolManager.get", ["self", "callback_id"]),
    (f"{PARSER}.api", "InvalidDefinition.TYPE", None),
    ("moto.kms.responses", "KmsResponse._get_param", ["self", "param_name", "if_none"]),
    ("moto.kms.utils", "ECDSAPrivateKey.sign", ["self", "message", "signing_algorithm"]),
    ("moto.kms.utils", "ECDSAPrivateKey.verify", ["self", "message", "signature", "signing_algorithm"]),
    ("moto.sagemaker.responses", "SageMakerResponse.create_training_job", ["self"]),
    *(
        ("moto.sagemaker.responses", f"SageMakerResponse.{name}", ["self"])
        for name in ("create_model_package_group", "create_model_package", "update_model_package")
    ),
    ("moto.sagemaker.models", "ModelPackage.gen_response_object", ["self"]),
    *(
        ("moto.batch.responses", f"BatchResponse.{name}", ["self"])
        for name in ("submitjob", "describejobs", "listjobs", "terminatejob", "canceljob")
    ),
    (
        "moto.batch.models",
        "BatchBackend.create_compute_environment",
        [
            "self",
            "compute_environment_name",
            "_type",
            "state",
            "compute_resources",
            "service_role",
            "tags",
        ],
    ),
    ("moto.batch.models", "JobDefinition.describe", ["self"]),
    (
        f"{SERVICE}.state_task_service_batch",
        "StateTaskServiceBatch._before_eval_execution",
        ["self", "env", "resource_runtime_part", "raw_parameters", "state_credentials"],
    ),
    (
        f"{SERVICE}.state_task_service",
        "StateTaskService._validate_service_integration_is_supported",
        ["self"],
    ),
    ("moto.awslambda.models", "LambdaFunction.get_configuration", ["self", "on_create"]),
    # What a snapshot knows of moto's memory.
    (f"{PARSER}.backend.execution", "Execution.to_history_output", ["self"]),
    ("moto.cloudformation.parsing", "ResourceMap.load_conditions", ["self"]),
    ("moto.logs.models", "LogEvent._event_id", None),
    ("moto.iam.models", "AWSManagedPolicy", None),
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


MEMORY = """
import json, time
from moto.iam.models import iam_backends
from moto.logs.models import logs_backends
from moto.s3.models import FakeKey
from moto.scheduler.models import ScheduleGroup
key = FakeKey("name", b"content", "123456789012", "us-east-1")
logs = logs_backends["123456789012"]["us-east-1"]
logs.ensure_log_group("group")
logs.ensure_log_stream("group", "stream")
logs.put_log_events("group", "stream", [{"timestamp": int(time.time() * 1000), "message": "m"}])
stream = logs.groups["group"].streams["stream"]
print(json.dumps({
    "key": sorted(vars(key)),
    "stream": sorted(vars(stream)),
    "event": sorted(vars(stream.events[0])),
    "iam": sorted(vars(iam_backends["123456789012"]["aws"])),
    "group": sorted(vars(ScheduleGroup("us-east-1", "123456789012", "g"))),
}))
"""


def test_moto_keeps_in_memory_what_snapshots_and_schedules_read() -> None:
    answer = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    found = json.loads(answer.stdout)
    needed = {
        "key": {"lock", "_value_buffer", "contentsize", "last_modified", "_etag", "disposed"},
        "stream": {"events"},
        "event": {"ingestion_time", "timestamp", "message", "event_id"},
        "iam": {"managed_policies", "aws_managed_policies"},
        "group": {"schedules"},
    }
    missing = {name: members - set(found[name]) for name, members in needed.items()}
    assert not any(missing.values()), missing
