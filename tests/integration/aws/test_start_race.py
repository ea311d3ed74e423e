"""One event that is delivered a hundred times, to eight at once, each with nothing in common but the table: one run."""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from functions.start_run import app
from functions.start_run.start import StartRun
from functions.start_run.turns import Turns
from lehr.aws.executions import StepFunctionsExecutions
from lehr.aws.registry import DynamoModelRegistry
from lehr.contracts.workflow import StartRequest
from tests.unit.functions.test_start_run import World

THREADS, COPIES = 8, 100
EVENT = {"id": "event-id-1234", "detail": {"object": {"key": "incoming/mnist/_READY"}}}
CONTEXT = SimpleNamespace(
    function_name="f", memory_limit_in_mb=1, invoked_function_arn="arn", aws_request_id="id"
)


class Deliveries:
    """The queue, and as many instances of the function as there are threads."""

    def __init__(self, table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        World().start_run.start(StartRequest(project="mnist"))
        self.client = boto3.client("stepfunctions")
        definition = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 3600, "End": True}}}
        role = "arn:aws:iam::123456789012:role/machine"
        machine = self.client.create_state_machine(
            name="retrain", definition=json.dumps(definition), roleArn=role
        )
        self.machine, self.table, self.world = machine["stateMachineArn"], table, World()
        self.world.data.put("incoming/mnist/_READY", b"drop-0001")
        self.failed: Counter[str] = Counter()
        self._local, self._barrier = threading.local(), threading.Barrier(THREADS)
        monkeypatch.setattr(app, "starter", self._starter)

    def _starter(self) -> StartRun:
        """Of each thread its own, as each instance of the function has its own."""
        if not hasattr(self._local, "starter"):
            self._local.starter = StartRun(
                data=self.world.data,
                artifacts=self.world.artifacts,
                registry=DynamoModelRegistry(self.table),
                executions=StepFunctionsExecutions(self.machine, self.client),
            )
        starter: StartRun = self._local.starter
        return starter

    def deliver(self, copies: int) -> None:
        def one(number: int) -> None:
            if number < THREADS:
                self._barrier.wait(timeout=30)
            record = {"messageId": str(number), "body": json.dumps(EVENT)}
            for _ in range(5):
                answer = app.handler({"Records": [record]}, CONTEXT)
                if not answer["batchItemFailures"]:
                    return
                self.failed["delivered again"] += 1
            self.failed["lost"] += 1

        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(one, range(copies)))

    def executions(self) -> list[str]:
        listed = self.client.list_executions(stateMachineArn=self.machine)["executions"]
        return [one["name"] for one in listed]


def test_an_event_that_comes_a_hundred_times_is_one_run(
    table: Any, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    queue = Deliveries(table, monkeypatch)
    queue.deliver(COPIES)
    record_property("seen", dict(queue.failed))
    (name,) = queue.executions()
    registry = DynamoModelRegistry(table)
    (run,) = registry.runs("mnist")
    trigger = registry.trigger("mnist", "drop-0001")
    assert trigger is not None
    assert name == f"mnist-{run.run}" == f"mnist-{trigger.run}"
    assert queue.failed["lost"] == 0


def test_without_a_name_by_content_and_a_turn_each_copy_may_start_one(
    table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: executions that are called anything, and nobody who looks whether one goes on."""
    queue, numbers = Deliveries(table, monkeypatch), itertools.count()
    start = StepFunctionsExecutions.start
    monkeypatch.setattr(
        StepFunctionsExecutions,
        "start",
        lambda executions, name, body: start(executions, f"{name}-{next(numbers)}", body),
    )
    monkeypatch.setattr(Turns, "take", lambda turns, turn, start: True)
    queue.deliver(THREADS)
    assert len(queue.executions()) > 1
