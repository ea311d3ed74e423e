"""Another registry says what Lehr's says: of every version, whatever was missed, and with nothing made twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from functions.mirror_registry import app
from functions.mirror_registry.mirror import Look, mirror
from lehr import layout
from lehr.contracts.approval import ApprovalStatus
from lehr.contracts.package import PACKAGE_FILE, SIGNATURE_FILE
from lehr.contracts.registry import Alias, ErasureRecord, ModelRecord, RunRecord
from lehr.errors import MirrorError, UserError
from lehr.ports import MirroredPackage
from tests import tiny_models
from tests.fakes import InMemoryObjectStore, InMemoryRegistry
from tests.unit.functions.test_predict import CONTEXT


class KeptMirror:
    """A registry beside Lehr's; `faults` are raised by the next calls that change it, or by the way of their reply."""

    def __init__(self) -> None:
        self.kept: list[MirroredPackage] = []
        self.reasons: dict[str, str] = {}
        self.properties: dict[str, dict[str, str]] = {}
        self.sources: dict[str, str] = {}
        self.calls: list[str] = []
        self.faults: list[Exception | None] = []
        self.are_replies_lost = False

    def packages(self, project: str) -> list[MirroredPackage]:
        assert project == "mnist"
        return list(self.kept)

    def add(self, project: str, version: str, source: str, properties: Mapping[str, str]) -> MirroredPackage:
        lost = self._called(f"add {version}")
        handle = f"arn:{len(self.kept) + 1}"
        self.kept.append(MirroredPackage(version=version, handle=handle, status="PendingManualApproval"))
        self.properties[version], self.sources[version] = dict(properties), source
        if lost:
            raise lost
        return self.kept[-1]

    def set_status(
        self, package: MirroredPackage, status: ApprovalStatus, reason: str, properties: Mapping[str, str]
    ) -> None:
        lost = self._called(f"{status} {package.version}")
        self.kept = [
            replace(one, status=status) if one.handle == package.handle else one for one in self.kept
        ]
        self.reasons[package.version] = reason
        self.properties[package.version] |= properties
        if lost:
            raise lost

    def has_reason(self, package: MirroredPackage, reason: str) -> bool:
        return self.reasons.get(package.version, "") == reason

    def says(self) -> dict[str, str]:
        return {package.version: package.status for package in self.kept}

    def _called(self, call: str) -> Exception | None:
        """What is raised once the call has done its work; or now."""
        self.calls.append(call)
        fault = self.faults.pop(0) if self.faults else None
        if fault and not self.are_replies_lost:
            raise fault
        return fault


class World:
    """The project mnist, and another registry that knows nothing of it yet."""

    def __init__(self) -> None:
        self.artifacts, self.registry, self.mirror = InMemoryObjectStore(), InMemoryRegistry(), KeptMirror()
        self.count = 0

    def package(self, status: str = "running", **more: Any) -> str:
        """A version that a run of its own has made, and how that run goes."""
        self.count += 1
        version = tiny_models.publish(self.artifacts, "mnist", tiny_models.files(self.count))
        run = RunRecord(
            project="mnist",
            run=f"r{self.count}",
            status="running",
            started_at=f"2026-01-0{self.count}T00:00:00.000Z",
            execution_arn="",
            code_sha=f"{self.count:040x}",
            fingerprint="",
        )
        self.registry.add_run(run)
        self.registry.add_model(
            ModelRecord(
                project="mnist",
                version=version,
                run=run.run,
                dataset_version="d1",
                created_at=f"2026-01-0{self.count}T01:00:00.000Z",
                package_sha256="ab" * 32,
                trial="t0",
            )
        )
        if status != "running":
            self.end(run.run, status, version, **more)
        return version

    def end(self, run: str, status: str, version: str, **more: Any) -> None:
        self.registry.end_run(
            "mnist", run, status=status, model_version=version, **({"reason": f"as {run}"} | more)
        )

    def promoted(self, **more: Any) -> str:
        version = self.package("promoted", **more)
        self.registry.promote(
            "mnist", version, run=f"r{self.count}", generation=len(self.registry.champions("mnist"))
        )
        return version

    def roll_back(self, version: str, **more: Any) -> None:
        said = {"by": "ada", "reason": "p99 doubled"} | more
        generation = len(self.registry.champions("mnist"))
        self.registry.roll_back(
            "mnist", version, run="", owner=f"o{generation}", generation=generation, **said
        )

    def look(self) -> Look:
        return mirror("mnist", self.registry, self.artifacts, self.mirror)


PENDING, APPROVED, REJECTED = "PendingManualApproval", "Approved", "Rejected"


