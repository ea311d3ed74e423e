"""package_model dies at every call, and promote_model after it: the next attempt ends as one that nothing happened to.

Nothing is claimed that is not there: a record has its package, a package its files, an alias its record. And nothing is
left over: the name of a package is its content, so whoever comes again finds what was written and adds the rest.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial

import pytest

from functions.package_model import card, publish
from functions.package_model.publish import package_best_trial
from functions.promote_model.promote import promote
from lehr.contracts.package import PACKAGE_FILE
from lehr.contracts.registry import RunRecord
from lehr.contracts.workflow import PackagedModel, PackageRequest, PromoteRequest
from lehr.errors import ModelPackageError
from lehr.model_packages import check_package
from tests.dying import Calls, DiedError, Moment, deaths
from tests.fakes import NOW, InMemoryObjectStore, InMemoryRegistry, without_more
from tests.signing import LocalKey
from tests.unit.functions.test_package_model import world

KEY = LocalKey()


@dataclass
class World:
    """A run that is trained, of a project whose champion is "old"; `work` is what packages and promotes it."""

    store: InMemoryObjectStore = field(init=False)
    request: PackageRequest = field(init=False)
    registry: InMemoryRegistry = field(default_factory=InMemoryRegistry)

    def __post_init__(self) -> None:
        self.store, self.request = world(0.9, 0.95)
        self.registry.promote("mnist", "old", run="r0", generation=0)
        self.registry.add_run(
            RunRecord(
                project="mnist",
                run="r1",
                status="running",
                started_at=NOW,
                execution_arn="arn",
                code_sha="c0de",
                fingerprint="f",
            )
        )

    def work(self, calls: Calls | None = None) -> PackagedModel:
        """As the state machine calls the two functions, the gate having passed the candidate."""
        calls = calls or Calls()
        store, registry, key = calls.watch(self.store), calls.watch(self.registry), calls.watch(KEY)
        packaged = package_best_trial(self.request, store, registry, without_more, key)
        request = PromoteRequest(
            project="mnist", run="r1", version=packaged.version, generation=packaged.generation
        )
        promote(request, registry, partial(check_package, store, verifier=key))
        return packaged

    def models(self) -> set[str]:
        return {key for key in self.store.objects if key.startswith("models/")}

    def untrue(self) -> list[str]:
        """What somebody who looks now is told and does not find."""
        faults = []
        packages = [key.split("/")[2] for key in self.models() if key.endswith(PACKAGE_FILE)]
        records = [record.version for record in self.registry.models("mnist")]
        for version in {*packages, *records}:
            try:
                check_package(self.store, "mnist", version, KEY)
            except ModelPackageError as fault:
                faults.append(f"a package is not whole: {fault}")
        champion = self.registry.aliases["mnist"].champion
        if champion != "old" and champion not in records:
            faults.append("the champion has no record")
        return faults


@cache
def undisturbed() -> World:
    whole = World()
    whole.work()
    return whole


def death(number: int, when: Moment) -> tuple[Calls, list[str]]:
    """One death, what is there then, and the attempt after it, held against an attempt that nothing happened to."""
    whole, cut, calls = undisturbed(), World(), Calls(number, when)
    with suppress(DiedError):
        cut.work(calls)
    faults = cut.untrue()
    cut.work()
    faults += cut.untrue()
    if cut.models() != whole.models():
        faults.append(f"left over or missing: {sorted(cut.models() ^ whole.models())}")
    for name in ("aliases", "generations", "run_records"):
        if getattr(cut.registry, name) != getattr(whole.registry, name):
            faults.append(f"other {name}")
    if cut.registry.model_records.keys() != whole.registry.model_records.keys():
        faults.append("other records of models")
    return calls, faults


def campaign() -> tuple[int, list[str]]:
    whole, faults = death(0, "before")
    assert faults == [], "without a death"
    landed, found = 0, []
    for number, when in deaths(len(whole.made)):
        calls, faults = death(number, when)
        landed += calls.has_landed
        found += [f"died {when} call {number}, {calls.made[number - 1]}: {fault}" for fault in faults]
    return landed, found


def test_wherever_packaging_and_promotion_die_the_next_attempt_ends_as_a_whole_one(
    record_property: Callable[[str, object], None],
) -> None:
    landed, found = campaign()
    print(f"{landed} deaths")
    record_property("deaths", landed)
    assert found == []
    assert landed > 50


def test_without_versions_by_content_a_death_leaves_a_package_of_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control: each attempt makes a package of its own."""
    numbers, write = itertools.count(), card.write_card
    monkeypatch.setattr(publish, "write_card", lambda *given: write(*given) + f"{next(numbers)}".encode())
    whole = World()
    whole.work()
    first = whole.models()
    whole.work()
    assert len(whole.models()) == 2 * len(first)


def test_without_package_json_at_the_end_a_package_is_claimed_that_is_not_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control: the list of the files comes before the files."""
    put_once = InMemoryObjectStore.put_once

    def in_advance(store: InMemoryObjectStore, key: str, body: bytes, **named: str) -> bool:
        if key.endswith("/model.onnx"):
            prefix = key.rpartition("/")[0]
            store.objects[f"{prefix}/{PACKAGE_FILE}"] = whole.store.objects[f"{prefix}/{PACKAGE_FILE}"]
        return put_once(store, key, body, **named)

    whole = undisturbed()
    monkeypatch.setattr(InMemoryObjectStore, "put_once", in_advance)
    _, found = campaign()
    assert sum("a package is not whole" in fault for fault in found) > 5


def test_a_run_whose_promotion_nobody_heard_of_is_judged_against_the_one_that_it_replaced() -> None:
    """It is resumed: against itself it would be a tie, which keeps the champion, and its record said rejected."""
    lost = World()
    first = lost.work()
    again = lost.work()
    assert again == first
    assert (again.champion, again.generation) == ("old", 1)
    assert lost.registry.aliases["mnist"].generation == 2
    lost.registry.promote("mnist", "newer", run="r9", generation=2)
    packaged = package_best_trial(lost.request, lost.store, lost.registry, without_more, KEY)
    assert (packaged.champion, packaged.generation) == ("newer", 3)
