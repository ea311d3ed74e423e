"""From a request to a running execution, once per content.

The execution is named by the fingerprint of data, recipe and code, so that a duplicate event, an impatient
second click and a retried delivery all find the first. Only a failed run may be tried again: its next
attempt carries the number of the attempt in its name.

A project has one run at a time. What is new while it goes on waits for its end, and however many triggers have waited,
one run, on what the data is by then, answers them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from uuid import uuid4

from functions.start_run.attempts import plan_attempts
from functions.start_run.budget import Wall, check_budget, find_wall
from functions.start_run.initial import Initial, find_initial, made_of_the_same
from functions.start_run.plan import fingerprint, list_raw
from functions.start_run.planned import names_of, plan_run, write_plan
from functions.start_run.resume import ResumeRun
from functions.start_run.retraining import refuse_unaffordable, refuse_unwanted, weigh
from functions.start_run.turns import MAX_TURNS_TRIED, TurnMovedError, Turns
from lehr import layout
from lehr.attempts import resources_of
from lehr.clock import now
from lehr.contracts.recipe import Recipe
from lehr.contracts.registry import RunRecord, TriggerOutcome, TriggerRecord, Turn
from lehr.contracts.workflow import (
    Attempt,
    RunInput,
    RunStart,
    S3Location,
    StartAnswer,
    StartRequest,
)
from lehr.errors import UserError
from lehr.ports import Executions, ModelRegistry, ObjectStore
from lehr.pushed import read_pushed
from lehr.resuming import execution_name
from lehr.sweeps import planned_trials

MAX_ATTEMPTS = 20


@dataclass(frozen=True, kw_only=True)
class StartRun:
    """The operation, with what it needs of the world."""

    data: ObjectStore
    artifacts: ObjectStore
    registry: ModelRegistry
    executions: Executions
    has_batch: bool = False
    function_memory_mb: int = 0

    def start(self, request: StartRequest) -> StartAnswer:
        """Start a run, or say why not. What a person can put right is an answer, not an error."""
        for _ in range(MAX_TURNS_TRIED):
            # Before the data is looked at: whoever waits from now on may have newer data.
            turn = self.registry.turn(request.project)
            waiting = turn.waiting if turn else []
            if request.is_end_of_run and not waiting:
                return StartAnswer(project=request.project, outcome="nothing_new", reason="nobody has waited")
            trigger = "" if request.is_end_of_run else request.trigger or uuid4().hex
            try:
                answer = (
                    self._resume(request, turn) if request.resume else self._start(request, turn, trigger)
                )
            except TurnMovedError:
                continue
            except UserError as fault:
                error = type(fault).__name__
                answer = StartAnswer(
                    project=request.project, outcome="refused", reason=str(fault), error=error
                )
            # A run that is resumed knows nothing of what was dropped since it began: who waits goes on waiting.
            # Nor is anybody refused for what speaks against a run that starts by itself.
            is_own = request.resume or (request.cause and answer.outcome == "refused")
            served = [] if answer.outcome == "queued" or is_own else waiting
            for each in dict.fromkeys([*served, *([trigger] if trigger else [])]):
                self._record(each, answer)
            if served:
                self._turns.let_go(request.project, served)
            return answer
        raise TurnMovedError(f"{request.project}: others were served {MAX_TURNS_TRIED} times in between")

    @property
    def _turns(self) -> Turns:
        return Turns(artifacts=self.artifacts, registry=self.registry, executions=self.executions)

    def _resume(self, request: StartRequest, turn: Turn | None) -> StartAnswer:
        resumer = ResumeRun(
            artifacts=self.artifacts,
            registry=self.registry,
            executions=self.executions,
            function_memory_mb=self.function_memory_mb,
        )
        answer = resumer.resume(request.project, request.resume, turn)
        if answer is None:
            raise TurnMovedError
        return answer

    def _start(self, request: StartRequest, turn: Turn | None, trigger: str) -> StartAnswer:
        project = request.project
        code_sha, recipe = read_pushed(self.artifacts, project)
        if request.cause:
            goes_on = turn.run if turn is not None and self._turns.goes_on(turn) else ""
            refuse_unwanted(recipe, request.cause, self.registry, goes_on=goes_on)
        raw = list_raw(self.data, project)
        named = [raw[name] for name in names_of(recipe, list(raw)) if name in raw]
        initial = find_initial(recipe, self.registry, self.artifacts)
        identity = partial(fingerprint, named, code_sha)
        made = made_of_the_same(initial, project, self.registry, self.artifacts, identity)
        if made is not None:
            return _nothing_new(made)
        inputs = identity(initial.version)
        run, running = self._next_attempt(project, inputs)
        if running is not None:
            return _nothing_new(running)
        raw_bytes = sum(entry.bytes for entry in raw.values())
        for_it = weigh(recipe, request.cause, self.registry, self.artifacts, raw_bytes=raw_bytes)
        arn = self.executions.arn_of(execution_name(project, run))
        if turn is not None and turn.run != run and self._turns.goes_on(turn):
            return self._turns.wait(turn, trigger)

        planned = plan_run(recipe, raw, run, self.data, self.artifacts, self.registry)
        attempts = plan_attempts(
            recipe.backend, has_batch=self.has_batch, function_memory_mb=self.function_memory_mb
        )
        estimated_usd = check_budget(
            recipe, self.registry, shards=planned.shards, function_memory_mb=self.function_memory_mb
        )
        refuse_unaffordable(recipe, request.cause, self.registry, estimated_usd=estimated_usd)
        wall = find_wall(recipe, shards=planned.shards, function_memory_mb=self.function_memory_mb)
        items_key = write_plan(planned, project, run, self.artifacts)
        self.artifacts.put(layout.recipe_key(project, run), recipe.to_json(), content_type="application/json")
        record = RunRecord(
            project=project,
            run=run,
            status="running",
            started_at=now(),
            execution_arn=arn,
            code_sha=code_sha,
            fingerprint=inputs,
            estimated_usd=estimated_usd,
            cause=request.cause,
            raw_bytes=raw_bytes,
        )
        body = self._run_input(recipe, run, code_sha, items_key, attempts, initial, wall)
        start = RunStart(input=body, record=record)
        is_mine = self._turns.take(turn, start)
        started = self._turns.begin(start) or is_mine
        if not started:
            return _nothing_new(self.registry.run(project, run) or record)
        return StartAnswer(
            project=project,
            outcome="started",
            run=run,
            execution_arn=arn,
            reason=f"{planned.amount}, {planned_trials(recipe)} trial(s)" + (f"; {for_it}" if for_it else ""),
        )

    def _next_attempt(self, project: str, inputs: str) -> tuple[str, RunRecord | None]:
        """The id of the attempt to start, and the attempt that makes starting needless."""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            run = inputs[:12] if attempt == 1 else f"{inputs[:12]}-{attempt}"
            record = self.registry.run(project, run)
            if record is None:
                return run, None
            if record.status == "running" and not self._turns.is_running(project, run, record.execution_arn):
                # Stopped from outside: no state of the machine could write the end of its own run.
                self.registry.end_run(project, run, status="failed", reason="the execution was stopped")
            elif record.status != "failed" and not record.is_erased:
                return run, record
        raise UserError(
            f"the same data, recipe and code have failed {MAX_ATTEMPTS} times",
            place=project,
            hint="read the reasons with: lehr runs",
        )

    def _run_input(
        self,
        recipe: Recipe,
        run: str,
        code_sha: str,
        items_key: str,
        attempts: list[Attempt],
        initial: Initial,
        wall: Wall,
    ) -> RunInput:
        project, backend = recipe.project.name, recipe.backend
        return RunInput(
            project=project,
            run=run,
            code_sha=code_sha,
            code_uri=self.artifacts.uri(layout.project_prefix(project, code_sha)),
            plan=S3Location(bucket=self.artifacts.bucket, key=items_key),
            trial_concurrency=recipe.trials.concurrency,
            attempts=attempts,
            resources=resources_of(backend, attempts[0].instance_types[0], wall.max_runtime_s),
            checkpoint_prefix=self.artifacts.uri(layout.checkpoints_prefix(project, run)),
            output_prefix=self.artifacts.uri(layout.trials_prefix(project, run)),
            initial_version=initial.version,
            initial_uri=initial.uri,
            rollout=recipe.rollout,
            wall_s=wall.wall_s,
            approval_expires_s=recipe.approval.expires_after_h * 3600 if recipe.approval.required else 0,
        )

    def _record(self, trigger: str, answer: StartAnswer) -> None:
        outcome: TriggerOutcome = answer.outcome
        record = TriggerRecord(
            project=answer.project[:64],
            trigger=trigger,
            outcome=outcome,
            run=answer.run,
            execution_arn=answer.execution_arn,
            reason=answer.reason,
            error=answer.error,
            at=now(),
        )
        self.registry.add_trigger(record)
        if outcome == "refused":
            self.registry.set_refusal(record)


def _nothing_new(record: RunRecord) -> StartAnswer:
    state = "is running" if record.status == "running" else f"ended: {record.status}"
    return StartAnswer(
        project=record.project,
        outcome="nothing_new",
        run=record.run,
        execution_arn=record.execution_arn,
        reason=f"nothing is new: run {record.run} with the same data, recipe and code {state}",
    )
