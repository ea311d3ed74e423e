"""What a key may be called, and what a message may hold: none leaves its folder, and none holds up another."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.start_run import app
from functions.start_run.triggers import read_message
from lehr import layout
from lehr.contracts.workflow import StartRequest
from lehr.errors import ContractError, UserError
from tests.fakes import InMemoryObjectStore
from tests.unit.functions.test_start_run import World

KEYS = 10_000
PIECES = (
    *("incoming", "incoming", "mnist", "mnist", "_READY", "/", "/", "/", "a", "0", "-", "projects", "models"),
    *(
        ".",
        "..",
        "%2e%2e",
        "%2F",
        "\\",
        "~",
        " ",
        "+",
        "\n",
        "\r\n",
        "\t",
        "\0",
        "\x1b[2J",
        "\u202e",
        "ä",
        "🙂",
    ),
    *("${jndi:ldap://x}", "<script>", "'; --", '"', "{}", "A", "MNIST", "x" * 63, "x" * 64, "y" * 1024),
)
CONTEXT = SimpleNamespace(
    function_name="f", memory_limit_in_mb=1, invoked_function_arn="arn", aws_request_id="id"
)


def event_of(key: object) -> str:
    return json.dumps({"id": "event-id-1234", "detail": {"object": {"key": key}}})


def keys(count: int, seed: int = 7) -> list[str]:
    """Keys as one may drop them: some right, most not, put together from what has opened doors elsewhere."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        rest = "".join(rng.choices(PIECES, k=rng.randrange(1, 9)))
        made.append(rest if number % 3 else f"incoming/{rest}/_READY")
    return made


def outcome(key: str) -> str:
    """What became of the event of a key: "accepted", or the kind of the refusal; raises AssertionError for a breach."""
    store = InMemoryObjectStore("data", {key: b"drop-0001"})
    try:
        request = read_message(event_of(key), store)
    except (UserError, ContractError) as fault:
        said, kind = str(fault), type(fault).__name__
        assert (len(said) < 5000, set(said) & set("\n\r\0\x1b"), store.reads) == (True, set(), []), kind
        return kind
    assert store.reads == [key]
    assert request.project == key.split("/")[1]
    for built in (layout.incoming_prefix(request.project), layout.run_prefix(request.project, "r1")):
        folder, project, *_ = built.split("/")
        assert (folder in ("incoming", "runs"), project) == (True, request.project)
        assert not set(project) - set("abcdefghijklmnopqrstuvwxyz0123456789-")
    return "accepted"


def test_no_key_of_ten_thousand_leads_out_of_its_project(
    record_property: Callable[[str, object], None],
) -> None:
    found = Counter(map(outcome, keys(KEYS)))
    print(dict(found))
    record_property("keys", dict(found))
    assert sum(found.values()) == KEYS
    assert min(found["accepted"], found["UserError"]) > 200


@settings(max_examples=300)
@given(st.one_of(st.text(max_size=1024), st.text(max_size=80).map(lambda name: f"incoming/{name}/_READY")))
def test_no_text_at_all_does(key: str) -> None:
    outcome(key)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["id", "detail", "object", "key", "source", "input"]), inner, max_size=4
            )
        ),
        max_leaves=8,
    )
)
@settings(max_examples=300)
def test_a_message_is_a_request_or_refused_and_nothing_else(value: Any) -> None:
    try:
        read_message(json.dumps(value), InMemoryObjectStore("data"))
    except (UserError, ContractError):
        return


@pytest.mark.parametrize("body", ["[" * 100_000, '{"id": ' * 50_000, "\ud800", "NaN", "1e999"])
def test_a_body_that_breaks_readers_is_refused(body: str) -> None:
    with pytest.raises(ContractError):
        read_message(body, InMemoryObjectStore("data"))


def test_without_a_check_of_names_a_key_leads_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    monkeypatch.setattr(layout, "checked_name", lambda name: name)
    breaches = 0
    for key in keys(300):
        try:
            outcome(key)
        except AssertionError:
            breaches += 1
    assert breaches > 20


# --- an event without its object


def test_a_ready_object_that_is_gone_again_is_told_by_the_event_alone() -> None:
    request = read_message(event_of("incoming/mnist/_READY"), InMemoryObjectStore("data"))
    assert request == StartRequest(project="mnist", trigger="event-id-1234")


def test_a_ready_object_without_any_data_is_refused_by_the_first_file_that_is_missing() -> None:
    world = World()
    for key in list(world.data.objects):
        del world.data.objects[key]
    answer = world.start_run.start(read_message(event_of("incoming/mnist/_READY"), world.data))
    assert (answer.outcome, answer.error) == ("refused", "MissingDataError")
    assert "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k" in answer.reason
    assert world.executions.inputs == {}


# --- a message that can never be read


def test_a_poisoned_message_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    monkeypatch.setattr(app, "starter", lambda: world.start_run)
    bodies = {
        "no json": "{",
        "no event": "[]",
        "a good one": event_of("incoming/mnist/_READY"),
        "deep": "[" * 100_000,
        "elsewhere": event_of("incoming/../../x/_READY"),
        "no text": event_of(7),
    }
    records = [{"messageId": name, "body": body} for name, body in bodies.items()]
    answer = app.handler({"Records": records}, CONTEXT)
    failed = {one["itemIdentifier"] for one in answer["batchItemFailures"]}
    assert failed == bodies.keys() - {"a good one"}
    assert len(world.executions.inputs) == 1
