"""Going back: to which champion, only with a whole package, once for each request, and told to who wants to know."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from functions.rollback_model.rollback import roll_back
from lehr import layout
from lehr.contracts.package import PACKAGE_FILE, ModelPackage
from lehr.contracts.registry import Alias
from lehr.contracts.rollback import RollbackAnswer, RollbackRequest
from lehr.errors import ContractError
from tests.fakes import NOW, InMemoryObjectStore, InMemoryRegistry, KeptNotices
from tests.small_packages import publish_small_package


class World:
    """A project whose champions were promoted one after the other; one more version never was."""

    def __init__(self, champions: int = 3) -> None:
        self.artifacts, self.registry, self.notices = InMemoryObjectStore(), InMemoryRegistry(), KeptNotices()
        self.asked = 0
        self.versions = [self.publish(bytes([number])) for number in range(champions)]
        for number, version in enumerate(self.versions):
            self.registry.promote("mnist", version, run=f"r{number}", generation=number)
        self.rejected = self.publish(b"rejected")

    def publish(self, graph: bytes) -> str:
        return publish_small_package(self.artifacts, "mnist", graph)

    def roll_back(self, version: str = "", **more: Any) -> RollbackAnswer:
        self.asked += 1
        request = {
            "project": "mnist",
            "version": version,
            "owner": f"request-{self.asked}",
            "by": "ada",
        } | more
        return roll_back(
            RollbackRequest.from_value(request), self.artifacts, self.registry, self.notices, None
        )

    def refusal(self, version: str = "", **more: Any) -> RollbackAnswer:
        before = self.registry.aliases.get("mnist")
        answer = self.roll_back(version, **more)
        assert answer.outcome == "refused"
        assert self.registry.aliases.get("mnist") == before
        assert (self.notices.told, self.notices.announced) == ([], [])
        return answer

    @property
    def alias(self) -> Alias:
        return self.registry.aliases["mnist"]


def test_the_champion_before_serves_again_and_everybody_is_told_why() -> None:
    world = World()
    _, second, third = world.versions
    answer = world.roll_back(reason="p99 doubled")
    assert (answer.champion, answer.previous, answer.generation) == (second, third, 4)
    alias = world.alias
    assert (alias.champion, alias.run, alias.kind) == (second, "r1", "rollback")
    assert (alias.by, alias.reason, alias.owner) == ("ada", "p99 doubled", "request-1")
    ((subject, message),) = world.notices.told
    assert subject == "Lehr: mnist rolled back"
    assert message.endswith(f"{second} again, rolled back from {third} by ada. Reason: p99 doubled")
    ((kind, detail),) = world.notices.announced
    assert kind == "ModelRolledBack"
    assert detail == {
        "project": "mnist",
        "version": second,
        "previous": third,
        "reason": "p99 doubled",
        "by": "ada",
    }


def test_going_back_twice_goes_two_champions_back_and_then_there_is_none() -> None:
    world = World()
    first, second, _ = world.versions
    assert [world.roll_back().champion, world.roll_back().champion] == [second, first]
    answer = world.roll_back()
    assert (answer.outcome, "first champion" in answer.reason) == ("refused", True)


def test_while_a_canary_is_watched_it_is_the_canary_that_goes() -> None:
    world = World()
    _, second, third = world.versions
    canary = {"canary": world.rejected, "weight": 0.1, "kind": "rollout", "owner": "r9", "generation": 4}
    world.registry.begin_rollout(structs.replace(world.alias, **canary))
    answer = world.roll_back(reason="looks odd")
    assert (answer.champion, answer.generation) == (third, 5)
    assert (world.alias.canary, world.alias.kind) == (None, "rollback")
    # Its run is judged again and may come back; the next rollback is one of champions.
    assert world.roll_back().champion == second


def test_any_former_champion_may_be_named_by_its_beginning_also_the_one_that_was_left() -> None:
    world = World()
    first, _, third = world.versions
    assert world.roll_back(first[:6]).champion == first
    assert world.roll_back(third).champion == third
    assert world.alias.run == "r2"


def test_a_request_that_is_made_again_moves_nothing_even_after_another_move() -> None:
    world = World()
    _, second, third = world.versions
    once = world.roll_back(owner="the-request")
    assert world.roll_back(owner="the-request") == once
    assert world.alias.generation == 4
    world.roll_back(third)
    assert world.roll_back(owner="the-request").champion == second
    assert world.alias.champion == third


def test_a_champion_from_before_the_history_is_known_by_the_one_that_replaced_it() -> None:
    world = World(0)
    old, new = world.publish(b"old"), world.publish(b"new")
    kept = Alias(project="mnist", champion=new, previous=old, generation=7, owner="r7", updated_at=NOW)
    world.registry.aliases["mnist"], world.registry.generations["mnist"] = kept, [kept]
    assert world.roll_back().champion == old
    assert (world.alias.run, world.alias.generation) == ("", 8)


@pytest.mark.parametrize(
    ("version", "says", "hints"),
    [
        ("ffffffffffffffff", "has no model version 'ffffffffffffffff'", "former champions are "),
        ("../../etc", "has no model version '../../etc'", "former champions are "),
    ],
)
def test_a_version_that_nobody_knows_is_refused_with_those_that_there_are(
    version: str, says: str, hints: str
) -> None:
    answer = World().refusal(version)
    assert says in answer.reason
    assert answer.hint.startswith(hints)


def test_a_version_that_never_was_champion_is_refused() -> None:
    world = World()
    answer = world.refusal(world.rejected)
    assert "was never champion" in answer.reason
    assert world.versions[0] in answer.hint


def test_the_champion_itself_is_refused() -> None:
    world = World()
    assert "is the champion of mnist already" in world.refusal(world.versions[2]).reason


def test_what_may_mean_two_versions_is_refused() -> None:
    world = World(24)
    doubled = next(
        start for start in "0123456789abcdef" if sum(v.startswith(start) for v in world.versions) > 1
    )
    assert f"'{doubled}' may mean " in world.refusal(doubled).reason


@pytest.mark.parametrize("project", ["unheard-of", "../x"])
def test_a_project_without_a_champion_is_refused(project: str) -> None:
    world = World()
    request = RollbackRequest(project=project, owner="request-1")
    answer = roll_back(request, world.artifacts, world.registry, world.notices, None)
    assert answer.outcome == "refused"


@pytest.mark.parametrize("name", ["model.onnx", "card.md", PACKAGE_FILE])
@pytest.mark.parametrize("damage", ["missing", "cut", "other"])
def test_a_package_that_is_not_whole_is_refused_by_the_name_of_the_file(name: str, damage: str) -> None:
    world = World()
    key = layout.model_file_key("mnist", world.versions[1], name)
    if damage == "missing":
        del world.artifacts.objects[key]
    elif damage == "cut":
        world.artifacts.objects[key] = world.artifacts.objects[key][:-1]
    else:
        world.artifacts.objects[key] = b"?" + world.artifacts.objects[key][1:]
    answer = world.refusal()
    assert "is not whole" in answer.reason
    assert name in answer.reason


def test_the_package_of_another_project_is_refused() -> None:
    world = World()
    key = layout.model_file_key("mnist", world.versions[1], PACKAGE_FILE)
    foreign = ModelPackage(project="other", files={})
    world.artifacts.objects[key] = foreign.to_json()
    assert f"is of other {foreign.version}" in world.refusal().reason


def test_a_promotion_in_between_is_not_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    seen = world.registry.champions("mnist")
    world.registry.promote("mnist", "v9", run="r9", generation=3)
    monkeypatch.setattr(world.registry, "champions", lambda project: seen)
    assert "another champion was promoted" in world.refusal().reason
    assert world.alias.champion == "v9"


def test_a_notice_that_cannot_be_sent_changes_nothing_and_is_said() -> None:
    world = World()
    world.notices = KeptNotices(is_away=True)
    answer = world.roll_back()
    assert (answer.outcome, answer.untold) == ("rolled_back", "ConnectionError: nobody listens")


def test_a_request_that_is_too_long_is_no_request() -> None:
    with pytest.raises(ContractError, match="reason"):
        World().roll_back(reason="x" * 501)
