"""The DynamoDB registry against moto: one winner, a linear chain, a lost reply is a success."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from lehr.aws.registry import DynamoModelRegistry
from lehr.contracts.registry import DatasetRecord, RunRecord, TriggerRecord, Turn
from lehr.errors import ChampionChangedError


@pytest.fixture
def registry(table: Any) -> DynamoModelRegistry:
    return DynamoModelRegistry(table)


def run_record(run: str, started_at: str = "2026-01-31T12:00:00.000Z") -> RunRecord:
    return RunRecord(
        project="mnist",
        run=run,
        status="running",
        started_at=started_at,
        execution_arn=f"arn:{run}",
        code_sha="c0de",
        fingerprint="f",
    )


def test_a_project_without_a_model_has_no_alias(registry: DynamoModelRegistry) -> None:
    assert registry.alias("mnist") is None


def test_a_champion_is_retired_at_the_generation_that_is_known(registry: DynamoModelRegistry) -> None:
    registry.promote("mnist", "v1", run="r1", generation=0)
    registry.promote("mnist", "v2", run="r2", generation=1)
    with pytest.raises(ChampionChangedError, match="no longer at generation 1"):
        registry.retire("mnist", generation=1)
    registry.retire("mnist", generation=2)
    registry.retire("mnist", generation=2)  # its reply was lost
    assert registry.alias("mnist") is None
    assert registry.promote("mnist", "v3", run="r3", generation=0).generation == 1


def test_promotions_form_a_chain(registry: DynamoModelRegistry) -> None:
    registry.promote("mnist", "v1", run="r1", generation=0)
    registry.promote("mnist", "v2", run="r2", generation=1)
    alias = registry.alias("mnist")
    assert alias is not None
    assert (alias.champion, alias.previous, alias.generation, alias.owner) == ("v2", "v1", 2, "r2")


@pytest.mark.parametrize("generation", [0, 2])
def test_a_candidate_judged_at_another_generation_is_refused(
    registry: DynamoModelRegistry, generation: int
) -> None:
    registry.promote("mnist", "v1", run="r1", generation=0)
    with pytest.raises(ChampionChangedError):
        registry.promote("mnist", "v2", run="r2", generation=generation)
    alias = registry.alias("mnist")
    assert alias is not None
    assert alias.champion == "v1"


def test_a_retried_promotion_is_a_success_and_moves_nothing(registry: DynamoModelRegistry) -> None:
    first = registry.promote("mnist", "v1", run="r1", generation=0)
    assert registry.promote("mnist", "v1", run="r1", generation=0) == first


class LosesTheReply:
    """A table whose next write commits and then fails its caller, as a dropped connection does.

    The SDK's own retry is played too: the second write finds the condition no longer met.
    """

    def __init__(self, table: Any) -> None:
        self._table = table

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    def put_item(self, **arguments: Any) -> Any:
        self._table.put_item(**arguments)
        return self._table.put_item(**arguments)


def test_a_promotion_whose_reply_was_lost_is_recognised_by_its_owner(table: Any) -> None:
    alias = DynamoModelRegistry(LosesTheReply(table)).promote("mnist", "v1", run="r1", generation=0)
    assert (alias.champion, alias.generation) == ("v1", 1)


def test_the_lost_reply_is_real(table: Any) -> None:
    """Negative control: without the owner's token the same write is an error."""
    with pytest.raises(ClientError, match="ConditionalCheckFailed"):
        LosesTheReply(table).put_item(
            Item={"pk": "a", "sk": "b"}, ConditionExpression="attribute_not_exists(pk)"
        )


def test_every_generation_is_kept_with_who_made_it_and_why(registry: DynamoModelRegistry) -> None:
    assert registry.champions("mnist") == []
    registry.promote("mnist", "v1", run="r1", generation=0)
    registry.promote("mnist", "v2", run="r2", generation=1)
    back = registry.roll_back(
        "mnist", "v1", run="r1", owner="rollback-1", generation=2, by="ada", reason="slow"
    )
    again = registry.roll_back(
        "mnist", "v1", run="r1", owner="rollback-1", generation=2, by="ada", reason="slow"
    )
    assert back == again == registry.alias("mnist")
    found = registry.champions("mnist")
    assert [(one.generation, one.champion, one.previous, one.kind, one.owner) for one in found] == [
        (3, "v1", "v2", "rollback", "rollback-1"),
        (2, "v2", "v1", "promotion", "r2"),
        (1, "v1", None, "promotion", "r1"),
    ]
    assert (found[0].run, found[0].by, found[0].reason) == ("r1", "ada", "slow")


def test_a_rollback_of_a_generation_that_has_passed_is_refused(registry: DynamoModelRegistry) -> None:
    registry.promote("mnist", "v1", run="r1", generation=0)
    registry.promote("mnist", "v2", run="r2", generation=1)
    with pytest.raises(ChampionChangedError):
        registry.roll_back("mnist", "v1", run="r1", owner="rollback-1", generation=1, by="", reason="")
    with pytest.raises(ChampionChangedError):
        registry.promote("mnist", "v3", run="r3", generation=1)
    assert [one.champion for one in registry.champions("mnist")] == ["v2", "v1"]


