"""Errors of the Step Functions API under their own names.

moto's interpreter raises them without a name, so a client sees a ClientError with an empty code, and some of them
without the message that their class demands, which a client sees as an internal error. SendTaskFailure, the third
call with which a person answers an approval, loses its cause.
"""

from __future__ import annotations

import inspect
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.stepfunctions.exceptions import AWSError
from moto.stepfunctions.parser import api
from moto.stepfunctions.responses import StepFunctionResponse


def install() -> None:
    """Give the errors their names, and SendTaskFailure its cause. Idempotent."""
    for error in _error_classes():
        error.TYPE = error.code
        error.STATUS = error.status_code
        error.__init__ = _initialise
    StepFunctionResponse.send_task_failure = _send_task_failure


def _error_classes() -> list[Any]:
    classes = (value for value in vars(api).values() if inspect.isclass(value))
    return [value for value in classes if issubclass(value, AWSError) and value is not AWSError]


def _initialise(error: Any, message: str = "", *args: Any, **kwargs: Any) -> None:
    AWSError.__init__(error, message or type(error).__name__, *args, **kwargs)


def _send_task_failure(response: Any) -> ActionResult:
    response.stepfunction_backend.send_task_failure(
        response._get_param("taskToken"),
        error=response._get_param("error"),
        cause=response._get_param("cause"),
    )
    return EmptyResult()
