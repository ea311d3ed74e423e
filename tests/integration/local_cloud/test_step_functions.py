"""State machines of the design's dialect, run by the local cloud through the public API."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError

from tests.integration.local_cloud.orchestration_cloud import (
    BUCKET,
    Orchestration,
    orchestration,
    training_request,
    unique,
    until,
)

__all__ = ["orchestration"]

INVOKE = "arn:aws:states:::lambda:invoke"
TRAIN_SYNC = "arn:aws:states:::sagemaker:createTrainingJob.sync"
SLEEPS = "import time\nprint('begun')\ntime.sleep(60)"


def then(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a state that ends the machine unless they say what comes next."""
    return fields if "Next" in fields else {"End": True, **fields}


def invoke(function: str, payload: Any, **fields: Any) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": INVOKE,
        "Arguments": {"FunctionName": function, "Payload": payload},
        "Output": "{% $states.result.Payload %}",
        **then(fields),
    }


def train(name: str, script: str, **fields: Any) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": TRAIN_SYNC,
        "Arguments": training_request(name, script),
        **then(fields),
    }


def inline_map(items: Any, states: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "Type": "Map",
        "Items": items,
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "INLINE"},
            "StartAt": next(iter(states)),
            "States": states,
        },
        **then(fields),
    }


def shard_map(key: str, states: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "Type": "Map",
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": {"InputType": "JSON"},
            "Arguments": {"Bucket": BUCKET, "Key": key},
        },
        "MaxConcurrency": 3,
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": next(iter(states)),
            "States": states,
        },
        **then(fields),
    }


def wait_for_training(cloud: Orchestration, name: str) -> None:
    def is_training() -> bool:
        try:
            return bool(cloud.job(name)["SecondaryStatus"] == "Training" and cloud.log(name))
        except (ClientError, IndexError):
            return False

    until(is_training, 20)


def test_a_machine_of_the_shape_of_the_design_runs_from_data_to_decision(
    orchestration: Orchestration,
) -> None:
    orchestration.put("plan/units.json", json.dumps([{"unit": number} for number in range(7)]))
    run = unique("run")
    script = (
        "import json, os\n"
        "root = os.environ['LEHR_ML_ROOT']\n"
        "parameters = json.load(open(root + '/input/config/hyperparameters.json'))\n"
        "assert parameters['rate'] != '0', 'rate is zero'\n"
        "open(root + '/model/weights', 'w').write(parameters['rate'])\n"
    )
    request = training_request("{% $run & '-' & $states.input.id %}", script)
    request["HyperParameters"] = "{% $states.input.parameters %}"
    output = orchestration.output(
        {
            "PlanUnits": invoke(
                "echo",
                {"key": "plan/units.json"},
                Assign={"key": "{% $states.result.Payload.key %}", "run": run},
                Next="PrepareShards",
            ),
            "PrepareShards": shard_map(
                "{% $key %}",
                {"PrepareShard": invoke("echo", {"rows": "{% $states.input.unit * 10 %}"})},
                ItemSelector={"unit": "{% $states.context.Map.Item.Value.unit %}"},
                Output={"rows": "{% $sum($states.result.rows) %}"},
                Next="TrainTrials",
            ),
            "TrainTrials": inline_map(
                [
                    {"id": "a", "parameters": {"rate": "0.1"}},
                    {"id": "b", "parameters": {"rate": "0"}},
                ],
                {
                    "Train": {
                        "Type": "Task",
                        "Resource": TRAIN_SYNC,
                        "TimeoutSeconds": 60,
                        "Arguments": request,
                        "Output": {
                            "status": "{% $states.result.TrainingJobStatus %}",
                            "model": "{% $states.result.ModelArtifacts.S3ModelArtifacts %}",
                        },
                        "Catch": [
                            {
                                "ErrorEquals": ["States.TaskFailed"],
                                "Output": {
                                    "status": "Failed",
                                    "reason": "{% $parse($states.errorOutput.Cause).FailureReason %}",
                                },
                                "Next": "TrialFailed",
                            }
                        ],
                        "End": True,
                    },
                    "TrialFailed": {"Type": "Pass", "End": True},
                },
                MaxConcurrency=2,
                Assign={"trials": "{% $states.result %}", "rows": "{% $states.input.rows %}"},
                Next="Gate",
            ),
            "Gate": {
                "Type": "Choice",
                "Choices": [
                    {"Condition": "{% $count($trials[status='Completed']) > 0 %}", "Next": "PromoteModel"}
                ],
                "Default": "RecordRejection",
            },
            "PromoteModel": {
                "Type": "Pass",
                "Output": {"rows": "{% $rows %}", "trials": "{% $trials %}"},
                "End": True,
            },
            "RecordRejection": {"Type": "Fail", "Error": "Rejected"},
        }
    )
    assert output == {
        "rows": 210,
        "trials": [
            {"status": "Completed", "model": f"s3://{BUCKET}/output/{run}-a/output/model.tar.gz"},
            {"status": "Failed", "reason": "AlgorithmError: , exit code: 1"},
        ],
    }


