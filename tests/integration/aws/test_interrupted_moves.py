"""The champion is moved by calls of a table; something happens at each of them, before and after it.

The writer dies; somebody else moves the champion, forwards or back; the table refuses everything from there on. Each
time the champion is one that was moved to, the history is one chain, and whoever has an answer was told the truth.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError

from functions.promote_model.promote import promote
from functions.rollback_model.rollback import roll_back
from lehr.aws import champions
from lehr.aws.clients import CONFIG
from lehr.aws.registry import DynamoModelRegistry
from lehr.clock import iso, now
from lehr.contracts.registry import Alias
from lehr.contracts.rollback import RollbackAnswer, RollbackRequest
from lehr.contracts.workflow import PromoteRequest
from lehr.errors import ChampionChangedError
from tests.dying import Calls, DiedError, Moment, deaths
from tests.fakes import InMemoryObjectStore, KeptNotices
from tests.small_packages import publish_small_package

Record = Callable[[str, object], None]


class Project:
    """Two champions have been, v1 and v2 (their versions are hashes); v3 is judged against v2."""

    def __init__(self, table: Any, name: str) -> None:
        self.table, self.name, self.store = table, name, InMemoryObjectStore()
        self.v1, self.v2, self.v3 = (
            publish_small_package(self.store, name, bytes([one])) for one in (1, 2, 3)
        )
        registry = DynamoModelRegistry(table)
        registry.promote(name, self.v1, run="r1", generation=0)
        registry.promote(name, self.v2, run="r2", generation=1)

    def promote(self, table: Any = None, generation: int = 2) -> bool:
        """Whether v3 was promoted, and not told to be judged again."""
        request = PromoteRequest(project=self.name, run="r3", version=self.v3, generation=generation)
        try:
            promote(request, DynamoModelRegistry(table or self.table), lambda project, version: None)
        except ChampionChangedError:
            return False
        return True

    def roll_back(self, table: Any = None, owner: str = "request-1") -> RollbackAnswer:
        request = RollbackRequest(project=self.name, owner=owner, by="ada")
        return roll_back(request, self.store, DynamoModelRegistry(table or self.table), KeptNotices(), None)

    @property
    def chain(self) -> list[Alias]:
        """The history from its beginning on, the champion of now last."""
        return DynamoModelRegistry(self.table).champions(self.name)[::-1]

    def faults(self) -> list[str]:
        chain, found = self.chain, []
        if [one.generation for one in chain] != list(range(1, len(chain) + 1)):
            found.append("the generations have a gap")
        if [one.previous for one in chain] != [None, *(one.champion for one in chain[:-1])]:
            found.append("the chain is broken")
        if not {one.champion for one in chain} <= {self.v1, self.v2, self.v3}:
            found.append("somebody is champion who never was published")
        return found


Happening = Callable[[Project, int, Moment], tuple[Calls, list[str]]]


def everywhere(table: Any, name: str, happen: Happening) -> tuple[int, list[str]]:
    """Have something happen at every call of an undisturbed move; how often it did, and what was wrong after which."""
    whole, faults = happen(Project(table, f"{name}-0"), 0, "before")
    assert faults == [], "undisturbed"
    landed, found = 0, []
    for number, when in deaths(len(whole.made)):
        calls, faults = happen(Project(table, f"{name}-{number}-{when}"), number, when)
        landed += calls.has_landed
        found += [f"{when} call {number}, {calls.made[number - 1]}: {fault}" for fault in faults]
    return landed, found


def death_of_a_promotion(project: Project, number: int, when: Moment) -> tuple[Calls, list[str]]:
    calls = Calls(number, when)
    with suppress(DiedError):
        project.promote(calls.watch(project.table))
    faults = project.faults()
    if not project.promote():
        faults.append("its own promotion was taken for somebody else's")
    if [one.champion for one in project.chain] != [project.v1, project.v2, project.v3]:
        faults.append("it was promoted twice, or not at all")
    return calls, faults + project.faults()


def death_of_a_rollback(project: Project, number: int, when: Moment) -> tuple[Calls, list[str]]:
    calls = Calls(number, when)
    with suppress(DiedError):
        project.roll_back(calls.watch(project.table))
    faults = project.faults()
    if project.roll_back().champion != project.v1:
        faults.append("the same request went somewhere else")
    if [one.champion for one in project.chain] != [project.v1, project.v2, project.v1]:
        faults.append("it was rolled back twice, or not at all")
    return calls, faults + project.faults()


def _told(project: Project, is_promoted: bool, answer: RollbackAnswer) -> list[str]:
    owners = [one.owner for one in project.chain]
    faults = project.faults()
    if is_promoted != ("r3" in owners):
        faults.append("the run was told what is not so")
    if (answer.outcome == "rolled_back") != ("request-1" in owners):
        faults.append("who rolled back was told what is not so")
    if not is_promoted and answer.outcome == "refused":
        faults.append("nobody has moved anything")
    return faults


def rollback_during_a_promotion(project: Project, number: int, when: Moment) -> tuple[Calls, list[str]]:
    answers: list[RollbackAnswer] = []
    calls = Calls(number, when, lambda: answers.append(project.roll_back()))
    is_promoted = project.promote(calls.watch(project.table))
    faults = _told(project, is_promoted, answers[0] if answers else project.roll_back())
    if not is_promoted and project.chain[-1].champion != project.v1:
        faults.append("a promotion that was judged before the rollback undid it")
    return calls, faults


def promotion_during_a_rollback(project: Project, number: int, when: Moment) -> tuple[Calls, list[str]]:
    promoted: list[bool] = []
    calls = Calls(number, when, lambda: promoted.append(project.promote()))
    answer = project.roll_back(calls.watch(project.table))
    return calls, _told(project, promoted[0] if promoted else project.promote(), answer)


HAPPENINGS = (
    death_of_a_promotion,
    death_of_a_rollback,
    rollback_during_a_promotion,
    promotion_during_a_rollback,
)


@pytest.mark.parametrize("happen", HAPPENINGS, ids=lambda one: one.__name__)
def test_whatever_happens_at_whichever_call_there_is_one_chain_and_one_truth(
    happen: Happening, table: Any, record_property: Record
) -> None:
    landed, found = everywhere(table, "p", happen)
    print(f"{happen.__name__}: {landed}")
    record_property("landed", landed)
    assert found == []
    assert landed >= 8


def test_without_the_owner_a_death_takes_a_promotion_for_somebody_elses(
    table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control."""
    monkeypatch.setattr(champions, "_own", lambda alias, wanted: None)
    calls, faults = death_of_a_promotion(Project(table, "p"), 4, "after")
    assert calls.made[2:] == ["put_item", "put_item"]
    assert faults == ["its own promotion was taken for somebody else's"]


