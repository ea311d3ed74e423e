"""Event source mappings from SQS: receives batches, invokes the function, deletes what succeeded.

What fails stays in the queue, is invisible until its visibility timeout has passed, and moves to the
dead-letter queue when its redrive policy says so: that is moto's own ReceiveMessage. Mappings are read from
moto's Lambda each time round, so that whatever made, changed or deleted one takes effect at once.
"""

from __future__ import annotations

import functools
import json
import logging
import threading
from typing import Any

from moto.sqs.exceptions import QueueDoesNotExist
from moto.sqs.models import Queue, SQSBackend, sqs_backends

from lehr_local.authority import AccessDeniedError
from lehr_local.emulator import InvocationResult
from lehr_local.lambda_functions import LambdaRuntime

logger = logging.getLogger(__name__)

# As many as AWS starts with, for each mapping.
CONCURRENT_BATCHES = 5
_LONG_POLL_S = 1
_BETWEEN_LOOKS_S = 0.2

_receive_unlocked = SQSBackend.receive_message
_delete_unlocked = Queue.delete_message


def _receive_message(backend: Any, queue_name: str, *args: Any, **kwargs: Any) -> Any:
    # Waiting inside releases the lock: it is the lock of the condition that is waited for.
    with backend.get_queue(queue_name)._messages_lock:
        return _receive_unlocked(backend, queue_name, *args, **kwargs)


def _delete_message(queue: Any, receipt_handle: str) -> None:
    with queue._messages_lock:
        _delete_unlocked(queue, receipt_handle)


def install_locks() -> None:
    """Make moto's queues safe for threads. Idempotent.

    moto takes the lock of a queue to append a message, but neither to receive (two consumers could get the
    same message) nor to delete (which rebuilds the list: a message appended meanwhile would be lost).
    """
    SQSBackend.receive_message = functools.wraps(_receive_unlocked)(_receive_message)
    Queue.delete_message = functools.wraps(_delete_unlocked)(_delete_message)


