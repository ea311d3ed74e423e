"""Objects from a JSON document: first all of them empty, then their attributes, then what containers hold.

In this order what serves as a key of a dictionary is whole before it is put there, and circles are no trouble.
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

from lehr_local.state_graph import LOCK_MAKERS, GraphError, Revive, find_class, set_attributes


class GraphReader:
    """Makes the objects of a document. `text` may change each string on the way."""

    def __init__(
        self,
        objects: list[Any],
        external: Callable[[list[str]], Any],
        revivals: dict[type, Revive],
        load: Callable[[str], bytes],
        text: Callable[[str], str] = lambda value: value,
    ) -> None:
        self._load = load
        self._text = text
        self._revivals = revivals
        self._waiting: list[tuple[Any, Revive, dict[str, Any]]] = []
        self._objects = [self._shell(entry, external) for entry in objects]
        pairs = list(zip(objects, self._objects, strict=True))
        # What serves as a key of a dictionary has to be whole before it is put there.
        for entry, made in pairs:
            self._fill_attributes(entry, made)
        for entry, made in pairs:
            self._fill_content(entry, made)
        for made, revive, state in self._waiting:
            revive(made, state)

    def fill(self, target: Any, state: dict[str, Any]) -> None:
        """Put attributes into an external object."""
        (self._revival(target) or set_attributes)(
            target, {name: self._decode(value) for name, value in state.items()}
        )

    def _shell(self, entry: list[Any], external: Callable[[list[str]], Any]) -> Any:
        kind = entry[0]
        if kind == "external":
            return external(entry[1])
        if kind in LOCK_MAKERS:
            return LOCK_MAKERS[kind]()
        if kind == "event":
            return threading.Event()
        if kind == "weak":
            return weakref.WeakValueDictionary()
        if kind == "bytearray":
            return bytearray(self._decode(entry[1]))
        cls = find_class(entry[1])
        bases: tuple[Any, ...] = (collections.OrderedDict, dict, list, set, collections.deque)
        for base in bases:
            if issubclass(cls, base):
                return base.__new__(cls)
        if cls is frozenset:
            return frozenset(self._decode(item) for item in entry[2])
        if issubclass(cls, (type, str, int, bytes, tuple, enum.Enum)):
            raise GraphError(f"{entry[1]} cannot be made from attributes.")
        return object.__new__(cls)

    def _fill_attributes(self, entry: list[Any], made: Any) -> None:
        if entry[0] == "event" and entry[1]:
            made.set()
        if entry[0] != "object" or not entry[3]:
            return
        state = {name: self._decode(value) for name, value in entry[3].items()}
        revive = self._revival(made)
        if revive is None:
            set_attributes(made, state)
        else:
            self._waiting.append((made, revive, state))

    def _fill_content(self, entry: list[Any], made: Any) -> None:
        if entry[0] == "weak":
            for key, item in entry[1]:
                made[key] = self._decode(item)
        if entry[0] != "object":
            return
        content = entry[2]
        if isinstance(made, dict):
            ordered = isinstance(made, collections.OrderedDict)
            base: Any = collections.OrderedDict if ordered else dict
            for key, item in content:
                base.__setitem__(made, self._decode(key), self._decode(item))
        elif isinstance(made, (list, collections.deque)):
            made.extend(self._decode(item) for item in content)
        elif isinstance(made, set):
            made.update(self._decode(item) for item in content)

    def _revival(self, made: Any) -> Revive | None:
        found = (self._revivals[base] for base in type(made).__mro__ if base in self._revivals)
        return next(found, None)

    def _decode(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if not isinstance(value, dict):
            return value
        ((tag, content),) = value.items()
        if tag == "r":
            return self._objects[content]
        if tag == "t":
            return tuple(self._decode(item) for item in content)
        if tag == "e":
            return find_class(content[0])[content[1]]  # type: ignore[index]
        simple: dict[str, Callable[[Any], Any]] = {
            "b": base64.b64decode,
            "x": self._load,
            "d": datetime.datetime.fromisoformat,
            "s": lambda seconds: datetime.timedelta(seconds=seconds),
            "u": uuid.UUID,
            "n": decimal.Decimal,
            "p": lambda item: re.compile(item[0], item[1]),
            "c": find_class,
        }
        return simple[tag](content)
