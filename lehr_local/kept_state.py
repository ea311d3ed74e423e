"""What of moto's memory is kept across restarts, and the few types of it that need more than their attributes.

Kept is every backend that exists, but for those that hold nothing of a user's. What cannot be kept is what runs: an
execution or a training job that was under way has ended when the cloud comes back, and says so.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib
import sys
import tempfile
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from moto.cloudformation import models as cloudformation_models
from moto.core.base_backend import BackendDict
from moto.iam.models import AWSManagedPolicy, IAMBackend, iam_backends
from moto.kms.utils import ECDSAPrivateKey, RSAPrivateKey
from moto.logs.models import LogEvent, LogStream
from moto.s3.models import FakeKey
from moto.sagemaker.models import FakeTrainingJob
from moto.stepfunctions.parser.api import ExecutionStatus
from moto.stepfunctions.parser.backend.execution import Execution

from lehr_local.cloudformation import LocalStack
from lehr_local.graph_reader import GraphReader
from lehr_local.graph_writer import GraphWriter
from lehr_local.snapshot_files import BlobStore
from lehr_local.stack_resources import StackResources
from lehr_local.state_graph import GraphError, attributes_of, set_attributes

# Of each log stream; a trainer that prints every step would otherwise be written again and again.
KEPT_LINES = 5_000
# They describe AWS or this process, not the user's account.
_NOT_KEPT = ("ec2", "instance_metadata", "moto_api", "ssm", "sts")
_STOPPED = "The local cloud was stopped while it ran."
# Some 1,500 policies, which every new account has.
_AWS_POLICY = "policy of AWS"
_RESOURCE_MAP = "moto.cloudformation.models:ResourceMap"


def write_state(blobs: BlobStore) -> tuple[dict[str, Any], set[str]]:
    """The state of all backends as a document, and the classes whose objects could not be kept."""
    homes: dict[int, list[str]] = {}
    kept: list[tuple[list[str], Any]] = []
    for name, services in _backend_dicts():
        homes[id(services)] = [name]
        for account_id, regions in list(services.items()):
            homes[id(regions)] = [name, account_id]
            for region, backend in list(regions.items()):
                homes[id(backend)] = [name, account_id, region]
                if services.service_name not in _NOT_KEPT:
                    kept.append((homes[id(backend)], backend))

    def external(value: Any) -> list[str] | None:
        if isinstance(value, AWSManagedPolicy):
            return [_AWS_POLICY, value.account_id, value.arn]
        return homes.get(id(value))

    writer = GraphWriter(external, _reductions(blobs), blobs.add, _class_name)
    roots = [[home, writer.attributes(backend)] for home, backend in kept]
    return {"roots": roots, "objects": writer.objects, "log_event": LogEvent._event_id}, writer.left_out


def read_state(document: dict[str, Any], blobs: BlobStore, replaced: dict[str, str]) -> None:
    """Put a document into the backends of this process; each key of `replaced` in a string becomes its value."""

    def external(home: list[str]) -> Any:
        if home[0] == _AWS_POLICY:
            return iam_backends[home[1]]["aws"].managed_policies[home[2]]
        module, _, name = home[0].partition(":")
        if not module.startswith("moto."):
            raise GraphError(f"A snapshot must not name {home[0]}.")
        found = getattr(importlib.import_module(module), name)
        if not isinstance(found, BackendDict):
            raise GraphError(f"{home[0]} is no backend.")
        for key in home[1:]:
            found = found[key]
        return found

    def text(value: str) -> str:
        for old, new in replaced.items():
            if old in value:
                value = value.replace(old, new)
        return value

    reader = GraphReader(document["objects"], external, _revivals(blobs), blobs.read, text)
    for home, state in document["roots"]:
        reader.fill(external(home), state)
    LogEvent._event_id = max(LogEvent._event_id, int(document["log_event"]))
    _finish_stacks()


def _backend_dicts() -> Iterator[tuple[str, Any]]:
    """Each BackendDict that is in use, under a name by which a new process finds it."""
    seen = set()
    for module_name, module in sorted(sys.modules.items()):
        if not module_name.startswith("moto.") or not module_name.endswith(".models"):
            continue
        for name, value in sorted(vars(module).items()):
            if isinstance(value, BackendDict) and dict.__len__(value) and id(value) not in seen:
                seen.add(id(value))
                yield f"{module_name}:{name}", value


def _class_name(kind: type) -> str | None:
    # The class of a stack's resources is made when the hooks are installed, with this cloud's settings.
    return _RESOURCE_MAP if issubclass(kind, StackResources) else None


def _reductions(blobs: BlobStore) -> dict[type, Any]:
    def key(value: Any) -> dict[str, Any]:
        state = without(value, "lock", "_value_buffer")
        return {**state, "content": blobs.add_stored(value)}

    return {
        FakeKey: key,
        Execution: _reduce_execution,
        LogStream: _reduce_stream,
        StackResources: lambda value: without(value, "record", "lazy_condition_map"),
        IAMBackend: _reduce_iam,
        RSAPrivateKey: lambda value: without(value, "private_key"),
        ECDSAPrivateKey: _reduce_signing_key,
    }


def without(value: Any, *names: str) -> dict[str, Any]:
    return {name: item for name, item in attributes_of(value).items() if name not in names}


def _reduce_execution(execution: Any) -> dict[str, Any]:
    history: list[Any] = []
    with contextlib.suppress(AttributeError):  # It may not have begun.
        history = list(execution.to_history_output()["events"])
    return {**without(execution, "exec_worker", "_cloud_watch_logging_session"), "history": history}


def _reduce_signing_key(key: Any) -> dict[str, Any]:
    """What it has signed must be its own after a restart too; the snapshot is as private as the local credentials."""
    raw = key.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return {**without(key, "private_key"), "pem": raw.decode()}


def _reduce_stream(stream: Any) -> dict[str, Any]:
    rows = [
        (event.ingestion_time, event.timestamp, event.message, event.event_id)
        for event in stream.events[-KEPT_LINES:]
    ]
    return {**without(stream, "events"), "rows": tuple(rows)}


def _reduce_iam(backend: Any) -> dict[str, Any]:
    own = {
        arn: policy
        for arn, policy in list(backend.managed_policies.items())
        if not isinstance(policy, AWSManagedPolicy)
    }
    return {**without(backend, "aws_managed_policies"), "managed_policies": own}


def _revivals(blobs: BlobStore) -> dict[type, Any]:
    def key(made: Any, state: dict[str, Any]) -> None:
        name = state.pop("content")
        set_attributes(made, state)
        made.lock = threading.Lock()
        # It is the object's own, and closed with it.
        made._value_buffer = tempfile.SpooledTemporaryFile(made._max_buffer_size)  # noqa: SIM115
        blobs.copy_to(name, made._value_buffer)
        blobs.remember(made, name)

    return {
        FakeKey: key,
        Execution: _revive_execution,
        LogStream: _revive_stream,
        IAMBackend: _revive_iam,
        RSAPrivateKey: lambda made, state: made.__init__(state["key_size"]),
        ECDSAPrivateKey: _revive_signing_key,
        FakeTrainingJob: _revive_training_job,
    }


def _revive_execution(made: Any, state: dict[str, Any]) -> None:
    history = state.pop("history")
    set_attributes(made, state)
    made._cloud_watch_logging_session = None
    events = SimpleNamespace(_history_event_list=history, get_event_history=lambda: history)
    made.exec_worker = SimpleNamespace(env=SimpleNamespace(event_manager=events), stop=lambda **_: None)
    if made.exec_status == ExecutionStatus.RUNNING:
        made.exec_status = ExecutionStatus.ABORTED
        made.error, made.cause = "LocalCloudStopped", _STOPPED
        made.stop_date = datetime.datetime.now(tz=datetime.UTC)


def _revive_signing_key(made: Any, state: dict[str, Any]) -> None:
    pem = state.pop("pem").encode()
    set_attributes(made, state)
    made.private_key = load_pem_private_key(pem, password=None)


def _revive_stream(made: Any, state: dict[str, Any]) -> None:
    rows = state.pop("rows")
    set_attributes(made, state)
    made.events = []
    for ingestion_time, timestamp, message, event_id in rows:
        event = object.__new__(LogEvent)
        event.ingestion_time, event.timestamp = ingestion_time, timestamp
        event.message, event.event_id = message, event_id
        made.events.append(event)


def _revive_iam(made: Any, state: dict[str, Any]) -> None:
    own = state.pop("managed_policies")
    managed = made.managed_policies
    set_attributes(made, state)
    managed.update(own)


def _revive_training_job(made: Any, state: dict[str, Any]) -> None:
    set_attributes(made, state)
    if made.training_job_status in ("InProgress", "Stopping"):
        made.training_end_time = made.last_modified_time = datetime.datetime.now(tz=datetime.UTC)
        made.failure_reason = f"InternalServerError: {_STOPPED}"
        made.secondary_status = made.training_job_status = "Failed"


def _finish_stacks() -> None:
    """What refers back to running code: how a resource map records events, how it evaluates conditions."""
    for account in list(cloudformation_models.cloudformation_backends.values()):
        for backend in list(account.values()):
            for stack in [*backend.stacks.values(), *backend.deleted_stacks.values()]:
                if isinstance(stack, LocalStack):
                    stack.resource_map.load_conditions()
                    stack.resource_map.record = stack._record
