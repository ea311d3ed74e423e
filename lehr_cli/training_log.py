"""The training job's log in CloudWatch, followed while it grows; its metric lines become epochs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from lehr_cli.events import Epoch

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
_EPOCH = re.compile(r"\bepoch (\d+)/(\d+)\b")
_NUMBER = re.compile(r"(\w+)=([-+.\w]+)")
_REQUIRED = ("loss", "samples_per_second", "seconds")
# Accuracies are absent of a regression and of detection, the validation's figures when nothing is held out.
_OPTIONAL = (
    "accuracy",
    "validation_loss",
    "validation_accuracy",
    "validation_rmse",
    "validation_mae",
    "validation_mean_iou",
    "validation_map50",
)


def parse_epoch(job: str, line: str) -> Epoch | None:
    """Read `epoch 1/5 loss=0.2951 accuracy=…`; None for any other line, and for one that lacks a number."""
    head = _EPOCH.search(line)
    if head is None:
        return None
    numbers = {}
    for name, text in _NUMBER.findall(line):
        try:
            numbers[name] = float(text)
        except ValueError:
            continue
    if any(name not in numbers for name in _REQUIRED):
        return None
    values: dict[str, Any] = {name: numbers.get(name) for name in (*_REQUIRED, *_OPTIONAL)}
    return Epoch(job=job, epoch=int(head[1]), epochs=int(head[2]), **values)


class TrainingLog:
    """New lines of one job's log streams since the last call."""

    def __init__(self, client: Any, job: str) -> None:
        self.job = job
        self._client = client
        self._tokens: dict[str, str] = {}

    def new_lines(self) -> Iterator[str]:
        """The lines written since; none while the job has not begun to write."""
        try:
            streams = self._client.describe_log_streams(
                logGroupName=LOG_GROUP, logStreamNamePrefix=f"{self.job}/"
            )["logStreams"]
            for stream in streams:
                yield from self._read(stream["logStreamName"])
        except ClientError as fault:
            if fault.response["Error"]["Code"] != "ResourceNotFoundException":
                raise

    def new_epochs(self) -> Iterator[Epoch]:
        for line in self.new_lines():
            epoch = parse_epoch(self.job, line)
            if epoch is not None:
                yield epoch

    def _read(self, stream: str) -> Iterator[str]:
        while True:
            token = self._tokens.get(stream)
            page = self._client.get_log_events(
                logGroupName=LOG_GROUP,
                logStreamName=stream,
                startFromHead=True,
                **({"nextToken": token} if token else {}),
            )
            self._tokens[stream] = page["nextForwardToken"]
            for event in page["events"]:
                yield str(event["message"]).rstrip("\n")
            # The API says "no more" by returning the token it was given.
            if not page["events"] or page["nextForwardToken"] == token:
                return
