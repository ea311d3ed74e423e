"""A route table: from which requests are answered, the API is described and the template is checked.

A route is found by the number of its path's segments and the first of them, and remembered: a resolver of a library
costs a request more than the model of a small example does (docs/adr/0013-a-route-table.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Generic, TypeVar

import msgspec

from lehr.http.gateway import Answer, Request
from lehr.http.problems import no_route, wrong_method

Services = TypeVar("Services")
_Places = tuple[tuple[int, str], ...]
_Found = tuple["Route[Services]", _Places, _Places]


class Route(msgspec.Struct, Generic[Services], frozen=True, kw_only=True):
    """One method of one path; `takes` and `gives` name media types and, for JSON, types or schemas.

    `also_gives` are the JSON answers of a status that is neither 200 nor a refusal. `is_open` routes are those that
    template.yaml lets in without a signature; all others are guarded by EndpointAuth.
    """

    method: str
    path: str
    summary: str
    respond: Callable[[Request, Services], Answer]
    gives: Mapping[str, type | None]
    takes: Mapping[str, type | None] = msgspec.field(default_factory=dict)
    also_gives: Mapping[HTTPStatus, type] = msgspec.field(default_factory=dict)
    query: tuple[str, ...] = ()
    is_open: bool = False


class RouteTable(Generic[Services]):
    """Finds the route of a request; `paths` is the sentence that an unknown path is answered with."""

    def __init__(self, routes: Iterable[Route[Services]], *, paths: str) -> None:
        self.routes = tuple(routes)
        self._paths = paths
        self._index: dict[tuple[int, str], list[_Found[Services]]] = {}
        for route in self.routes:
            parts = route.path.split("/")
            names = tuple((place, text[1:-1]) for place, text in enumerate(parts) if text.startswith("{"))
            literals = tuple(
                (place, text) for place, text in enumerate(parts) if place > 1 and not text.startswith("{")
            )
            self._index.setdefault((len(parts), parts[1]), []).append((route, names, literals))
        self._remembered = lru_cache(maxsize=256)(self._match)

    def find(self, request: Request) -> Route[Services]:
        """The route of a request, whose variables it is given. Raises Problem (404, or 405 with Allow)."""
        route, variables = self._remembered(request.method, request.path)
        request.variables = dict(variables)
        return route

    def _match(self, method: str, path: str) -> tuple[Route[Services], tuple[tuple[str, str], ...]]:
        parts = path.split("/")
        allowed = set()
        for route, names, literals in self._index.get((len(parts), parts[1] if len(parts) > 1 else ""), ()):
            if all(parts[place] == text for place, text in literals) and all(
                parts[place] for place, _ in names
            ):
                if route.method == method:
                    return route, tuple((name, parts[place]) for place, name in names)
                allowed.add(route.method)
        raise wrong_method(allowed) if allowed else no_route(self._paths)
