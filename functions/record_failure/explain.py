"""What went wrong, in words: the cause that Step Functions carries is JSON inside JSON; the reason is in its middle."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from functions.record_failure.cost import record_failed_cost
from lehr import layout
from lehr.causes.catalogue import look_up
from lehr.causes.kept import what_is_kept
from lehr.causes.rule import Symptoms
from lehr.causes.words import summary_of
from lehr.contracts.workflow import Failure, FailureRequest
from lehr.ports import ModelRegistry, ObjectStore, TrainingLogs

LOG_LINES = 20
MAX_REASON = 1000
TRAINER_FAILED = "FAILED: "
# A handler's error whose JSON was cut off by the state machine before its end.
_CUT_MESSAGE = re.compile(r'\{"errorMessage"\s*:\s*"((?:[^"\\]|\\.)*)("?)')


@dataclass(frozen=True, kw_only=True)
class RecordFailure:
    """The operation, with what it needs of the world."""

    artifacts: ObjectStore
    registry: ModelRegistry
    logs: TrainingLogs

    def record(self, request: FailureRequest) -> Failure:
        """Write failure.json and end the run. A log that cannot be read is left out, never a second failure."""
        job, stream = training_job(request.cause), batch_stream(request.cause)
        log_tail = self.logs.tail(job, LOG_LINES) if job else []
        if stream:
            log_tail = self.logs.tail_of_batch(stream, LOG_LINES)
        group, stream = function_stream(request.cause)
        if group:
            log_tail = self.logs.tail_of_function(group, stream, LOG_LINES) if stream else []
        reason = explain(request.error, request.cause, log_tail)[:MAX_REASON]
        seen = Symptoms(
            state=request.state,
            error=request.error,
            reason=reason,
            log=log_tail,
            answers={"project": request.project, "run": request.run},
        )
        explanation = look_up(seen, self._kept(request))
        failure = Failure(
            project=request.project,
            run=request.run,
            state=request.state,
            error=request.error,
            reason=reason,
            log_tail=log_tail,
            log_url=self.logs.url(job) if job and not group else "",
            explanation=explanation,
            summary=summary_of(explanation),
        )
        key = layout.failure_key(request.project, request.run)
        self.artifacts.put(key, failure.to_json(), content_type="application/json")
        record_failed_cost(request, job, self.artifacts, self.registry)
        self.registry.end_run(
            request.project,
            request.run,
            status="failed",
            reason=f"{request.state}: {failure.reason}"[:MAX_REASON],
        )
        return failure

    def _kept(self, request: FailureRequest) -> list[str]:
        try:
            return what_is_kept(request.project, request.run, request.state, self.artifacts)
        except Exception:
            # Whatever it is, as a key that was disabled: it may be what has failed the run, and must not hide it.
            return ["what is kept cannot be looked up now"]


def explain(error: str, cause: str, log_tail: Sequence[str] = ()) -> str:
    """The sentence a person can act on: a handler's message, a training job's FailureReason, or the bare cause.

    Batch knows only an exit code; there the trainer's own last word, in the log, is the reason.
    """
    details = _parsed(cause)
    if "JobQueue" in details:
        said = [line.removeprefix(TRAINER_FAILED) for line in log_tail if line.startswith(TRAINER_FAILED)]
        code = _container(details).get("ExitCode")
        ended = f"{details.get('StatusReason') or 'the Batch job failed'}" + (
            "" if code is None else f", exit code: {code}"
        )
        return f"{said[-1]} ({ended})" if said else ended
    if "FailureReason" in details or "TrainingJobStatus" in details:
        status = details.get("TrainingJobStatus", "")
        secondary = details.get("SecondaryStatus", "")
        return details.get("FailureReason") or f"the training job ended as {status} ({secondary})"
    if "errorMessage" in details:
        return str(details["errorMessage"])
    if cut := _CUT_MESSAGE.match(cause):
        return cut[1].replace('\\"', '"') + ("" if cut[2] else " …")
    return cause or error


def training_job(cause: str) -> str:
    """Name of the training job that a cause speaks of, or ""."""
    name = _parsed(cause).get("TrainingJobName", "")
    if not name:
        found = re.search(r'"TrainingJobName"\s*:\s*"([A-Za-z0-9-]{1,63})"', cause)
        name = found[1] if found else ""
    return str(name)


def batch_stream(cause: str) -> str:
    """The log stream of the Batch job that a cause speaks of, or ""."""
    return str(_container(_parsed(cause)).get("LogStreamName") or "")


def function_stream(cause: str) -> tuple[str, str]:
    """Log group and stream of the function that a trial was trained in, or nothing."""
    details = _parsed(cause)
    return str(details.get("LogGroupName") or ""), str(details.get("LogStreamName") or "")


def _container(details: dict[str, Any]) -> dict[str, Any]:
    """The container of a Batch job, as its last attempt left it; that of the main node, if there are several.

    In a description that the state machine has shortened, its members stand among the job's.
    """
    if "JobQueue" in details and "LogStreamName" in details:
        return details
    attempts = details.get("Attempts")
    for holder in (details, attempts[-1] if isinstance(attempts, list) and attempts else {}):
        container = holder.get("Container")
        # A job of several nodes has none of its own, or one that names no stream.
        if isinstance(container, dict) and container.get("LogStreamName"):
            return container
    return {}


def _parsed(cause: str) -> dict[str, Any]:
    try:
        details = json.loads(cause)
    except ValueError:
        return {}
    return details if isinstance(details, dict) else {}
