"""What a stack is used for, each time with a project of its own; what a person would notice is observed.

Each scenario takes a cloud and a name for its project, and gives an observation: two runs of a scenario give the same
one, unless something failed.
"""

from __future__ import annotations

import json
import re
import ssl
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.e2e.small_mnist import IN_FOLDERS, write_data, write_folders, write_project
from tests.integration.shield.guarded_cloud import GuardedCloud, eventually
from tests.integration.shield.mirroring import mirrored, says
from tests.integration.shield.promotions import approve_by_link, rollback, rollout
from tests.integration.shield.watching import watch

Observation = dict[str, Any]
Scenario = Callable[[GuardedCloud, str], Observation]
ROWS = 400
FILES = 120
FEW_EPOCHS = {"epochs = 5": "epochs = 1", "min_accuracy = 0.5": "min_accuracy = 0.05"}


def promotion(cloud: GuardedCloud, project: str) -> Observation:
    """Pushed, trained on data that is dropped, judged, promoted, predicts; then made once more, and watched."""
    _push(cloud, project, **FEW_EPOCHS | {"[gate]": "[retrain]\nmax_usd_per_point = 0.001\n\n[gate]"})
    trained = _train(cloud, project)
    prediction = cloud.place.lehr("predict", project, "--row", "0")
    verified = cloud.place.lehr("verify", project)
    reproduced = cloud.place.lehr("reproduce", project)
    return trained | {
        "prediction": prediction.code,
        "verified": verified.code,
        "reproduced": [event["outcome"] for event in reproduced.events if event["event"] == "reproduction"],
        "mirrored": bool(eventually(lambda: says(cloud, project) == ["Approved"], timeout_s=8)),
        "watched": watch(cloud, project),
    }


def training(cloud: GuardedCloud, project: str) -> Observation:
    """No scenario: the first part of the one above, for what goes wrong there."""
    _push(cloud, project, **FEW_EPOCHS)
    return _train(cloud, project)


def fine_tuning(cloud: GuardedCloud, project: str) -> Observation:
    """A second recipe starts from the champion that the first one made, and a person approves what comes of it."""
    _have_champion(cloud, project)
    changes = {
        "epochs = 5": 'epochs = 1\nstart_from = "champion"',
        "[gate]": "[approval]\nrequired = true\n\n[gate]",
    }
    _push(cloud, project, **FEW_EPOCHS | changes)
    with ThreadPoolExecutor() as threads:
        second = threads.submit(_train, cloud, project)
        approval = approve_by_link(cloud, project, second)
        return {"approval": approval, "second": second.result()}


def failure(cloud: GuardedCloud, project: str) -> Observation:
    """The trainer raises an error; the run says which. It is the first run of a stack: nothing is published yet.

    Its data are files in folders.
    """
    _forget_trainer(cloud)
    changes = IN_FOLDERS | {'name = "mlp"': 'name = "custom"\nfactory = "net:build"'}
    folder = write_project(cloud.place.folder / project, project, **changes)
    (folder / "net.py").write_text("def build(**shape):\n    raise ValueError('no such layer: convolver')\n")
    assert cloud.place.lehr("push", str(folder)).code == 0
    return _train(cloud, project, write_folders(cloud.place.folder / "files", FILES))


def drop_for_nobody(cloud: GuardedCloud, project: str) -> Observation:
    """Data for a project that nobody pushed is refused with a reason, in the registry."""
    outputs = cloud.place.outputs()
    cloud.place.client("s3").put_object(
        Bucket=outputs["DataBucket"], Key=f"incoming/{project}/_READY", Body=b"0123456789abcdef"
    )
    key = {"pk": {"S": f"project#{project}"}, "sk": {"S": "trigger#0123456789abcdef"}}
    dynamodb = cloud.place.client("dynamodb")

    def answer() -> Any:
        return dynamodb.get_item(TableName=outputs["RegistryTable"], Key=key).get("Item")

    item = eventually(answer, timeout_s=8)
    return {"outcome": item["outcome"]["S"] if item else None}


