"""The `Condition` element of a policy statement.

Rules: docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html and
…_condition-single-vs-multi-valued-context-keys.html
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from lehr_local.authority import Context
from lehr_local.shield.matching import UnresolvedVariableError, matches, matches_arn, text_of

# (value of the request, value of the policy, context for policy variables or None)
Test = Callable[[str, str, Context | None], bool]


class UnknownOperatorError(Exception):
    """Raised for a condition operator that is not known here: nothing is guessed about permissions."""


def conditions_hold(conditions: Mapping[str, Any] | None, context: Context, *, has_variables: bool) -> bool:
    """Whether all conditions hold. `context` has lower-case names.

    Raises UnknownOperatorError.
    """
    variables = context if has_variables else None
    return all(
        _holds(operator, name, as_list(wanted), context, variables)
        for operator, tests in (conditions or {}).items()
        for name, wanted in tests.items()
    )


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _holds(operator: str, name: str, wanted: list[Any], context: Context, variables: Context | None) -> bool:
    quantifier, _, plain = operator.rpartition(":")
    plain, is_optional = plain.removesuffix("IfExists"), plain.endswith("IfExists")
    given = context.get(name.lower())
    if plain == "Null":
        return any((given is None) == (_as_text(value) == "true") for value in wanted)
    if plain not in _TESTS:
        raise UnknownOperatorError(operator)
    test, is_negated = _TESTS[plain]
    texts = [_as_text(value) for value in wanted]
    if given is None:
        # "Not equal" holds for what is not there; with ForAnyValue nothing does.
        return quantifier != "ForAnyValue" and (is_optional or is_negated or quantifier == "ForAllValues")
    values = [given] if isinstance(given, str) else list(given)

    def fits(value: str) -> bool:
        if not is_negated:
            return any(_test(test, value, text, variables) for text in texts)
        return all(_test(lambda *each: not test(*each), value, text, variables) for text in texts)

    return any(map(fits, values)) if quantifier == "ForAnyValue" else all(map(fits, values))


def _test(test: Test, value: str, text: str, variables: Context | None) -> bool:
    # What cannot be compared is neither equal nor different.
    try:
        return test(value, text, variables)
    except (UnresolvedVariableError, InvalidOperation, ValueError):
        return False


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _equals(value: str, text: str, variables: Context | None) -> bool:
    return value == text_of(text, variables)


def _equals_ignoring_case(value: str, text: str, variables: Context | None) -> bool:
    return value.lower() == text_of(text, variables).lower()


def _bool(value: str, text: str, variables: Context | None) -> bool:
    return value.lower() == text_of(text, variables).lower()


def _in_network(value: str, text: str, _: Context | None) -> bool:
    return ipaddress.ip_address(value) in ipaddress.ip_network(text, strict=False)


def _ordered(
    parse: Callable[[str], Any], is_in_order: Callable[[Any, Any], bool]
) -> Callable[[str, str, Context | None], bool]:
    return lambda value, text, variables: is_in_order(parse(value), parse(text_of(text, variables)))


def _moment(text: str) -> datetime.datetime:
    if re.fullmatch(r"\d+", text):
        return datetime.datetime.fromtimestamp(int(text), datetime.UTC)
    moment = datetime.datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": lambda a, b: a == b,
    "LessThan": lambda a, b: a < b,
    "LessThanEquals": lambda a, b: a <= b,
    "GreaterThan": lambda a, b: a > b,
    "GreaterThanEquals": lambda a, b: a >= b,
}
# Operator: its test, and whether it holds when the test does not.
_TESTS: dict[str, tuple[Test, bool]] = {
    "StringEquals": (_equals, False),
    "StringNotEquals": (_equals, True),
    "StringEqualsIgnoreCase": (_equals_ignoring_case, False),
    "StringNotEqualsIgnoreCase": (_equals_ignoring_case, True),
    "StringLike": (lambda value, text, variables: matches(text, value, variables), False),
    "StringNotLike": (lambda value, text, variables: matches(text, value, variables), True),
    # AWS gives the two pairs of ARN operators one meaning.
    "ArnEquals": (lambda value, text, variables: matches_arn(text, value, variables), False),
    "ArnLike": (lambda value, text, variables: matches_arn(text, value, variables), False),
    "ArnNotEquals": (lambda value, text, variables: matches_arn(text, value, variables), True),
    "ArnNotLike": (lambda value, text, variables: matches_arn(text, value, variables), True),
    "Bool": (_bool, False),
    "BinaryEquals": (_equals, False),
    "IpAddress": (_in_network, False),
    "NotIpAddress": (_in_network, True),
    **{f"Numeric{name}": (_ordered(Decimal, order), False) for name, order in _ORDERS.items()},
    "NumericNotEquals": (_ordered(Decimal, _ORDERS["Equals"]), True),
    **{f"Date{name}": (_ordered(_moment, order), False) for name, order in _ORDERS.items()},
    "DateNotEquals": (_ordered(_moment, _ORDERS["Equals"]), True),
}
