"""Whether the account may start what a recipe asks for: the quotas of training instances, functions and vCPUs.

A new account has none of the GPU types. The answer names an instance that can start today beside the command that
asks for the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lehr.contracts.recipe_tables import Backend
from lehr.prices import load_prices
from lehr_cli.findings import Finding
from lehr_cli.target import Target

ON_DEMAND, SPOT = " for training job usage", " for spot training job usage"
_LAMBDA_CONCURRENCY = "L-B99A9384"
# The template's default; a prediction and the start of another run have to find room beside the shards.
SHARD_CONCURRENCY = 8
_BESIDE_SHARDS = 2
_MOST_ASKED = 1000
# EC2 counts vCPUs for each family, by quota code: on demand, spot.
_VCPU_QUOTAS = {
    "g": ("L-DB2E81BA", "L-3819A6DF"),
    "p": ("L-417A185B", "L-7212CCBC"),
    "standard": ("L-1216C47A", "L-34B43A08"),
}


def request_command(service: str, code: str, value: int, region: str) -> str:
    """The call that asks AWS for more."""
    return (
        f"aws service-quotas request-service-quota-increase --service-code {service} "
        f"--quota-code {code} --desired-value {value} --region {region}"
    )


def check_training_quotas(target: Target, backend: Backend, jobs: int) -> Iterator[Finding]:
    """SageMaker's quotas for the recipe's instance types; `jobs` is how many train at once."""
    quotas = _sagemaker_quotas(target)
    names = [backend.instance_type, *backend.fallback_instance_types]
    for name in names:
        yield _on_demand(target, quotas, name, backend.instance_count, jobs)
    if backend.spot:
        yield _spot(target, quotas, backend.instance_type, backend.instance_count)


def check_functions_quota(target: Target, shard_concurrency: int, slices: int = 0) -> Iterator[Finding]:
    """How many functions may run at once, held against the stack's ShardConcurrency, or against the trainings in
    functions, if those are more: they begin when the shards are prepared."""
    quota = target.client("service-quotas").get_service_quota(
        ServiceCode="lambda", QuotaCode=_LAMBDA_CONCURRENCY
    )["Quota"]
    value, check = int(quota["Value"]), "Lambda concurrent executions"
    wanted = max(shard_concurrency, slices) + _BESIDE_SHARDS
    setting = "ShardConcurrency" if shard_concurrency >= slices else "trials.concurrency"
    if value >= wanted:
        yield Finding(check=check, status="ok", saw=str(value))
        return
    room = max(value - _BESIDE_SHARDS, 1)
    yield Finding(
        check=check,
        status="warn",
        saw=f"{value}, {wanted} wanted: {setting} is {max(shard_concurrency, slices)}, and {_BESIDE_SHARDS} beside it",
        meaning="shards, predictions and starts hold each other up, and a run fails after 20 minutes without room: "
        f"ask for more, or {'deploy with' if setting == 'ShardConcurrency' else 'write'} {setting}={room}",
        command=request_command("lambda", _LAMBDA_CONCURRENCY, max(_MOST_ASKED, wanted), target.region),
    )


def check_batch_quotas(target: Target, instance_type: str, count: int) -> Iterator[Finding]:
    """Whether EC2 offers the type here, and the vCPUs of its family suffice."""
    ec2, check = target.client("ec2"), f"EC2 {instance_type}"
    offered = ec2.describe_instance_type_offerings(
        Filters=[{"Name": "instance-type", "Values": [instance_type]}]
    )["InstanceTypeOfferings"]
    if not offered:
        yield Finding(
            check=check,
            status="fail",
            saw=f"not offered in {target.region}",
            meaning="a Batch job would wait for ever",
            command=f"aws ec2 describe-instance-type-offerings --region {target.region} --output table",
        )
        return
    described = ec2.describe_instance_types(InstanceTypes=[instance_type])["InstanceTypes"][0]
    needed = described["VCpuInfo"]["DefaultVCpus"] * count
    family = instance_type[0] if instance_type[0] in _VCPU_QUOTAS else "standard"
    for kind, code in zip(("on demand", "spot"), _VCPU_QUOTAS[family], strict=True):
        quota = target.client("service-quotas").get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]
        value = int(quota["Value"])
        if value >= needed:
            yield Finding(check=f"{check} {kind}", status="ok", saw=f"{value} vCPUs, {needed} needed")
            continue
        yield Finding(
            check=f"{check} {kind}",
            status="fail" if kind == "on demand" else "warn",
            saw=f"{value} vCPUs, {needed} needed",
            meaning="a Batch job would stay RUNNABLE",
            command=request_command("ec2", code, needed, target.region),
        )


def _sagemaker_quotas(target: Target) -> dict[str, dict[str, Any]]:
    """Quotas of training jobs by name. There are thousands of others between them."""
    pages = target.client("service-quotas").get_paginator("list_service_quotas")
    return {
        quota["QuotaName"]: quota
        for page in pages.paginate(ServiceCode="sagemaker")
        for quota in page["Quotas"]
        if quota["QuotaName"].endswith((ON_DEMAND, SPOT))
    }


def _on_demand(
    target: Target, quotas: dict[str, dict[str, Any]], name: str, count: int, jobs: int
) -> Finding:
    check = f"{name} training jobs"
    quota = quotas.get(name + ON_DEMAND)
    if quota is None:
        return Finding(
            check=check,
            status="fail",
            saw=f"no quota of that name in {target.region}",
            meaning="SageMaker does not offer it there" + _instead(quotas, count),
        )
    value, command = int(quota["Value"]), ""
    if value < count * jobs:
        command = request_command("sagemaker", quota["QuotaCode"], count * jobs, target.region)
    if value < count:
        return Finding(
            check=check,
            status="fail",
            saw=f"quota {value}, {count} needed",
            meaning="no training job of this type can start" + _instead(quotas, count),
            command=command,
        )
    if value < count * jobs:
        return Finding(
            check=check,
            status="warn",
            saw=f"quota {value}, {count * jobs} asked for at once",
            meaning="trials beyond it fail: lower trials.concurrency, or ask for more",
            command=command,
        )
    return Finding(check=check, status="ok", saw=f"quota {value}")


def _spot(target: Target, quotas: dict[str, dict[str, Any]], name: str, count: int) -> Finding:
    check = f"{name} spot training jobs"
    quota = quotas.get(name + SPOT)
    value = int(quota["Value"]) if quota else 0
    if quota and value >= count:
        return Finding(check=check, status="ok", saw=f"quota {value}")
    return Finding(
        check=check,
        status="warn",
        saw=f"quota {value}, {count} needed",
        meaning="every trial goes to on-demand capacity, at its full price",
        command=request_command("sagemaker", quota["QuotaCode"], count, target.region) if quota else "",
    )


def _instead(quotas: dict[str, dict[str, Any]], count: int) -> str:
    """Types that can start today, the cheapest first."""
    hours = load_prices().instance_hour
    startable = [
        name.removesuffix(ON_DEMAND)
        for name, quota in quotas.items()
        if name.endswith(ON_DEMAND) and not name.endswith(SPOT) and quota["Value"] >= count
    ]
    known = sorted((name for name in startable if name in hours), key=lambda name: hours[name])[:3]
    return f"; these can start today: {', '.join(known)}" if known else ""
