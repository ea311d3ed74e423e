"""JSONata as Step Functions evaluates it, because moto ships its interpreter without an evaluator.

The language itself comes from jsonata-python; this module adds what Step Functions adds (`$partition`,
`$range`, `$hash`, `$random`, `$uuid`, `$parse`), what it takes away (`$eval`), and the border between JSON and
JSONata, where null and "nothing" are different answers. It knows nothing of moto.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import random
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from jsonata import Jsonata, Utils
from jsonata.jexception import JException


class QueryEvaluationError(Exception):
    """Raised when an expression cannot be parsed or evaluated, or gives what JSON cannot hold."""


def evaluate(expression: str, bindings: Mapping[str, Any]) -> Any:
    """Evaluate `expression` with `bindings` (variable name without `$` -> JSON value) to a JSON value.

    Raises QueryEvaluationError with the reason alone; the caller knows the expression and its field.
    """
    try:
        program = Jsonata(expression)
        for name, function in _FUNCTIONS.items():
            program.register_lambda(name, function)
        # Without this, "null" and "nothing" would both come back as None.
        program.set_output_convert_nulls(False)
        outcome = program.evaluate(None, {name: _to_jsonata(value) for name, value in bindings.items()})
    except Exception as error:
        # jsonata-python lets plain Python errors through (a ValueError for $number('x')).
        raise QueryEvaluationError(_reason(error)) from error
    if outcome is None:
        raise QueryEvaluationError("The expression returned nothing (undefined).")
    return _to_json(outcome)


@functools.lru_cache(maxsize=2048)
def syntax_error(expression: str) -> str | None:
    """The reason why `expression` is not JSONata, or None."""
    try:
        Jsonata(expression)
    except Exception as error:
        return _reason(error)
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, JException):
        return f"{error.get_error()}: {error}"
    if isinstance(error, QueryEvaluationError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _to_jsonata(value: Any) -> Any:
    """A copy of a JSON value in which null is JSONata's null; a plain None would read as nothing."""
    if value is None:
        return Utils.NULL_VALUE
    if isinstance(value, Mapping):
        return {key: _to_jsonata(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_jsonata(member) for member in value]
    return value


def _to_json(value: Any) -> Any:
    """A copy of an outcome in plain lists and dicts; whole numbers are integers, as JSONata writes them."""
    if value is None or value is Utils.NULL_VALUE:
        return None
    if isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise QueryEvaluationError("The expression returned a number that is not finite.")
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, Mapping):
        return {key: _to_json(member) for key, member in value.items()}
    if isinstance(value, (list, range)):
        return [_to_json(member) for member in value]
    raise QueryEvaluationError("The expression returned an unsupported result type.")


def _number(value: Any, function: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise QueryEvaluationError(f"The function ${function} wants a number, not {value!r}.")
    return value


def _partition(array: Any, size: Any) -> list[Any] | None:
    if array is None:
        return None
    if not isinstance(array, list):
        array = [array]
    step = int(_number(size, "partition"))
    if step < 1:
        raise QueryEvaluationError("The function $partition wants a size of at least 1.")
    return [list(array[start : start + step]) for start in range(0, len(array), step)]


def _range(first: Any, last: Any, step: Any) -> list[Any]:
    start, stop, stride = (_number(value, "range") for value in (first, last, step))
    if stride == 0:
        raise QueryEvaluationError("The function $range wants a step other than 0.")
    count = math.floor((stop - start) / stride) + 1
    if count > 1_000_000:
        raise QueryEvaluationError("The function $range would make more than a million numbers.")
    return [start + index * stride for index in range(max(count, 0))]


_ALGORITHMS = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}


def _hash(content: Any, algorithm: Any) -> str:
    if algorithm not in _ALGORITHMS:
        raise QueryEvaluationError(f"The function $hash knows {', '.join(_ALGORITHMS)}, not {algorithm!r}.")
    text = content if isinstance(content, str) else json.dumps(_to_json(content), separators=(",", ":"))
    return hashlib.new(_ALGORITHMS[algorithm], text.encode(), usedforsecurity=False).hexdigest()


def _random(*seed: Any) -> float:
    # A seed makes the value reproducible here, but it is not the value that AWS gives for that seed.
    return random.Random(_number(seed[0], "random") if seed else None).random()  # noqa: S311


def _parse(text: Any) -> Any:
    if not isinstance(text, str):
        raise QueryEvaluationError("The function $parse wants a string of JSON.")
    try:
        return _to_jsonata(json.loads(text))
    except ValueError as error:
        raise QueryEvaluationError(f"The function $parse wants a string of JSON: {error}") from error


def _eval(*_: Any) -> Any:
    raise QueryEvaluationError("Step Functions has no function $eval; use $parse to read JSON.")


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "partition": _partition,
    "range": _range,
    "hash": _hash,
    "random": _random,
    "uuid": lambda: str(uuid.uuid4()),
    "parse": _parse,
    "eval": _eval,
}
