"""What the `.sync` tasks of SageMaker and of Batch share: the state waits for a job that does not outlive it.

Whatever ends the wait other than the job itself (the execution is stopped, the state or the execution times out,
another branch fails) stops the job, so that no abandoned instance is billed.
"""

from __future__ import annotations

from typing import Any, Protocol

from moto.stepfunctions.parser.api import HistoryEventType, TaskFailedEventDetails
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_callback import (
    StateTaskServiceCallback,
)
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails

from lehr_local.state_failures import error_name_of


class AbandonedError(Exception):
    """Raised in the thread of a task whose state nobody waits for any more."""


class JobWait(Protocol):
    """Looks at one job for one visit of a state.

    Iterations of a Map share the task object, so what belongs to one job cannot be kept there.
    """

    def __call__(self) -> dict[str, Any] | None:
        """The description of the completed job, or None while it runs; raises States.TaskFailed."""

    def stop(self) -> None:
        """Stop the job; one that has ended by itself is left as it is."""


class JobTask(StateTaskServiceCallback):  # type: ignore[misc]
    """A task whose resolver is a JobWait."""

    def _eval_sync(self, env: Any, sync_resolver: JobWait, **arguments: Any) -> Any:
        try:
            outcome = super()._eval_sync(env=env, sync_resolver=sync_resolver, **arguments)
        except FailureEventException:
            raise
        except Exception:
            sync_resolver.stop()
            raise
        if isinstance(outcome, dict):
            return outcome
        sync_resolver.stop()
        if outcome is None:
            raise AbandonedError("The state has ended; its job was stopped.")
        return outcome

    def _from_error(self, env: Any, ex: Exception) -> FailureEvent:
        if isinstance(ex, AbandonedError):
            # The state's own timer and this task see a timeout within microseconds of each other.
            return self._get_timed_out_failure_event(env)
        return super()._from_error(env=env, ex=ex)

    def failure(self, env: Any, error: str, cause: str) -> FailureEvent:
        """What the state fails with: `error` is matched by Retry and Catch, `cause` is for people."""
        details = TaskFailedEventDetails(
            resource=self._get_sfn_resource(),
            resourceType=self._get_sfn_resource_type(),
            error=error,
            cause=cause,
        )
        return FailureEvent(
            env=env,
            error_name=error_name_of(error),
            event_type=HistoryEventType.TaskFailed,
            event_details=EventDetails(taskFailedEventDetails=details),
        )
