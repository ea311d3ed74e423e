"""`EndpointFigures` over CloudWatch: the metrics that the endpoint writes into its log while a candidate is watched."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from lehr.ports import VersionFigures

_PERIOD_S = 60
# Metric and statistic of each answer to a query.
_ASKED = {
    "requests": ("ScoredRequests", "Sum"),
    "errors": ("ScoringErrors", "Sum"),
    "latency": ("ScoringLatency", "Sum"),
    "timed": ("ScoringLatency", "SampleCount"),
    "lowest": ("ScoredAnswer", "Minimum"),
    "highest": ("ScoredAnswer", "Maximum"),
    "compared": ("ComparedRequests", "Sum"),
    "disagreements": ("Disagreements", "Sum"),
}


class CloudWatchFigures:
    """Figures of one namespace; a query for each statistic, in one call for each page."""

    def __init__(self, namespace: str, client: Any) -> None:
        self._namespace, self._client = namespace, client

    def of_version(self, project: str, version: str, since: datetime) -> VersionFigures:
        """All that was measured from the minute of `since` on."""
        dimensions = [{"Name": "project", "Value": project}, {"Name": "model_version", "Value": version}]
        values: dict[str, list[float]] = {name: [] for name in _ASKED}
        pages = self._client.get_paginator("get_metric_data").paginate(
            MetricDataQueries=[
                {
                    "Id": name,
                    "MetricStat": {
                        "Metric": {
                            "Namespace": self._namespace,
                            "MetricName": metric,
                            "Dimensions": dimensions,
                        },
                        "Period": _PERIOD_S,
                        "Stat": statistic,
                    },
                }
                for name, (metric, statistic) in _ASKED.items()
            ],
            StartTime=since.replace(second=0, microsecond=0),
            EndTime=datetime.now(UTC) + timedelta(seconds=_PERIOD_S),
        )
        for page in pages:
            for result in page["MetricDataResults"]:
                values[result["Id"]] += result["Values"]
        timed = sum(values["timed"])
        return VersionFigures(
            requests=round(sum(values["requests"])),
            errors=round(sum(values["errors"])),
            latency_ms=sum(values["latency"]) / timed if timed else None,
            lowest=min(values["lowest"], default=None),
            highest=max(values["highest"], default=None),
            compared=round(sum(values["compared"])),
            disagreements=round(sum(values["disagreements"])),
        )
