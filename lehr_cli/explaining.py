"""Which explanation a run gets: of its failure, of its decision, or of what it waits for; and what else is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lehr import layout
from lehr.causes.catalogue import look_up
from lehr.causes.decisions import explain_decision
from lehr.causes.kept import what_is_kept
from lehr.causes.rule import Symptoms
from lehr.causes.waits import NOTICES, SENTENCES, explain_wait
from lehr.contracts.evaluation import Decision
from lehr.contracts.explanation import Evidence, Explanation
from lehr.contracts.package import TRAINING_FILE
from lehr.contracts.registry import RunRecord, TriggerRecord
from lehr.contracts.training import TrainingSummary
from lehr.contracts.workflow import Failure
from lehr.errors import ContractError
from lehr_cli.history import HistoryReader
from lehr_cli.run_seen import Glance, look_at
from lehr_cli.stack import Stack

_GOING_ON = {"RUNNING", "PENDING_REDRIVE"}
_DEAD_LETTERS = "TriggerDeadLetterQueue"


def explain_run(stack: Stack, record: RunRecord) -> Explanation:
    """The one thing to know about a run."""
    if record.status in {"promoted", "rejected"}:
        decision = _read_decision(stack, record)
        return explain_decision(record, decision, stack.registry.alias(record.project))
    if record.status == "failed":
        return explain_failure(stack, record)
    execution = _describe(stack, record)
    if execution is None or execution["status"] not in _GOING_ON:
        return _of_execution(stack, record, execution or {})
    return explain_wait(look_at(stack, record))


def explain_failure(stack: Stack, record: RunRecord) -> Explanation:
    """What RecordFailure wrote; of a run that was ended from outside, what Step Functions says."""
    failure = read_failure(stack, record)
    if failure is None:
        return _of_execution(stack, record, _describe(stack, record) or {})
    if failure.explanation is not None:
        return failure.explanation
    # An older release has written it.
    seen = Symptoms(
        state=failure.state,
        error=failure.error,
        reason=failure.reason,
        log=failure.log_tail,
        answers=_answers(record),
    )
    return look_up(seen, what_is_kept(record.project, record.run, failure.state, stack.artifacts))


def explain_refusal(refusal: TriggerRecord) -> Explanation:
    """Why start_run refused a trigger."""
    seen = Symptoms(
        state="start_run",
        error=refusal.error,
        reason=refusal.reason,
        answers={"project": refusal.project, "run": refusal.run or "RUN"},
    )
    return look_up(
        seen, ["the champion, if there is one, serves as before", "the data lies where it was dropped"]
    )


def newer_refusal(stack: Stack, project: str, record: RunRecord | None) -> TriggerRecord | None:
    """The last refusal of a project, if nothing was started after it."""
    refusal = stack.registry.refusal(project)
    return refusal if refusal and (record is None or refusal.at > record.started_at) else None


def read_failure(stack: Stack, record: RunRecord) -> Failure | None:
    """What RecordFailure wrote, if it is of the last execution: one that was resumed may have been stopped since."""
    try:
        failure = Failure.from_json(stack.artifacts.get(layout.failure_key(record.project, record.run)))
    except KeyError:
        return None
    is_of_another = record.resumes and not record.reason.startswith(f"{failure.state}: ")
    return None if is_of_another else failure


def notices(stack: Stack, record: RunRecord) -> Iterator[Explanation]:
    """What else is worth knowing: who waits for this run, a report or a message that got lost, a stale record."""
    if record.status == "running":
        execution = _describe(stack, record)
        if execution is None or execution["status"] not in _GOING_ON:
            told = execution["status"] if execution else "Step Functions no longer knows it"
            yield _notice("record-is-stale", "record", f"execution: {told}", f"lehr train {record.project}")
        turn = stack.registry.turn(record.project)
        if turn and turn.run == record.run and turn.waiting:
            text = f"{len(turn.waiting)} trigger(s) wait for the end of run {record.run}"
            yield _notice("queued-behind-run", "record", text, f"lehr watch {record.run}")
    elif not record.is_erased and not stack.artifacts.exists(layout.report_key(record.project, record.run)):
        text = f"ended {record.ended_at}"
        yield _notice(
            "report-not-written", "record", text, "sam logs --stack-name lehr --name WriteReportFunction"
        )
    if (wall := _wall_of(stack, record)) is not None:
        yield _notice("ended-at-wall", "record", wall, "lehr push FOLDER  # with a higher budget.stop_at_usd")
    if count := _dead_letters(stack):
        following = "aws sqs start-message-move-task --source-arn <dead-letter queue>"
        yield _notice("dead-letters", "record", f"{count} message(s)", following)


def _wall_of(stack: Stack, record: RunRecord) -> str | None:
    """Where the training of a run's model has ended at its wall; None if it has not, or there is no model."""
    if not record.model_version or record.is_erased:
        return None
    key = layout.model_file_key(record.project, record.model_version, TRAINING_FILE)
    try:
        summary = TrainingSummary.from_json(stack.artifacts.get(key))
    except (KeyError, ContractError):
        return None
    if summary.wall_update is None:
        return None
    best = f"; the weights are those of epoch {summary.best_epoch}" if summary.best_epoch else ""
    return f"after update {summary.wall_update}, in epoch {len(summary.epochs)}{best}"


