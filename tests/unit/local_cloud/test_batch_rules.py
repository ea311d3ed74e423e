"""The rules of Batch that need no process: retries, parameters, nodes, statuses of an array."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lehr_local.batch_container import with_entrypoint
from lehr_local.batch_documents import array_status
from lehr_local.batch_request import JobPlan, RefusedError, plan, with_parameters
from lehr_local.batch_retries import EXITED, TIMED_OUT, AttemptEnd, is_retried
from lehr_local.batch_run import BatchJob

FAILED = AttemptEnd(exit_code=1, status_reason=EXITED)
RECLAIMED = AttemptEnd(exit_code=None, status_reason="Host EC2 (instance i-0a1) terminated.")
SPOT_RULES = {
    "attempts": 5,
    "evaluateOnExit": [
        {"onStatusReason": "Host EC2*", "action": "RETRY"},
        {"onReason": "*", "action": "EXIT"},
    ],
}


def definition(**members: Any) -> Any:
    defaults = {
        "status": "ACTIVE",
        "arn": "arn:aws:batch:us-east-1:123456789012:job-definition/train:1",
        "parameters": {},
        "node_properties": None,
        "container_properties": {"image": "i", "command": ["train"], "environment": []},
        "retry_strategy": None,
        "timeout": None,
    }
    return SimpleNamespace(**{**defaults, **members})


def request(**members: Any) -> dict[str, Any]:
    return {"jobName": "job", "jobQueue": "queue", "jobDefinition": "train", **members}


def test_a_failed_attempt_is_repeated_until_none_is_left() -> None:
    assert is_retried({"attempts": 3}, 2, FAILED)
    assert not is_retried({"attempts": 3}, 3, FAILED)
    assert not is_retried({}, 1, FAILED)
    assert not is_retried(None, 1, FAILED)


def test_a_success_is_never_repeated() -> None:
    assert not is_retried({"attempts": 3}, 1, AttemptEnd(exit_code=0, status_reason=EXITED))


def test_a_reclaimed_host_is_told_from_a_failing_program() -> None:
    assert is_retried(SPOT_RULES, 1, RECLAIMED)
    assert not is_retried(SPOT_RULES, 1, FAILED)


def test_the_first_rule_that_matches_decides() -> None:
    rules = [{"onExitCode": "1", "action": "exit"}, {"onExitCode": "1*", "action": "retry"}]
    assert not is_retried({"attempts": 9, "evaluateOnExit": rules}, 1, FAILED)
    other = AttemptEnd(exit_code=137, status_reason=EXITED)
    assert is_retried({"attempts": 9, "evaluateOnExit": rules}, 1, other)


def test_all_conditions_of_a_rule_have_to_match() -> None:
    rules = [{"onExitCode": "1", "onStatusReason": "Host EC2*", "action": "EXIT"}]
    assert is_retried({"attempts": 2, "evaluateOnExit": rules}, 1, FAILED)


def test_what_no_rule_matches_is_repeated() -> None:
    rules = [{"onExitCode": "7", "action": "EXIT"}]
    assert is_retried({"attempts": 2, "evaluateOnExit": rules}, 1, FAILED)


def test_an_attempt_that_ran_out_of_time_is_the_last() -> None:
    assert not is_retried({"attempts": 9}, 1, AttemptEnd(exit_code=143, status_reason=TIMED_OUT))


def test_parameters_replace_their_references_and_unknown_ones_stay() -> None:
    command = ["train", "--epochs", "Ref::epochs", "s3://Ref::bucket/x", "Ref::missing"]
    assert with_parameters(command, {"epochs": "3", "bucket": "b"}) == [
        "train",
        "--epochs",
        "3",
        "s3://b/x",
        "Ref::missing",
    ]


def test_a_submission_overrides_its_definition() -> None:
    own = definition(
        container_properties={
            "image": "i",
            "command": ["train", "Ref::epochs"],
            "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        },
        parameters={"epochs": "1"},
    )
    made = plan(
        request(
            parameters={"epochs": "9"}, containerOverrides={"environment": [{"name": "B", "value": "3"}]}
        ),
        own,
    )
    (container,) = made.containers
    assert container["command"] == ["train", "9"]
    assert container["environment"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}]
    assert own.container_properties["command"] == ["train", "Ref::epochs"]


def multi_node(ranges: dict[str, str], count: int = 3, main: int = 0) -> Any:
    return definition(
        container_properties=None,
        node_properties={
            "numNodes": count,
            "mainNode": main,
            "nodeRangeProperties": [
                {"targetNodes": target, "container": {"image": "i", "command": [command]}}
                for target, command in ranges.items()
            ],
        },
    )


def test_each_node_gets_the_container_of_its_range_and_the_later_range_counts() -> None:
    made = plan(request(), multi_node({"0:": "worker", "0": "leader"}))
    assert [container["command"] for container in made.containers] == [["leader"], ["worker"], ["worker"]]


def test_the_number_of_nodes_can_be_overridden() -> None:
    overrides = {
        "numNodes": 2,
        "nodePropertyOverrides": [
            {"targetNodes": "1:", "containerOverrides": {"environment": [{"name": "A", "value": "1"}]}}
        ],
    }
    made = plan(request(nodeOverrides=overrides), multi_node({"0:": "worker"}))
    assert [container["environment"] for container in made.containers] == [[], [{"name": "A", "value": "1"}]]
    assert made.node_properties is not None
    assert made.node_properties["numNodes"] == 2


@pytest.mark.parametrize(
    ("members", "own", "words"),
    [
        ({"jobName": "a b"}, definition(), "should match valid pattern"),
        ({"arrayProperties": {"size": 1}}, definition(), "Array size"),
        ({"retryStrategy": {"attempts": 11}}, definition(), "attempts"),
        ({"timeout": {"attemptDurationSeconds": 59}}, definition(), "at least 60"),
        ({}, definition(status="INACTIVE"), "not active"),
        ({}, multi_node({"0:1": "worker"}), "Node 2 has no container"),
        ({}, multi_node({"0:": "worker"}, main=3), "mainNode 3"),
        ({}, definition(container_properties={"command": [], "secrets": [{"name": "A"}]}), "secrets"),
        ({"arrayProperties": {"size": 2}}, multi_node({"0:": "worker"}), "multi-node"),
        ({"eksPropertiesOverride": {"podProperties": {}}}, definition(), "not simulated"),
    ],
)
def test_what_batch_refuses_is_refused_with_a_sentence(members: Any, own: Any, words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        plan(request(**members), own)


@pytest.mark.parametrize(
    ("children", "expected"),
    [
        (["SUCCEEDED", "RUNNING"], "PENDING"),
        (["FAILED", "RUNNABLE"], "PENDING"),
        (["SUCCEEDED", "FAILED"], "FAILED"),
        (["SUCCEEDED", "SUCCEEDED"], "SUCCEEDED"),
    ],
)
def test_the_status_of_an_array_comes_from_its_children(children: list[str], expected: str) -> None:
    empty = JobPlan(definition="", containers=())
    jobs = [
        BatchJob(
            job_id="",
            arn="",
            name="",
            queue="",
            queue_arn="",
            compute_environment="",
            definition_name="",
            plan=empty,
            status=status,
        )
        for status in children
    ]
    assert array_status(jobs) == expected


@pytest.mark.parametrize(
    ("image", "command", "argv"),
    [
        (
            "1.dkr.ecr.x.amazonaws.com/pytorch-training:2.10.0-gpu-py313",
            ["a b && c"],
            ["bash", "-c", "a b && c"],
        ),
        ("1.dkr.ecr.x.amazonaws.com/pytorch-training@sha256:0", ["a", "b"], ["bash", "-c", "a b"]),
        ("r/lehr-trainer:1", ["batch"], ["python", "-m", "lehr_trainer", "batch"]),
        ("r/lehr-trainer", [], ["python", "-m", "lehr_trainer", "train"]),
        ("busybox", ["echo", "a b"], ["echo", "a b"]),
    ],
)
def test_a_command_goes_to_the_entry_point_of_its_image(
    image: str, command: list[str], argv: list[str]
) -> None:
    assert with_entrypoint(image, command) == argv
