"""`lehr local logs`: what functions, trainers and Batch jobs write, in the order of time, in either cloud.

CloudWatch Logs takes lines late and out of order, so each look reaches back over the one before and drops what was
shown already.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError
from rich.text import Text

from lehr_cli.failures import CommandError
from lehr_cli.invocation import Invocation, command

_FUNCTIONS = "/aws/lambda/"
_TRAINING = "/aws/sagemaker/TrainingJobs"
_BATCH = "/aws/batch/job"
_OVERLAP_MS = 10_000
_LOOKS_BETWEEN_DISCOVERIES = 10

NameArgument = Annotated[
    str | None,
    typer.Argument(help="Beginning of the name of a function, a training job or a job definition."),
]
FollowOption = Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")]
SinceOption = Annotated[float, typer.Option("--since", min=0, help="How many minutes to look back.")]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line and who wrote it; `timestamp_ms` since the epoch."""

    source: str
    timestamp_ms: int
    message: str


@command
def logs(
    invocation: Invocation, name: NameArgument = None, follow: FollowOption = False, since: SinceOption = 60
) -> None:
    """Show what functions, trainers and Batch jobs have written; all of them, or those of one name.

    Example: lehr local logs predict --follow
    """
    tail = LogTail(
        invocation.target.client("logs"),
        stack=invocation.stack_name,
        name=name or "",
        since_ms=int((time.time() - since * 60) * 1000),
    )
    shown = 0
    for line in tail.lines(sleep=time.sleep if follow else None, pause_s=invocation.target.poll_s):
        show(invocation, line)
        shown += 1
    if not shown and not tail.sources:
        raise CommandError(
            f"nothing whose name begins with {name!r} has a log" if name else "nothing has a log yet",
            "names: " + (", ".join(tail.known) or "none"),
        )


def show(invocation: Invocation, line: Line) -> None:
    """One line for people, or one document with --json."""
    moment = time.strftime("%H:%M:%S", time.localtime(line.timestamp_ms / 1000))
    invocation.out.say(Text.assemble((f"{moment} ", "dim"), (f"{line.source:<16} ", "cyan"), line.message))
    invocation.out.emit(
        {
            "event": "log",
            "source": line.source,
            "timestamp_ms": line.timestamp_ms,
            "message": line.message,
        }
    )


class LogTail:
    """Reads all log groups whose streams belong to `name` (a prefix; empty means all)."""

    def __init__(self, client: Any, *, stack: str, name: str, since_ms: int) -> None:
        self._client = client
        self._stack = stack
        self._name = name
        self._since_ms = since_ms
        self._groups: list[str] = []
        self._reached_ms: dict[str, int] = {}
        self._seen: dict[str, dict[str, int]] = {}
        self.sources: set[str] = set()
        self.known: list[str] = []

    def lines(self, *, sleep: Callable[[float], None] | None, pause_s: float) -> Iterator[Line]:
        """All lines so far; with `sleep` also those to come, without an end."""
        looks = 0
        while True:
            if looks % _LOOKS_BETWEEN_DISCOVERIES == 0:
                self._groups = self._discover()
            looks += 1
            found = [line for group in self._groups for line in self._new_lines(group)]
            yield from sorted(found, key=lambda line: line.timestamp_ms)
            if sleep is None:
                return
            sleep(pause_s)

    def _discover(self) -> list[str]:
        """The groups of functions, then the two that jobs share."""
        pages = self._client.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=_FUNCTIONS)
        names = [group["logGroupName"] for page in pages for group in page["logGroups"]]
        self.known = sorted(self._short(name) for name in names)
        wanted = [name for name in names if self._is_wanted(self._short(name), name)]
        self.sources.update(self._short(name) for name in wanted)
        return [*wanted, _TRAINING, _BATCH]

    def _short(self, group: str) -> str:
        return group.removeprefix(_FUNCTIONS).removeprefix(f"{self._stack}-")

    def _is_wanted(self, *names: str) -> bool:
        return any(name.startswith(self._name) for name in names)

    def _new_lines(self, group: str) -> Iterator[Line]:
        start_ms = self._reached_ms.get(group, self._since_ms)
        seen = self._seen.setdefault(group, {})
        try:
            for event in self._events(group, start_ms):
                source = self._source(group, event["logStreamName"])
                if source is None or event["eventId"] in seen:
                    continue
                seen[event["eventId"]] = event["timestamp"]
                self.sources.add(source)
                message = str(event["message"]).rstrip("\n")
                yield Line(source=source, timestamp_ms=event["timestamp"], message=message)
        except ClientError as fault:
            if fault.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
        if seen:
            reached_ms = max(self._since_ms, max(seen.values()) - _OVERLAP_MS)
            self._reached_ms[group] = reached_ms
            self._seen[group] = {event: moment for event, moment in seen.items() if moment >= reached_ms}

    def _events(self, group: str, start_ms: int) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator("filter_log_events").paginate(
            logGroupName=group, startTime=start_ms
        )
        for page in pages:
            yield from page["events"]

    def _source(self, group: str, stream: str) -> str | None:
        """The short name of whoever wrote a stream; None if it was not asked for."""
        if group not in (_TRAINING, _BATCH):
            return self._short(group)
        # job/algo-1-1700000000 of SageMaker; definition/default/task of Batch.
        name = stream.partition("/")[0]
        return name if self._is_wanted(name, stream) else None
