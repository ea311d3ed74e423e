"""CloudWatch's embedded metric format: lines of a function's log that are metrics, as they are on AWS.

Only those of a model version are taken, which is what somebody reads; the others would fill the memory of a local cloud
that is asked for long, and nothing here reads them.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

_MARK = '"CloudWatchMetrics"'
_TAKEN = "model_version"


def metrics_of(line: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """Namespace and data, as PutMetricData takes them, of one line of log; none if it is no line of metrics."""
    if _MARK not in line or _TAKEN not in line:
        return []
    try:
        document = json.loads(line)
        about = document["_aws"]
        moment = datetime.fromtimestamp(about["Timestamp"] / 1000, UTC)
        return [
            (
                directive["Namespace"],
                [
                    {
                        "MetricName": metric["Name"],
                        "Value": float(document[metric["Name"]]),
                        "Unit": metric.get("Unit", "None"),
                        "Timestamp": moment,
                        "Dimensions": [{"Name": name, "Value": str(document[name])} for name in names],
                    }
                    for names in directive["Dimensions"]
                    if _TAKEN in names
                    for metric in directive["Metrics"]
                ],
            )
            for directive in about["CloudWatchMetrics"]
        ]
    except (ValueError, KeyError, TypeError):
        return []  # a line that only looks like it


def put_metrics(account_id: str, region: str, line: str) -> None:
    """Keep the metrics of a line in moto's CloudWatch."""
    found = metrics_of(line)
    if not found:
        return
    from moto.cloudwatch.models import cloudwatch_backends

    backend: Any = cloudwatch_backends[account_id][region]
    for namespace, data in found:
        # moto compares with times that know no zone, and are in UTC.
        backend.put_metric_data(
            namespace, [datum | {"Timestamp": datum["Timestamp"].replace(tzinfo=None)} for datum in data]
        )