def test_a_version_is_pending_until_its_run_ends_and_then_what_has_become_of_it() -> None:
    world = World()
    version = world.package()
    assert world.look().added == [version]
    assert world.mirror.says() == {version: PENDING}
    world.registry.promote("mnist", version, run="r1", generation=0)
    world.end("r1", "promoted", version, reason="accuracy 0.9871", accuracy=0.9871)
    assert world.look() == Look(changed=[version])
    assert world.mirror.says() == {version: APPROVED}
    assert world.mirror.reasons[version] == "promoted: accuracy 0.9871"
    refused = world.package("rejected", reason="not better than the champion", accuracy=0.5)
    assert world.look() == Look(added=[refused], changed=[refused])
    assert world.mirror.says() == {version: APPROVED, refused: REJECTED}
    assert world.mirror.reasons[refused] == "not better than the champion"
    assert world.mirror.properties[refused]["accuracy"] == "0.5"


def test_what_a_version_is_made_of_stands_beside_it() -> None:
    world = World()
    version = world.package()
    world.look()
    package = json.loads(world.artifacts.get(layout.model_file_key("mnist", version, PACKAGE_FILE)))
    assert world.mirror.sources[version].endswith(f"/models/mnist/{version}/")
    assert world.mirror.properties[version] == {
        "version": version,
        "run": "r1",
        "trial": "t0",
        "dataset_version": "d1",
        "code_sha": f"{1:040x}",
        "package_sha256": "ab" * 32,
        "signature_sha256": package["files"][SIGNATURE_FILE]["sha256"],
    }


def test_a_look_at_what_agrees_already_changes_nothing() -> None:
    world = World()
    world.promoted()
    world.package("rejected")
    world.promoted()
    world.look()
    calls = list(world.mirror.calls)
    assert world.look() == Look()
    assert world.mirror.calls == calls


def test_a_champion_that_was_replaced_stays_approved() -> None:
    world = World()
    first, second = world.promoted(), world.promoted()
    world.look()
    assert world.mirror.says() == {first: APPROVED, second: APPROVED}


def test_after_a_rollback_the_version_that_serves_again_has_the_reason_and_what_was_left_is_rejected() -> (
    None
):
    world = World()
    first, second, third = (world.promoted() for _ in range(3))
    world.look()
    world.roll_back(first)
    assert world.look().changed == [first, second, third]
    assert world.mirror.says() == {first: APPROVED, second: REJECTED, third: REJECTED}
    assert world.mirror.reasons[first] == "rolled back to by ada: p99 doubled"
    assert world.mirror.reasons[third] == f"left by a rollback to {first} by ada: p99 doubled"


def test_the_newest_approved_version_is_the_champion_whatever_was_rolled_back() -> None:
    world = World()
    versions = [world.promoted() for _ in range(3)]
    for back in (versions[1], versions[0], versions[2], versions[1]):
        world.roll_back(back)
        world.look()
        approved = [one.version for one in world.mirror.kept if one.status == APPROVED]
        assert approved[-1] == back
    latest = world.promoted()
    world.look()
    assert [one.version for one in world.mirror.kept if one.status == APPROVED][-1] == latest
    # What was left stays so: another champion does not make it good again.
    assert world.mirror.says()[versions[2]] == REJECTED


def test_a_canary_and_one_that_was_taken_back_change_the_champion_of_nobody() -> None:
    world = World()
    first = world.promoted()
    canary = world.package()
    alias = world.registry.aliases["mnist"]
    moved = structs.replace(
        alias, canary=canary, weight=0.1, kind="rollout", owner="r2", generation=alias.generation + 1
    )
    world.registry.begin_rollout(moved)
    world.look()
    assert world.mirror.says() == {first: APPROVED, canary: PENDING}
    world.registry.begin_rollout(
        structs.replace(
            moved, canary=None, weight=0.0, kind="withdrawal", owner="x", generation=moved.generation + 1
        )
    )
    world.end("r2", "rejected", canary, reason="taken back as a canary")
    world.look()
    assert world.mirror.says() == {first: APPROVED, canary: REJECTED}


def test_a_run_that_failed_after_packaging_has_decided_nothing() -> None:
    world = World()
    version = world.package("failed")
    world.look()
    assert world.mirror.says() == {version: PENDING}


def test_a_champion_of_before_the_history_was_kept_is_approved() -> None:
    world = World()
    old, new = world.package(), world.package()
    world.registry.aliases["mnist"] = Alias(
        project="mnist", champion=new, previous=old, generation=5, owner="r2", updated_at=""
    )
    world.registry.generations["mnist"] = [world.registry.aliases["mnist"]]
    world.look()
    assert world.mirror.says() == {old: APPROVED, new: APPROVED}


