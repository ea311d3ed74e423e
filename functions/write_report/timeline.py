"""Where the time went: the states of an execution with their beginnings and lengths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lehr.history import Left, TopLevel


@dataclass(frozen=True, kw_only=True)
class Span:
    """One state; `start_s` counts from the start of the execution."""

    state: str
    start_s: float
    seconds: float


def read_history(client: Any, execution_arn: str) -> Iterator[Mapping[str, Any]]:
    """Every event of an execution, oldest first, without the data of its states."""
    query: dict[str, Any] = {"executionArn": execution_arn, "includeExecutionData": False, "maxResults": 1000}
    while True:
        page = client.get_execution_history(**query)
        yield from page["events"]
        if not page.get("nextToken"):
            return
        query["nextToken"] = page["nextToken"]


def read_spans(events: Iterable[Mapping[str, Any]]) -> list[Span]:
    """The states that have ended, in order."""
    states = TopLevel()
    begin: datetime | None = None
    spans = []
    for event in events:
        begin = begin or event["timestamp"]
        for change in states.read(event):
            if isinstance(change, Left):
                start_s = (change.since - begin).total_seconds()
                spans.append(Span(state=change.state, start_s=start_s, seconds=change.seconds))
    return spans
