"""`TrainingLogs` over CloudWatch Logs, where SageMaker puts what a training job prints."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, ClientError

GROUP = "/aws/sagemaker/TrainingJobs"
BATCH_GROUP = "/aws/batch/job"


class CloudWatchTrainingLogs:
    """The log streams whose names begin with the job's."""

    def __init__(self, client: Any, region: str) -> None:
        self._client = client
        self._region = region

    def tail(self, job: str, lines: int) -> list[str]:
        """The last lines of the job's first stream; [] if there are none or they cannot be read."""
        try:
            streams = self._client.describe_log_streams(
                logGroupName=GROUP, logStreamNamePrefix=f"{job}/", limit=1
            )
            if not streams["logStreams"]:
                return []
            return self._tail(GROUP, streams["logStreams"][0]["logStreamName"], lines)
        except (ClientError, BotoCoreError):
            return []

    def tail_of_batch(self, stream: str, lines: int) -> list[str]:
        """The last lines of a Batch job's stream; [] if there are none or they cannot be read."""
        try:
            return self._tail(BATCH_GROUP, stream, lines)
        except (ClientError, BotoCoreError):
            return []

    def tail_of_function(self, group: str, stream: str, lines: int) -> list[str]:
        """The last lines of a training function's stream; [] if there are none or they cannot be read."""
        try:
            return self._tail(group, stream, lines)
        except (ClientError, BotoCoreError):
            return []

    def _tail(self, group: str, stream: str, lines: int) -> list[str]:
        events = self._client.get_log_events(
            logGroupName=group, logStreamName=stream, limit=lines, startFromHead=False
        )
        return [str(event["message"]) for event in events["events"]][-lines:]

    def url(self, job: str) -> str:
        """The console page of the job's log."""
        group, stream = (
            quote(quote(part, safe=""), safe="").replace("%", "$") for part in (GROUP, f"{job}/")
        )
        return (
            f"https://{self._region}.console.aws.amazon.com/cloudwatch/home?region={self._region}"
            f"#logsV2:log-groups/log-group/{group}$3FlogStreamNameFilter$3D{stream}"
        )