def lost_event(cloud: GuardedCloud, project: str) -> Observation:
    """An event that the function fails on again and again is kept for a person to look at."""
    place = cloud.place
    payload = json.dumps({"nonsense": project}).encode()
    function = place.outputs()["StartRunFunction"]
    place.client("lambda").invoke(FunctionName=function, InvocationType="Event", Payload=payload)
    sqs = place.client("sqs")
    (url,) = [url for url in sqs.list_queues()["QueueUrls"] if "TriggerDeadLetterQueue" in url]

    def is_kept() -> bool:
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        return any(project in message["Body"] for message in messages)

    return {"kept": eventually(is_kept, timeout_s=12)}


def prediction_before_training(cloud: GuardedCloud, project: str) -> Observation:
    """A project without a model says how to train one; one that does not exist is not found."""
    _push(cloud, project, **FEW_EPOCHS)
    return {name: _status_of_prediction(cloud, name) for name in (project, f"{project}x")}


def a_run_that_is_not_there(cloud: GuardedCloud, project: str) -> Observation:
    """What functions say of documents that do not exist: that they are missing, and not that they are forbidden."""
    common = {"project": project, "run": "0123456789ab", "dataset_version": "0123456789abcdef"}
    payloads: dict[str, dict[str, Any]] = {
        "JudgeModel": {**common, "candidate": "0123456789abcdef", "champion": None},
        "PackageModel": {
            **common,
            "code_sha": "0" * 40,
            "instance_type": "ml.m5.large",
        },
        "ProposeTrials": {"project": project, "run": "0123456789ab", "round": 0, "results": []},
    }
    return {name: _is_forbidden(cloud, name, payload) for name, payload in payloads.items()}


def second_try(cloud: GuardedCloud, project: str) -> Observation:
    """A run is stopped: so is its job; when the same data comes once more, it is tried again; and it is resumed."""
    _push(cloud, project, **{"epochs = 5": "epochs = 100000"})
    data = str(write_data(cloud.place.folder / "rows", ROWS))
    seen: Observation = {}
    with ThreadPoolExecutor() as threads:
        for round_, command in (
            ("first", ("train", project, "--data", data)),
            ("second", ("train", project, "--data", data)),
            ("resumed", ("resume", project)),
        ):
            run = threads.submit(cloud.place.lehr, *command)
            job = eventually(lambda run=run: run.done() or _running_job(cloud, project), timeout_s=30)
            _stop_execution(cloud, project)
            run.result()
            seen[round_] = isinstance(job, str) and eventually(lambda job=job: _has_stopped(cloud, job), 20)
    return seen


def orphan(cloud: GuardedCloud, project: str) -> Observation:
    """A training job that has outlived its execution is stopped, and its run is ended, when somebody looks."""
    run, outputs = "0123456789ab", cloud.place.outputs()
    (function,) = [name for name in cloud.functions() if "-StopOrphansFunction-" in name]
    aws = cloud.place.client("lambda")
    variables = aws.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
    job = f"{variables['JOB_PREFIX']}{project[:18]}-{run}-0-a0r0d0"
    _start_job(cloud, job, {"LEHR_PROJECT": project, "LEHR_RUN": run})
    states = cloud.place.client("stepfunctions")
    execution = states.start_execution(
        stateMachineArn=outputs["StateMachineArn"],
        name=f"{project}-{run}",
        input=json.dumps({"project": project, "run": run}),
    )["executionArn"]
    eventually(lambda: states.describe_execution(executionArn=execution)["status"] != "RUNNING")
    # Written now, so that nobody else has ended the run.
    record = {"pk": f"project#{project}", "sk": f"run#{run}", "status": "running"}
    cloud.place.client("dynamodb").put_item(
        TableName=outputs["RegistryTable"], Item={name: {"S": value} for name, value in record.items()}
    )
    cloud.call("StopOrphans", {})
    key = {"pk": {"S": record["pk"]}, "sk": {"S": record["sk"]}}
    item = cloud.place.client("dynamodb").get_item(TableName=outputs["RegistryTable"], Key=key)["Item"]
    has_stopped = bool(eventually(lambda: _has_stopped(cloud, job), 20))
    if not has_stopped:
        cloud.place.client("sagemaker").stop_training_job(TrainingJobName=job)
    return {
        "stopped": has_stopped,
        "reason": "went on and was stopped" in item.get("reason", {}).get("S", ""),
    }


