"""A process that dies at its n-th call of the world outside, for every n: what the next one makes of it is the test.

for number, when in deaths(count):
    calls = Calls(number, when)
    with suppress(DiedError):
        work(calls.watch(store), calls.watch(registry))
    work(store, registry)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeVar

P = TypeVar("P")
# Before the call has done anything, or after it has done all and before anybody heard of it.
Moment = Literal["before", "after"]


class DiedError(BaseException):
    """Raised where the process ends: no exception, since whoever is killed catches none."""


def die() -> None:
    raise DiedError


class Calls:
    """Counts the calls of everything that it watches, together; at one of them it does what is to happen `then`."""

    def __init__(self, number: int = 0, when: Moment = "before", then: Callable[[], object] = die) -> None:
        self.number, self.when, self.then = number, when, then
        self.made: list[str] = []

    @property
    def has_landed(self) -> bool:
        return 0 < self.number <= len(self.made)

    def watch(self, port: P) -> P:
        """`port`, whose methods are counted."""
        watched: Any = _Watched(port, self)
        return watched  # type: ignore[no-any-return]

    def call(self, name: str, method: Callable[..., Any], *given: Any, **named: Any) -> Any:
        self.made.append(name)
        is_last = len(self.made) == self.number
        if is_last and self.when == "before":
            self.then()
        answer = method(*given, **named)
        if is_last and self.when == "after":
            self.then()
        return answer


class _Watched:
    def __init__(self, port: object, calls: Calls) -> None:
        self._port, self._calls = port, calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if not callable(found):
            return found
        return lambda *given, **named: self._calls.call(name, found, *given, **named)


def deaths(calls: int) -> Iterator[tuple[int, Moment]]:
    """Every call that a whole piece of work makes, at both moments."""
    for number in range(1, calls + 1):
        yield number, "before"
        yield number, "after"
