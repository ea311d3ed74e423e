"""Objects as a document and back: what is shared stays shared, and a document runs nothing."""

from __future__ import annotations

import collections
import datetime
import decimal
import json
import threading
import uuid
import weakref
from typing import Any

import pytest

from lehr_local.graph_reader import GraphReader
from lehr_local.graph_writer import GraphWriter
from lehr_local.resource_models import Created, Resource
from lehr_local.state_files import StateFiles
from lehr_local.state_graph import GraphError, find_class

Attributes = dict[str, Any]


class Home:
    """Stands for a backend: it exists in both processes, and only its attributes are kept."""


def there_and_back(**attributes: Any) -> Home:
    stored: dict[str, bytes] = {}

    def store(content: bytes) -> str:
        stored[str(len(stored))] = content
        return str(len(stored) - 1)

    home, copy = Home(), Home()
    vars(home).update(attributes)
    writer = GraphWriter(lambda value: ["home"] if value is home else None, {}, store)
    state = writer.attributes(home)
    objects, state = json.loads(json.dumps([writer.objects, state]))
    reader = GraphReader(objects, lambda _: copy, {}, stored.__getitem__)
    reader.fill(copy, state)
    return copy


PLAIN: list[Any] = [
    None,
    True,
    3,
    2.5,
    "text",
    b"few",
    b"many" * 1000,
    (1, ("a", b"b")),
    datetime.datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=datetime.UTC),
    datetime.timedelta(days=1, seconds=2),
    uuid.UUID(int=5),
    decimal.Decimal("1.50"),
    [1, [2]],
    {"a": {"b": [1]}, 3: "number"},
    {1, 2},
    frozenset({"a"}),
    collections.deque([1, 2]),
    collections.OrderedDict(b=1, a=2),
]


@pytest.mark.parametrize("value", PLAIN, ids=lambda value: type(value).__name__)
def test_a_plain_value_comes_back_as_it_was(value: Any) -> None:
    found = vars(there_and_back(value=value))["value"]
    assert found == value
    assert type(found) is type(value)


def test_what_two_places_share_they_share_afterwards() -> None:
    shared = ["x"]
    found = vars(there_and_back(one=shared, two={"inside": shared}, other=["x"]))
    assert found["one"] is found["two"]["inside"]
    assert found["one"] is not found["other"]


def test_a_circle_and_a_reference_to_the_root_are_kept() -> None:
    circle: dict[str, Any] = {}
    circle["self"] = circle
    found = vars(there_and_back(circle=circle))
    assert found["circle"]["self"] is found["circle"]


def test_an_object_keeps_its_class_and_its_attributes_without_its_constructor() -> None:
    resource = Resource(
        type_name="T", logical_id="L", properties={"a": [1]}, created=Created("id", {"Arn": "arn"})
    )
    found = vars(there_and_back(resource=resource))["resource"]
    assert found == resource
    assert type(found) is Resource


def test_a_default_dictionary_keeps_its_factory() -> None:
    value: Any = collections.defaultdict(list, a=[1])
    found = vars(there_and_back(value=value))["value"]
    found["b"].append(2)
    assert found == {"a": [1], "b": [2]}


def test_locks_are_new_and_open() -> None:
    held = threading.Lock()
    held.acquire()
    found = vars(there_and_back(held=held, condition=threading.Condition()))
    assert not found["held"].locked()
    with found["condition"]:
        pass


def test_a_weak_dictionary_refers_to_the_same_objects() -> None:
    created = Created("id", {})
    found = vars(there_and_back(created=created, weak=weakref.WeakValueDictionary(a=created)))
    assert found["weak"]["a"] is found["created"]


def test_what_cannot_be_kept_is_left_out_and_named() -> None:
    home = Home()
    vars(home).update(call=lambda: 1, kept=1, thread=threading.current_thread())
    writer = GraphWriter(lambda _: None, {}, lambda _: "")
    assert writer.attributes(home) == {"call": None, "kept": 1, "thread": None}
    assert writer.left_out == {"builtins.function", "threading._MainThread"}


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "subprocess:Popen",
        "builtins:eval",
        "lehr_local.control:up",
        "lehr_local.control:os._Environ",
        "moto.no_such_module:X",
        "threading:Thread",
        "motor.of.another:Thing",
    ],
)
def test_a_document_cannot_name_anything_but_classes_of_the_cloud(name: str) -> None:
    with pytest.raises(GraphError):
        find_class(name)


def test_the_classes_of_the_cloud_can_be_named() -> None:
    assert find_class("lehr_local.state_files:StateFiles") is StateFiles


def test_strings_can_be_changed_on_the_way() -> None:
    home = Home()
    vars(home).update(url="http://localhost:1/q", other="x")
    writer = GraphWriter(lambda _: None, {}, lambda _: "")
    state = writer.attributes(home)
    reader = GraphReader(
        writer.objects, lambda _: None, {}, lambda _: b"", lambda text: text.replace(":1/", ":2/")
    )
    reader.fill(home, state)
    assert vars(home) == {"url": "http://localhost:2/q", "other": "x"}