def _notice(name: str, source: Any, text: str, following: str) -> Explanation:
    sentence = NOTICES.get(name) or SENTENCES[name]
    evidence = [Evidence(source=source, text=text)]
    return Explanation(cause=name, sentence=sentence, evidence=evidence, kept=[], next=[following])


def _of_execution(stack: Stack, record: RunRecord, execution: dict[str, Any]) -> Explanation:
    """Of a run whose end no state could record: it was stopped, took too long, or the definition failed."""
    status, error = str(execution.get("status", "")), str(execution.get("error") or "")
    state = _open_state(stack, record) if execution else ""
    if status == "TIMED_OUT" or (status == "ABORTED" and not error):
        error = status
    seen = Symptoms(
        state=state,
        error=error,
        reason=str(execution.get("cause") or record.reason),
        answers=_answers(record),
    )
    return look_up(seen, what_is_kept(record.project, record.run, state, stack.artifacts))


def _open_state(stack: Stack, record: RunRecord) -> str:
    glance = Glance()
    try:
        glance.read(HistoryReader(stack.executions, record.execution_arn).new_events())
    except (ClientError, BotoCoreError):
        return ""
    return glance.state


def _describe(stack: Stack, record: RunRecord) -> dict[str, Any] | None:
    try:
        described: dict[str, Any] = stack.executions.describe_execution(executionArn=record.execution_arn)
    except ClientError as fault:
        if fault.response["Error"]["Code"] != "ExecutionDoesNotExist":
            raise
        return None
    return described


def _read_decision(stack: Stack, record: RunRecord) -> Decision | None:
    try:
        return Decision.from_json(stack.artifacts.get(layout.decision_key(record.project, record.run)))
    except (KeyError, ContractError):
        return None


def _answers(record: RunRecord) -> dict[str, str]:
    return {"project": record.project, "run": record.run}


def _dead_letters(stack: Stack) -> int:
    """How many messages rest there; 0 also where it cannot be asked, which is no part of the question."""
    try:
        resource = stack.target.client("cloudformation").describe_stack_resource(
            StackName=stack.name, LogicalResourceId=_DEAD_LETTERS
        )["StackResourceDetail"]
        attributes = stack.target.client("sqs").get_queue_attributes(
            QueueUrl=resource["PhysicalResourceId"], AttributeNames=["ApproximateNumberOfMessages"]
        )["Attributes"]
    except (ClientError, BotoCoreError):
        return 0
    return int(attributes["ApproximateNumberOfMessages"])
