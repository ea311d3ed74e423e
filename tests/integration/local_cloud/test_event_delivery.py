"""Events in the local cloud: from a bucket to a rule to a queue to a function, and what may go wrong."""

from __future__ import annotations

import json
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lehr_local.emulator import InvocationResult
from lehr_local.event_targets import as_on_aws, payload_for
from lehr_local.queue_polling import failed_messages
from tests.integration.local_cloud.functions_cloud import FunctionsCloud, eventually

ACCOUNT = "123456789012"
PRINTS = "import json\ndef handler(event, context):\n    print('got ' + json.dumps(event))\n"
ARN = "arn:aws:{service}:us-east-1:123456789012:{name}"
EVENT: dict[str, Any] = {
    "version": "0",
    "id": "some-id",
    "detail-type": "Training",
    "source": "lehr",
    "account": ACCOUNT,
    "time": "2026-01-02T03:04:05Z",
    "region": "us-east-1",
    "resources": ["r"],
    "detail": {"project": "digits", "count": 3, "tags": ["a", "b"], "text": 'say "hi"'},
}


def rule(cloud: FunctionsCloud, name: str, pattern: dict[str, Any], target: dict[str, Any]) -> None:
    events = cloud.client("events")
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "target", **target}])


def queue(cloud: FunctionsCloud, name: str, **attributes: str) -> str:
    return str(cloud.client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])


def emit(cloud: FunctionsCloud, source: str, detail: dict[str, Any]) -> None:
    entry = {"Source": source, "DetailType": "Test", "Detail": json.dumps(detail)}
    assert cloud.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0


def received(cloud: FunctionsCloud, url: str) -> list[Any]:
    """Bodies of the messages in a queue, which they leave."""
    sqs = cloud.client("sqs")
    messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    for message in messages:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return [json.loads(message["Body"]) for message in messages]


def events_printed(cloud: FunctionsCloud, function: str) -> list[Any]:
    """The events that a function with the code PRINTS has got."""
    return [json.loads(line[4:]) for line in cloud.logged(function) if line.startswith("got ")]


