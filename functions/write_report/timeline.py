"""Where the time went: the states of each execution of a run with their beginnings and lengths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lehr.history import END_WORDS, EXECUTION_ENDS, Left, TopLevel


@dataclass(frozen=True, kw_only=True)
class Span:
    """One state; `start_s` counts from the start of its execution, and `end` says how it ended, if not well."""

    state: str
    start_s: float
    seconds: float
    end: str = ""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """One execution of a run, the `resume`-th one after the first, which is 0.

    `end` says how it ended; it is "until this report" of the one that writes it. `waited_s` is the time since the end
    of the one before, None where there is none or its history is gone.
    """

    resume: int
    began: datetime
    seconds: float
    end: str
    waited_s: float | None = None
    spans: list[Span] = field(default_factory=list)


def read_history(client: Any, execution_arn: str) -> Iterator[Mapping[str, Any]]:
    """Every event of an execution, oldest first, without the data of its states."""
    query: dict[str, Any] = {"executionArn": execution_arn, "includeExecutionData": False, "maxResults": 1000}
    while True:
        page = client.get_execution_history(**query)
        yield from page["events"]
        if not page.get("nextToken"):
            return
        query["nextToken"] = page["nextToken"]


def read_execution(
    events: Iterable[Mapping[str, Any]], resume: int = 0, ended_before: datetime | None = None
) -> tuple[Execution, datetime]:
    """The states that have ended, in order, and when the last event was. Raises ValueError for no events."""
    states = TopLevel()
    begin: datetime | None = None
    last: datetime | None = None
    spans, end = [], "until this report"
    for event in events:
        last = event["timestamp"]
        begin = begin or last
        cut_off = END_WORDS.get(EXECUTION_ENDS.get(event["type"], ""), "")
        end = cut_off or end
        for change in states.read(event):
            if isinstance(change, Left):
                start_s = (change.since - begin).total_seconds()
                spans.append(
                    Span(
                        state=change.state,
                        start_s=start_s,
                        seconds=change.seconds,
                        end=(cut_off or "failed") if change.has_failed else "",
                    )
                )
    if begin is None or last is None:
        raise ValueError("it has no events")
    execution = Execution(
        resume=resume,
        began=begin,
        seconds=(last - begin).total_seconds(),
        end=end,
        waited_s=(begin - ended_before).total_seconds() if ended_before else None,
        spans=spans,
    )
    return execution, last
