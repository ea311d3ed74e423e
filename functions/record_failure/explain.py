"""What went wrong, in words: the cause that Step Functions carries is JSON inside JSON; the reason is in its middle."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from lehr import layout
from lehr.contracts.workflow import Failure, FailureRequest
from lehr.ports import ModelRegistry, ObjectStore, TrainingLogs

LOG_LINES = 20
MAX_REASON = 1000
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
        job = training_job(request.cause)
        failure = Failure(
            project=request.project,
            run=request.run,
            state=request.state,
            error=request.error,
            reason=explain(request.error, request.cause)[:MAX_REASON],
            log_tail=self.logs.tail(job, LOG_LINES) if job else [],
            log_url=self.logs.url(job) if job else "",
        )
        key = layout.failure_key(request.project, request.run)
        self.artifacts.put(key, failure.to_json(), content_type="application/json")
        self.registry.end_run(
            request.project,
            request.run,
            status="failed",
            reason=f"{request.state}: {failure.reason}"[:MAX_REASON],
        )
        return failure


def explain(error: str, cause: str) -> str:
    """The sentence a person can act on: a handler's message, a training job's FailureReason, or the bare cause."""
    details = _parsed(cause)
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


def _parsed(cause: str) -> dict[str, Any]:
    try:
        details = json.loads(cause)
    except ValueError:
        return {}
    return details if isinstance(details, dict) else {}