def redeployment(cloud: GuardedCloud, project: str) -> Observation:
    """The state machine is changed: Step Functions looks whether it can still deliver its log."""
    return {"update": _update_of(cloud, "StateMachineArn")}


def batch_prediction(cloud: GuardedCloud, project: str) -> Observation:
    """Rows are uploaded and predicted as one batch; a file that is gone is refused."""
    before = {"unpushed": _ask_for_a_batch(cloud, "POST", f"{project}x")[0]}
    _push(cloud, f"{project}-new", **FEW_EPOCHS)
    before["untrained"] = _ask_for_a_batch(cloud, "POST", f"{project}-new")[0]
    _have_champion(cloud, project)
    write_data(cloud.place.folder / "rows", ROWS)
    file = cloud.place.folder / "rows" / "t10k-images-idx3-ubyte.gz"
    result = cloud.place.folder / f"{project}.jsonl"
    predicted = cloud.place.lehr("predict", project, "--batch", str(file), "--to", str(result), timeout_s=60)
    return {
        **before,
        "predicted": predicted.code,
        "lines": len(result.read_text().splitlines()) if result.exists() else 0,
        "deleted": _answer_for_a_deleted_file(cloud, project),
        "logged": _update_of(cloud, "BatchStateMachineArn"),
    }


# With all permissions in place these go on with the champion of the scenario named; else with one of their own.
GOES_ON_FROM = {"fine_tuning": "promotion", "batch_prediction": "promotion"}

# The cheapest first: a statement is taken away in the first one that needs it.
SCENARIOS: dict[str, Scenario] = {
    "redeployment": redeployment,
    "drop_for_nobody": drop_for_nobody,
    "prediction_before_training": prediction_before_training,
    "lost_event": lost_event,
    # Before whatever sends events that it hears of: nobody would notice there.
    "mirrored": mirrored,
    "rollback": rollback,
    "rollout": rollout,
    "a_run_that_is_not_there": a_run_that_is_not_there,
    "failure": failure,
    "promotion": promotion,
    "fine_tuning": fine_tuning,
    "batch_prediction": batch_prediction,
    "second_try": second_try,
    # Last, because of its execution it notices only that it has ended.
    "orphan": orphan,
}


def _push(cloud: GuardedCloud, project: str, **changes: str) -> None:
    folder = write_project(cloud.place.folder / project, project, **changes)
    pushed = cloud.place.lehr("push", str(folder))
    assert pushed.code == 0, pushed.stderr


def _have_champion(cloud: GuardedCloud, project: str) -> None:
    """One that an earlier scenario has made, or else one of its own."""
    if _champion(cloud, project) is None:
        _push(cloud, project, **FEW_EPOCHS)
        _train(cloud, project)


def _champion(cloud: GuardedCloud, project: str) -> str | None:
    key = {"pk": {"S": f"champion#{project}"}, "sk": {"S": "alias"}}
    table = cloud.place.outputs()["RegistryTable"]
    item = cloud.place.client("dynamodb").get_item(TableName=table, Key=key).get("Item")
    return item["champion"]["S"] if item else None


def _forget_trainer(cloud: GuardedCloud) -> None:
    """Whose source is published once for all runs."""
    bucket, s3 = cloud.place.outputs()["ArtifactBucket"], cloud.place.client("s3")
    for entry in s3.list_objects_v2(Bucket=bucket, Prefix="trainer/").get("Contents", []):
        s3.delete_object(Bucket=bucket, Key=entry["Key"])