def test_a_string_with_quotes_and_line_breaks_passes_through_an_expression(
    orchestration: Orchestration,
) -> None:
    text = 'he said "no"\n\\ and {% left %}'
    states = {
        "Keep": {"Type": "Pass", "Assign": {"text": "{% $states.input.text %}"}, "Next": "Give"},
        "Give": {"Type": "Pass", "Output": "{% [$text, $states.input.text, null] %}", "End": True},
    }
    assert orchestration.output(states, {"text": text}) == [text, text, None]


def test_an_expression_that_fails_names_itself_and_its_field(orchestration: Orchestration) -> None:
    states = {"Sum": {"Type": "Pass", "Output": {"total": "{% $sum($states.input.word) %}"}, "End": True}}
    arn = orchestration.start(states, {"word": "seven"})
    end = orchestration.finish(arn)
    assert end["error"] == "States.QueryEvaluationError"
    assert "'$sum($states.input.word)' specified for the field 'total'" in end["cause"]
    failures = [event for event in orchestration.history(arn) if event["type"] == "EvaluationFailed"]
    assert [event["evaluationFailedEventDetails"]["state"] for event in failures] == ["Sum"]


def test_an_expression_that_gives_nothing_can_be_caught_by_name(orchestration: Orchestration) -> None:
    catch = [{"ErrorEquals": ["States.QueryEvaluationError"], "Output": "caught", "Next": "Done"}]
    states = {
        "Ask": invoke("echo", {"value": "{% $states.input.missing %}"}, Catch=catch),
        "Done": {"Type": "Succeed"},
    }
    arn = orchestration.start(states)
    assert json.loads(orchestration.finish(arn)["output"]) == "caught"
    types = [event["type"] for event in orchestration.history(arn)]
    assert types.count("EvaluationFailed") == 1


def test_an_expression_that_is_not_jsonata_is_refused_when_the_machine_is_created(
    orchestration: Orchestration,
) -> None:
    with pytest.raises(ClientError, match=r"InvalidDefinition.*\$count\("):
        orchestration.start({"Bad": {"Type": "Pass", "Output": "{% $count( %}", "End": True}})


def test_a_person_answers_a_waiting_state_by_its_token(orchestration: Orchestration) -> None:
    functions, queue = orchestration.client("stepfunctions"), orchestration.client("sqs")
    url = queue.create_queue(QueueName=unique("approvals"))["QueueUrl"]
    states = {
        "AwaitApproval": {
            "Type": "Task",
            "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
            "TimeoutSeconds": 30,
            "Arguments": {"QueueUrl": url, "MessageBody": {"token": "{% $states.context.Task.Token %}"}},
            "End": True,
        }
    }

    def ask() -> tuple[str, str]:
        arn = orchestration.start(states)
        message = queue.receive_message(QueueUrl=url, WaitTimeSeconds=10)["Messages"][0]
        queue.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return arn, json.loads(message["Body"])["token"]

    arn, token = ask()
    functions.send_task_success(taskToken=token, output=json.dumps({"by": "Ada"}))
    assert json.loads(orchestration.finish(arn)["output"]) == {"by": "Ada"}
    arn, token = ask()
    functions.send_task_failure(taskToken=token, error="Rejected", cause="too slow")
    end = orchestration.finish(arn)
    assert (end["error"], end["cause"]) == ("Rejected", "too slow")
    with pytest.raises(functions.exceptions.InvalidToken):
        functions.send_task_success(taskToken="nobody", output="{}")


def test_assign_works_in_a_jsonpath_state(orchestration: Orchestration) -> None:
    states = {
        "Keep": {"Type": "Pass", "Assign": {"deep.$": "$.deep"}, "Next": "Give"},
        "Give": {"Type": "Pass", "Parameters": {"x.$": "$deep.x"}, "End": True},
    }
    end = orchestration.run(states, {"deep": {"x": 'a"b'}}, QueryLanguage="JSONPath")
    assert json.loads(end["output"]) == {"x": 'a"b'}


