"""The timer: what fires when, with a clock that the test turns."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.core.base_backend import BackendDict
from moto.events.models import events_backends
from moto.scheduler.models import scheduler_backends

from lehr_local.schedules import Schedules
from lehr_local.settings import ACCOUNT_ID, REGION, LocalSettings

QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT_ID}:work"


class Timer:
    def __init__(self) -> None:
        self.now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        self.delivered: list[tuple[dict[str, Any], dict[str, Any], str]] = []
        settings = LocalSettings(state_dir=Path("/"), port=1, https_port=1)
        self.schedules = Schedules(settings, lambda *given: self.delivered.append(given), lambda: self.now)
        self.schedules.look()

    def after(self, **duration: float) -> list[str]:
        """Turn the clock and look; the times of the events that were delivered."""
        self.now += datetime.timedelta(**duration)
        self.delivered.clear()
        self.schedules.look()
        return [event["time"] for _, event, _ in self.delivered]


@pytest.fixture
def timer() -> Iterator[Timer]:
    BackendDict.reset()
    yield Timer()
    BackendDict.reset()


def put_rule(expression: str, state: str = "ENABLED") -> None:
    events = events_backends[ACCOUNT_ID][REGION]
    events.put_rule(name="nightly", scheduled_expression=expression, state=state)
    events.put_targets(name="nightly", event_bus_arn=None, targets=[{"Id": "1", "Arn": QUEUE}])


def put_schedule(expression: str, **members: Any) -> Any:
    defaults = {
        "description": "",
        "end_date": None,
        "flexible_time_window": {"Mode": "OFF"},
        "group_name": "default",
        "kms_key_arn": "",
        "name": "once",
        "schedule_expression": expression,
        "schedule_expression_timezone": "UTC",
        "start_date": None,
        "state": "ENABLED",
        "target": {"Arn": QUEUE, "RoleArn": "arn:aws:iam::123456789012:role/r"},
        "action_after_completion": None,
    }
    return scheduler_backends[ACCOUNT_ID][REGION].create_schedule(**{**defaults, **members})


def test_a_rule_with_a_rate_fires_after_each_interval(timer: Timer) -> None:
    put_rule("rate(5 minutes)")
    assert timer.after(seconds=1) == []
    assert timer.after(minutes=4) == []
    assert timer.after(minutes=1) == ["2026-01-01T00:05:01Z"]
    assert timer.after(seconds=1) == []
    assert timer.after(minutes=5) == ["2026-01-01T00:10:01Z"]


def test_the_event_of_a_rule_is_that_of_aws(timer: Timer) -> None:
    put_rule("cron(0 2 * * ? *)")
    timer.after(seconds=1)
    timer.after(hours=3)
    ((target, event, source),) = timer.delivered
    assert target["Arn"] == QUEUE
    assert source == f"arn:aws:events:{REGION}:{ACCOUNT_ID}:rule/nightly"
    assert event.pop("id")
    assert event == {
        "version": "0",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT_ID,
        "time": "2026-01-01T02:00:00Z",
        "region": REGION,
        "resources": [source],
        "detail": {},
    }


def test_after_a_long_pause_a_schedule_fires_once(timer: Timer) -> None:
    put_rule("rate(1 minute)")
    timer.after(seconds=1)
    assert len(timer.after(hours=8)) == 1
    assert timer.after(seconds=30) == []
    assert len(timer.after(seconds=31)) == 1


def test_a_disabled_rule_does_not_fire_and_an_enabled_one_begins_anew(timer: Timer) -> None:
    put_rule("rate(1 minute)", state="DISABLED")
    timer.after(seconds=1)
    assert timer.after(minutes=5) == []
    put_rule("rate(1 minute)")
    assert timer.after(seconds=1) == []
    assert len(timer.after(minutes=1)) == 1


def test_a_changed_expression_counts_at_once(timer: Timer) -> None:
    put_rule("rate(1 day)")
    timer.after(seconds=1)
    put_rule("rate(1 minute)")
    timer.after(seconds=1)
    assert len(timer.after(minutes=1)) == 1


def test_an_expression_that_is_none_never_fires_and_stops_nothing(timer: Timer) -> None:
    put_schedule("cron(0 0 * * * *)", name="broken")
    put_rule("rate(1 minute)")
    timer.after(seconds=1)
    assert len(timer.after(minutes=1)) == 1


def test_a_single_moment_fires_once_and_can_delete_itself(timer: Timer) -> None:
    schedule = put_schedule("at(2026-01-01T01:00:00)", action_after_completion="DELETE")
    timer.after(seconds=1)
    assert timer.after(minutes=59) == []
    assert timer.after(minutes=1) == ["2026-01-01T01:00:00Z"]
    assert timer.after(days=1) == []
    group = scheduler_backends[ACCOUNT_ID][REGION].schedule_groups["default"]
    assert schedule.name not in group.schedules


def test_a_schedule_fires_between_its_start_and_its_end(timer: Timer) -> None:
    start, end = timer.now + datetime.timedelta(hours=2), timer.now + datetime.timedelta(hours=3)
    put_schedule("rate(1 hour)", start_date=start.timestamp(), end_date=end.timestamp())
    assert timer.after(seconds=0) == []
    assert [len(timer.after(hours=1)) for _ in range(5)] == [0, 1, 1, 0, 0]


def test_the_input_of_a_schedule_can_name_the_time(timer: Timer) -> None:
    target = {"Arn": QUEUE, "RoleArn": "r", "Input": '{"at": "<aws.scheduler.scheduled-time>"}'}
    put_schedule("rate(1 hour)", target=target)
    timer.after(seconds=0)
    timer.after(hours=1)
    ((delivered, _, _),) = timer.delivered
    assert json.loads(delivered["Input"]) == {"at": "2026-01-01T01:00:00Z"}
    # The schedule keeps its own text for the next time.
    assert target["Input"] == '{"at": "<aws.scheduler.scheduled-time>"}'


def test_a_schedule_without_an_input_sends_its_event(timer: Timer) -> None:
    put_schedule("rate(1 hour)")
    timer.after(seconds=0)
    timer.after(hours=1)
    ((delivered, _, _),) = timer.delivered
    assert json.loads(delivered["Input"])["source"] == "aws.scheduler"
