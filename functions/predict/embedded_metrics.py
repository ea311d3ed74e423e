"""CloudWatch's embedded metric format by hand: one line of log for each request, and no object of a library.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html

Namespace and dimension are those that Powertools' Metrics gives, read from the same variables.
"""

from __future__ import annotations

import os
import sys
import time
from functools import cache
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from functions.predict.rollout import Scored

# Named in template.yaml's dashboard and alarms, if anywhere: a new name is a new metric.
_REQUEST = '{"Name":"Requests","Unit":"Count"}'
_FALLBACK = '{"Name":"ChampionFallbacks","Unit":"Count"}'
_PREDICTION = ',{"Name":"RowsPredicted","Unit":"Count"},{"Name":"PredictLatency","Unit":"Milliseconds"}'


# Written only while a candidate is watched: each metric of a version is one that CloudWatch has a price for.
SCORED_UNITS = {"ScoringLatency": "Milliseconds", "ScoredAnswer": "None"}


def write_request() -> None:
    """One request that got no prediction."""
    _write(_frame()[0] % (time.time_ns() // 1_000_000))


def write_prediction(rows: int, latency_ms: float) -> None:
    """One request that got `rows` predictions in `latency_ms`."""
    _write(_frame()[1] % (time.time_ns() // 1_000_000, rows, latency_ms))


def write_fallback() -> None:
    """One champion that could not be loaded, so that the one before it answers."""
    _write(_frame()[2] % (time.time_ns() // 1_000_000))


def write_scored(project: str, scored: Scored) -> None:
    """What one of two versions did with a request; its metrics have the version as a dimension."""
    values: dict[str, float] = {"ScoredRequests": 1, "ScoringErrors": int(scored.has_failed)}
    if not scored.has_failed:
        values["ScoringLatency"] = scored.latency_ms
        if scored.answer is not None:
            values["ScoredAnswer"] = scored.answer
    if scored.disagrees is not None:
        values |= {"ComparedRequests": 1, "Disagreements": int(scored.disagrees)}
    metrics = [{"Name": name, "Unit": SCORED_UNITS.get(name, "Count")} for name in values]
    directive = {"Namespace": _namespace(), "Dimensions": [["project", "model_version"]], "Metrics": metrics}
    about = {"Timestamp": time.time_ns() // 1_000_000, "CloudWatchMetrics": [directive]}
    line = {"_aws": about, "project": project, "model_version": scored.version} | values
    _write(msgspec.json.encode(line).decode() + "\n")


def _namespace() -> str:
    return os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "Lehr")


@cache
def _frame() -> tuple[str, str, str]:
    namespace = _namespace()
    service = os.environ.get("POWERTOOLS_SERVICE_NAME", "predict")

    def frame(metrics: str, values: str) -> str:
        return (
            '{"_aws":{"Timestamp":%d,"CloudWatchMetrics":[{"Namespace":"' + namespace + '",'
            '"Dimensions":[["service"]],"Metrics":[' + metrics + "]}]},"
            '"service":"' + service + '"' + values + "}\n"
        )

    return (
        frame(_REQUEST, ',"Requests":1'),
        frame(_REQUEST + _PREDICTION, ',"Requests":1,"RowsPredicted":%d,"PredictLatency":%.4f'),
        frame(_FALLBACK, ',"ChampionFallbacks":1'),
    )


def _write(line: str) -> None:
    """One write, which the runtime's own stdout flushes; looked up each time, for who redirects it."""
    sys.stdout.write(line)
