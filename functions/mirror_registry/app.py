"""MirrorRegistry: SageMaker's model registry says of each model version what Lehr's registry says.

Called by events of the system's own, a model packaged, promoted, rejected or rolled back, and beside every run: nothing
waits for it. It is there only with ModelRegistryMirror=yes.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Tracer
from aws_lambda_powertools.metrics import MetricUnit, single_metric

from functions.mirror_registry.mirror import mirror
from lehr import layout
from lehr.errors import MirrorError
from lehr.ports import ModelRegistry, ObjectStore, PackageMirror
from lehr.settings import Environment

logger = Logger()
tracer = Tracer()


class Settings(Environment, frozen=True, kw_only=True):
    artifact_bucket: str
    registry_table: str
    group_prefix: str


@cache
def adapters() -> tuple[ModelRegistry, ObjectStore, PackageMirror]:
    """The composition root: adapters are built on the first invocation."""
    from lehr.aws.connect import open_bucket, open_package_mirror, open_registry

    settings = Settings.read(os.environ)
    return (
        open_registry(settings.registry_table),
        open_bucket(settings.artifact_bucket),
        open_package_mirror(settings.group_prefix),
    )


@logger.inject_lambda_context
@tracer.capture_lambda_handler
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """An event whose detail has a project, or `{"project": …}`, in; what was changed over there.

    Raises MirrorError for what could not be, so that Lambda asks twice more; the next event makes up for the rest.
    """
    project = layout.checked_name(str(event.get("detail", event).get("project", "")))
    try:
        look = mirror(project, *adapters())
    except Exception as fault:
        _count(1)
        raise MirrorError(f"{project}: {type(fault).__name__}: {fault}") from fault
    told = {"project": project, "added": look.added, "changed": look.changed}
    logger.info("mirrored", extra=told | {"faults": look.faults})
    if look.faults:
        _count(len(look.faults))
        raise MirrorError(
            f"{project}: " + "; ".join(f"{version}: {why}" for version, why in look.faults.items())
        )
    return told


def _count(faults: int) -> None:
    """Only where there are any: a metric is paid for in every month that it is sent in."""
    with single_metric(name="MirrorFaults", unit=MetricUnit.Count, value=faults):
        pass