def test_the_start_time_of_the_execution_is_a_string(orchestration: Orchestration) -> None:
    states = {"When": {"Type": "Pass", "Output": "{% $states.context.Execution.StartTime %}", "End": True}}
    assert orchestration.output(states).endswith("Z")


def test_a_named_error_is_retried_and_another_is_not(orchestration: Orchestration) -> None:
    retry = [{"ErrorEquals": ["ThrottledError"], "IntervalSeconds": 1, "MaxAttempts": 2}]
    first = {"Call": invoke("throttled-once", {"key": unique("key")}, Retry=retry)}
    assert "key" in orchestration.output(first)
    other = [{"ErrorEquals": ["OtherError"], "IntervalSeconds": 1, "MaxAttempts": 2}]
    second = {"Call": invoke("throttled-once", {"key": unique("key")}, Retry=other)}
    assert orchestration.run(second)["error"] == "ThrottledError"


def test_an_error_of_a_function_is_caught_by_its_class_name(orchestration: Orchestration) -> None:
    catch = [
        {"ErrorEquals": ["OtherError"], "Output": "wrong", "Next": "Done"},
        {"ErrorEquals": ["DataRejectedError"], "Output": "{% $states.errorOutput.Error %}", "Next": "Done"},
    ]
    states = {"Call": invoke("broken", {}, Catch=catch), "Done": {"Type": "Succeed"}}
    assert orchestration.output(states) == "DataRejectedError"


def test_a_distributed_map_with_a_failing_item_fails(orchestration: Orchestration) -> None:
    orchestration.put("plan/failing.json", json.dumps([1, 2, 3]))
    arn = orchestration.start({"Units": shard_map("plan/failing.json", {"Unit": invoke("broken", {})})})
    end = orchestration.finish(arn)
    assert (end["status"], end["error"]) == ("FAILED", "States.ExceedToleratedFailureThreshold")


def test_a_distributed_map_tells_of_its_items_through_its_map_run(orchestration: Orchestration) -> None:
    orchestration.put("plan/four.json", json.dumps([1, 2, 3, 4]))
    arn = orchestration.start({"Units": shard_map("plan/four.json", {"Unit": invoke("echo", {})})})
    orchestration.finish(arn)
    started = next(event for event in orchestration.history(arn) if event["type"] == "MapRunStarted")
    functions = orchestration.client("stepfunctions")
    run = functions.describe_map_run(mapRunArn=started["mapRunStartedEventDetails"]["mapRunArn"])
    assert (run["status"], run["itemCounts"]["total"], run["itemCounts"]["succeeded"]) == ("SUCCEEDED", 4, 4)


def test_a_map_runs_more_items_than_python_nests_calls(orchestration: Orchestration) -> None:
    states = {"All": inline_map("{% [1..1200] %}", {"One": {"Type": "Pass", "End": True}}, MaxConcurrency=1)}
    assert len(orchestration.output(states)) == 1200


def test_a_unit_that_is_handed_over_is_prepared_on_as_the_state_machine_says(
    orchestration: Orchestration,
) -> None:
    text = (Path(__file__).parents[3] / "statemachine/retrain.asl.yaml").read_text()
    prepare = yaml.safe_load(
        text.replace("${PrepareShardFunction}", "unwrap").replace("${ShardConcurrency}", "3")
    )
    states = prepare["States"]["PrepareShards"]["ItemProcessor"]["States"]
    done = {"index": 0, "rows": 7}
    thrice = {"kind": "table", "rest": {"kind": "table", "first": 9, "rest": {"kind": "table", "rest": done}}}
    orchestration.put(
        "parts/units.json", json.dumps([thrice, {"kind": "table", "rest": {**done, "index": 1}}])
    )
    assert orchestration.output({"Prepare": shard_map("parts/units.json", states)}) == [
        done,
        {**done, "index": 1},
    ]


def test_items_may_be_read_from_a_listing_of_a_bucket(orchestration: Orchestration) -> None:
    for number in range(3):
        orchestration.put(f"listing/{number}.csv", "x")
    states = {
        "Each": shard_map(
            "unused",
            {"Key": {"Type": "Pass", "Output": "{% $states.input.Key %}", "End": True}},
            ItemReader={
                "Resource": "arn:aws:states:::s3:listObjectsV2",
                "Arguments": {"Bucket": BUCKET, "Prefix": "listing/"},
            },
        )
    }
    assert orchestration.output(states) == [f"listing/{number}.csv" for number in range(3)]


