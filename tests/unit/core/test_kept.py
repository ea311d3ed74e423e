"""What is kept of a failed run is looked up, not assumed."""

from __future__ import annotations

from lehr import layout
from lehr.causes.kept import what_is_kept
from lehr.contracts.data_checks import DataChecks
from lehr.contracts.workflow import TrialResult
from tests.fakes import InMemoryObjectStore
from tests.sweeps import record_trials

SERVES = "the champion, if there is one, serves as before"


def kept(store: InMemoryObjectStore, state: str = "TrainTrials") -> list[str]:
    return what_is_kept("mnist", "r1", state, store)


def test_of_a_run_that_left_nothing_the_champion_is_left() -> None:
    assert kept(InMemoryObjectStore()) == [SERVES]


def test_prepared_units_are_counted_until_the_dataset_is_sealed() -> None:
    store = InMemoryObjectStore()
    for index in range(3):
        store.put(layout.unit_result_key("mnist", "r1", index), b"{}")
        store.put(layout.unit_profile_key("mnist", "r1", index), b"{}")
        store.put(layout.staged_shard_key("mnist", "r1", "train", index, 3), b"rows")
    assert kept(store, "PrepareShards") == ["3 prepared unit(s) of the data", SERVES]
    checks = DataChecks(project="mnist", run="r1", version="d1", results=[])
    store.put(layout.data_checks_key("mnist", "r1"), checks.to_json())
    assert kept(store) == ["dataset version d1", SERVES]


def test_checkpoints_trained_models_and_the_package_are_named() -> None:
    store = InMemoryObjectStore()
    store.put(layout.checkpoints_prefix("mnist", "r1") + "0/step.checkpoint", b"")
    failed = TrialResult(id="0", status="Failed", job="j", error="States.TaskFailed", cause="boom")
    record_trials(store, [failed])
    assert kept(store) == ["checkpoints of trial 0", SERVES]
    store.put(layout.evaluation_plan_key("mnist", "r1", "cafe", "old"), b"[]")
    assert kept(store, "EvaluateShards") == ["checkpoints of trial 0", "model package cafe", SERVES]


def test_once_the_alias_may_have_moved_nobody_says_that_it_has_not() -> None:
    assert SERVES not in kept(InMemoryObjectStore(), "RecordPromotion")