def _train(cloud: GuardedCloud, project: str, data: Path | None = None) -> Observation:
    """A whole run: how it ended, which of its states failed on the way, and what is left of it."""
    data = data or write_data(cloud.place.folder / "rows", ROWS)
    # Who is not answered by start_run waits; a run under permissions takes a third of this.
    trained = cloud.place.lehr("train", project, "--data", str(data), timeout_s=90)
    table = cloud.place.outputs()["RegistryTable"]
    records = cloud.place.client("dynamodb").query(
        TableName=table,
        KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
        ExpressionAttributeValues={":pk": {"S": f"project#{project}"}, ":sk": {"S": "run#"}},
    )["Items"]
    bucket = cloud.place.outputs()["ArtifactBucket"]
    s3 = cloud.place.client("s3")
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=f"runs/{project}/").get("Contents", [])
    keys = {entry["Key"].rpartition("/")[2]: entry["Key"] for entry in listed}

    def text_of(name: str) -> str:
        if name not in keys:
            return ""
        with s3.get_object(Bucket=bucket, Key=keys[name])["Body"] as body:
            return str(body.read().decode())

    return {
        "code": trained.code,
        "statuses": [record["status"]["S"] for record in records],
        "tail": "no such layer: convolver" in trained.stderr,
        "kept": sorted(keys.keys() & {"report.html", "failure.json", "decision.json"}),
        "log_tail": "raise ValueError(" in text_of("failure.json"),
        "timeline": "<h2>Timeline" in text_of("report.html"),
        "troubles": _troubles(cloud, project),
        "logged": bool(_log_streams(cloud, project)),
    }


def _troubles(cloud: GuardedCloud, project: str) -> list[str]:
    """Every failure in the histories of the project's executions, also those that a Catch has taken."""
    client = cloud.place.client("stepfunctions")
    arn = cloud.place.outputs()["StateMachineArn"]
    troubles = []
    for execution in client.list_executions(stateMachineArn=arn)["executions"]:
        if not execution["name"].startswith(f"{project}-"):
            continue
        pages = client.get_paginator("get_execution_history").paginate(executionArn=execution["executionArn"])
        for event in (event for page in pages for event in page["events"]):
            if event["type"].endswith(("Failed", "TimedOut")):
                details = event.get(f"{event['type'][0].lower()}{event['type'][1:]}EventDetails", {})
                troubles.append(f"{event['type']} {details.get('resource', '')} {details.get('error', '')}")
    return sorted(troubles)


def _stop_execution(cloud: GuardedCloud, project: str) -> None:
    """As in the console: the registry does not hear of it."""
    client = cloud.place.client("stepfunctions")
    arn = cloud.place.outputs()["StateMachineArn"]
    for execution in client.list_executions(stateMachineArn=arn, statusFilter="RUNNING")["executions"]:
        if execution["name"].startswith(f"{project}-"):
            client.stop_execution(executionArn=execution["executionArn"])


def _update_of(cloud: GuardedCloud, output: str) -> str:
    """What comes of changing a state machine to what it is."""
    client, arn = cloud.place.client("stepfunctions"), cloud.place.outputs()[output]
    machine = client.describe_state_machine(stateMachineArn=arn)
    try:
        client.update_state_machine(
            stateMachineArn=arn,
            roleArn=machine["roleArn"],
            loggingConfiguration=_logging(cloud) or machine.get("loggingConfiguration") or {},
        )
    except client.exceptions.ClientError as error:
        return str(error.response["Error"]["Code"])
    return "done"


def _status_of_prediction(cloud: GuardedCloud, project: str) -> int:
    body = json.dumps({"inputs": [[0] * 28] * 28}).encode()
    return _ask_the_endpoint(cloud, "POST", f"/predict/{project}", body)[0]


def _ask_for_a_batch(cloud: GuardedCloud, method: str, path: str) -> tuple[int, Any]:
    status, content = _ask_the_endpoint(cloud, method, f"/predict/batch/{path}", b"")
    return status, json.loads(content)


