"""From the endpoint's lines of log to the figures of a version, through what the local cloud makes of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from functions.predict.embedded_metrics import write_prediction, write_scored
from functions.predict.rollout import Scored
from lehr.aws.endpoint_figures import CloudWatchFigures
from lehr.ports import VersionFigures
from lehr_local.embedded_metrics import metrics_of, put_metrics


@pytest.fixture
def cloudwatch(table: Any) -> Any:
    return boto3.client("cloudwatch")


def test_what_the_endpoint_logs_is_what_is_read_of_a_version(
    cloudwatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write_prediction(1, 2.0)
    for latency_ms, answer, disagrees in ((1.0, 0.25, False), (3.0, -0.5, True), (2.0, 0.75, None)):
        write_scored("mnist", Scored("v1", latency_ms=latency_ms, answer=answer, disagrees=disagrees))
    write_scored("mnist", Scored("v1", has_failed=True))
    write_scored("mnist", Scored("v0", latency_ms=9.0, answer=0.0))
    write_scored("other", Scored("v1", latency_ms=9.0, answer=99.0))
    for line in capsys.readouterr().out.splitlines():
        put_metrics("123456789012", "us-east-1", line)
    figures = CloudWatchFigures("Lehr", cloudwatch)
    began = datetime.now(UTC) - timedelta(seconds=5)
    assert figures.of_version("mnist", "v1", began) == VersionFigures(
        requests=4, errors=1, latency_ms=2.0, lowest=-0.5, highest=0.75, compared=2, disagreements=1
    )
    assert figures.of_version("mnist", "v0", began).latency_ms == 9.0
    assert figures.of_version("mnist", "v2", began) == VersionFigures()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "START RequestId: 1",
        '{"CloudWatchMetrics": "model_version"}',
        '{"_aws":{"Timestamp":1,"CloudWatchMetrics":[{"Namespace":"x","Dimensions":[["model_version"]],'
        '"Metrics":[{"Name":"y"}]}]}}',
        '{"_aws":{"Timestamp":"?","CloudWatchMetrics":[]},"model_version":1}',
    ],
)
def test_a_line_that_is_no_metric_is_none(line: str) -> None:
    assert metrics_of(line) == []
