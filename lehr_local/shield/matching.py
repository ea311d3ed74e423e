"""Patterns of IAM policies: the wildcards `*` and `?`, and policy variables.

Rules: docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html and …_elements_resource.html
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

from lehr_local.authority import ContextValue

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_LITERALS = {"*": "*", "?": "?", "$": "$"}
_ARN_PARTS = 6


class UnresolvedVariableError(Exception):
    """Raised for a policy variable that the request has no single value for; its element matches nothing."""


def pattern_of(text: str, context: Mapping[str, ContextValue] | None) -> str:
    """A regular expression for `text`; with a context its variables are replaced, and are then literal.

    Raises UnresolvedVariableError.
    """
    if context is None or "${" not in text:
        return _wildcards(text)
    parts: list[str] = []
    position = 0
    for match in _VARIABLE.finditer(text):
        parts += [_wildcards(text[position : match.start()]), re.escape(_value(match[1], context))]
        position = match.end()
    return "".join([*parts, _wildcards(text[position:])])


def text_of(text: str, context: Mapping[str, ContextValue] | None) -> str:
    """`text` with its variables replaced, where wildcards mean nothing. Raises UnresolvedVariableError."""
    if context is None:
        return text
    return _VARIABLE.sub(lambda match: _value(match[1], context), text)


def matches(text: str, value: str, context: Mapping[str, ContextValue] | None = None) -> bool:
    """Whether `value` matches the pattern; case counts. Raises UnresolvedVariableError."""
    return re.fullmatch(pattern_of(text, context), value, re.DOTALL) is not None


def matches_action(text: str, action: str) -> bool:
    """Whether an action matches; case does not count, and a service has to be named exactly, or be `*`."""
    if text == "*":
        return True
    service, _, verb = text.lower().partition(":")
    asked_service, _, asked_verb = action.lower().partition(":")
    return service == asked_service and matches(verb, asked_verb)


def matches_arn(text: str, arn: str, context: Mapping[str, ContextValue] | None = None) -> bool:
    """Whether an ARN matches part by part; a wildcard does not reach over the first five colons.

    Raises UnresolvedVariableError.
    """
    return _fits([pattern_of(part, context) for part in _split(text)], arn)


def matches_resource(text: str, arn: str, context: Mapping[str, ContextValue] | None = None) -> bool:
    """The same for the element Resource, where a variable counts after the fifth colon only.

    Raises UnresolvedVariableError.
    """
    *head, tail = _split(text)
    return _fits([*map(_wildcards, head), pattern_of(tail, context)], arn)


def _split(text: str) -> list[str]:
    """The parts of an ARN; colons inside a variable (`${aws:…}`) do not count."""
    hidden = _VARIABLE.sub(lambda match: match[0].replace(":", "\0"), text)
    return [part.replace("\0", ":") for part in hidden.split(":", _ARN_PARTS - 1)]


def _fits(patterns: list[str], arn: str) -> bool:
    if patterns == [".*"]:
        return True
    parts = arn.split(":", _ARN_PARTS - 1)
    return len(parts) == len(patterns) and all(
        re.fullmatch(pattern, part, re.DOTALL) for pattern, part in zip(patterns, parts, strict=True)
    )


@functools.lru_cache(maxsize=4096)
def _wildcards(text: str) -> str:
    return re.escape(text).replace(r"\*", ".*").replace(r"\?", ".")


def _value(variable: str, context: Mapping[str, ContextValue]) -> str:
    if variable in _LITERALS:
        return _LITERALS[variable]
    name, separator, default = variable.partition(",")
    value = context.get(name.strip().lower())
    if isinstance(value, str):
        return value
    if value is None and separator:
        return default.strip().strip("'")
    raise UnresolvedVariableError(variable)
