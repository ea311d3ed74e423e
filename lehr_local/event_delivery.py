"""Delivers events: from EventBridge rules to their targets, and from queues to functions.

moto matches events with rules, but knows neither functions nor state machines as targets, and swallows the
error that says so. The hook is `Rule.send_to_targets`: it delivers to Lambda, Step Functions, SQS and SNS
itself, in the background as AWS does, and leaves the other kinds to moto. What cannot be delivered goes to
the target's dead-letter queue if it has one, and always into the log of the local cloud.
"""

from __future__ import annotations

import itertools
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from moto.events.models import Rule

from lehr_local import settings as local
from lehr_local.async_invocations import send_to_queue
from lehr_local.event_targets import as_on_aws, payload_for
from lehr_local.lambda_functions import LambdaRuntime
from lehr_local.queue_polling import QueuePolling
from lehr_local.schedules import Schedules

logger = logging.getLogger(__name__)

_send_natively = Rule.send_to_targets
# The id of every S3 event. moto hands the same object to all rules, so the first one replaces it for all.
_CONSTANT_ID = "17793124-05d4-b198-2fde-7ededc63b103"
_ROLE_ACTIONS = {
    "lambda": "lambda:InvokeFunction",
    "states": "states:StartExecution",
    "sqs": "sqs:SendMessage",
    "sns": "sns:Publish",
}
_SEQUENCER = itertools.count(time.time_ns())


