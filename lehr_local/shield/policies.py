"""Decide whether policy documents allow a request: an explicit Deny wins, and what nobody allows is denied.

Pure functions over documents as they were deployed. Session policies, boundaries and organisations do not occur
in a stack of this project and are not evaluated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lehr_local.authority import Context
from lehr_local.shield.conditions import as_list, conditions_hold
from lehr_local.shield.matching import UnresolvedVariableError, matches_action, matches_resource

Outcome = Literal["allowed", "explicitly denied", "not allowed"]
Document = Mapping[str, Any]


@dataclass(frozen=True)
class Demand:
    """One question to IAM: an action, on a resource ARN or `*`, with what is known about the request."""

    action: str
    resource: str
    context: Context = field(default_factory=dict)


def decide(documents: Iterable[Document], demand: Demand, *, service: str | None = None) -> Outcome:
    """The outcome for one demand.

    With `service` the documents are policies of a resource (or trust policies), and only statements whose
    Principal names that service count. Raises UnknownOperatorError.
    """
    outcome: Outcome = "not allowed"
    for document, statement in statements_of(documents):
        if service is not None and not _names(statement.get("Principal"), service):
            continue
        if not applies(document, statement, demand):
            continue
        if statement["Effect"] == "Deny":
            return "explicitly denied"
        outcome = "allowed"
    return outcome


def denies_everybody(documents: Iterable[Document], demand: Demand) -> bool:
    """Whether policies of a resource deny the demand to whoever makes it. Raises UnknownOperatorError."""
    return any(
        statement["Effect"] == "Deny"
        and statement.get("Principal") in ("*", {"AWS": "*"})
        and applies(document, statement, demand)
        for document, statement in statements_of(documents)
    )


def statements_of(documents: Iterable[Document]) -> Iterator[tuple[Document, Document]]:
    """Every statement with the document that it is from."""
    for document in documents:
        for statement in as_list(document.get("Statement", [])):
            yield document, statement


def applies(document: Document, statement: Document, demand: Demand) -> bool:
    """Whether the statement says anything about the demand."""
    context = {name.lower(): value for name, value in demand.context.items()}
    has_variables = document.get("Version") == "2012-10-17"
    return (
        _is_about_action(statement, demand.action)
        and _is_about_resource(statement, demand.resource, context if has_variables else None)
        and conditions_hold(statement.get("Condition"), context, has_variables=has_variables)
    )


def _is_about_action(statement: Document, action: str) -> bool:
    if "NotAction" in statement:
        return not any(matches_action(pattern, action) for pattern in as_list(statement["NotAction"]))
    return any(matches_action(pattern, action) for pattern in as_list(statement.get("Action", [])))


def _is_about_resource(statement: Document, resource: str, variables: Context | None) -> bool:
    # A trust policy has no Resource: it is about the role that it belongs to.
    is_excluding = "NotResource" in statement
    patterns = as_list(statement["NotResource"] if is_excluding else statement.get("Resource", "*"))
    answers = [_answer(pattern, resource, variables) for pattern in patterns]
    if is_excluding:
        return all(answer is False for answer in answers)
    return any(answers)


def _answer(pattern: str, resource: str, variables: Context | None) -> bool | None:
    """Whether the pattern matches; None when a variable of it has no value, and nobody can tell."""
    try:
        return matches_resource(pattern, resource, variables)
    except UnresolvedVariableError:
        return None


def _names(principal: Any, service: str) -> bool:
    if principal == "*":
        return True
    return isinstance(principal, Mapping) and service in as_list(principal.get("Service", []))
