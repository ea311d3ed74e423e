"""The states of an approval as they stand in the state machine, run by the interpreter: answered, and not answered.

The variables that earlier states assign are given, and the function is one that echoes; a test answers in its place.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.local_cloud.orchestration_cloud import Orchestration, orchestration, unique, until

__all__ = ["orchestration"]

ROOT = Path(__file__).parents[3]
STATES = ("Gate", "AwaitApproval", "IsApproved", "ExpireApproval")


class Approvals:
    """The states between the gate and the promotion; where they lead, a Pass state tells the reason."""

    def __init__(self, cloud: Orchestration) -> None:
        self.cloud, self.table = cloud, unique("registry")
        keys = [("pk", "HASH"), ("sk", "RANGE")]
        cloud.client("dynamodb").create_table(
            TableName=self.table,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
        )

    def start(self, *, expires_s: int, verdict: str = "promote") -> str:
        text = (ROOT / "statemachine/retrain.asl.yaml").read_text()
        text = text.replace("${AwaitApprovalFunction}", "echo").replace("${RegistryTable}", self.table)
        states = {name: state for name, state in yaml.safe_load(text)["States"].items() if name in STATES}
        assert len(states) == len(STATES)
        given = {
            "project": "mnist",
            "run": "r1",
            "candidate": {"version": "v1", "generation": 3},
            "judgement": {"verdict": verdict},
            "reason": "accuracy 0.98",
            "approvalExpiresS": expires_s,
        }
        ends = {
            name: {"Type": "Pass", "Output": {"end": name, "reason": "{% $reason %}"}, "End": True}
            for name in ("PromoteModel", "RecordRejection", "RecordFailure")
        }
        return self.cloud.start({"Given": {"Type": "Pass", "Assign": given, "Next": "Gate"}} | states | ends)

    def asked(self, execution: str) -> dict[str, Any]:
        """What AwaitApproval was called with."""

        def payload() -> Any:
            events = self.cloud.history(execution)
            if not any(event["type"] == "TaskSubmitted" for event in events):
                return None
            (call,) = [event for event in events if event["type"] == "TaskScheduled"]
            return json.loads(call["taskScheduledEventDetails"]["parameters"])["Payload"]

        found: dict[str, Any] = until(payload, 20)
        return found

    def output(self, execution: str) -> Any:
        return json.loads(self.cloud.finish(execution)["output"])


@pytest.fixture(scope="module")
def approvals(orchestration: Orchestration) -> Approvals:
    return Approvals(orchestration)


@pytest.mark.parametrize(
    ("verdict", "end"),
    [("approve", "PromoteModel"), ("reject", "RecordRejection")],
    ids=["approve", "reject"],
)
def test_a_run_waits_until_a_person_answers_and_keeps_who_did(
    approvals: Approvals, verdict: str, end: str
) -> None:
    execution = approvals.start(expires_s=600)
    asked = approvals.asked(execution)
    token = asked.pop("task_token")
    assert asked == {
        "project": "mnist",
        "run": "r1",
        "version": "v1",
        "generation": 3,
        "figures": "accuracy 0.98",
        "expires_after_s": 600,
    }
    assert approvals.cloud.execution(execution)["status"] == "RUNNING"
    answer = {"verdict": verdict, "reason": "said by ada"}
    approvals.cloud.client("stepfunctions").send_task_success(taskToken=token, output=json.dumps(answer))
    assert approvals.output(execution) == {"end": end, "reason": "accuracy 0.98; said by ada"}


def test_silence_is_a_rejection_with_its_reason_and_closes_the_question(approvals: Approvals) -> None:
    dynamodb = approvals.cloud.client("dynamodb")
    key = {"pk": {"S": "approval#mnist"}, "sk": {"S": "r1#0000000003"}}
    item = key | {"status": {"S": "PendingManualApproval"}, "figures": {"S": "accuracy 0.98"}}
    dynamodb.put_item(TableName=approvals.table, Item=item)
    execution = approvals.start(expires_s=1)
    token = approvals.asked(execution)["task_token"]
    output = approvals.output(execution)
    assert output["end"] == "RecordRejection"
    assert output["reason"].startswith("accuracy 0.98; nobody approved it within 0.00027")
    kept = dynamodb.get_item(TableName=approvals.table, Key=key)["Item"]
    assert (kept["status"], kept["via"], kept["figures"]) == (
        {"S": "Rejected"},
        {"S": "nobody"},
        item["figures"],
    )
    states = approvals.cloud.client("stepfunctions")
    late = (
        states.exceptions.TaskTimedOut,
        states.exceptions.InvalidToken,
        states.exceptions.TaskDoesNotExist,
    )
    with pytest.raises(late):
        states.send_task_success(taskToken=token, output="{}")


def test_a_question_that_cannot_be_closed_is_a_rejection_all_the_same(approvals: Approvals) -> None:
    """As when the function was never reached: there is no item."""
    dynamodb = approvals.cloud.client("dynamodb")
    key = {"pk": {"S": "approval#mnist"}, "sk": {"S": "r1#0000000003"}}
    dynamodb.delete_item(TableName=approvals.table, Key=key)
    assert approvals.output(approvals.start(expires_s=1))["end"] == "RecordRejection"
    assert "Item" not in dynamodb.get_item(TableName=approvals.table, Key=key)


@pytest.mark.parametrize(
    ("verdict", "expires_s", "end"), [("promote", 0, "PromoteModel"), ("reject", 600, "RecordRejection")]
)
def test_nobody_is_asked_where_the_recipe_does_not_or_the_gate_says_no(
    approvals: Approvals, verdict: str, expires_s: int, end: str
) -> None:
    execution = approvals.start(expires_s=expires_s, verdict=verdict)
    assert approvals.output(execution)["end"] == end
