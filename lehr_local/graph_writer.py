"""Objects in memory as a JSON document: an object is its class and its attributes, a reference is a number.

What two places share is written once, so that they share it again when the document is read. Large bytes go to a store
of their own.
"""

from __future__ import annotations

import base64
import collections
import datetime
import decimal
import enum
import re
import threading
import uuid
import weakref
from collections.abc import Callable
from typing import Any

from lehr_local.state_graph import LOCKS, PLAIN_NAMES, GraphError, Reduce, attributes_of, find_class

_INLINE_BYTES = 512


class GraphWriter:
    """Collects objects. `external` names those that exist by themselves, as a list of strings, or gives None."""

    def __init__(
        self,
        external: Callable[[Any], list[str] | None],
        reductions: dict[type, Reduce],
        store: Callable[[bytes], str],
        class_names: Callable[[type], str | None] = lambda _: None,
    ) -> None:
        self.objects: list[Any] = []
        self.left_out: set[str] = set()
        self._external = external
        self._reductions = reductions
        self._store = store
        self._class_names = class_names
        self._numbers: dict[int, int] = {}
        self._alive: list[Any] = []  # An id is worth nothing once its object is gone.
        self._pending: list[tuple[int, Any]] = []

    def attributes(self, target: Any) -> dict[str, Any]:
        """What an external object holds, and everything that can be reached from it, becomes part of the graph."""
        state = {name: self._encode(value) for name, value in self._reduced(target).items()}
        while self._pending:
            number, item = self._pending.pop()
            self.objects[number] = self._entry(item)
        return state

    def _encode(self, value: Any) -> Any:
        kind = type(value)
        if value is None or kind in (bool, int, float, str):
            return value
        if isinstance(value, enum.Enum):
            name = self._class_name(kind)
            return None if name is None else {"e": [name, value.name]}
        if isinstance(value, bytes):
            if len(value) <= _INLINE_BYTES:
                return {"b": base64.b64encode(value).decode()}
            return {"x": self._store(value)}
        if kind is tuple:
            return {"t": [self._encode(item) for item in value]}
        if isinstance(value, datetime.datetime):
            return {"d": value.isoformat()}
        if isinstance(value, datetime.timedelta):
            return {"s": value.total_seconds()}
        if isinstance(value, uuid.UUID):
            return {"u": str(value)}
        if isinstance(value, decimal.Decimal):
            return {"n": str(value)}
        if isinstance(value, re.Pattern):
            return {"p": [value.pattern, value.flags]}
        if isinstance(value, str):
            return str(value)
        if isinstance(value, type):
            name = self._class_name(value)
            return None if name is None else {"c": name}
        return self._reference(value)

    def _reference(self, value: Any) -> Any:
        number = self._numbers.get(id(value))
        if number is None:
            if not self._can_be_kept(value):
                self.left_out.add(f"{type(value).__module__}.{type(value).__qualname__}")
                return None
            number = len(self.objects)
            self.objects.append(None)
            self._numbers[id(value)] = number
            self._alive.append(value)
            self._pending.append((number, value))
        return {"r": number}

    def _can_be_kept(self, value: Any) -> bool:
        kind = type(value)
        return (
            self._external(value) is not None
            or kind in LOCKS
            or kind in (threading.Event, weakref.WeakValueDictionary, bytearray)
            or self._class_name(kind) is not None
        )

    def _entry(self, value: Any) -> Any:
        kind = type(value)
        outside = self._external(value)
        if outside is not None:
            return ["external", outside]
        if kind in LOCKS:
            return [LOCKS[kind][0]]
        if kind is threading.Event:
            return ["event", value.is_set()]
        if kind is bytearray:
            return ["bytearray", self._encode(bytes(value))]
        if kind is weakref.WeakValueDictionary:
            return ["weak", [[key, self._encode(item)] for key, item in list(value.items())]]
        entry: list[Any] = ["object", self._class_name(kind), None, None]
        if isinstance(value, dict):
            pairs = list(dict.items(value))
            entry[2] = [[self._encode(key), self._encode(item)] for key, item in pairs]
        elif isinstance(value, (list, set, frozenset, collections.deque)):
            entry[2] = [self._encode(item) for item in list(value)]
        state = {name: self._encode(item) for name, item in self._reduced(value).items()}
        if isinstance(value, collections.defaultdict):
            state["default_factory"] = self._encode(value.default_factory)
        entry[3] = state or None
        return entry

    def _reduced(self, value: Any) -> dict[str, Any]:
        for base in type(value).__mro__:
            if base in self._reductions:
                return self._reductions[base](value)
        return attributes_of(value)

    def _class_name(self, kind: type) -> str | None:
        if kind in PLAIN_NAMES:
            return PLAIN_NAMES[kind]
        name = self._class_names(kind) or f"{kind.__module__}:{kind.__qualname__}"
        try:
            return name if find_class(name) is kind else None
        except GraphError:
            return None