def test_services_are_called_by_the_names_that_the_states_language_uses(
    orchestration: Orchestration,
) -> None:
    dynamodb, sns, sqs = (orchestration.client(name) for name in ("dynamodb", "sns", "sqs"))
    dynamodb.create_table(
        TableName="registry",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    topic = sns.create_topic(Name="news")["TopicArn"]
    queue = sqs.create_queue(QueueName="news")["QueueUrl"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:123456789012:news")
    states: dict[str, Any] = {
        "Record": {
            "Type": "Task",
            "Resource": "arn:aws:states:::dynamodb:updateItem",
            "Arguments": {
                "TableName": "registry",
                "Key": {"pk": {"S": "run"}},
                "UpdateExpression": "SET #s = :s",
                "ExpressionAttributeNames": {"#s": "status"},
                "ExpressionAttributeValues": {":s": {"S": "done"}},
            },
            "Next": "Tell",
        },
        "Tell": {
            "Type": "Task",
            "Resource": "arn:aws:states:::sns:publish",
            "Arguments": {"TopicArn": topic, "Message": {"run": 1}},
            "Next": "Store",
        },
        "Store": {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:s3:putObject",
            "Arguments": {"Bucket": BUCKET, "Key": "sdk/object.json", "Body": {"a": 1}},
            "Next": "List",
        },
        "List": {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:s3:listObjectsV2",
            "Arguments": {"Bucket": BUCKET, "Prefix": "sdk/"},
            "Output": "{% $states.result.Contents[] %}",
            "Next": "Read",
        },
        "Read": {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:s3:getObject",
            "Arguments": {"Bucket": BUCKET, "Key": "{% $states.input[0].Key %}"},
            "Output": {
                "body": "{% $parse($states.result.Body) %}",
                "modified": "{% $states.result.LastModified %}",
            },
            "End": True,
        },
    }
    output = orchestration.output(states)
    assert output["body"] == {"a": 1}
    assert output["modified"].endswith("Z")
    item = dynamodb.get_item(TableName="registry", Key={"pk": {"S": "run"}})["Item"]
    assert item["status"] == {"S": "done"}
    message = sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"]
    assert json.loads(json.loads(message)["Message"]) == {"run": 1}


def test_an_error_of_an_sdk_call_is_caught_by_its_name(orchestration: Orchestration) -> None:
    states = {
        "Read": {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:s3:getObject",
            "Arguments": {"Bucket": BUCKET, "Key": "no/such/key"},
            "Catch": [{"ErrorEquals": ["S3.NoSuchKeyException"], "Output": "missing", "Next": "Done"}],
            "End": True,
        },
        "Done": {"Type": "Succeed"},
    }
    assert orchestration.output(states) == "missing"


def test_a_failed_training_job_carries_its_description_as_the_cause(orchestration: Orchestration) -> None:
    name = unique("fails")
    script = (
        "import os, pathlib, sys\n"
        "pathlib.Path(os.environ['LEHR_ML_ROOT'], 'output/failure').write_text('loss is not finite')\n"
        "sys.exit(2)"
    )
    end = orchestration.run({"Train": train(name, script)})
    assert end["error"] == "States.TaskFailed"
    job = json.loads(end["cause"])
    assert job["TrainingJobName"] == name
    assert job["FailureReason"] == "AlgorithmError: loss is not finite, exit code: 2"
    assert isinstance(job["CreationTime"], int)


def test_a_training_job_stopped_by_somebody_fails_its_state(orchestration: Orchestration) -> None:
    name = unique("stopped")
    arn = orchestration.start({"Train": train(name, SLEEPS)})
    wait_for_training(orchestration, name)
    orchestration.client("sagemaker").stop_training_job(TrainingJobName=name)
    end = orchestration.finish(arn)
    assert end["error"] == "States.TaskFailed"
    assert json.loads(end["cause"])["TrainingJobStatus"] == "Stopped"


def test_an_error_of_a_training_job_leaves_a_map_under_its_own_name(orchestration: Orchestration) -> None:
    catch = [{"ErrorEquals": ["States.TaskFailed"], "Output": "{% $states.errorOutput %}", "Next": "Give"}]
    states = {
        "Trials": inline_map([1], {"Train": train(unique("fails"), "raise SystemExit(1)")}, Catch=catch),
        "Give": {
            "Type": "Fail",
            "Error": "{% $states.input.Error %}",
            "Cause": "{% $parse($states.input.Cause).FailureReason %}",
        },
    }
    end = orchestration.run(states)
    assert (end["error"], end["cause"]) == ("States.TaskFailed", "AlgorithmError: , exit code: 1")


def test_a_refused_training_job_is_caught_by_the_name_of_the_service_error(
    orchestration: Orchestration,
) -> None:
    name = unique("twice")
    orchestration.client("sagemaker").create_training_job(**training_request(name, "pass"))
    catch = [{"ErrorEquals": ["SageMaker.ResourceInUseException"], "Output": "in use", "Next": "Done"}]
    states = {"Train": train(name, "pass", Catch=catch), "Done": {"Type": "Succeed"}}
    assert orchestration.output(states) == "in use"
    numbers = training_request(unique("numbers"), "pass", HyperParameters={"epochs": 3})
    end = orchestration.run({"Train": {**train(name, "pass"), "Arguments": numbers}})
    assert end["error"] == "SageMaker.AmazonSageMakerException"
    assert "epochs" in end["cause"]


def test_stopping_an_execution_stops_all_its_training_jobs_within_ten_seconds(
    orchestration: Orchestration,
) -> None:
    run = unique("aborted")
    trial = train("{% $states.input %}", SLEEPS)
    names = [f"{run}-{letter}" for letter in "abc"]
    arn = orchestration.start({"Trials": inline_map(names, {"Train": trial})})
    for name in names:
        wait_for_training(orchestration, name)
    begin = time.monotonic()
    orchestration.client("stepfunctions").stop_execution(executionArn=arn, error="Cancelled", cause="by hand")
    end = orchestration.execution(arn)
    assert (end["status"], end["error"], end["cause"]) == ("ABORTED", "Cancelled", "by hand")
    assert all(orchestration.finish_job(name)["TrainingJobStatus"] == "Stopped" for name in names)
    assert time.monotonic() - begin < 10
    time.sleep(0.5)
    last = orchestration.history(arn)[-1]
    assert last["type"] == "ExecutionAborted"
    assert last["executionAbortedEventDetails"] == {"error": "Cancelled", "cause": "by hand"}


def test_the_timeout_of_a_state_stops_its_training_job(orchestration: Orchestration) -> None:
    name = unique("late")
    arn = orchestration.start({"Train": train(name, SLEEPS, TimeoutSeconds=2)})
    assert orchestration.finish(arn)["error"] == "States.Timeout"
    assert orchestration.finish_job(name, limit_s=10)["TrainingJobStatus"] == "Stopped"
    time.sleep(0.3)
    types = [event["type"] for event in orchestration.history(arn)]
    assert types[-2:] == ["TaskTimedOut", "ExecutionFailed"]


def test_the_timeout_of_an_execution_stops_its_training_job(orchestration: Orchestration) -> None:
    name = unique("late")
    arn = orchestration.start({"Train": train(name, SLEEPS)}, TimeoutSeconds=2)
    end = orchestration.finish(arn)
    assert end["status"] == "TIMED_OUT"
    assert "stopDate" in end
    assert orchestration.finish_job(name, limit_s=10)["TrainingJobStatus"] == "Stopped"
    assert orchestration.history(arn)[-1]["type"] == "ExecutionTimedOut"


def test_the_failure_of_one_trial_stops_the_others(orchestration: Orchestration) -> None:
    run = unique("trials")
    script = f"import os, time\nif os.environ['TRAINING_JOB_NAME'].endswith('a'): exit(1)\n{SLEEPS}"
    names = [f"{run}-b", f"{run}-a"]
    end = orchestration.run({"Trials": inline_map(names, {"Train": train("{% $states.input %}", script)})})
    assert end["error"] == "States.TaskFailed"
    assert orchestration.finish_job(f"{run}-b", limit_s=10)["TrainingJobStatus"] == "Stopped"


def test_executions_run_side_by_side(orchestration: Orchestration) -> None:
    states = {
        "Keep": {"Type": "Pass", "Assign": {"mine": "{% $states.input.number %}"}, "Next": "Each"},
        "Each": inline_map(
            "{% [1..5] %}",
            {"Call": invoke("echo", {"product": "{% $mine * $states.input %}"})},
            MaxConcurrency=2,
            Output="{% $sum($states.result.product) %}",
        ),
    }
    with ThreadPoolExecutor(8) as pool:
        outputs = list(pool.map(lambda number: orchestration.output(states, {"number": number}), range(16)))
    assert outputs == [15 * number for number in range(16)]


def test_machines_of_both_query_languages_are_read_side_by_side(orchestration: Orchestration) -> None:
    jsonata = {"Give": {"Type": "Pass", "Output": "{% $states.input.n %}", "End": True}}
    jsonpath = {"Give": {"Type": "Pass", "Parameters": {"n.$": "$.n"}, "OutputPath": "$.n", "End": True}}

    def give(number: int) -> Any:
        if number % 2:
            return orchestration.output(jsonata, {"n": number})
        end = orchestration.run(jsonpath, {"n": number}, QueryLanguage="JSONPath")
        return json.loads(end["output"])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(give, range(32))) == list(range(32))


def test_the_history_shows_the_states_with_their_times_and_the_iterations_of_a_map(
    orchestration: Orchestration,
) -> None:
    states = {
        "First": {"Type": "Pass", "Next": "Pause"},
        "Pause": {"Type": "Wait", "Seconds": 1, "Next": "Each"},
        "Each": inline_map([1, 2], {"Inner": {"Type": "Pass", "End": True}}),
    }
    arn = orchestration.start(states)
    orchestration.finish(arn)
    events = orchestration.history(arn)
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    assert sorted(event["timestamp"] for event in events) == [event["timestamp"] for event in events]

    def moment(kind: str, name: str) -> Any:
        details = f"state{kind}EventDetails"
        return next(e["timestamp"] for e in events if e.get(details, {}).get("name") == name)

    assert (moment("Exited", "Pause") - moment("Entered", "Pause")).total_seconds() >= 1
    entered = [event["stateEnteredEventDetails"]["name"] for event in events if "Entered" in event["type"]]
    assert sorted(entered) == ["Each", "First", "Inner", "Inner", "Pause"]
    started = [event for event in events if event["type"] == "MapIterationStarted"]
    assert {event["mapIterationStartedEventDetails"]["index"] for event in started} == {0, 1}
    assert {event["mapIterationStartedEventDetails"]["name"] for event in started} == {"Each"}


def test_the_history_is_paged_and_may_be_read_backwards(orchestration: Orchestration) -> None:
    arn = orchestration.start({"Only": {"Type": "Pass", "End": True}}, {"a": 1})
    orchestration.finish(arn)
    functions = orchestration.client("stepfunctions")
    pages = functions.get_paginator("get_execution_history").paginate(
        executionArn=arn, PaginationConfig={"PageSize": 2}
    )
    ids = [[event["id"] for event in page["events"]] for page in pages]
    assert ids == [[1, 2], [3, 4]]
    backwards = orchestration.history(arn, reverseOrder=True, includeExecutionData=False)
    assert [event["id"] for event in backwards] == [4, 3, 2, 1]
    assert "input" not in backwards[-1]["executionStartedEventDetails"]


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT"])
def test_the_end_of_an_execution_is_an_event(orchestration: Orchestration, status: str) -> None:
    wait = {"Type": "Wait", "Seconds": 60, "End": True}
    shape = {"SUCCEEDED": {"Type": "Pass", "End": True}, "FAILED": {"Type": "Fail", "Error": "E"}}
    events, sqs = orchestration.client("events"), orchestration.client("sqs")
    name = unique("ends")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    pattern = {"source": ["aws.states"], "detail": {"status": [status]}}
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    target = {"Id": "queue", "Arn": f"arn:aws:sqs:us-east-1:123456789012:{name}"}
    assert events.put_targets(Rule=name, Targets=[target])["FailedEntryCount"] == 0
    limit = {"TimeoutSeconds": 1} if status == "TIMED_OUT" else {}
    arn = orchestration.start({"Only": shape.get(status, wait)}, {"project": "p"}, **limit)
    if status == "ABORTED":
        orchestration.client("stepfunctions").stop_execution(executionArn=arn)
    (message,) = until(lambda: sqs.receive_message(QueueUrl=url).get("Messages"), 20)
    event = json.loads(message["Body"])
    assert event["detail-type"] == "Step Functions Execution Status Change"
    detail = event["detail"]
    assert (detail["executionArn"], detail["status"]) == (arn, status)
    assert json.loads(detail["input"]) == {"project": "p"}
    assert detail["stateMachineArn"] == orchestration.execution(arn)["stateMachineArn"]
    assert detail["startDate"] <= detail["stopDate"]
    assert not sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages"), "two ends"
