"""Every statement of the template is needed: without it something that a person notices goes wrong.

First the record: a statement is needed if it alone allows a call that a scenario made. Then the proof: it is taken
away, and the scenario must go wrong, with a denial. The quick form proves three; the full form all of them:

    pytest -m slow tests/integration/shield/test_every_statement.py
"""

from __future__ import annotations

import json
import random
import subprocess
from collections import Counter

import pytest
from botocore.exceptions import ClientError

from tests.integration.shield.conftest import Baseline
from tests.integration.shield.guarded_cloud import Grant, GuardedCloud
from tests.integration.shield.not_exercised import ACTIONS, ROLES, STATEMENTS
from tests.integration.shield.scenarios import SCENARIOS, Observation, training

SAMPLE, SEED = 3, 7


def test_every_statement_is_needed_or_listed_with_a_reason(baseline: Baseline) -> None:
    not_needed = {str(grant) for grant, needs in baseline.needs if not needs and grant.role not in ROLES}
    assert not_needed == set(STATEMENTS)


def test_roles_that_nothing_acts_under_are_listed_and_no_other(
    cloud: GuardedCloud, baseline: Baseline
) -> None:
    active = {grant.role for grant, needs in baseline.needs if needs}
    assert {grant.role for grant in baseline.grants} - active == set(ROLES)


def test_every_action_of_a_needed_statement_is_called_or_listed_with_a_reason(
    cloud: GuardedCloud, baseline: Baseline
) -> None:
    called = {(call["actor"], call["action"]) for calls in baseline.calls.values() for call in calls}
    never = {
        f"{grant.role}: {action}"
        for grant, needs in baseline.needs
        for action in grant.actions
        if needs and (grant.role_name, action) not in called
    }
    assert never == set(ACTIONS)


def prove(
    cloud: GuardedCloud, baseline: Baseline, grant: Grant, needs: dict[str, set[str]], name: str
) -> str:
    """Why the statement is not proven needed; empty if it is."""
    scenario = next(each for each in SCENARIOS if each in needs)
    with cloud.without(grant):
        cloud.forget_calls()
        observation = _observe(cloud, scenario, name)
        denied = {
            call["action"]
            for call in cloud.calls()
            if call["actor"] == grant.role_name and call["outcome"] != "allowed"
        }
    if not denied & needs[scenario]:
        return f"{grant}: {scenario} was denied nothing"
    if observation == baseline.observations[scenario]:
        return f"{grant}: {scenario} went as well without it"
    return ""


def _observe(cloud: GuardedCloud, scenario: str, name: str) -> Observation:
    try:
        observation = SCENARIOS[scenario](cloud, name)
    except (AssertionError, ClientError, subprocess.TimeoutExpired) as error:
        return {"broken": type(error).__name__}
    return _codes(observation) if scenario == "prediction_before_training" else observation


def _codes(observation: Observation) -> Observation:
    """Without the name of the project."""
    return {str(index): code for index, code in enumerate(observation.values())}


@pytest.fixture(scope="module")
def proving(baseline: Baseline) -> Baseline:
    """The baseline in the form in which observations are compared."""
    name = "prediction_before_training"
    observations = baseline.observations | {name: _codes(baseline.observations[name])}
    return Baseline(observations, baseline.calls, baseline.denials, baseline.grants, baseline.needs)


def test_without_one_of_three_statements_something_goes_wrong(cloud: GuardedCloud, proving: Baseline) -> None:
    needed = sorted(
        (item for item in proving.needs if item[1]), key=lambda item: json.dumps(item[0].statement)
    )
    sample = random.Random(SEED).sample(needed, SAMPLE)
    failures = [prove(cloud, proving, *item, f"sample-{index}") for index, item in enumerate(sample)]
    assert not any(failures), failures


@pytest.mark.slow
def test_without_any_one_statement_something_goes_wrong(cloud: GuardedCloud, proving: Baseline) -> None:
    needed = [item for item in proving.needs if item[1]]
    failures = []
    for index, (grant, needs) in enumerate(needed):
        failure = prove(cloud, proving, grant, needs, f"without-{index}")
        print(f"{index + 1}/{len(needed)} {grant}: {failure or 'needed'}", flush=True)
        failures += [failure] if failure else []
    print(Counter(grant.role for grant, _ in needed))
    assert failures == []


def test_the_queue_takes_messages_of_the_rule_only_because_its_policy_says_so(
    cloud: GuardedCloud, proving: Baseline
) -> None:
    sqs = cloud.place.client("sqs")
    (url,) = [url for url in sqs.list_queues()["QueueUrls"] if "TriggerQueue" in url and "Dead" not in url]
    policy = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"]
    nobody = json.dumps({"Version": "2012-10-17", "Statement": []})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": nobody})
    try:
        assert SCENARIOS["drop_for_nobody"](cloud, "unheard") == {"outcome": None}
    finally:
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})


def test_a_role_that_sagemaker_may_not_assume_trains_nothing(cloud: GuardedCloud) -> None:
    iam = cloud.place.client("iam")
    role = cloud.roles["TrainingRole"]
    trust = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    statement = {
        **trust["Statement"][0],
        "Condition": {"StringEquals": {"aws:SourceAccount": "999999999999"}},
    }
    iam.update_assume_role_policy(
        RoleName=role, PolicyDocument=json.dumps({**trust, "Statement": [statement]})
    )
    try:
        seen = training(cloud, "untrusted")
    finally:
        iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(trust))
    assert seen["statuses"] == ["failed"]
