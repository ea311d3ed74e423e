"""What the executions of a run before its last one have come to: their states, and where the run was resumed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from botocore.exceptions import ClientError

from lehr.contracts.registry import RunRecord
from lehr.resuming import executions_of
from lehr_cli.events import RunEvent, RunResumed, StateExited
from lehr_cli.history import HistoryReader, Timeline, local_time, seconds_between

GONE = "ExecutionDoesNotExist"


def earlier_executions(record: RunRecord | None, execution_arn: str) -> list[str]:
    """ARNs of those before `execution_arn`, in their order: none of a run that was never resumed."""
    if record is None or record.execution_arn != execution_arn:
        return []
    return executions_of(record.project, record.run, record.resumes, execution_arn)[:-1]


class Earlier:
    """Reads executions that have ended, each once. After the last of them the next one's start is a resume too."""

    def __init__(self, client: Any, execution_arns: Sequence[str]) -> None:
        self._client, self._arns = client, execution_arns
        self._before: Timeline | None = None
        self._number = 0

    def events(self) -> Iterator[RunEvent]:
        """The states that were left, and a RunResumed before those of each execution but the first."""
        for arn in self._arns:
            timeline = Timeline()
            try:
                states = list(timeline.read(HistoryReader(self._client, arn).new_events()))
            except ClientError as fault:
                # Kept for 90 days: what comes after it is told all the same.
                if fault.response["Error"]["Code"] != GONE:
                    raise
                states = []
            yield from self.resumed(timeline)
            yield from (one for one in states if isinstance(one, StateExited))

    def resumed(self, timeline: Timeline) -> Iterator[RunResumed]:
        """That the execution which `timeline` has begun to read took the place of the one before, if there is one."""
        before, number = self._before, self._number
        self._before, self._number = timeline, number + 1
        if before is None:
            return
        ended_at, began_at = before.last, timeline.started
        yield RunResumed(
            number=number,
            at=local_time(began_at) if began_at else "",
            ended=before.ended.status if before.ended else "",
            seconds=seconds_between(before.started, ended_at) if before.started and ended_at else None,
            waited_s=seconds_between(ended_at, began_at) if ended_at and began_at else None,
        )