class QueuePolling:
    """One thread that looks for mappings, one poller for each of them."""

    def __init__(self, runtime: LambdaRuntime) -> None:
        self._runtime = runtime
        self._closed = threading.Event()
        self._pollers: dict[str, threading.Thread] = {}

    def start(self) -> None:
        install_locks()
        threading.Thread(target=self._look, name="event-source-mappings", daemon=True).start()

    def close(self) -> None:
        self._closed.set()
        for poller in list(self._pollers.values()):
            poller.join(timeout=2 * _LONG_POLL_S)

    def _look(self) -> None:
        while not self._closed.wait(_BETWEEN_LOOKS_S):
            try:
                for mapping in self._mappings():
                    poller = self._pollers.get(mapping.uuid)
                    if poller is None or not poller.is_alive():
                        poller = threading.Thread(
                            target=self._poll, args=(mapping,), name=f"poll-{mapping.uuid}", daemon=True
                        )
                        self._pollers[mapping.uuid] = poller
                        poller.start()
            except Exception:
                logger.exception("event source mappings could not be read")

    def _mappings(self) -> list[Any]:
        from moto.awslambda.utils import get_backend

        settings = self._runtime.settings
        mappings: list[Any] = get_backend(settings.account_id, settings.region).queue_mappings()
        return mappings

    def _poll(self, mapping: Any) -> None:
        region, account_id, queue_name = mapping.event_source_arn.split(":")[3:6]
        slots = threading.Semaphore(
            int((mapping.scaling_config or {}).get("MaximumConcurrency", CONCURRENT_BATCHES))
        )
        backend = sqs_backends[account_id][region]
        while not self._closed.is_set() and self._is_known(mapping):
            if not mapping.enabled:
                self._closed.wait(_BETWEEN_LOOKS_S)
                continue
            slots.acquire()
            is_handed_over = False
            try:
                messages = self._receive(backend, queue_name, mapping)
                if not self._is_wanted(mapping):
                    # Deleted or disabled while we waited for messages: give them back.
                    for message in messages:
                        backend.change_message_visibility(queue_name, message.receipt_handle, 0)
                elif messages:
                    worker = threading.Thread(
                        target=self._work,
                        args=(slots, mapping, backend, queue_name, messages),
                        name=f"batch-{queue_name}",
                        daemon=True,
                    )
                    worker.start()
                    is_handed_over = True
            except AccessDeniedError as error:
                logger.warning("messages of %s are not received: %s", queue_name, error)
                self._closed.wait(_LONG_POLL_S)
            except QueueDoesNotExist:
                self._closed.wait(_LONG_POLL_S)
            except Exception:
                logger.exception("messages of %s could not be received", queue_name)
                self._closed.wait(_LONG_POLL_S)
            finally:
                if not is_handed_over:
                    slots.release()

    def _is_known(self, mapping: Any) -> bool:
        return any(known is mapping for known in self._mappings())

    def _is_wanted(self, mapping: Any) -> bool:
        return not self._closed.is_set() and bool(mapping.enabled) and self._is_known(mapping)

    def _receive(self, backend: Any, queue_name: str, mapping: Any) -> list[Any]:
        self._demand(mapping, "sqs:ReceiveMessage", "sqs:GetQueueAttributes")
        visibility_s = int(backend.get_queue(queue_name).visibility_timeout)
        messages: list[Any] = backend.receive_message(
            queue_name, mapping.batch_size, _LONG_POLL_S, visibility_s, ["All"]
        )
        return messages

    def _demand(self, mapping: Any, *actions: str) -> None:
        """On AWS the service polls under the role of the function. Raises AccessDeniedError."""
        from moto.awslambda.utils import get_backend

        settings = self._runtime.settings
        function = get_backend(settings.account_id, settings.region).get_function(mapping.function_arn)
        for action in actions:
            settings.authority.demand(function.role, action, mapping.event_source_arn)

    def _work(
        self, slots: threading.Semaphore, mapping: Any, backend: Any, queue_name: str, messages: list[Any]
    ) -> None:
        try:
            event = {"Records": [_record(message, mapping) for message in messages]}
            result = self._runtime.invoke(mapping.function_arn, json.dumps(event).encode())
            failed = failed_messages(result, [message.id for message in messages], mapping)
            if failed:
                logger.warning(
                    "%d of %d messages of %s failed: %s",
                    len(failed),
                    len(messages),
                    queue_name,
                    result.payload.decode(errors="replace")[:500],
                )
            self._demand(mapping, "sqs:DeleteMessage")
            for message in messages:
                if message.id not in failed:
                    backend.delete_message(queue_name, message.receipt_handle)
        except Exception:
            logger.exception("a batch of %s was not delivered", queue_name)
        finally:
            slots.release()


def failed_messages(result: InvocationResult, ids: list[str], mapping: Any) -> set[str]:
    """Which of `ids` stay in the queue; all of them if the function failed or answers what it must not.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    """
    if result.error:
        return set(ids)
    if "ReportBatchItemFailures" not in (mapping.function_response_types or []):
        return set()
    try:
        answer = json.loads(result.payload)
        failures = (answer or {}).get("batchItemFailures") or []
        failed = {failure["itemIdentifier"] for failure in failures}
    except (ValueError, TypeError, AttributeError, KeyError):
        return set(ids)
    return failed if failed <= set(ids) else set(ids)


def _record(message: Any, mapping: Any) -> dict[str, Any]:
    attributes = {
        "ApproximateReceiveCount": str(message.approximate_receive_count),
        "SentTimestamp": str(message.sent_timestamp),
        "SenderId": message.sender_id,
        "ApproximateFirstReceiveTimestamp": str(message.approximate_first_receive_timestamp),
    }
    if message.group_id:
        attributes["MessageGroupId"] = message.group_id
        attributes["MessageDeduplicationId"] = message.deduplication_id
        attributes["SequenceNumber"] = message.sequence_number
    if message.system_attributes and "AWSTraceHeader" in message.system_attributes:
        attributes["AWSTraceHeader"] = message.system_attributes["AWSTraceHeader"].get("StringValue")
    return {
        "messageId": message.id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": attributes,
        "messageAttributes": {
            name: {
                "stringValue": value.get("StringValue"),
                "dataType": value.get("DataType"),
                "stringListValues": [],
                "binaryListValues": [],
            }
            for name, value in message.message_attributes.items()
        },
        "md5OfBody": message.body_md5,
        "eventSource": "aws:sqs",
        "eventSourceARN": mapping.event_source_arn,
        "awsRegion": mapping.region,
    }
