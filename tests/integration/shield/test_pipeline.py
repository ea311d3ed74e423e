"""The whole system under the permissions of its template: everything works, and nothing is refused on the way."""

from __future__ import annotations

import json
import re

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.integration.shield.conftest import Baseline
from tests.integration.shield.guarded_cloud import GuardedCloud


def test_a_model_is_promoted_and_predicts(baseline: Baseline) -> None:
    seen = baseline.observations["promotion"]
    assert (seen["code"], seen["statuses"], seen["prediction"]) == (0, ["promoted"], 0)
    assert (seen["verified"], seen["reproduced"]) == (0, ["identical"])
    assert seen["mirrored"]
    assert seen["troubles"] == []
    assert seen["kept"] == ["decision.json", "report.html"]
    assert seen["timeline"]


def test_a_batch_is_uploaded_predicted_and_downloaded(baseline: Baseline) -> None:
    assert baseline.observations["batch_prediction"] == {
        "unpushed": 404,
        "untrained": 503,
        "predicted": 0,
        "lines": 1000,
        "deleted": 0,
        "logged": "done",
    }


def test_a_failing_trainer_is_explained_by_the_tail_of_its_log(baseline: Baseline) -> None:
    seen = baseline.observations["failure"]
    assert (seen["code"], seen["statuses"], seen["tail"]) == (1, ["failed"], True)
    assert seen["log_tail"]


def test_a_stopped_run_stops_its_job_and_can_be_tried_again(baseline: Baseline) -> None:
    assert baseline.observations["second_try"] == {"first": True, "second": True, "resumed": True}


def test_what_is_missing_reads_as_missing_and_not_as_forbidden(baseline: Baseline) -> None:
    assert list(baseline.observations["prediction_before_training"].values()) == [503, 404]
    assert set(baseline.observations["a_run_that_is_not_there"].values()) == {False}
    assert baseline.observations["drop_for_nobody"] == {"outcome": "refused"}


def test_a_former_champion_serves_again_and_an_unknown_version_is_refused(baseline: Baseline) -> None:
    seen = baseline.observations["rollback"]
    assert seen == {
        "unknown": 2,
        "back": 0,
        "champion": 0,
        "untold": False,
        "absent": "ModelPackageError",
    }


def test_sagemaker_is_told_of_every_version_and_of_what_serves(baseline: Baseline) -> None:
    assert baseline.observations["mirrored"] == {"answers": [[0], [1], []], "says": ["Approved", "Approved"]}


def test_a_canary_is_watched_beside_the_champion(baseline: Baseline) -> None:
    assert baseline.observations["rollout"] == {"bakes": True, "watched": "bake", "withdrawn": True}


def test_a_run_waits_for_a_person_and_one_answer_counts(baseline: Baseline) -> None:
    seen = baseline.observations["fine_tuning"]
    assert seen["approval"] == {
        "looked": [200, 200],
        "approved": 200,
        "again": 2,
        "gone": 410,
        "untold": False,
    }
    assert seen["second"]["statuses"] == ["promoted", "promoted"]


def test_nothing_was_denied(baseline: Baseline) -> None:
    judged = sum(len(calls) for calls in baseline.calls.values())
    assert judged > 200
    assert baseline.denials == []


def test_every_role_of_a_run_was_judged_under_its_own_name(cloud: GuardedCloud, baseline: Baseline) -> None:
    """Otherwise nothing would be denied because nobody was asked."""
    actors = {call["actor"] for calls in baseline.calls.values() for call in calls}
    of_a_run = {
        *("StartRun", "PrepareShard", "SealDataset", "PackageModel", "EvaluateShard", "JudgeModel"),
        *("AwaitApproval", "AnswerApproval", "PromoteModel", "WatchCanary", "RollbackModel"),
        *("CompareReproduction", "RecordFailure", "WriteReport", "Predict"),
    }
    of_a_batch = {"StartBatch", "PredictBatchUnit", "SealBatch"}
    names = [f"{name}FunctionRole" for name in of_a_run | of_a_batch]
    names += ["TrainingRole", "RetrainStateMachineRole", "PredictBatchStateMachineRole"]
    assert {cloud.roles[name] for name in names} <= actors
    assert {"events.amazonaws.com", "apigateway.amazonaws.com", "sagemaker.amazonaws.com"} <= actors


