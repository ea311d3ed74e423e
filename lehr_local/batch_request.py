"""What SubmitJob comes to: a job definition and the overrides of one submission, resolved and checked.

Pure functions over the documents of the API. What AWS refuses, and what the local cloud cannot do, is refused with
a sentence rather than ignored.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_REFERENCE = re.compile(r"Ref::([\w.-]+)")
_SHORTEST_TIMEOUT_S = 60
_ATTEMPTS = range(1, 11)
_ARRAY_SIZES = range(2, 10_001)
_LOCAL_NODE_LIMIT = 16


class RefusedError(Exception):
    """Raised when SubmitJob does not take a request; its text says why."""


@dataclass(frozen=True, kw_only=True)
class JobPlan:
    """A submission, resolved. `containers` holds one document for each node; a plain job has one."""

    definition: str
    containers: tuple[dict[str, Any], ...]
    main_node: int = 0
    is_multi_node: bool = False
    node_properties: dict[str, Any] | None = None
    parameters: dict[str, str] = field(default_factory=dict)
    retry_strategy: dict[str, Any] = field(default_factory=dict)
    timeout_s: int | None = None
    array_size: int | None = None
    depends_on: tuple[dict[str, str], ...] = ()


def plan(request: Mapping[str, Any], definition: Any) -> JobPlan:
    """`request` is the body of SubmitJob, `definition` moto's record. Raises RefusedError."""
    name = request.get("jobName") or ""
    if not _NAME.fullmatch(name):
        raise RefusedError(f"Job name '{name}' should match valid pattern: {_NAME.pattern}")
    if definition.status != "ACTIVE":
        raise RefusedError(f"JobDefinition {definition.arn} is not active.")
    for member in ("eksPropertiesOverride", "ecsPropertiesOverride", "consumableResourcePropertiesOverride"):
        if request.get(member):
            raise RefusedError(f"{member} is not simulated by the local cloud.")
    parameters = {**definition.parameters, **(request.get("parameters") or {})}
    if definition.node_properties:
        nodes = _nodes(definition.node_properties, request.get("nodeOverrides") or {})
    elif definition.container_properties:
        overrides = request.get("containerOverrides") or {}
        nodes = {"main": 0, "containers": [_overridden(definition.container_properties, overrides)]}
    else:
        raise RefusedError("The local cloud runs jobs of containerProperties and nodeProperties only.")
    for container in nodes["containers"]:
        if container.get("secrets"):
            raise RefusedError("The local cloud does not give secrets to jobs.")
        container["command"] = with_parameters(container.get("command") or [], parameters)
    size = (request.get("arrayProperties") or {}).get("size")
    if size is not None and size not in _ARRAY_SIZES:
        raise RefusedError(f"Array size must be between {_ARRAY_SIZES[0]} and {_ARRAY_SIZES[-1]}.")
    if size is not None and definition.node_properties:
        raise RefusedError("Array jobs cannot be multi-node parallel jobs.")
    return JobPlan(
        definition=definition.arn,
        containers=tuple(nodes["containers"]),
        main_node=nodes["main"],
        is_multi_node=bool(definition.node_properties),
        node_properties=nodes.get("properties"),
        parameters=parameters,
        retry_strategy=_retry_strategy(request.get("retryStrategy") or definition.retry_strategy or {}),
        timeout_s=_timeout(request.get("timeout") or definition.timeout or {}),
        array_size=size,
        depends_on=tuple(request.get("dependsOn") or ()),
    )


def with_parameters(command: list[str], parameters: Mapping[str, str]) -> list[str]:
    """`command` with each `Ref::name` replaced; a name that has no value stays as it is."""
    return [
        _REFERENCE.sub(lambda match: str(parameters.get(match[1], match[0])), str(word)) for word in command
    ]


def _overridden(properties: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(dict(properties))
    variables = {item["name"]: item.get("value", "") for item in properties.get("environment") or []}
    variables |= {item["name"]: item.get("value", "") for item in overrides.get("environment") or []}
    for name, value in variables.items():
        if not isinstance(value, str):
            raise RefusedError(f"The environment variable {name} is {value!r}, and has to be a string.")
    result["environment"] = [{"name": name, "value": value} for name, value in variables.items()]
    required = {item["type"]: item for item in properties.get("resourceRequirements") or []}
    required |= {item["type"]: item for item in overrides.get("resourceRequirements") or []}
    result["resourceRequirements"] = list(required.values())
    for member in ("command", "instanceType", "vcpus", "memory"):
        if overrides.get(member):
            result[member] = copy.deepcopy(overrides[member])
    return result


def _nodes(properties: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    count = int(overrides.get("numNodes") or properties["numNodes"])
    main = int(properties["mainNode"])
    if not 0 <= main < count:
        raise RefusedError(f"mainNode {main} is not one of the {count} nodes.")
    if count > _LOCAL_NODE_LIMIT:
        raise RefusedError(f"The local cloud runs up to {_LOCAL_NODE_LIMIT} nodes, not {count}.")
    containers: list[dict[str, Any] | None] = [None] * count
    # Of nested ranges the later, narrower one counts.
    for item in properties.get("nodeRangeProperties") or []:
        for index in _range(item["targetNodes"], count):
            containers[index] = item.get("container")
    if None in containers:
        raise RefusedError(f"Node {containers.index(None)} has no container in nodeRangeProperties.")
    changed = [_overridden(container or {}, {}) for container in containers]
    for item in overrides.get("nodePropertyOverrides") or []:
        for index in _range(item["targetNodes"], count):
            changed[index] = _overridden(changed[index], item.get("containerOverrides") or {})
    document = copy.deepcopy(dict(properties)) | {"numNodes": count}
    return {"main": main, "containers": changed, "properties": document}


def _range(text: str, count: int) -> range:
    """`0:3`, `:3`, `1:` or `2`, both ends included."""
    first, colon, last = str(text).partition(":")
    try:
        begin = int(first or 0)
        end = (int(last) if last else count - 1) if colon else begin
    except ValueError:
        raise RefusedError(f"targetNodes '{text}' is no range of nodes.") from None
    return range(begin, min(end, count - 1) + 1)


def _retry_strategy(strategy: Mapping[str, Any]) -> dict[str, Any]:
    attempts = int(strategy.get("attempts") or 1)
    if attempts not in _ATTEMPTS:
        raise RefusedError(f"retryStrategy.attempts must be between {_ATTEMPTS[0]} and {_ATTEMPTS[-1]}.")
    for rule in strategy.get("evaluateOnExit") or []:
        if str(rule.get("action", "")).upper() not in ("RETRY", "EXIT"):
            raise RefusedError("evaluateOnExit needs an action of RETRY or EXIT.")
    return {**copy.deepcopy(dict(strategy)), "attempts": attempts}


def _timeout(timeout: Mapping[str, Any]) -> int | None:
    limit_s = timeout.get("attemptDurationSeconds")
    if limit_s is None:
        return None
    if int(limit_s) < _SHORTEST_TIMEOUT_S:
        raise RefusedError(f"attemptDurationSeconds must be at least {_SHORTEST_TIMEOUT_S}, not {limit_s}.")
    return int(limit_s)
