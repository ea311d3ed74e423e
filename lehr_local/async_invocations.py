"""Asynchronous invocations: tried three times, then handed to whoever collects failures.

On AWS the second and third try come after one and two minutes; here after one and two seconds, so that a
person at a laptop sees the end of it.
"""

from __future__ import annotations

import datetime
import json
import logging
import threading
import uuid
from typing import TYPE_CHECKING, Any

from lehr_local.authority import AccessDeniedError
from lehr_local.emulator import InvocationResult

if TYPE_CHECKING:
    from lehr_local.lambda_functions import LambdaRuntime

logger = logging.getLogger(__name__)

RETRY_BACK_OFF_S = 1.0
_MAXIMUM_RETRIES = 2


class AsyncInvocation(threading.Thread):
    """One event on its way into one function."""

    def __init__(
        self, runtime: LambdaRuntime, function: Any, payload: bytes, closed: threading.Event
    ) -> None:
        super().__init__(name=f"event-{function.function_name}", daemon=True)
        self._runtime = runtime
        self._function = function
        self._payload = payload or b"{}"
        self._closed = closed
        self._request_id = str(uuid.uuid4())

    def run(self) -> None:
        try:
            self._run()
        except Exception:
            logger.exception("an event for %s was lost", self._function.function_name)

    def _run(self) -> None:
        # moto appends every version of the configuration; the last one is in force.
        configurations = self._function.event_invoke_config
        config = configurations[-1].config if configurations else {}
        tries = 1 + int(config.get("MaximumRetryAttempts", _MAXIMUM_RETRIES))
        for attempt in range(1, tries + 1):
            result = self._runtime.run(self._function, self._payload, is_patient=True)
            if self._closed.is_set():
                return
            if result.error is None:
                return
            logger.warning(
                "event for %s failed, try %d of %d: %s",
                self._function.function_name,
                attempt,
                tries,
                result.payload.decode(errors="replace")[:500],
            )
            if attempt < tries and self._closed.wait(RETRY_BACK_OFF_S * attempt):
                return
        destination = config.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
        dead_letters = (getattr(self._function, "dead_letter_config", None) or {}).get("TargetArn")
        if destination:
            self._hand_over(destination, self._failure_record(result, tries))
        if dead_letters:
            message = json.loads(result.payload).get("errorMessage", "")
            attributes = {"RequestID": self._request_id, "ErrorCode": "200", "ErrorMessage": message}
            self._hand_over(dead_letters, self._payload.decode(), attributes)
        if not destination and not dead_letters:
            logger.error("event for %s was given up and nobody collects it", self._function.function_name)

    def _hand_over(self, arn: str, body: str, attributes: dict[str, str] | None = None) -> None:
        """Send to a queue, which Lambda does under the role of the function."""
        try:
            self._runtime.settings.authority.demand(self._function.role, "sqs:SendMessage", arn)
        except AccessDeniedError as error:
            logger.error("event for %s was given up and is lost: %s", self._function.function_name, error)
            return
        send_to_queue(arn, body, attributes)

    def _failure_record(self, result: InvocationResult, tries: int) -> str:
        # https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
        record = {
            "version": "1.0",
            "timestamp": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
            "requestContext": {
                "requestId": self._request_id,
                "functionArn": f"{self._function.function_arn}:{self._function.version}",
                "condition": "RetriesExhausted",
                "approximateInvokeCount": tries,
            },
            "requestPayload": json.loads(self._payload),
            "responseContext": {
                "statusCode": 200,
                "executedVersion": str(self._function.version),
                "functionError": result.error,
            },
            "responsePayload": json.loads(result.payload),
        }
        return json.dumps(record)


def send_to_queue(arn: str, body: str, attributes: dict[str, str] | None = None) -> None:
    """Put a message into a queue given by its ARN; only queues are known as collectors of failures."""
    from moto.sqs.models import sqs_backends

    service, region, account_id, name = arn.split(":")[2:6]
    if service != "sqs":
        logger.error("the local cloud sends failures to SQS queues only, not to %s; lost: %s", arn, body)
        return
    typed = {
        name: {"DataType": "String", "StringValue": value[:1024]}
        for name, value in (attributes or {}).items()
        if value
    }
    sqs_backends[account_id][region].send_message(name, body, message_attributes=typed)
