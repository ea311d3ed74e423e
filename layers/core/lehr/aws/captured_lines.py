"""`CapturedLines` over CloudWatch Logs: what the endpoint has written of its predictions.

By FilterLogEvents, which is not billed by what it looks through, as Logs Insights is. It goes forward in time only, and
a busy endpoint writes more in a window than anybody reads in a minute: so the window is cut into slices, and of each
as many lines are read. What is left out is left out evenly.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from lehr.ports import ReadLines

SLICES = 24
MAX_LINES = 500 * SLICES
# A page may be empty and yet have another after it; each looks through at most 1 MB of matching lines.
MAX_PAGES_PER_SLICE = 40


class CloudWatchCapturedLines:
    """Lines of one log group that are JSON objects of a `kind`."""

    def __init__(self, client: Any, group: str) -> None:
        self._client, self._group = client, group

    def read(self, kind: str, project: str, since_ms: int, until_ms: int) -> ReadLines:
        """The lines about `project` from `since_ms` until before `until_ms`; none of a group that is not there yet."""
        lines: list[bytes] = []
        is_sampled = False
        span = max(until_ms - since_ms, 1)
        for place in range(SLICES):
            begin = since_ms + span * place // SLICES
            end = since_ms + span * (place + 1) // SLICES
            if begin == end:
                continue
            room = MAX_LINES // SLICES
            for line in self._matching(kind, project, begin, end - 1):
                if line is None or not room:
                    is_sampled = True
                    break
                lines.append(line)
                room -= 1
        return ReadLines(lines=lines, is_sampled=is_sampled)

    def _matching(self, kind: str, project: str, begin: int, end: int) -> Iterator[bytes | None]:
        """Each line; None where there are more pages than are read. Times are the first and last millisecond."""
        query: dict[str, Any] = {
            "logGroupName": self._group,
            "startTime": begin,
            "endTime": end,
            "filterPattern": f'{{ ($.kind = "{kind}") && ($.project = "{project}") }}',
        }
        for _ in range(MAX_PAGES_PER_SLICE):
            try:
                page = self._client.filter_log_events(**query)
            except ClientError as fault:
                if fault.response["Error"]["Code"] != "ResourceNotFoundException":
                    raise
                return
            for event in page["events"]:
                if _is_about(event["message"], kind, project):
                    yield event["message"].strip().encode()
            if not page.get("nextToken"):
                return
            query["nextToken"] = page["nextToken"]
        yield None


def _is_about(message: str, kind: str, project: str) -> bool:
    """Again, since the pattern is not understood by whatever stands in for CloudWatch Logs."""
    if f'"kind":"{kind}"' not in message:
        return False
    try:
        line = json.loads(message)
    except ValueError:
        return False
    return isinstance(line, dict) and line.get("kind") == kind and line.get("project") == project
