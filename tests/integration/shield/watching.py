"""A champion that is watched: what the endpoint is asked, and whether a training would be worth its money."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.e2e.small_mnist import write_data
from tests.integration.shield.guarded_cloud import GuardedCloud, eventually

MORE_ROWS = 440


def watch(cloud: GuardedCloud, project: str) -> dict[str, Any]:
    """Bright images are asked about: two looks see it, one event tells of it, and the recipe wants no run for it."""
    place, outputs = cloud.place, cloud.place.outputs()
    key = {"pk": {"S": f"champion#{project}"}, "sk": {"S": "alias"}}
    item = place.client("dynamodb").get_item(TableName=outputs["RegistryTable"], Key=key).get("Item")
    if item is None:
        return {"champion": None}
    version = item["champion"]["S"]
    _write_captured(cloud, project, version)
    _drop_without_saying_so(cloud, project)
    looks = [cloud.call("WatchDrift", {"project": project}) for _ in range(2)]
    shown = place.lehr("drift", project)
    _, scheduled = cloud.call("StartRun", {"project": project, "cause": "schedule"})
    values = {":pk": {"S": f"project#{project}"}, ":sk": {"S": "trigger#"}}

    def refusal() -> bool:
        items = place.client("dynamodb").query(
            TableName=outputs["RegistryTable"],
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues=values,
        )["Items"]
        return any("on_drift" in item["reason"]["S"] for item in items)

    return {
        "failed": [has_failed for has_failed, _ in looks],
        "told": [answer.get("told") for _, answer in looks] == [[project], []],
        "shown": [one["name"] for event in shown.events for one in event.get("columns", [])],
        "answered": bool(eventually(refusal, timeout_s=8)),
        "weighed": "over max_usd_per_point = 0.001" in scheduled.get("reason", ""),
    }


def _drop_without_saying_so(cloud: GuardedCloud, project: str) -> None:
    """More data, which nothing has been told of."""
    bucket, s3 = cloud.place.outputs()["DataBucket"], cloud.place.client("s3")
    for file in write_data(cloud.place.folder / "more", MORE_ROWS).iterdir():
        s3.put_object(Bucket=bucket, Key=f"incoming/{project}/{file.name}", Body=file.read_bytes())


def _write_captured(cloud: GuardedCloud, project: str, version: str) -> None:
    """What the endpoint would write of 1,000 images that are brighter than nearly all that were learnt from."""
    bucket, s3 = cloud.place.outputs()["ArtifactBucket"], cloud.place.client("s3")
    with s3.get_object(Bucket=bucket, Key=f"models/{project}/{version}/reference.json")["Body"] as body:
        (brightness,) = json.loads(body.read())["numbers"]
    line = {
        **{"kind": "prediction", "schema": 1, "project": project, "model_version": version},
        **{"time": "2026-01-01T00:00:00.000Z", "rows": 50, "category_counts": []},
        "inputs": {"dtype": "uint8", "count": 39_200, "zeros_share": 0.0, "histogram": [0] * 15 + [39_200]},
        "predictions": [{"label": "8", "probability": 0.9}] * 50,
        "number_counts": [[0] * len(brightness["edges"]) + [50, 0]],
    }
    lines = [json.dumps(line | {"request_id": str(number)}, separators=(",", ":")) for number in range(20)]
    logs, at = cloud.place.client("logs"), int(time.time() * 1000)
    groups = logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]
    (group,) = [each["logGroupName"] for each in groups if each["logGroupName"].endswith("-predict")]
    logs.create_log_stream(logGroupName=group, logStreamName=f"captured-{project}")
    logs.put_log_events(
        logGroupName=group,
        logStreamName=f"captured-{project}",
        logEvents=[{"timestamp": at, "message": each} for each in lines],
    )
