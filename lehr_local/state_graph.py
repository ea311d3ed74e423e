"""Objects in memory as a JSON document and back, without running any code that the document names.

moto keeps a cloud as plain Python objects that refer to each other. A document lists them: an object is its class and
its attributes, a reference is a number, so what two places share they share again afterwards. Reading makes each object
with `object.__new__` and fills its attributes in: no constructor, no property, no `__reduce__` is called, and only
classes of moto and of this package can be named. Large bytes go to a store of their own.
"""

from __future__ import annotations

import base64
import collections
import datetime
import decimal
import enum
import importlib
import re
import threading
import uuid
import weakref
from collections.abc import Callable
from typing import Any

_PACKAGES = ("moto.", "lehr_local.", "requests.structures")
_PLAIN_CLASSES = {
    "dict": dict,
    "list": list,
    "set": set,
    "frozenset": frozenset,
    "deque": collections.deque,
    "OrderedDict": collections.OrderedDict,
    "defaultdict": collections.defaultdict,
    "int": int,
    "str": str,
    "SafeUUID": uuid.SafeUUID,
}
_PLAIN_NAMES = {value: name for name, value in _PLAIN_CLASSES.items()}
_INLINE_BYTES = 512
_LOCKS: dict[type, tuple[str, Callable[[], Any]]] = {
    type(threading.Lock()): ("lock", threading.Lock),
    type(threading.RLock()): ("rlock", threading.RLock),
    threading.Condition: ("condition", threading.Condition),
}
_LOCK_MAKERS = dict(_LOCKS.values())

# How an object is turned into attributes, and how one is put together from them, where that is not all of them.
Reduce = Callable[[Any], dict[str, Any]]
Revive = Callable[[Any, dict[str, Any]], None]


class GraphError(Exception):
    """Raised when a document cannot be read."""


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
            or kind in _LOCKS
            or kind in (threading.Event, weakref.WeakValueDictionary, bytearray)
            or self._class_name(kind) is not None
        )

    def _entry(self, value: Any) -> Any:
        kind = type(value)
        outside = self._external(value)
        if outside is not None:
            return ["external", outside]
        if kind in _LOCKS:
            return [_LOCKS[kind][0]]
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
        if kind in _PLAIN_NAMES:
            return _PLAIN_NAMES[kind]
        name = self._class_names(kind) or f"{kind.__module__}:{kind.__qualname__}"
        try:
            return name if find_class(name) is kind else None
        except GraphError:
            return None


def attributes_of(value: Any) -> dict[str, Any]:
    """All attributes of an object, those in slots included."""
    found = dict(getattr(value, "__dict__", None) or {})
    for base in type(value).__mro__:
        slots = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                found[name] = getattr(value, name)
    return found


def find_class(name: str) -> type:
    """The class of a document's name. Raises GraphError for anything else than a class that may be there."""
    if name in _PLAIN_CLASSES:
        return _PLAIN_CLASSES[name]
    module, _, path = name.partition(":")
    if not f"{module}.".startswith(_PACKAGES) and module not in _PACKAGES:
        raise GraphError(f"A snapshot must not name {name}.")
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise GraphError(f"There is no {name}.") from error
    if not isinstance(found, type) or issubclass(found, (threading.Thread, type)):
        raise GraphError(f"A snapshot must not name {name}.")
    if not f"{found.__module__}.".startswith(_PACKAGES) and found.__module__ not in _PACKAGES:
        # A module of the cloud leads on to all those that it imports.
        raise GraphError(f"A snapshot must not name {name}.")
    return found


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
        if kind in _LOCK_MAKERS:
            return _LOCK_MAKERS[kind]()
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


def set_attributes(made: Any, state: dict[str, Any]) -> None:
    """Set attributes past properties and frozen dataclasses."""
    own = getattr(made, "__dict__", None)
    for name, value in state.items():
        if own is None or isinstance(made, collections.defaultdict):
            object.__setattr__(made, name, value)
        else:
            own[name] = value
