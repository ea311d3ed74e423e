"""JSONata fields of a state in moto's interpreter, evaluated by `jsonata_engine`.

moto writes every variable into the text of the expression before it evaluates it. A string with a quote or a
line break (the cause of any failed job) then breaks the expression, and an error cannot name the field. Here the
values are bound instead of written, errors are `States.QueryEvaluationError` that Catch can match, an
expression that is not JSONata is refused when the state machine is created, as on AWS, and definitions may be
parsed by several threads.
"""

from __future__ import annotations

import re
from typing import Any

from moto.stepfunctions.parser.api import EvaluationFailedEventDetails, HistoryEventType
from moto.stepfunctions.parser.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name import StatesErrorName
from moto.stepfunctions.parser.asl.component.common.error_name.states_error_name_type import (
    StatesErrorNameType,
)
from moto.stepfunctions.parser.asl.component.common.jsonata import (
    jsonata_template_value_array,
    jsonata_template_value_object,
    jsonata_template_value_terminal,
)
from moto.stepfunctions.parser.asl.component.common.query_language import QueryLanguageMode
from moto.stepfunctions.parser.asl.component.common.string import string_expression
from moto.stepfunctions.parser.asl.eval.event.event_detail import EventDetails
from moto.stepfunctions.parser.asl.parse.preprocessor import Preprocessor

from lehr_local import jsonata_engine

_TEMPLATES = (
    jsonata_template_value_array.JSONataTemplateValueArray,
    jsonata_template_value_object.JSONataTemplateValueObject,
    jsonata_template_value_terminal.JSONataTemplateValueTerminalLit,
    jsonata_template_value_terminal.JSONataTemplateValueTerminalStringJSONata,
)
_VARIABLE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")


def install() -> None:
    """Make moto's interpreter evaluate JSONata. Idempotent."""
    string_expression.StringJSONata._eval_body = _evaluate_jsonata
    string_expression.StringJSONata.__init__ = _create_jsonata
    string_expression.StringVariableSample._eval_body = _evaluate_variable
    Preprocessor.__init__ = _create_preprocessor
    # An error names the member of Arguments, Output or Assign; moto would name its own class instead.
    for template in _TEMPLATES:
        template._field_name = _no_field_name


def _create_preprocessor(preprocessor: Any) -> None:
    # moto keeps the query languages of the scopes it is in on the class: definitions that are parsed side by
    # side, as every execution parses its own, would mix theirs, and a refused one would spoil all that follow.
    preprocessor._query_language_per_scope = []


def _no_field_name(_: Any) -> None:
    return None


def _create_jsonata(field: Any, expression: str) -> None:
    string_expression.StringExpression.__init__(field, literal_value=expression)
    if (reason := jsonata_engine.syntax_error(expression)) is not None:
        raise ValueError(f"The JSONata expression '{expression}' is not valid. {reason}")
    field.expression = expression


def _evaluate_jsonata(field: Any, env: Any) -> None:
    _evaluate(env, field.expression, _states(env))


def _evaluate_variable(field: Any, env: Any) -> None:
    # A variable of a JSONPath state ("$name.member") has no $states.
    is_jsonata = field.query_language_mode == QueryLanguageMode.JSONata
    _evaluate(env, field.expression, _states(env) if is_jsonata else {})


def _states(env: Any) -> dict[str, Any]:
    data = env.states._states_data
    # moto keeps an absent result and an absent error as None; in JSONata an absent member is nothing, not null.
    return {"states": {name: value for name, value in data.items() if value is not None or name == "input"}}


def _evaluate(env: Any, expression: str, bindings: dict[str, Any]) -> None:
    used = set(_VARIABLE.findall(expression))
    store = env.variable_store
    variables = {**store._outer_scope, **store._inner_scope}
    bindings |= {name: value for name, value in variables.items() if name in used}
    try:
        outcome = jsonata_engine.evaluate(expression, bindings)
    except jsonata_engine.QueryEvaluationError as error:
        raise _failure(env, expression, str(error)) from error
    env.stack.append(outcome)


def _failure(env: Any, expression: str, reason: str) -> FailureEventException:
    error_name = StatesErrorName(typ=StatesErrorNameType.StatesQueryEvaluationError)
    field = env.next_field_name
    details = EvaluationFailedEventDetails(
        error=error_name.error_name,
        cause=f"The JSONata expression '{expression}' specified for the field '{field}' failed. {reason}",
        location=field,
        state=env.next_state_name,
    )
    failure = FailureEvent(
        env=env,
        error_name=error_name,
        event_type=HistoryEventType.EvaluationFailed,
        event_details=EventDetails(evaluationFailedEventDetails=details),
    )
    # Only some kinds of state record their failure; the history keeps the first of two equal records.
    env.event_manager.add_event(
        context=env.event_history_context,
        event_type=failure.event_type,
        event_details=failure.event_details,
    )
    return FailureEventException(failure)
