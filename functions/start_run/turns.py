"""Whose turn it is in a project: one run at a time, and whoever has waited for its end gets the next one.

Everything that a run is started with lies in S3 before the turn is taken. So whoever finds a turn taken and nothing
started need not guess whether somebody is about to or has died: they start it too, and of one name there is one
execution.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from lehr import layout
from lehr.clock import now
from lehr.contracts.registry import MAX_WAITING, Turn
from lehr.contracts.workflow import RunStart, StartAnswer
from lehr.ports import Executions, ModelRegistry, ObjectStore
from lehr.resuming import RESUMABLE_DAYS, execution_name

# A turn changes hands between two reads when another trigger is served at the same moment.
MAX_TURNS_TRIED = 8


class TurnMovedError(Exception):
    """Raised when a turn is no longer what it was when it was read: read it, and the data, again."""


@dataclass(frozen=True, kw_only=True)
class Turns:
    """The turn of each project, with what it needs of the world."""

    artifacts: ObjectStore
    registry: ModelRegistry
    executions: Executions

    def take(self, turn: Turn | None, start: RunStart) -> bool:
        """Whether the turn was taken for a run; False if it was that run's already, as after a death.

        Raises TurnMovedError if it is no longer `turn`.
        """
        project, run = start.record.project, start.record.run
        self.artifacts.put(layout.start_key(project, run), start.to_json(), content_type="application/json")
        if turn is not None and turn.run == run:
            return False
        mine = Turn(
            project=project,
            run=run,
            execution_arn=start.record.execution_arn,
            number=turn.number + 1 if turn else 1,
            # Until they are answered: whoever delivers the end of a run again finds them if this one dies.
            waiting=list(turn.waiting) if turn else [],
        )
        if not self.registry.take_turn(mine, after=turn):
            raise TurnMovedError
        return True

    def begin(self, start: RunStart) -> bool:
        """Start the execution of a run whose turn it is; False if it had been started."""
        name = execution_name(start.input.project, start.input.run)
        _, is_started = self.executions.start(name, start.input.to_json())
        # Also when it had been started already: the one who did may have died before this line.
        self.registry.add_run(start.record)
        return is_started

    def goes_on(self, turn: Turn) -> bool:
        """Whether a turn's run is not decided yet: what follows then, the report above all, is in nobody's way."""
        record = self.registry.run(turn.project, turn.run)
        if record is not None and record.status != "running":
            return False
        return self.is_running(turn.project, turn.run, turn.execution_arn)

    def is_running(self, project: str, run: str, arn: str) -> bool:
        """Whether the execution of a run goes on, which is started if it is not yet.

        Step Functions may not know yet what has just been started, so that its word alone is not enough: a second start
        of what goes on is the first, and of what has ended is none.
        """
        return self.executions.is_running(arn) or self._is_begun_now(project, run, arn)

    def _is_begun_now(self, project: str, run: str, arn: str) -> bool:
        """Start what is not started yet; False if it has ended, or if an earlier release has taken the turn.

        What was to start long ago is nobody's any more: its data expires, and names of executions are free again.
        """
        try:
            start = RunStart.from_json(self.artifacts.get(layout.start_key(project, run)))
        except KeyError:
            return False
        age = datetime.fromisoformat(now()) - datetime.fromisoformat(start.record.started_at)
        if age > timedelta(days=RESUMABLE_DAYS):
            return False
        return self.begin(start) or self.executions.is_running(arn)

    def wait(self, turn: Turn, trigger: str) -> StartAnswer:
        """Have `trigger` wait for the end of a turn. Raises TurnMovedError if that has come meanwhile.

        The end of another run ("") has nothing to wait for: it came late, and this turn has an end of its own.
        """
        if trigger and (not self.registry.wait_for_turn(turn, trigger) or not self.goes_on(turn)):
            raise TurnMovedError
        return StartAnswer(
            project=turn.project,
            outcome="queued",
            run=turn.run,
            execution_arn=turn.execution_arn,
            reason=f"run {turn.run} goes on; what is new starts a run after its end",
        )

    def let_go(self, project: str, answered: list[str]) -> None:
        """Take those who have their answer off the list of the turn.

        Of a full list one stays: others may have come who were not kept, and the end of the run has to look for them.
        """
        for _ in range(MAX_TURNS_TRIED):
            turn = self.registry.turn(project)
            if turn is None:
                return
            waiting = [each for each in turn.waiting if each not in answered]
            if len(turn.waiting) >= MAX_WAITING and not waiting:
                waiting = turn.waiting[-1:]
            rest = msgspec.structs.replace(turn, number=turn.number + 1, waiting=waiting)
            if waiting == turn.waiting or self.registry.take_turn(rest, after=turn):
                return