def test_what_somebody_has_changed_over_there_is_set_right() -> None:
    world = World()
    version = world.package()
    world.look()
    world.mirror.kept = [replace(one, status="Approved") for one in world.mirror.kept]
    assert world.look().changed == [version]
    assert world.mirror.says() == {version: PENDING}


def test_what_was_deleted_for_good_is_rejected_and_not_added_again() -> None:
    world = World()
    gone, never_there = world.promoted(), world.package()
    world.mirror.kept = []
    world.look()
    world.mirror.kept = [one for one in world.mirror.kept if one.version == gone]
    for version in (gone, never_there):
        world.artifacts.objects.pop(layout.model_file_key("mnist", version, PACKAGE_FILE), None)
    record = ErasureRecord(
        project="mnist", erasure="e1", at="", files=[], datasets=[], models=[gone, never_there], runs=[]
    )
    world.registry.add_erasure(record)
    assert world.look() == Look(changed=[gone])
    assert world.mirror.says() == {gone: REJECTED}


def test_of_a_project_without_models_there_is_no_mirror() -> None:
    world = World()
    assert world.look() == Look()
    assert world.mirror.calls == []


def test_versions_arrive_in_the_order_in_which_they_were_made() -> None:
    """The other registry numbers them; it was turned on late."""
    world = World()
    versions = [world.promoted() for _ in range(4)]
    assert world.look().added == versions
    assert [one.version for one in world.mirror.kept] == versions


def test_a_version_that_cannot_be_added_keeps_the_later_ones_out_until_the_next_look() -> None:
    world = World()
    versions = [world.promoted() for _ in range(3)]
    world.mirror.faults = [None, None, ConnectionError("away")]
    look = world.look()
    assert (look.added, list(look.faults)) == (versions[:1], [versions[1]])
    assert look.faults[versions[1]] == "ConnectionError: away"
    assert world.look().added == versions[1:]
    assert [one.version for one in world.mirror.kept] == versions


def test_a_status_that_cannot_be_set_is_set_by_the_next_look_and_keeps_no_other_from_it() -> None:
    world = World()
    first, second = world.promoted(), world.promoted()
    world.look()
    world.roll_back(first)
    world.mirror.faults = [TimeoutError("slow")]
    look = world.look()
    assert (look.changed, list(look.faults)) == ([second], [first])
    assert world.look() == Look(changed=[first])


@pytest.mark.parametrize("number", range(4))
def test_a_reply_that_is_lost_makes_nothing_twice(number: int) -> None:
    world = World()
    versions = [world.promoted(), world.package("rejected")]
    world.mirror.are_replies_lost = True
    world.mirror.faults = [*([None] * number), TimeoutError("the reply")]
    assert len(world.look().faults) == 1
    assert not world.look().faults
    assert [one.version for one in world.mirror.kept] == versions
    assert world.mirror.says() == dict(zip(versions, (APPROVED, REJECTED), strict=True))


# --- the handler


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(app, "adapters", lambda: (world.registry, world.artifacts, world.mirror))
    return world


@pytest.mark.parametrize("event", [{"project": "mnist"}, {"detail": {"project": "mnist", "run": "r1"}}])
def test_an_event_or_a_call_names_the_project(world: World, event: dict[str, Any]) -> None:
    version = world.promoted()
    assert app.handler(event, CONTEXT) == {"project": "mnist", "added": [version], "changed": [version]}


def test_a_fault_is_counted_and_raised_for_lambda_to_ask_again(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    version = world.promoted()
    world.mirror.faults = [ConnectionError("away")]
    with pytest.raises(MirrorError, match=f"mnist: {version}: ConnectionError: away"):
        app.handler({"project": "mnist"}, CONTEXT)
    assert [line["MirrorFaults"] for line in _metrics(capsys)] == [[1.0]]
    world.registry.faults = []
    monkey: Any = world.mirror
    monkey.packages = lambda project: 1 / 0
    with pytest.raises(MirrorError, match="ZeroDivisionError"):
        app.handler({"project": "mnist"}, CONTEXT)
    assert len(_metrics(capsys)) == 1


def test_without_a_fault_there_is_no_metric(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.promoted()
    app.handler({"project": "mnist"}, CONTEXT)
    assert _metrics(capsys) == []


@pytest.mark.parametrize("event", [{}, {"detail": {}}, {"project": "../x"}])
def test_an_event_that_names_no_project_is_refused(world: World, event: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        app.handler(event, CONTEXT)


def _metrics(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    lines = [line for line in capsys.readouterr().out.splitlines() if "MirrorFaults" in line]
    return [json.loads(line) for line in lines]