def test_without_the_condition_a_promotion_undoes_a_rollback(
    table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: read, then write."""

    def write(registry: Any, item: Any, *given: Any, **named: Any) -> bool:
        registry._table.put_item(Item=item)
        return True

    monkeypatch.setattr(DynamoModelRegistry, "_put_if", write)
    _, found = everywhere(table, "p", rollback_during_a_promotion)
    assert any("who rolled back was told what is not so" in fault for fault in found)


# --- clocks that are wrong


def test_who_serves_and_who_served_before_does_not_depend_on_clocks(
    table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every writer's clock is off by an hour at most, and summer time ends meanwhile."""
    clock, off = random.Random(5), []

    def wrong() -> str:
        seconds = clock.uniform(-3600, 3600)
        off.append(seconds)
        return iso(datetime(2026, 10, 25, 1, 0, tzinfo=UTC) + timedelta(seconds=seconds))

    monkeypatch.setattr(champions, "now", wrong)
    project, registry = Project(table, "p"), DynamoModelRegistry(table)
    for generation in range(2, 20):
        registry.promote("p", f"w{generation}", run=f"q{generation}", generation=generation)
    history = registry.champions("p")
    assert project.faults()[:1] in ([], ["somebody is champion who never was published"])
    assert [one.champion for one in history[:3]] == ["w19", "w18", "w17"]
    times = [one.updated_at for one in history]
    assert times != sorted(times, reverse=True), "the clocks were never wrong"
    with pytest.raises(ChampionChangedError):
        registry.promote("p", "late", run="late", generation=19)
    assert min(off) < -1000 < 1000 < max(off)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/St_Johns", "Pacific/Kiritimati", "UTC"])
def test_moments_are_those_of_utc_wherever_it_runs(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert abs(datetime.fromisoformat(now()).timestamp() - time.time()) < 5
        winter, summer = datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
        assert iso(winter.astimezone()) < iso(summer.astimezone())
    finally:
        monkeypatch.undo()
        time.tzset()


# --- a table that refuses


class Outage:
    """Refuses requests to DynamoDB from the `first` to the `last`, before they reach it."""

    def __init__(self, kind: str, first: int, last: float) -> None:
        self.kind, self.first, self.last = kind, first, last
        self.requests = 0

    def __call__(self, request: Any, **named: Any) -> AWSResponse | None:
        self.requests += 1
        if not self.first <= self.requests <= self.last:
            return None
        if self.kind == "no connection":
            raise EndpointConnectionError(endpoint_url=request.url)
        status = 503 if self.kind == "ServiceUnavailable" else 400
        raw = f'{{"__type": "com.amazonaws.dynamodb.v20120810#{self.kind}", "message": "later"}}'.encode()
        return _Refusal(request.url, status, raw)


class _Refusal(AWSResponse):  # type: ignore[misc]
    def __init__(self, url: str, status: int, raw: bytes) -> None:
        super().__init__(url, status, {"content-type": "application/x-amz-json-1.0"}, None)
        self._content = raw


ATTEMPTS = 5  # of lehr.aws.clients
KINDS = [
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "ServiceUnavailable",
    "no connection",
]


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the SDK would have waited between its attempts; it does not."""
    pauses: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time.sleep", pauses.append)
    return pauses


def refusing(outage: Outage) -> Any:
    """The table as functions have it, with their time-outs and attempts."""
    table = boto3.resource("dynamodb", config=CONFIG).Table("registry")
    table.meta.client.meta.events.register_first("before-send.dynamodb", outage)
    return table


def test_a_table_that_refuses_everything_ends_a_promotion_soon_and_the_champion_stays(
    table: Any, waited: list[float], record_property: Record
) -> None:
    refused = 0
    for number, kind in enumerate(KINDS):
        project, before = Project(table, f"p-{number}"), len(waited)
        for first in range(1, 4):
            chain, outage = project.chain, Outage(kind, first, float("inf"))
            with pytest.raises((ClientError, EndpointConnectionError)):
                project.promote(refusing(outage))
            assert outage.requests == first - 1 + ATTEMPTS
            refused += ATTEMPTS
            assert project.chain == chain
        assert sum(waited[before:]) < 3 * (1 + 2 + 4 + 8)
        # It is over: the run is resumed, and promotes.
        assert project.promote()
        assert (project.chain[-1].champion, project.faults()) == (project.v3, [])
    record_property("refused", refused)


def test_a_table_that_refuses_for_a_while_costs_a_promotion_nothing_but_time(
    table: Any, waited: list[float]
) -> None:
    for number, kind in enumerate(KINDS, 1):
        project = Project(table, f"p-{number}")
        assert project.promote(refusing(Outage(kind, 2, ATTEMPTS)))
        assert project.chain[-1].champion == project.v3
        assert len(waited) == number * (ATTEMPTS - 1)


def test_without_attempts_of_the_sdk_a_short_refusal_would_end_the_run(
    table: Any, waited: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control."""
    project = Project(table, "p")
    monkeypatch.setitem(globals(), "CONFIG", CONFIG.merge(Config(retries={"total_max_attempts": 1})))
    with pytest.raises(ClientError, match="later"):
        project.promote(refusing(Outage(KINDS[0], 2, ATTEMPTS)))
