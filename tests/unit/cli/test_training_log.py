"""Lines of a training log, and following one that grows."""

from __future__ import annotations

import math
from typing import Any

from botocore.exceptions import ClientError

from lehr_cli.training_log import TrainingLog, parse_epoch

LINE = (
    "epoch 1/5 loss=0.2951 accuracy=0.9142 validation_loss=0.1 validation_accuracy=0.95 "
    "samples_per_second=36500 seconds=1.5"
)


class Logs:
    """CloudWatch Logs with one stream; `lines` grows, tokens count them."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.reads = 0

    def describe_log_streams(self, *, logStreamNamePrefix: str, **_: Any) -> dict[str, Any]:
        assert logStreamNamePrefix == "job/"
        return {"logStreams": [{"logStreamName": "job/algo-1"}]}

    def get_log_events(self, *, nextToken: str = "0", **_: Any) -> dict[str, Any]:
        self.reads += 1
        new = self.lines[int(nextToken) : int(nextToken) + 2]
        return {
            "events": [{"message": line} for line in new],
            "nextForwardToken": str(int(nextToken) + len(new)),
        }


class NoLogs:
    def describe_log_streams(self, **_: Any) -> dict[str, Any]:
        raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "DescribeLogStreams")


def test_a_metric_line_becomes_an_epoch() -> None:
    epoch = parse_epoch("job", LINE)
    assert epoch is not None
    assert (epoch.epoch, epoch.epochs, epoch.loss, epoch.validation_accuracy) == (1, 5, 0.2951, 0.95)
    assert (epoch.samples_per_second, epoch.seconds) == (36500.0, 1.5)


def test_other_lines_are_no_epochs() -> None:
    for line in ("", "starting", "epoch one", "epoch 1/5 begins", "resumed at epoch 2/5 loss=unknown"):
        assert parse_epoch("job", line) is None


def test_what_is_not_held_out_is_absent_and_a_diverged_loss_is_told() -> None:
    epoch = parse_epoch("job", "epoch 2/5 loss=nan accuracy=0.1 samples_per_second=9 seconds=1.0")
    assert epoch is not None
    assert math.isnan(epoch.loss)
    assert epoch.validation_accuracy is None


def test_a_log_is_read_once_while_it_grows() -> None:
    logs = Logs(["starting"])
    log = TrainingLog(logs, "job")
    assert list(log.new_lines()) == ["starting"]
    logs.lines += [LINE, LINE.replace("1/5", "2/5"), "saved"]
    assert [epoch.epoch for epoch in log.new_epochs()] == [1, 2]
    assert list(log.new_lines()) == []


def test_a_job_that_has_not_written_yet_has_no_lines() -> None:
    assert list(TrainingLog(NoLogs(), "job").new_lines()) == []