def test_a_key_that_nobody_has_is_refused(cloud: GuardedCloud) -> None:
    info = cloud.place.info()
    session = boto3.Session("AKIAUNKNOWN", "secret", region_name=info["region"])
    client = session.client("dynamodb", endpoint_url=info["endpoint_url"])
    with pytest.raises(ClientError) as refused:
        client.list_tables()
    assert refused.value.response["Error"]["Code"] == "InvalidClientTokenId"


def test_a_denial_names_role_action_and_resource(cloud: GuardedCloud) -> None:
    client = cloud.client_of("PredictFunctionRole", "dynamodb")
    table = cloud.place.outputs()["RegistryTable"]
    with pytest.raises(ClientError) as refused:
        client.put_item(TableName=table, Item={"pk": {"S": "x"}, "sk": {"S": "x"}})
    error = refused.value.response["Error"]
    assert error["Code"] == "AccessDeniedException"
    assert cloud.roles["PredictFunctionRole"] in error["Message"]
    assert "dynamodb:PutItem" in error["Message"]
    assert f"table/{table}" in error["Message"]
    log = (cloud.place.folder / ".lehr/cloud.log").read_text()
    assert f"denied: {error['Message']}" in log


def test_a_denial_by_a_bucket_says_so(cloud: GuardedCloud) -> None:
    client = cloud.client_of("PackageModelFunctionRole", "s3")
    place = {"Bucket": cloud.place.outputs()["ArtifactBucket"], "Key": "models/nobody/0/model.onnx"}
    with pytest.raises(ClientError) as refused:
        client.put_object(**place, Body=b"x")
    error = refused.value.response["Error"]
    assert error["Code"] == "AccessDenied"
    assert "with an explicit deny in a resource-based policy" in error["Message"]


def test_a_model_that_is_published_already_is_found_and_not_written_again(
    cloud: GuardedCloud, baseline: Baseline
) -> None:
    """What a step does that is tried again, for a reply that was lost, under the permissions that it has."""
    client, outputs = cloud.place.client("stepfunctions"), cloud.place.outputs()
    executions = client.list_executions(stateMachineArn=outputs["StateMachineArn"])["executions"]
    runs = [item for item in executions if re.fullmatch(r"base-promotion-[0-9a-f]{12}", item["name"])]
    arn = min(runs, key=lambda item: item["startDate"])["executionArn"]
    events = client.get_execution_history(executionArn=arn, maxResults=1000)["events"]
    calls = [event["taskScheduledEventDetails"] for event in events if "taskScheduledEventDetails" in event]
    (name,) = [name for name in cloud.functions() if "-PackageModelFunction-" in name]
    (asked,) = [json.loads(call["parameters"]) for call in calls if name in call["parameters"]]
    cloud.forget_calls()
    answer = cloud.place.client("lambda").invoke(
        FunctionName=name, Payload=json.dumps(asked["Payload"]).encode()
    )
    with answer["Payload"] as body:
        packaged = json.loads(body.read())
    assert "FunctionError" not in answer, packaged
    prefix = f"models/base-promotion/{packaged['version']}/"
    versions = cloud.place.client("s3").list_object_versions(Bucket=outputs["ArtifactBucket"], Prefix=prefix)
    files = {entry["Key"].removeprefix(prefix) for entry in versions["Versions"]}
    assert len(versions["Versions"]) == len(files), "a file was written twice"
    # Whether int8 is beside the others is measured by the job. The stack signs: its signature is one of them.
    assert len(files - {"model.int8.onnx"}) == 11
    assert cloud.denials() == []


def test_a_missing_key_is_forbidden_to_who_may_not_list(cloud: GuardedCloud) -> None:
    bucket = cloud.place.outputs()["ArtifactBucket"]
    missing = {"Bucket": bucket, "Key": "models/nobody/0/model.onnx"}
    for role, code in (("PackageModelFunctionRole", "AccessDenied"), ("PredictFunctionRole", "NoSuchKey")):
        with pytest.raises(ClientError) as refused:
            cloud.client_of(role, "s3").get_object(**missing)
        assert refused.value.response["Error"]["Code"] == code
