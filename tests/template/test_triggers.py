"""What can set off a run in the template, and what becomes of a message that nobody can read."""

from __future__ import annotations

import pytest

from lehr_local.shield.policies import Document
from tests.template.test_who_may_write import EVERYTHING_ALLOWED, judged
from tests.template.translated import EVERYTHING, deployed, of_type, policies

PARTS = ["incoming/mnist/_READY", "incoming/mnist/rows.csv"]


def writers(key: str, more: list[Document] | None = None) -> set[str]:
    """The roles that may write an object of the data bucket, with everything deployed that may be."""
    found = policies(deployed(EVERYTHING))
    roles = {name.partition("/")[0] for name in found if "/" in name}
    allowed = set()
    for role in roles:
        own = [
            found["GuardPolicy"],
            *(found[name] for name in found if name.startswith(f"{role}/")),
            *(more or []),
        ]
        if judged(role, "s3:PutObject", f"arn:aws:s3:::databucket/{key}", {}, *own) == "allowed":
            allowed.add(role)
    return allowed


@pytest.mark.parametrize("key", PARTS)
def test_nothing_that_runs_in_the_stack_may_drop_data_and_so_start_itself(key: str) -> None:
    assert writers(key) == set()


def test_a_role_that_could_would_be_found() -> None:
    """Negative control."""
    assert "TrainingRole" in writers(PARTS[0], [EVERYTHING_ALLOWED])


def test_only_a_ready_object_of_the_data_bucket_is_a_drop() -> None:
    rules = of_type(deployed(EVERYTHING), "AWS::Events::Rule").values()
    (drop,) = [
        rule["EventPattern"] for rule in rules if rule.get("EventPattern", {}).get("source") == ["aws.s3"]
    ]
    # Made, and not deleted; and of this bucket, which is not the one that a run writes to.
    assert drop["detail-type"] == ["Object Created"]
    assert drop["detail"]["bucket"]["name"] == ["databucket"]
    assert drop["detail"]["object"]["key"] == [{"wildcard": "incoming/*/_READY"}]


def test_what_was_uploaded_in_part_is_no_object_and_is_gone_after_a_day() -> None:
    buckets = of_type(deployed(), "AWS::S3::Bucket")
    assert len(buckets) == 2
    for name, properties in buckets.items():
        days = [
            rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]
            for rule in properties["LifecycleConfiguration"]["Rules"]
            if rule["Status"] == "Enabled"
            and "AbortIncompleteMultipartUpload" in rule
            and "Prefix" not in rule
        ]
        assert days == [1], name


def test_a_message_that_nobody_can_read_leaves_the_queue_after_five_times_and_rings() -> None:
    template = deployed()
    queues = of_type(template, "AWS::SQS::Queue")
    triggers, rest = queues["TriggerQueue"], queues["TriggerDeadLetterQueue"]
    assert triggers["RedrivePolicy"]["maxReceiveCount"] == 5
    assert triggers["RedrivePolicy"]["deadLetterTargetArn"].endswith(":triggerdeadletterqueue")
    assert rest["MessageRetentionPeriod"] == 14 * 24 * 3600
    (mapping,) = [
        one
        for one in of_type(template, "AWS::Lambda::EventSourceMapping").values()
        if str(one["EventSourceArn"]).endswith(":triggerqueue")
    ]
    # One that fails does not take the others of its batch along.
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    start = of_type(template, "AWS::Lambda::Function")["StartRunFunction"]
    assert triggers["VisibilityTimeout"] >= 6 * start["Timeout"]
    alarms = of_type(template, "AWS::CloudWatch::Alarm").values()
    (alarm,) = [one for one in alarms if one["AlarmName"] == "lehr-trigger-lost"]
    watched = str(alarm)
    assert "ApproximateNumberOfMessagesVisible" in watched
    assert "triggerdeadletterqueue" in watched