def _ask_the_endpoint(cloud: GuardedCloud, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    info, url = cloud.place.info(), f"{cloud.place.outputs()['EndpointUrl']}{path}"
    request = AWSRequest(method, url, data=body, headers={"Content-Type": "application/json"})
    SigV4Auth(Credentials("local", "local-secret"), "execute-api", info["region"]).add_auth(request)
    call = urllib.request.Request(url, data=body, headers=dict(request.headers.items()), method=method)
    context = ssl.create_default_context(cafile=info["ca_file"])
    try:
        with urllib.request.urlopen(call, context=context, timeout=60) as answer:
            return int(answer.status), bytes(answer.read())
    except HTTPError as fault:
        with fault:
            return int(fault.code), bytes(fault.read())


def _answer_for_a_deleted_file(cloud: GuardedCloud, project: str) -> Any:
    """What a unit makes of a file that went after its batch was planned: how many rows, or an error."""
    outputs = cloud.place.outputs()
    unit = {
        **{"schema": 1, "project": project, "batch": "0123456789ab", "index": 0, "first": 0, "count": 0},
        "model_version": _champion(cloud, project) or "0123456789abcdef",
        "source": {
            **{"bucket": outputs["DataBucket"], "key": f"batches/{project}/gone.csv"},
            **{"etag": "0" * 32, "bytes": 1},
        },
    }
    _, told = cloud.call("PredictBatchUnit", unit)
    return told.get("rows", told.get("errorType"))


def _is_forbidden(cloud: GuardedCloud, function: str, payload: dict[str, Any]) -> bool:
    """Whether a call of a function fails because of a permission. It has to fail."""
    has_failed, error = cloud.call(function, payload)
    assert has_failed, error
    # The answer to HEAD has no body, so that its code is all that it says. A request id may hold any digits.
    return re.search(r"\((AccessDenied|403)\)", error["errorMessage"]) is not None


def _start_job(cloud: GuardedCloud, name: str, environment: dict[str, str]) -> None:
    """A training job that nobody waits for, under the training role, until it is stopped."""
    bucket = cloud.place.outputs()["ArtifactBucket"]
    cloud.place.client("sagemaker").create_training_job(
        TrainingJobName=name,
        RoleArn=f"arn:aws:iam::{cloud.place.info()['account_id']}:role/{cloud.roles['TrainingRole']}",
        AlgorithmSpecification={
            "TrainingImage": "1.dkr.ecr.us-east-1.amazonaws.com/lehr-trainer:1",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python", "-c", "import time; time.sleep(120)"],
        },
        OutputDataConfig={"S3OutputPath": f"s3://{bucket}/runs/orphan/"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
        EnableNetworkIsolation=True,
        Environment=environment,
    )


def _running_job(cloud: GuardedCloud, project: str) -> str | None:
    answer = cloud.place.client("sagemaker").list_training_jobs(
        NameContains=f"-{project}-", StatusEquals="InProgress"
    )
    jobs = [job["TrainingJobName"] for job in answer["TrainingJobSummaries"]]
    return jobs[0] if jobs else None


def _has_stopped(cloud: GuardedCloud, job: str) -> bool:
    described = cloud.place.client("sagemaker").describe_training_job(TrainingJobName=job)
    return bool(described["TrainingJobStatus"] == "Stopped")


def _log_streams(cloud: GuardedCloud, project: str) -> list[Any]:
    logs = cloud.place.client("logs")
    try:
        streams = logs.describe_log_streams(logGroupName="/aws/sagemaker/TrainingJobs")["logStreams"]
    except logs.exceptions.ResourceNotFoundException:
        return []
    return [stream for stream in streams if f"-{project}-" in stream["logStreamName"]]


def _logging(cloud: GuardedCloud) -> dict[str, Any]:
    groups = cloud.place.client("logs").describe_log_groups(logGroupNamePrefix="/aws/vendedlogs/states/")[
        "logGroups"
    ]
    destinations = [{"cloudWatchLogsLogGroup": {"logGroupArn": group["arn"]}} for group in groups]
    return {"level": "ERROR", "includeExecutionData": False, "destinations": destinations} if groups else {}
