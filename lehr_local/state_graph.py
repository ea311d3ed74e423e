"""What a document of objects may name, and how the attributes of an object are read and set.

moto keeps a cloud as plain Python objects that refer to each other. `graph_writer` turns them into a JSON document and
`graph_reader` turns that back, without running any code that the document names: only classes of moto and of this
package can be named, and no constructor, no property, no `__reduce__` is called.
"""

from __future__ import annotations

import collections
import importlib
import threading
import uuid
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
PLAIN_NAMES = {value: name for name, value in _PLAIN_CLASSES.items()}
LOCKS: dict[type, tuple[str, Callable[[], Any]]] = {
    type(threading.Lock()): ("lock", threading.Lock),
    type(threading.RLock()): ("rlock", threading.RLock),
    threading.Condition: ("condition", threading.Condition),
}
LOCK_MAKERS = dict(LOCKS.values())

# How an object is turned into attributes, and how one is put together from them, where that is not all of them.
Reduce = Callable[[Any], dict[str, Any]]
Revive = Callable[[Any, dict[str, Any]], None]


class GraphError(Exception):
    """Raised when a document cannot be read."""


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


def set_attributes(made: Any, state: dict[str, Any]) -> None:
    """Set attributes past properties and frozen dataclasses."""
    own = getattr(made, "__dict__", None)
    for name, value in state.items():
        if own is None or isinstance(made, collections.defaultdict):
            object.__setattr__(made, name, value)
        else:
            own[name] = value
