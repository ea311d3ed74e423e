"""Scenarios between a decision and the champion, with packages that nobody has to train."""

from __future__ import annotations

import json
from typing import Any

from lehr.aws.s3 import S3ObjectStore
from tests.integration.shield.guarded_cloud import GuardedCloud
from tests.small_packages import publish_small_package


def rollback(cloud: GuardedCloud, project: str) -> dict[str, Any]:
    """Two champions, one after the other; the first serves again, and a version that is not there never did."""
    versions = [_promote(cloud, project, number) for number in range(2)]
    unknown = cloud.place.lehr("rollback", project, "ffffffffffffffff")
    back = cloud.place.lehr("rollback", project, "--reason", "tried")
    seen: dict[str, Any] = {"unknown": unknown.code, "back": back.code}
    if back.code == 0:
        told = back.only("rollback")
        seen |= {"champion": versions.index(told["champion"]), "untold": told["untold"] != ""}
    return seen


def _promote(cloud: GuardedCloud, project: str, generation: int) -> str:
    bucket = cloud.place.outputs()["ArtifactBucket"]
    artifacts = S3ObjectStore(bucket, cloud.place.client("s3"))
    version = publish_small_package(artifacts, project, f"{project}-{generation}".encode())
    request = {"project": project, "run": f"run-{generation}", "version": version, "generation": generation}
    (name,) = [name for name in cloud.functions() if "-PromoteModelFunction-" in name]
    answer = cloud.place.client("lambda").invoke(FunctionName=name, Payload=json.dumps(request).encode())
    with answer["Payload"] as body:
        assert "FunctionError" not in answer, body.read()
    return version
