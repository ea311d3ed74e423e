"""Where the time went: the states of an execution with their beginnings and lengths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Span:
    """One state; `start_s` counts from the start of the execution."""

    state: str
    start_s: float
    seconds: float


def read_history(client: Any, execution_arn: str) -> Iterator[Mapping[str, Any]]:
    """Every event of an execution, oldest first, without the data of its states."""
    query: dict[str, Any] = {"executionArn": execution_arn, "includeExecutionData": False}
    while True:
        page = client.get_execution_history(**query)
        yield from page["events"]
        if not page.get("nextToken"):
            return
        query["nextToken"] = page["nextToken"]


def read_spans(events: Iterable[Mapping[str, Any]]) -> list[Span]:
    """The states that have ended, in order. What begins within an open Map belongs to the Map.

    A state that fails has no exit; it ends when the state that its Catch names is entered.
    """
    spans: list[Span] = []
    begin: datetime | None = None
    current: tuple[str, datetime, bool] | None = None
    for event in events:
        kind, at = str(event["type"]), event["timestamp"]
        begin = begin or at
        if kind.endswith("StateEntered"):
            if current and current[2]:
                continue
            if current:
                spans.append(_span(current, begin, at))
            current = (str(event["stateEnteredEventDetails"]["name"]), at, kind.startswith("Map"))
        elif kind in {"MapStateFailed", "MapStateAborted", "MapRunFailed"} and current:
            current = (current[0], current[1], False)
        elif (
            kind.endswith("StateExited")
            and current
            and event["stateExitedEventDetails"]["name"] == current[0]
        ):
            spans.append(_span(current, begin, at))
            current = None
    return spans


def _span(current: tuple[str, datetime, bool], begin: datetime, end: datetime) -> Span:
    name, since, _ = current
    return Span(
        state=name,
        start_s=(since - begin).total_seconds(),
        seconds=(end - since).total_seconds(),
    )