def test_a_project_without_a_champion_any_more_begins_its_history_anew(
    registry: DynamoModelRegistry,
) -> None:
    for number in range(3):
        registry.promote("mnist", f"v{number}", run=f"r{number}", generation=number)
    with pytest.raises(ChampionChangedError):
        registry.retire("mnist", generation=2)
    assert len(registry.champions("mnist")) == 3
    registry.retire("mnist", generation=3)
    assert registry.champions("mnist") == []
    # The same content may be trained on again, by a run of the same name.
    for number in (0, 1):
        registry.promote("mnist", f"w{number}", run=f"r{number}", generation=number)
    assert [one.champion for one in registry.champions("mnist")] == ["w1", "w0"]


def test_a_run_ends_once(registry: DynamoModelRegistry) -> None:
    registry.add_run(run_record("r1"))
    registry.end_run("mnist", "r1", status="promoted", accuracy=0.9768)
    registry.end_run("mnist", "r1", status="failed", reason="too late")
    run = registry.run("mnist", "r1")
    assert run is not None
    assert (run.status, run.accuracy, run.reason) == ("promoted", 0.9768, "")


def test_what_a_run_has_cost_is_kept_before_and_after_its_end(registry: DynamoModelRegistry) -> None:
    registry.add_run(run_record("r1"))
    for usd in (0.25, 1.0):
        registry.set_run_cost("mnist", "r1", usd)
    registry.end_run("mnist", "r1", status="promoted", accuracy=0.9768)
    registry.set_run_cost("mnist", "ghost", 1.0)
    run = registry.run("mnist", "r1")
    assert run is not None
    assert (run.status, run.actual_usd) == ("promoted", 1.0)
    assert registry.run("mnist", "ghost") is None


def test_ending_a_run_that_never_was_creates_nothing(registry: DynamoModelRegistry) -> None:
    registry.end_run("mnist", "ghost", status="failed")
    assert registry.run("mnist", "ghost") is None


def test_runs_are_listed_newest_first(registry: DynamoModelRegistry) -> None:
    for day, run in ((1, "b"), (3, "a"), (2, "c")):
        registry.add_run(run_record(run, f"2026-01-0{day}T00:00:00.000Z"))
    assert [record.run for record in registry.runs("mnist")] == ["a", "c", "b"]


def test_a_record_is_written_once(registry: DynamoModelRegistry) -> None:
    for reason in ("first", "second"):
        registry.add_trigger(
            TriggerRecord(project="mnist", trigger="drop-0001", outcome="started", reason=reason, at="now")
        )
    record = registry.trigger("mnist", "drop-0001")
    assert record is not None
    assert record.reason == "first"


def test_dataset_versions_are_listed_newest_first(registry: DynamoModelRegistry) -> None:
    for day, version in ((1, "b"), (3, "a"), (2, "c")):
        at = f"2026-01-0{day}T00:00:00.000Z"
        registry.add_dataset(
            DatasetRecord(project="mnist", version=version, run="r", created_at=at, rows={"train": day})
        )
    assert [(one.version, one.rows) for one in registry.datasets("mnist")] == [
        *(("a", {"train": 3}), ("c", {"train": 2}), ("b", {"train": 1}))
    ]


def turn(number: int = 1, run: str = "r1", waiting: tuple[str, ...] = ()) -> Turn:
    return Turn(project="mnist", run=run, execution_arn=f"arn:{run}", number=number, waiting=list(waiting))


def test_a_free_turn_is_taken_once(registry: DynamoModelRegistry) -> None:
    assert registry.turn("mnist") is None
    taken = [registry.take_turn(turn(run=run), after=None) for run in ("r1", "r2", "r3")]
    assert taken == [True, False, False]
    assert registry.turn("mnist") == turn()


def test_a_turn_is_not_taken_over_the_head_of_one_who_waits(registry: DynamoModelRegistry) -> None:
    registry.take_turn(turn(), after=None)
    assert registry.wait_for_turn(turn(), "drop-1")
    assert not registry.take_turn(turn(2, "r2"), after=turn())
    assert registry.take_turn(turn(2, "r2"), after=turn(waiting=("drop-1",)))
    assert not registry.wait_for_turn(turn(), "drop-2")
    assert registry.turn("mnist") == turn(2, "r2")


def test_more_than_a_hundred_who_wait_are_not_kept(registry: DynamoModelRegistry) -> None:
    registry.take_turn(turn(), after=None)
    assert all(registry.wait_for_turn(turn(), f"drop-{number}") for number in range(103))
    kept = registry.turn("mnist")
    assert kept is not None
    assert kept.waiting == [f"drop-{number}" for number in range(100)]


def test_the_last_word_to_a_trigger_takes_the_place_of_queued_and_of_nothing_else(
    registry: DynamoModelRegistry,
) -> None:
    def answer(outcome: str) -> TriggerRecord:
        value = {"project": "mnist", "trigger": "t1", "outcome": outcome, "reason": "", "at": "now"}
        return TriggerRecord.from_value(value)

    for outcome in ("queued", "started", "queued", "refused"):
        registry.add_trigger(answer(outcome))
    assert registry.trigger("mnist", "t1") == answer("started")
