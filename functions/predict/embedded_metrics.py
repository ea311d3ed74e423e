"""CloudWatch's embedded metric format by hand: one line of log for each request, and no object of a library.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html

Namespace and dimension are those that Powertools' Metrics gives, read from the same variables.
"""

from __future__ import annotations

import os
import sys
import time
from functools import cache

# Named in template.yaml's dashboard and alarms, if anywhere: a new name is a new metric.
_REQUEST = '{"Name":"Requests","Unit":"Count"}'
_FALLBACK = '{"Name":"ChampionFallbacks","Unit":"Count"}'
_PREDICTION = ',{"Name":"RowsPredicted","Unit":"Count"},{"Name":"PredictLatency","Unit":"Milliseconds"}'


def write_request() -> None:
    """One request that got no prediction."""
    _write(_frame()[0] % (time.time_ns() // 1_000_000))


def write_prediction(rows: int, latency_ms: float) -> None:
    """One request that got `rows` predictions in `latency_ms`."""
    _write(_frame()[1] % (time.time_ns() // 1_000_000, rows, latency_ms))


def write_fallback() -> None:
    """One champion that could not be loaded, so that the one before it answers."""
    _write(_frame()[2] % (time.time_ns() // 1_000_000))


@cache
def _frame() -> tuple[str, str, str]:
    namespace = os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "Lehr")
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
