"""Whether a CreateTrainingJob request would be accepted.

The interpreter of Step Functions sends what the state machine says, unchecked, and moto takes everything; so what
AWS refuses, and what the local cloud cannot do, is refused here rather than ignored.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any

from lehr.instances import has_local_storage
from lehr_local.ml_root import ML_ROOT
from lehr_local.training_container import instance_count

_LOCAL_HOST_LIMIT = 16
_JOB_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_CHANNEL_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_REQUIRED = (
    "TrainingJobName",
    "AlgorithmSpecification",
    "RoleArn",
    "OutputDataConfig",
    "ResourceConfig",
    "StoppingCondition",
)


def refusal(request: Mapping[str, Any]) -> str | None:
    """Why CreateTrainingJob refuses `request`, or None."""
    for member in _REQUIRED:
        if not request.get(member):
            return f"1 validation error detected: Value null at '{member}' failed to satisfy constraint."
    name = request["TrainingJobName"]
    if not isinstance(name, str) or not _JOB_NAME.fullmatch(name):
        return (
            f"1 validation error detected: Value '{name}' at 'trainingJobName' failed to satisfy constraint: "
            f"Member must satisfy regular expression pattern: ^{_JOB_NAME.pattern}"
        )
    return (
        _refused_strings(request)
        or _refused_resources(request)
        or _refused_channels(request)
        or _refused_checkpoints(request)
        or _refused_metrics(request)
        or _refused_conditions(request)
    )


def _refused_resources(request: Mapping[str, Any]) -> str | None:
    resources = request["ResourceConfig"]
    if resources.get("InstancePreferences"):
        for member in ("InstanceType", "InstanceGroups", "InstancePlacementConfig"):
            if resources.get(member):
                return f"InstancePreferences and {member} exclude each other."
        if request.get("EnableManagedSpotTraining"):
            return "InstancePreferences and EnableManagedSpotTraining exclude each other."
    count = instance_count(request)
    if not 1 <= count <= _LOCAL_HOST_LIMIT:
        return f"The local cloud runs jobs of 1 to {_LOCAL_HOST_LIMIT} instances, not {count}."
    keep_alive_s = resources.get("KeepAlivePeriodInSeconds")
    if keep_alive_s is not None and not 0 <= int(keep_alive_s) <= 3600:
        return "KeepAlivePeriodInSeconds has to be between 0 and 3600."
    if keep_alive_s and request.get("EnableManagedSpotTraining"):
        return "KeepAlivePeriodInSeconds cannot be used with managed spot training."
    types = [item.get("InstanceType", "") for item in resources.get("InstancePreferences") or [resources]]
    if resources.get("VolumeKmsKeyId") and any(map(has_local_storage, types)):
        return f"VolumeKmsKeyId cannot be used with local storage, which one of {', '.join(types)} has."
    network = request.get("VpcConfig")
    if network is not None and not (network.get("Subnets") and network.get("SecurityGroupIds")):
        return "VpcConfig needs Subnets and SecurityGroupIds."
    attempts = (request.get("RetryStrategy") or {}).get("MaximumRetryAttempts")
    if attempts is not None and not 1 <= int(attempts) <= 30:
        return "RetryStrategy.MaximumRetryAttempts has to be between 1 and 30."
    return None


def _refused_strings(request: Mapping[str, Any]) -> str | None:
    for member in ("HyperParameters", "Environment"):
        for name, value in (request.get(member) or {}).items():
            if not isinstance(value, str):
                return f"{member}: the value of '{name}' is {value!r}, and has to be a string."
    return None


def _refused_channels(request: Mapping[str, Any]) -> str | None:
    mode = request["AlgorithmSpecification"].get("TrainingInputMode", "File")
    for channel in request.get("InputDataConfig") or []:
        name = channel.get("ChannelName", "")
        if not _CHANNEL_NAME.fullmatch(name):
            return f"'{name}' is not the name of a channel."
        if (channel.get("InputMode") or mode) == "Pipe":
            return f"Channel '{name}': Pipe mode is not simulated by the local cloud; use File or FastFile."
        source = (channel.get("DataSource") or {}).get("S3DataSource")
        if not source or not source.get("S3Uri"):
            return f"Channel '{name}': the local cloud reads channels from S3 only."
        if source.get("S3DataDistributionType", "FullyReplicated") != "FullyReplicated":
            return f"Channel '{name}': the local cloud gives every instance all data, FullyReplicated."
        if source.get("S3DataType") not in ("S3Prefix", "ManifestFile"):
            return f"Channel '{name}': the local cloud reads S3DataType S3Prefix and ManifestFile only."
    return None


def _refused_checkpoints(request: Mapping[str, Any]) -> str | None:
    config = request.get("CheckpointConfig")
    if not config:
        return None
    if not config.get("S3Uri"):
        return "CheckpointConfig needs an S3Uri."
    path = config.get("LocalPath") or f"{ML_ROOT}/checkpoints"
    if posixpath.normpath(path) != path or not path.startswith(f"{ML_ROOT}/checkpoints"):
        return f"CheckpointConfig.LocalPath '{path}': the local cloud wants it under {ML_ROOT}/checkpoints."
    return None


def _refused_metrics(request: Mapping[str, Any]) -> str | None:
    for definition in request["AlgorithmSpecification"].get("MetricDefinitions") or []:
        try:
            re.compile(definition["Regex"])
        except (re.error, KeyError) as error:
            return f"The metric definition {definition!r} has no usable Regex: {error}"
    return None


def _refused_conditions(request: Mapping[str, Any]) -> str | None:
    condition = request["StoppingCondition"]
    limit_s = condition.get("MaxRuntimeInSeconds", 86_400)
    if not isinstance(limit_s, int) or isinstance(limit_s, bool) or limit_s < 1:
        return (
            f"StoppingCondition.MaxRuntimeInSeconds is {limit_s!r}, and has to be a whole number from 1 up."
        )
    if not request["OutputDataConfig"].get("S3OutputPath", "").startswith("s3://"):
        return "OutputDataConfig.S3OutputPath has to be an s3:// URI."
    if request.get("EnableManagedSpotTraining") and condition.get("MaxWaitTimeInSeconds", 0) < limit_s:
        return "MaxWaitTimeInSeconds has to be at least MaxRuntimeInSeconds for managed spot training."
    return None
