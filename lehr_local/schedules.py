"""Fires schedules: rules with a ScheduleExpression, and the schedules of EventBridge Scheduler.

moto stores both and fires neither. One thread looks at what there is; what happens when a time has come is the delivery
of `event_delivery`. After a pause (a laptop that slept) a schedule fires once, not once for each time missed.
"""

from __future__ import annotations

import datetime
import json
import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lehr_local.schedule_expressions import parse
from lehr_local.settings import LocalSettings

logger = logging.getLogger(__name__)

LOOK_S = 0.25

# Deliver an event to a target, in the background: target, event, ARN of what sends it.
Deliver = Callable[[dict[str, Any], dict[str, Any], str], None]
Clock = Callable[[], datetime.datetime]


@dataclass(frozen=True)
class Entry:
    """A schedule as it is now; when it has changed it counts as a new one."""

    arn: str
    expression: str
    timezone: str = "UTC"
    starts_at: float = 0.0
    ends_at: float = float("inf")


def _now() -> datetime.datetime:
    return datetime.datetime.now(tz=datetime.UTC)


class Schedules:
    """The timer of one local cloud."""

    def __init__(self, settings: LocalSettings, deliver: Deliver, now: Clock = _now) -> None:
        self._settings = settings
        self._deliver = deliver
        self._now = now
        self._closed = threading.Event()
        self._due: dict[Entry, datetime.datetime | None] = {}

    def start(self) -> None:
        threading.Thread(target=self._run, name="schedules", daemon=True).start()

    def close(self) -> None:
        self._closed.set()

    def look(self) -> None:
        """Fire what is due; what is seen for the first time is due at its next time from now on."""
        now = self._now()
        found = dict(self._entries())
        for entry in self._due.keys() - found.keys():
            del self._due[entry]
        for entry, fire in found.items():
            if entry not in self._due:
                self._due[entry] = self._next(entry, now)
                continue
            due = self._due[entry]
            if due is None or due > now:
                continue
            if entry.starts_at <= due.timestamp() <= entry.ends_at:
                fire(due)
            following = self._next(entry, due)
            self._due[entry] = following if following is None or following > now else self._next(entry, now)

    def _run(self) -> None:
        while not self._closed.wait(LOOK_S):
            try:
                self.look()
            except Exception:
                logger.exception("schedules were not looked at")

    def _next(self, entry: Entry, moment: datetime.datetime) -> datetime.datetime | None:
        try:
            return parse(entry.expression, entry.timezone).next_after(moment)
        except ValueError as error:
            logger.error("%s never fires: %s", entry.arn, error)
            return None

    def _entries(self) -> Iterator[tuple[Entry, Callable[[datetime.datetime], None]]]:
        from moto.events.models import events_backends
        from moto.scheduler.models import scheduler_backends

        account_id, region = self._settings.account_id, self._settings.region
        for bus in list(events_backends[account_id][region].event_buses.values()):
            for rule in list(bus.rules.values()):
                if rule.state == "ENABLED" and rule.scheduled_expression:
                    yield Entry(rule.arn, rule.scheduled_expression), self._fire_rule(rule)
        for group in list(scheduler_backends[account_id][region].schedule_groups.values()):
            for schedule in list(group.schedules.values()):
                if schedule.state == "ENABLED":
                    entry = Entry(
                        schedule.arn,
                        schedule.schedule_expression,
                        schedule.schedule_expression_timezone,
                        _seconds(schedule.start_date, 0.0),
                        _seconds(schedule.end_date, float("inf")),
                    )
                    yield entry, self._fire_schedule(group, schedule)

    def _fire_rule(self, rule: Any) -> Callable[[datetime.datetime], None]:
        def fire(due: datetime.datetime) -> None:
            event = self._event("aws.events", rule.arn, due)
            for target in list(rule.targets):
                self._deliver(target, event, rule.arn)

        return fire

    def _fire_schedule(self, group: Any, schedule: Any) -> Callable[[datetime.datetime], None]:
        def fire(due: datetime.datetime) -> None:
            event = self._event("aws.scheduler", schedule.arn, due)
            target = dict(schedule.target)
            if target.get("Input") is not None:
                target["Input"] = _with_context(target["Input"], event)
            else:
                target["Input"] = json.dumps({**event, "detail": "{}"})
            self._deliver(target, event, schedule.arn)
            is_over = schedule.schedule_expression.startswith("at(")
            if is_over and schedule.action_after_completion == "DELETE":
                group.schedules.pop(schedule.name, None)

        return fire

    def _event(self, source: str, arn: str, due: datetime.datetime) -> dict[str, Any]:
        return {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Scheduled Event",
            "source": source,
            "account": self._settings.account_id,
            "time": due.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": self._settings.region,
            "resources": [arn],
            "detail": {},
        }


def _seconds(date: Any, default: float) -> float:
    if date is None:
        return default
    return float(date.timestamp()) if isinstance(date, datetime.datetime) else float(date)


def _with_context(text: str, event: dict[str, Any]) -> str:
    values = {
        "schedule-arn": event["resources"][0],
        "scheduled-time": event["time"],
        "execution-id": event["id"],
        "attempt-number": "1",
    }
    for name, value in values.items():
        text = text.replace(f"<aws.scheduler.{name}>", value)
    return text