def test_an_object_in_a_bucket_reaches_a_function_through_a_rule_and_a_queue(cloud: FunctionsCloud) -> None:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="data")
    s3.put_bucket_notification_configuration(
        Bucket="data", NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    queue(cloud, "starts")
    pattern = {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": ["data"]}, "object": {"key": [{"wildcard": "incoming/*/_READY"}]}},
    }
    rule(cloud, "ready", pattern, {"Arn": ARN.format(service="sqs", name="starts")})
    cloud.function("start-run", PRINTS)
    cloud.client("lambda").create_event_source_mapping(
        EventSourceArn=ARN.format(service="sqs", name="starts"), FunctionName="start-run", BatchSize=1
    )
    for key in ("incoming/digits/a.csv", "incoming/digits/_READY", "incoming/words/_READY"):
        s3.put_object(Bucket="data", Key=key, Body=b"x")
    batches = eventually(lambda: events if len(events := events_printed(cloud, "start-run")) == 2 else None)
    bodies = [json.loads(record["body"]) for batch in batches for record in batch["Records"]]
    keys = sorted(body["detail"]["object"]["key"] for body in bodies)
    assert keys == ["incoming/digits/_READY", "incoming/words/_READY"]
    assert len({body["id"] for body in bodies}) == 2, "whoever drops duplicates would drop the second"
    for body in bodies:
        assert time.strptime(body["time"], "%Y-%m-%dT%H:%M:%SZ")
        assert body["detail"]["reason"] == "PutObject"
        assert set(body) == set(EVENT)
    eventually(
        lambda: not cloud.client("sqs").receive_message(QueueUrl=queue(cloud, "starts")).get("Messages")
    )


def test_a_function_is_a_target_and_gets_the_whole_event(cloud: FunctionsCloud) -> None:
    cloud.function("listens", PRINTS)
    rule(
        cloud,
        "to-function",
        {"source": ["test.function"]},
        {"Arn": ARN.format(service="lambda", name="function:listens")},
    )
    emit(cloud, "test.function", {"x": 1})
    (event,) = eventually(lambda: events_printed(cloud, "listens"))
    assert (event["source"], event["detail-type"], event["detail"]) == ("test.function", "Test", {"x": 1})


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("input", {"Input": '{"constant": true}'}, {"constant": True}),
        ("path", {"InputPath": "$.detail.items"}, [1, 2]),
        (
            "transformer",
            {
                "InputTransformer": {
                    "InputPathsMap": {"n": "$.detail.name", "i": "$.detail.items"},
                    "InputTemplate": '{"name": <n>, "text": "items <i> of <n>", "items": <i>}',
                }
            },
            {"name": "digits", "text": "items [1, 2] of digits", "items": [1, 2]},
        ),
    ],
)
def test_a_queue_gets_what_the_target_says(
    cloud: FunctionsCloud, name: str, shape: dict[str, Any], expected: Any
) -> None:
    url = queue(cloud, f"shape-{name}")
    target = {"Arn": ARN.format(service="sqs", name=f"shape-{name}"), **shape}
    rule(cloud, f"shape-{name}", {"source": [f"test.{name}"]}, target)
    emit(cloud, f"test.{name}", {"name": "digits", "items": [1, 2]})
    assert eventually(lambda: received(cloud, url)) == [expected]


def test_a_state_machine_is_a_target(cloud: FunctionsCloud) -> None:
    machines = cloud.client("stepfunctions")
    definition = {"StartAt": "Done", "States": {"Done": {"Type": "Pass", "End": True}}}
    arn = machines.create_state_machine(
        name="started-by-a-rule",
        definition=json.dumps(definition),
        roleArn=f"arn:aws:iam::{ACCOUNT}:role/test",
    )["stateMachineArn"]
    rule(cloud, "to-machine", {"source": ["test.machine"]}, {"Arn": arn, "Input": '{"from": "rule"}'})
    emit(cloud, "test.machine", {"x": 1})
    execution = eventually(lambda: machines.list_executions(stateMachineArn=arn)["executions"])[0]
    described = machines.describe_execution(executionArn=execution["executionArn"])
    assert json.loads(described["input"]) == {"from": "rule"}


def test_a_topic_is_a_target(cloud: FunctionsCloud) -> None:
    sns = cloud.client("sns")
    topic = sns.create_topic(Name="news")["TopicArn"]
    url = queue(cloud, "news-readers")
    sns.subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=ARN.format(service="sqs", name="news-readers"),
        Attributes={"RawMessageDelivery": "true"},
    )
    rule(cloud, "to-topic", {"source": ["test.topic"]}, {"Arn": topic, "InputPath": "$.detail"})
    emit(cloud, "test.topic", {"x": 1})
    assert eventually(lambda: received(cloud, url)) == [{"x": 1}]


def test_kinds_of_targets_that_moto_knows_still_work(cloud: FunctionsCloud) -> None:
    logs = cloud.client("logs")
    logs.create_log_group(logGroupName="/events/test")
    arn = ARN.format(service="logs", name="log-group:/events/test")
    rule(cloud, "to-log", {"source": ["test.log"]}, {"Arn": arn})
    emit(cloud, "test.log", {"x": 1})
    found = eventually(lambda: logs.filter_log_events(logGroupName="/events/test")["events"])
    assert '"test.log"' in found[0]["message"]


def test_a_rule_with_a_schedule_or_without_being_enabled_gets_no_events(cloud: FunctionsCloud) -> None:
    events, url = cloud.client("events"), queue(cloud, "silent")
    target = {"Id": "target", "Arn": ARN.format(service="sqs", name="silent")}
    events.put_rule(Name="nightly", ScheduleExpression="rate(1 day)")
    events.put_targets(Rule="nightly", Targets=[target])
    rule(cloud, "off", {"source": ["test.silent"]}, target)
    events.disable_rule(Name="off")
    heard = queue(cloud, "heard")
    rule(cloud, "on", {"source": ["test.silent"]}, {"Arn": ARN.format(service="sqs", name="heard")})
    emit(cloud, "test.silent", {"x": 1})
    assert len(eventually(lambda: received(cloud, heard))) == 1
    assert received(cloud, url) == []


def test_what_cannot_be_delivered_is_logged_and_sent_to_the_dead_letter_queue(
    cloud: FunctionsCloud, caplog: pytest.LogCaptureFixture
) -> None:
    url = queue(cloud, "undelivered")
    target = {
        "Arn": ARN.format(service="lambda", name="function:absent"),
        "DeadLetterConfig": {"Arn": ARN.format(service="sqs", name="undelivered")},
    }
    rule(cloud, "to-nobody", {"source": ["test.nobody"]}, target)
    emit(cloud, "test.nobody", {"x": 1})
    (event,) = eventually(lambda: received(cloud, url))
    assert event["detail"] == {"x": 1}
    assert "did not reach arn:aws:lambda:us-east-1:123456789012:function:absent" in caplog.text


def test_a_batch_that_fails_comes_back_after_its_visibility_timeout_and_ends_in_the_dead_letter_queue(
    cloud: FunctionsCloud,
) -> None:
    dead = queue(cloud, "work-dead")
    policy = {"deadLetterTargetArn": ARN.format(service="sqs", name="work-dead"), "maxReceiveCount": 2}
    url = queue(cloud, "work", VisibilityTimeout="2", RedrivePolicy=json.dumps(policy))
    cloud.function(
        "fragile",
        "import time\ndef handler(event, context):\n"
        "    print('tried', time.time(), event['Records'][0]['attributes']['ApproximateReceiveCount'])\n"
        "    raise RuntimeError('no')\n",
    )
    cloud.client("lambda").create_event_source_mapping(
        EventSourceArn=ARN.format(service="sqs", name="work"), FunctionName="fragile"
    )
    cloud.client("sqs").send_message(QueueUrl=url, MessageBody='{"n": 1}')
    assert eventually(lambda: received(cloud, dead)) == [{"n": 1}]
    tries = [line.split() for line in cloud.logged("fragile") if line.startswith("tried")]
    assert [count for _, _, count in tries] == ["1", "2"]
    assert float(tries[1][1]) - float(tries[0][1]) > 1.5


def test_only_the_messages_that_are_reported_as_failed_come_back(cloud: FunctionsCloud) -> None:
    url = queue(cloud, "partial", VisibilityTimeout="2")
    cloud.function(
        "partial",
        "def handler(event, context):\n"
        "    seen = [(r['body'], r['attributes']['ApproximateReceiveCount']) for r in event['Records']]\n"
        "    print('seen', *[body + ':' + count for body, count in seen])\n"
        "    return {'batchItemFailures': [{'itemIdentifier': r['messageId']} for r in event['Records']\n"
        "            if r['body'] == 'bad' and r['attributes']['ApproximateReceiveCount'] == '1']}\n",
    )
    cloud.client("sqs").send_message_batch(
        QueueUrl=url,
        Entries=[{"Id": body, "MessageBody": body} for body in ("good", "bad", "fine")],
    )
    cloud.client("lambda").create_event_source_mapping(
        EventSourceArn=ARN.format(service="sqs", name="partial"),
        FunctionName="partial",
        BatchSize=10,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
    seen = eventually(lambda: lines if len(lines := _seen(cloud)) == 2 else None)
    assert sorted(seen[0]) == ["bad:1", "fine:1", "good:1"]
    assert seen[1] == ["bad:2"]


def _seen(cloud: FunctionsCloud) -> list[list[str]]:
    return [line.split()[1:] for line in cloud.logged("partial") if line.startswith("seen")]


def test_a_mapping_can_be_disabled_enabled_and_deleted(cloud: FunctionsCloud) -> None:
    url = queue(cloud, "switched")
    lambda_, sqs = cloud.client("lambda"), cloud.client("sqs")
    cloud.function("switched", PRINTS)
    mapping = lambda_.create_event_source_mapping(
        EventSourceArn=ARN.format(service="sqs", name="switched"), FunctionName="switched", Enabled=False
    )
    assert mapping["State"] == "Disabled"
    sqs.send_message(QueueUrl=url, MessageBody="1")
    time.sleep(0.6)
    assert cloud.logged("switched") == []
    lambda_.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)
    eventually(lambda: events_printed(cloud, "switched"))
    lambda_.delete_event_source_mapping(UUID=mapping["UUID"])
    sqs.send_message(QueueUrl=url, MessageBody="2")
    assert eventually(lambda: received(cloud, url)) == [2]
    assert len(events_printed(cloud, "switched")) == 1


def test_a_filter_is_refused_rather_than_ignored(cloud: FunctionsCloud) -> None:
    queue(cloud, "filtered")
    cloud.function("filtered", PRINTS)
    with pytest.raises(ClientError, match="not simulated"):
        cloud.client("lambda").create_event_source_mapping(
            EventSourceArn=ARN.format(service="sqs", name="filtered"),
            FunctionName="filtered",
            FilterCriteria={"Filters": [{"Pattern": '{"body": {"x": [1]}}'}]},
        )


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        ("null", set()),
        ("{}", set()),
        ('{"batchItemFailures": []}', set()),
        ('{"batchItemFailures": [{"itemIdentifier": "b"}]}', {"b"}),
        ('{"batchItemFailures": [{"itemIdentifier": "unknown"}]}', {"a", "b"}),
        ('{"batchItemFailures": [{"itemIdentifier": ""}]}', {"a", "b"}),
        ('{"batchItemFailures": [{"other": "b"}]}', {"a", "b"}),
        ('"text"', {"a", "b"}),
    ],
)
def test_an_answer_that_cannot_be_understood_fails_the_whole_batch(answer: str, failed: set[str]) -> None:
    mapping = SimpleNamespace(function_response_types=["ReportBatchItemFailures"])
    result = InvocationResult(payload=answer.encode(), error=None, log_tail="")
    assert failed_messages(result, ["a", "b"], mapping) == failed


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("<project>", '"digits"'),
        ('"<project>"', '"digits"'),
        ('{"p": <project>, "n": <count>}', '{"p": "digits", "n": 3}'),
        ('{"t": "<text>"}', '{"t": "say \\"hi\\""}'),
        ('{"t": <text>}', '{"t": "say \\"hi\\""}'),
        ('{"tags": <tags>}', '{"tags": ["a", "b"]}'),
        ('"<count> of <missing>."', '"3 of ."'),
        ("<missing>", "null"),
        ('"rule <aws.events.rule-name>"', '"rule my-rule"'),
        ('"<kind>"', '"Training"'),
    ],
)
def test_templates_are_filled_as_eventbridge_does(template: str, expected: str) -> None:
    paths = {name: f"$.detail.{name}" for name in ("project", "count", "text", "tags", "missing")}
    target = {
        "InputTransformer": {
            "InputPathsMap": {**paths, "kind": "$.detail-type"},
            "InputTemplate": template,
        }
    }
    assert payload_for(target, EVENT, "arn:aws:events:us-east-1:1:rule/my-rule") == expected


def test_an_input_path_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="matches nothing"):
        payload_for({"InputPath": "$.detail.none"}, EVENT, "")


def test_an_event_of_moto_is_made_to_look_as_on_aws() -> None:
    raw = {
        **EVENT,
        "source": "aws.s3",
        "time": 1767323045.5,
        "ingestion-time": 1.0,
        "detail": {
            "object": {"key": "k", "version-id": None, "sequencer": "x"},
            "reason": "ObjectRemoved",
        },
    }
    event = as_on_aws(raw, "new-id", "00FF")
    assert event["time"] == "2026-01-02T03:04:05Z"
    assert event["detail"] == {"object": {"key": "k", "sequencer": "00FF"}, "reason": "DeleteObject"}
    assert event["id"] == "new-id"
    assert "ingestion-time" not in event


def test_what_we_hook_of_motos_events_and_queues_is_there(cloud: FunctionsCloud) -> None:
    from moto.events.models import Rule
    from moto.events.utils import _BASE_EVENT_MESSAGE
    from moto.sqs.models import Queue, SQSBackend, sqs_backends

    from lehr_local import event_delivery, queue_polling

    assert _BASE_EVENT_MESSAGE["id"] == event_delivery._CONSTANT_ID
    assert Rule.send_to_targets is not event_delivery._send_natively
    assert callable(event_delivery._send_natively)
    assert Queue.delete_message.__wrapped__ is queue_polling._delete_unlocked
    assert SQSBackend.receive_message.__wrapped__ is queue_polling._receive_unlocked
    queue(cloud, "hooked")
    hooked = sqs_backends[ACCOUNT]["us-east-1"].get_queue("hooked")
    cloud.client("sqs").send_message(QueueUrl=queue(cloud, "hooked"), MessageBody="x")
    (message,) = sqs_backends[ACCOUNT]["us-east-1"].receive_message("hooked", 1, 1, 30)
    delete = threading.Thread(target=hooked.delete_message, args=(message.receipt_handle,))
    # It can be taken twice by one thread: moto takes it inside of what we wrap.
    with hooked._messages_lock, hooked._messages_lock:
        delete.start()
        delete.join(0.2)
        assert delete.is_alive(), "to delete waits for whoever appends"
    delete.join(5)
    assert hooked._messages == []
    assert hooked.lambda_event_source_mappings == {}
