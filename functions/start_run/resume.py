"""A failed run goes on where it failed: what it has prepared and trained is found again, and not made twice.

Units of the preparation whose result is there are left out of the plan. Rounds of trials that are recorded stay; trials
that failed are trained again, from their checkpoints, if it was the training that failed the run. What comes after that
is written under its content, so that doing it again changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec

from functions.start_run.budget import check_budget
from lehr import layout
from lehr.clock import now
from lehr.contracts.document import Document
from lehr.contracts.recipe import Recipe
from lehr.contracts.registry import RunRecord, Turn
from lehr.contracts.sweep import Proposal, RoundResult
from lehr.contracts.workflow import Failure, RunInput, S3Location, StartAnswer
from lehr.errors import UserError
from lehr.ports import Executions, ModelRegistry, ObjectStore
from lehr.resuming import MAX_RESUMES, RESUMABLE_DAYS, execution_name

_TRAINING = "TrainTrials"
# Who has failed there needs no training any more.
_AFTER_TRAINING = {
    "PackageModel",
    "EvaluateShards",
    "JudgeModel",
    "AwaitApproval",
    "PromoteModel",
    "WatchCanary",
    "RecordPromotion",
    "RecordRejection",
}
_UNIT = re.compile(r"unit-(\d{5,})\.json")
D = TypeVar("D", bound=Document)


@dataclass(frozen=True, kw_only=True)
class ResumeRun:
    """The operation, with what it needs of the world."""

    artifacts: ObjectStore
    registry: ModelRegistry
    executions: Executions
    function_memory_mb: int = 0

    def resume(self, project: str, run: str, turn: Turn | None) -> StartAnswer | None:
        """Start the next execution of a run; None if the turn has moved meanwhile. Raises UserError for a refusal."""
        record = self._checked(project, run)
        if turn is not None and turn.run != run and self.executions.is_running(turn.execution_arn):
            raise UserError(
                f"run {turn.run} of {project} goes on",
                hint=f"resume after its end: lehr watch {turn.run}",
            )
        body = self.executions.input_of(record.execution_arn)
        if body is None:
            raise UserError(f"Step Functions no longer knows the execution of run {run}", hint=_anew(project))
        before = RunInput.from_json(body)
        failure = self._read(Failure, layout.failure_key(project, run))
        if failure is None or failure.state not in _AFTER_TRAINING:
            self._check_money(record)
        number = record.resumes + 1
        after, told = self._planned(before, number)
        arn = self.executions.arn_of(execution_name(project, run, number))
        waiting = turn.waiting if turn else []
        mine = Turn(
            project=project,
            run=run,
            execution_arn=arn,
            number=turn.number + 1 if turn else 1,
            waiting=list(waiting),
        )
        if not self.registry.take_turn(mine, after=turn):
            return None
        # Before the start: an execution that fails at once finds a run whose end it can write.
        self.registry.resume_run(project, run, execution_arn=arn, resumes=number)
        self.executions.start(execution_name(project, run, number), after.to_json())
        return StartAnswer(project=project, outcome="started", run=run, execution_arn=arn, reason=told)

    def _checked(self, project: str, run: str) -> RunRecord:
        """The record of a run that may be resumed. Raises UserError."""
        record = self.registry.run(project, run)
        if record is None:
            raise UserError(f"there is no run {run!r} of {project}", hint=f"lehr runs {project}")
        if record.is_erased:
            raise UserError(f"run {run} was erased: nothing of it is left", hint=_anew(project))
        if record.status == "running" and not self.executions.is_running(record.execution_arn):
            # Stopped from outside: no state of the machine could write the end of its own run.
            self.registry.end_run(project, run, status="failed", reason="the execution was stopped")
            record = msgspec.structs.replace(record, status="failed", ended_at=now())
        if record.status == "running":
            raise UserError(f"run {run} goes on", hint=f"lehr watch {run}")
        if record.status != "failed":
            raise UserError(f"run {run} did not fail: it was {record.status}", hint=f"lehr why {run}")
        if record.resumes >= MAX_RESUMES:
            raise UserError(f"run {run} was resumed {MAX_RESUMES} times", hint=_anew(project))
        ended = datetime.fromisoformat(record.ended_at or record.started_at)
        if datetime.fromisoformat(now()) - ended > timedelta(days=RESUMABLE_DAYS):
            raise UserError(
                f"run {run} ended at {record.ended_at}, more than {RESUMABLE_DAYS} days ago: what it has left expires",
                hint=_anew(project),
            )
        return record

    def _check_money(self, record: RunRecord) -> None:
        """Hold the run's worst case against its budget once more: of the month more may be spent by now."""
        recipe = Recipe.from_json(self.artifacts.get(layout.recipe_key(record.project, record.run)))
        check_budget(recipe, self.registry, shards=0, function_memory_mb=self.function_memory_mb)

    def _planned(self, before: RunInput, number: int) -> tuple[RunInput, str]:
        """The input of the next execution, and what is told of it."""
        project, run = before.project, before.run
        items = msgspec.json.decode(self.artifacts.get(layout.plan_key(project, run)), type=list[Any])
        done = self._prepared(project, run)
        missing = set(range(len(items))) - done
        after = msgspec.structs.replace(before, resumes=number)
        if missing:
            key = self._write_rest(before, missing, number)
            plan = S3Location(bucket=before.plan.bucket, key=key)
            after = msgspec.structs.replace(after, plan=plan, is_prepared=False)
            return after, f"{len(done)} of {len(items)} units are prepared; the rest, then the training"
        rounds, completed = self._rounds(project, run)
        after = msgspec.structs.replace(after, is_prepared=True, round=rounds)
        trained = f"{completed} trained trial(s) stay" if completed else "nothing is trained yet"
        return after, f"the data is prepared; {trained}"

    def _prepared(self, project: str, run: str) -> set[int]:
        prefix = layout.prepared_prefix(project, run)
        found = (_UNIT.fullmatch(entry.key.removeprefix(prefix)) for entry in self.artifacts.list(prefix))
        return {int(name[1]) for name in found if name}

    def _write_rest(self, before: RunInput, missing: set[int], number: int) -> str:
        """The items of the first plan that have a unit without a result; each is worked on whole."""
        project, run = before.project, before.run
        first = layout.calls_key(project, run)
        key = first if self.artifacts.exists(first) else layout.plan_key(project, run)
        items: list[dict[str, Any]] = msgspec.json.decode(self.artifacts.get(key))
        rest = [item for place, item in enumerate(items) if missing & _units_of(place, item)]
        key = layout.resumed_plan_key(project, run, number)
        self.artifacts.put(key, msgspec.json.encode(rest), content_type="application/json")
        return key

    def _rounds(self, project: str, run: str) -> tuple[int, int]:
        """The round to go on with, and how many trials are trained. Failed trials are made to be tried again."""
        failure = self._read(Failure, layout.failure_key(project, run))
        is_training = failure is not None and failure.state == _TRAINING
        number, completed = 0, set()
        while result := self._read(RoundResult, layout.round_result_key(project, run, number)):
            completed |= {record.id for record in result.trials if record.status == "completed"}
            if is_training:
                self._supersede(project, run, result)
            number += 1
        proposal = self._read(Proposal, layout.proposal_key(project, run, number))
        if is_training and proposal is not None and not proposal.trials:
            # The sweep was over, and had failed: its failed trials are proposed once more, in a round of their own.
            self._put(layout.round_result_key(project, run, number), RoundResult(round=number, trials=[]))
            number += 1
        return number, len(completed)

    def _supersede(self, project: str, run: str, result: RoundResult) -> None:
        trials = [
            msgspec.structs.replace(record, is_superseded=True) if record.status == "failed" else record
            for record in result.trials
        ]
        if trials != result.trials:
            key = layout.round_result_key(project, run, result.round)
            self._put(key, msgspec.structs.replace(result, trials=trials))

    def _put(self, key: str, document: Document) -> None:
        self.artifacts.put(key, document.to_json(), content_type="application/json")

    def _read(self, kind: type[D], key: str) -> D | None:
        try:
            return kind.from_json(self.artifacts.get(key))
        except KeyError:
            return None


def _units_of(place: int, item: Mapping[str, Any]) -> set[int]:
    """The units that an item stands for: a call has several, a unit is one."""
    if item.get("kind") == "call":
        return set(range(item["first"], item["first"] + item["count"]))
    return {place}


def _anew(project: str) -> str:
    return f"start anew: lehr train {project}"
