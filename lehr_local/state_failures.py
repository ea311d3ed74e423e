"""Failures that moto's interpreter loses on their way out of a state.

An error named `States.*` that leaves a Map, a Parallel or a Fail state is replaced by an internal ValueError, so no
Catch matches it; and a distributed Map whose items fail succeeds with null results. On AWS the first keeps its name
and the second fails with `States.ExceedToleratedFailureThreshold`.
"""

from __future__ import annotations

import logging
from typing import Any

from moto.stepfunctions.parser.api import HistoryEventType, MapRunFailedEventDetails
from moto.stepfunctions.parser.asl.component.common.error_name.custom_error_name import CustomErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.error_name import ErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration import (
    distributed_iteration_component,
    iteration_worker,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration.itemprocessor import (
    distributed_item_processor_worker,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_parallel import branches_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import state_task_service_callback
from moto.stepfunctions.parser.asl.component.state.fail import state_fail
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.eval.program_state import ProgramError

logger = logging.getLogger(__name__)

_THRESHOLD = "States.ExceedToleratedFailureThreshold"

_Worker = distributed_item_processor_worker.DistributedItemProcessorWorker
_Component = distributed_iteration_component.DistributedIterationComponent
_moto_eval_job = _Worker._eval_job
_moto_map_run = _Component._map_run


class _FreeErrorName(ErrorName):  # type: ignore[misc]
    """A name that begins with `States.` and that the interpreter does not know."""


def install() -> None:
    """Keep error names, and count the failed items of a distributed Map. Idempotent."""
    for module in (iteration_worker, branches_decl, state_fail, state_task_service_callback):
        module.CustomErrorName = error_name_of
    _Worker._eval_job = _run_item
    _Component._map_run = run_items


def error_name_of(error_name: str | None) -> ErrorName:
    """The interpreter's object for an error name, whoever gave it."""
    if error_name is None or not error_name.startswith("States."):
        return CustomErrorName(error_name)
    try:
        return StatesErrorName.from_name(error_name)
    except ValueError:
        return _FreeErrorName(error_name)


def _run_item(worker: Any, env: Any, job: Any) -> None:
    _moto_eval_job(worker, env, job)
    outcome = env.program_state()
    if isinstance(outcome, ProgramError):
        error = outcome.error or {}
        # On AWS the reason is in the history of the item's own execution, which does not exist here.
        logger.error(
            "item %d of a distributed Map failed: %s: %s",
            job.job_index,
            error.get("error"),
            error.get("cause"),
        )


def run_items(component: Any, env: Any, eval_input: Any) -> None:
    """Stand in for `DistributedIterationComponent._map_run`."""
    _moto_map_run(component, env, eval_input)
    counter = eval_input.map_run_record.item_counter
    failed, total = counter.failed.get() + counter.timed_out.get(), max(counter.total.get(), 1)
    has_tolerance = eval_input.tolerated_failure_count or eval_input.tolerated_failure_percentage
    is_tolerated = has_tolerance and (
        failed <= (eval_input.tolerated_failure_count or total)
        and 100 * failed / total <= (eval_input.tolerated_failure_percentage or 100)
    )
    if failed and not is_tolerated:
        raise FailureEventException(_threshold_exceeded(env))


def _threshold_exceeded(env: Any) -> FailureEvent:
    return FailureEvent(
        env=env,
        error_name=error_name_of(_THRESHOLD),
        event_type=HistoryEventType.MapRunFailed,
        event_details=EventDetails(
            mapRunFailedEventDetails=MapRunFailedEventDetails(
                error=_THRESHOLD, cause="The specified tolerated failure threshold was exceeded"
            )
        ),
    )
