"""What the Step Functions API tells of an execution, put right where moto differs from AWS.

`lehr watch` draws its picture from DescribeExecution and GetExecutionHistory, so they have to be true at any
moment: a stopped execution is ABORTED at once, with the error and the cause it was stopped with, and nothing is
written into a history after its last event. moto loses the error and the cause, and lets the threads that still
run write on.
"""

from __future__ import annotations

import datetime
import time
from typing import Any

from moto.core.responses import ActionResult
from moto.stepfunctions.exceptions import ValidationException
from moto.stepfunctions.parser.api import ExecutionStatus, HistoryEventType
from moto.stepfunctions.parser.asl.eval.environment import Environment
from moto.stepfunctions.parser.asl.eval.event.event_manager import EventManager
from moto.stepfunctions.parser.asl.utils.encoding import to_json_str
from moto.stepfunctions.parser.backend.execution import BaseExecutionWorkerCommunication, Execution
from moto.stepfunctions.responses import StepFunctionResponse

from lehr_local.execution_events import announce_end

_LAST_EVENTS = {
    HistoryEventType.ExecutionSucceeded,
    HistoryEventType.ExecutionFailed,
    HistoryEventType.ExecutionAborted,
    HistoryEventType.ExecutionTimedOut,
}
_START_LIMIT_S = 10.0

_moto_add_event = EventManager.add_event
_moto_set_stop = Environment.set_stop
_moto_set_timed_out = Environment.set_timed_out
_moto_start_details = Execution.get_start_execution_details
_moto_reflect_status = BaseExecutionWorkerCommunication._reflect_execution_status
_moto_describe = StepFunctionResponse.describe_execution


def install() -> None:
    """Put the records of executions right. Idempotent."""
    EventManager.add_event = _add_event
    Environment.set_stop = _set_stop
    Environment.set_timed_out = _set_timed_out
    Execution.get_start_execution_details = _start_details
    BaseExecutionWorkerCommunication._reflect_execution_status = _reflect_status
    StepFunctionResponse.stop_execution = _stop_execution
    StepFunctionResponse.describe_execution = _describe_execution
    StepFunctionResponse.get_execution_history = _get_execution_history


def _add_event(
    manager: Any, context: Any, event_type: Any, event_details: Any = None, *args: Any, **kwargs: Any
) -> int:
    history: list[Any] = manager._history_event_list
    if history and history[-1]["type"] in _LAST_EVENTS:
        return int(history[-1]["id"])
    if event_type == HistoryEventType.EvaluationFailed:
        details = event_details["evaluationFailedEventDetails"]
        for event in reversed(history):
            if event.get("evaluationFailedEventDetails") is details:
                return int(event["id"])
    return int(_moto_add_event(manager, context, event_type, event_details, *args, **kwargs))


def _set_stop(env: Any, stop_date: Any, cause: str | None, error: str | None) -> None:
    with env._state_mutex:
        was_running = env.is_running()
        _moto_set_stop(env, stop_date=stop_date, cause=cause, error=error)
    if was_running and not env.is_frame():
        details = {name: text for name, text in (("error", error), ("cause", cause)) if text}
        _add_event(
            env.event_manager,
            env.event_history_context,
            HistoryEventType.ExecutionAborted,
            {"executionAbortedEventDetails": details},
        )


def _set_timed_out(env: Any) -> None:
    _moto_set_timed_out(env)
    if not env.is_frame():
        _add_event(
            env.event_manager,
            env.event_history_context,
            HistoryEventType.ExecutionTimedOut,
            {"executionTimedOutEventDetails": {}},
        )


def _start_details(execution: Any) -> Any:
    details = _moto_start_details(execution)
    if isinstance(details.start_time, datetime.datetime):
        # It becomes $states.context.Execution.StartTime, which has to be JSON.
        moment = details.start_time.astimezone(datetime.UTC)
        details.start_time = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return details


def _reflect_status(communication: Any) -> None:
    # The threads of an execution that was ended from outside run into errors; the history knows what came first.
    execution = communication.execution
    end = _last_event(execution)
    if end == HistoryEventType.ExecutionAborted:
        return
    if end == HistoryEventType.ExecutionTimedOut:
        execution.stop_date = datetime.datetime.now(tz=datetime.UTC)
        execution.exec_status = ExecutionStatus.TIMED_OUT
    else:
        _moto_reflect_status(communication)
    announce_end(execution)


def _last_event(execution: Any) -> Any:
    return execution.exec_worker.env.event_manager._history_event_list[-1]["type"]


def _stop_execution(response: Any) -> ActionResult:
    execution = response.stepfunction_backend.describe_execution(response._get_param("executionArn"))
    if execution.exec_status == ExecutionStatus.RUNNING:
        _wait_for_start(execution)
        stop_date = datetime.datetime.now(tz=datetime.UTC)
        error, cause = response._get_param("error"), response._get_param("cause")
        execution.stop(stop_date=stop_date, error=error, cause=cause)
        # An execution that came to its own end first keeps it.
        if _last_event(execution) == HistoryEventType.ExecutionAborted:
            execution.error, execution.cause, execution.stop_date = error, cause, stop_date
            execution.exec_status = ExecutionStatus.ABORTED
            announce_end(execution)
    return ActionResult({"stopDate": execution.stop_date})


def _wait_for_start(execution: Any) -> None:
    # The interpreter makes its environment in a thread; a stop that comes first would find nothing to stop.
    deadline = time.monotonic() + _START_LIMIT_S
    while execution.exec_worker.env is None and time.monotonic() < deadline:
        time.sleep(0.01)


def _describe_execution(response: Any) -> ActionResult:
    answer = _moto_describe(response)
    execution = response.stepfunction_backend.describe_execution(response._get_param("executionArn"))
    if execution.stop_date is not None:
        answer.result["stopDate"] = execution.stop_date
    if execution.exec_status == ExecutionStatus.SUCCEEDED:
        # moto gives a string as it is and leaves out null; on AWS the output is always JSON.
        answer.result["output"] = to_json_str(execution.output, separators=(",", ":"))
    return answer


def _get_execution_history(response: Any) -> ActionResult:
    execution = response.stepfunction_backend.describe_execution(response._get_param("executionArn"))
    events: list[dict[str, Any]] = [dict(event) for event in execution.to_history_output()["events"]]
    if response._get_param("reverseOrder"):
        events.reverse()
    if response._get_param("includeExecutionData") is False:
        events = [_without_data(event) for event in events]
    size = int(response._get_param("maxResults") or 100)
    if not 1 <= size <= 1000:
        raise ValidationException(f"maxResults must be between 1 and 1000, not {size}.")
    first = int(response._get_param("nextToken") or 0)
    page: dict[str, Any] = {"events": events[first : first + size]}
    if first + size < len(events):
        page["nextToken"] = str(first + size)
    return ActionResult(page)


def _without_data(event: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {key: member for key, member in value.items() if key not in ("input", "output", "parameters")}
        if isinstance(value, dict)
        else value
        for name, value in event.items()
    }