class EventDelivery:
    """What `install` returns; `close` stops the delivery from queues and from schedules."""

    def __init__(self, settings: local.LocalSettings, runtime: LambdaRuntime) -> None:
        self._settings = settings
        self._runtime = runtime
        self._stepfunctions_lock = threading.Lock()
        self._stepfunctions: Any = None
        self._deliver_to: dict[str, Callable[[dict[str, Any], str], None]] = {
            "lambda": lambda target, body: runtime.invoke_later(target["Arn"], body.encode()),
            "states": self._start_execution,
            "sqs": self._send_to_queue,
            "sns": self._publish,
        }
        self.queues = QueuePolling(runtime)
        self._schedules = Schedules(settings, self.deliver)

    def start(self) -> None:
        self.queues.start()
        self._schedules.start()

    def close(self) -> None:
        self._schedules.close()
        self.queues.close()

    def send(self, rule: Any, original_event: dict[str, Any], transform_input: bool) -> None:
        """Stand in for `Rule.send_to_targets`."""
        # A rule with a schedule has no pattern, and moto would take that for "everything".
        if rule.state != "ENABLED" or not rule.event_pattern.get_pattern():
            return
        if original_event.get("id") == _CONSTANT_ID:
            original_event["id"] = str(uuid.uuid4())
            original_event["sequencer"] = f"{next(_SEQUENCER):016X}"
        event = as_on_aws(original_event, original_event["id"], original_event.get("sequencer", ""))
        if not rule.event_pattern.matches_event(event):
            return
        native = []
        for target in rule.targets:
            if target["Arn"].split(":")[2] in self._deliver_to:
                self._in_background(target, event, rule.arn)
            else:
                native.append(target)
        if native:
            self._send_natively(rule, native, original_event, transform_input)

    def deliver(self, target: dict[str, Any], event: dict[str, Any], source_arn: str) -> None:
        """Deliver the event of a schedule, whatever it matches, in the background."""
        if target["Arn"].split(":")[2] in self._deliver_to:
            self._in_background(target, event, source_arn)
        else:
            logger.error("%s: a schedule's target %s is not simulated", source_arn, target["Arn"])

    def _in_background(self, target: dict[str, Any], event: dict[str, Any], rule_arn: str) -> None:
        threading.Thread(
            target=self._deliver, args=(target, event, rule_arn), name="event-delivery", daemon=True
        ).start()

    def _deliver(self, target: dict[str, Any], event: dict[str, Any], rule_arn: str) -> None:
        body = json.dumps(event)
        try:
            body = payload_for(target, event, rule_arn)
            if rule_arn.startswith("arn:aws:scheduler:"):
                self._demand_as_role(target)
            else:
                self._demand(target["Arn"], rule_arn)
            self._deliver_to[target["Arn"].split(":")[2]](target, body)
        except Exception as error:
            logger.exception("event %s of %s did not reach %s", event["id"], rule_arn, target["Arn"])
            dead_letters = (target.get("DeadLetterConfig") or {}).get("Arn")
            if dead_letters:
                send_to_queue(
                    dead_letters,
                    body,
                    {"RULE_ARN": rule_arn, "TARGET_ARN": target["Arn"], "ERROR_MESSAGE": str(error)},
                )

    def _demand(self, target_arn: str, rule_arn: str) -> None:
        """Queues and functions say in a policy of their own who may reach them. Raises AccessDeniedError."""
        action = {"sqs": "sqs:SendMessage", "lambda": "lambda:InvokeFunction"}.get(target_arn.split(":")[2])
        if action is not None:
            self._settings.authority.demand_for_service(
                "events.amazonaws.com", action, target_arn, {"aws:SourceArn": rule_arn}
            )

    def _demand_as_role(self, target: dict[str, Any]) -> None:
        """EventBridge Scheduler reaches its targets under a role of the user's. Raises AccessDeniedError."""
        action = _ROLE_ACTIONS[target["Arn"].split(":")[2]]
        self._settings.authority.demand(target.get("RoleArn", ""), action, target["Arn"])

    def _send_natively(
        self, rule: Any, targets: list[dict[str, Any]], event: dict[str, Any], transform_input: bool
    ) -> None:
        # A stand-in of the same rule with fewer targets: the rule itself may be in use by another thread.
        stand_in = Rule.__new__(Rule)
        stand_in.__dict__.update(rule.__dict__, targets=targets)
        event.setdefault("ingestion-time", event["time"])
        try:
            _send_natively(stand_in, event, transform_input)
        except Exception:
            logger.exception("an event of %s did not reach all of %s", rule.arn, [t["Arn"] for t in targets])

    def _start_execution(self, target: dict[str, Any], body: str) -> None:
        with self._stepfunctions_lock:
            if self._stepfunctions is None:
                import boto3

                # Over HTTP, so that it starts exactly as it does for everybody else.
                self._stepfunctions = boto3.session.Session().client(
                    "stepfunctions",
                    endpoint_url=self._settings.endpoint_url,
                    region_name=self._settings.region,
                    aws_access_key_id=local.ACCESS_KEY_ID,
                    aws_secret_access_key=local.SECRET_ACCESS_KEY,
                )
        self._stepfunctions.start_execution(stateMachineArn=target["Arn"], name=str(uuid.uuid4()), input=body)

    def _send_to_queue(self, target: dict[str, Any], body: str) -> None:
        from moto.sqs.models import sqs_backends

        region, account_id, name = target["Arn"].split(":")[3:6]
        group = (target.get("SqsParameters") or {}).get("MessageGroupId")
        sqs_backends[account_id][region].send_message(name, body, group_id=group)

    def _publish(self, target: dict[str, Any], body: str) -> None:
        from moto.sns.models import sns_backends

        region, account_id = target["Arn"].split(":")[3:5]
        sns_backends[account_id][region].publish(message=body, arn=target["Arn"])


def install(settings: local.LocalSettings, runtime: LambdaRuntime) -> EventDelivery:
    """Put the hook in place, start to poll queues and to fire schedules. Idempotent, but for these two."""
    delivery = EventDelivery(settings, runtime)

    def send_to_targets(rule: Any, original_event: dict[str, Any], transform_input: bool = True) -> None:
        delivery.send(rule, original_event, transform_input)

    Rule.send_to_targets = send_to_targets
    delivery.start()
    return delivery
