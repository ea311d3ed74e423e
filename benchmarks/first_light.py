"""Seconds from `_READY` to the promoted champion, by state, and what of it is orchestration.

Run: python benchmarks/first_light.py [--rounds 3] [--json-file benchmarks/results/…]

Each round is a new project of the MNIST example in one local cloud, so that every run trains and promotes; the first
round is cold (processes of functions start), the others are warm. After each round the bare trainer runs alone on the
shards that the round has prepared: `python -m lehr_trainer`, from process start to exit.

    handlers       for every state that calls a function, the longest `Duration` that Lambda reports in it
    orchestration  = seconds from _READY to the champion, less handlers, less the life of the training process
    against bare   = the same, less the bare trainer instead: on a busy machine two trainings of the same work differ by
                   more than all orchestration, so this one is noisy where that one is not

Both hold everything that is not the user's: events, queue, states, S3 transfers of the training job, process starts of
functions. Prints a table, and as its last line one JSON document.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples/mnist"
REPORT = re.compile(r"REPORT RequestId: .*?\tDuration: ([0-9.]+) ms")
TARGET_S = 3.0
NUMBERS = (
    "total_s",
    "handlers_s",
    "training_process_s",
    "bare_trainer_s",
    "orchestration_s",
    "against_bare_s",
)


class Cloud:
    """A local cloud of its own, with the stack deployed."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.info = json.loads(self._lehr_local("up", "--port", "0", "--https-port", "0", "--json"))
        deploy = [sys.executable, "-m", "lehr_local.deploy", "--template", str(ROOT / "template.yaml")]
        deploy += ["--stack", "lehr", "--endpoint-url", self.info["endpoint_url"], "--json"]
        self.outputs = json.loads(
            subprocess.run(deploy, check=True, capture_output=True, text=True, cwd=ROOT).stdout
        )
        session = boto3.Session("local", "local-secret", region_name=self.info["region"])
        self.s3, self.states, self.logs, self.sagemaker = (
            session.client(name, endpoint_url=self.info["endpoint_url"])
            for name in ("s3", "stepfunctions", "logs", "sagemaker")
        )
        table = session.resource("dynamodb", endpoint_url=self.info["endpoint_url"])
        self.registry = table.Table(self.outputs["RegistryTable"])

    def _lehr_local(self, command: str, *options: str) -> str:
        arguments = [sys.executable, "-m", "lehr_local", command, "--state", str(self.state), *options]
        return subprocess.run(arguments, check=True, capture_output=True, text=True, cwd=ROOT).stdout

    def close(self) -> None:
        self._lehr_local("down")


def push_and_upload(cloud: Cloud, project: str) -> None:
    """Everything before `_READY`, which is not timed."""
    recipe = (EXAMPLE / "lehr.toml").read_text().replace('name = "mnist"', f'name = "{project}"')
    artifacts, data = cloud.outputs["ArtifactBucket"], cloud.outputs["DataBucket"]
    cloud.s3.put_object(Bucket=artifacts, Key=f"projects/{project}/bench/lehr.toml", Body=recipe)
    head = json.dumps({"code_sha": "bench"})
    cloud.s3.put_object(Bucket=artifacts, Key=f"projects/{project}/head.json", Body=head)
    for file in (EXAMPLE / "data").glob("*.gz"):
        cloud.s3.put_object(Bucket=data, Key=f"incoming/{project}/{file.name}", Body=file.read_bytes())


def run_project(cloud: Cloud, project: str) -> tuple[float, list[dict[str, Any]], dict[str, Any]]:
    """Drop `_READY` and wait for the champion: seconds, the execution's events, the run's record."""
    begin = time.time()
    cloud.s3.put_object(Bucket=cloud.outputs["DataBucket"], Key=f"incoming/{project}/_READY", Body=b"")
    while "Item" not in (answer := cloud.registry.get_item(Key={"pk": f"champion#{project}", "sk": "alias"})):
        if time.time() - begin > 300:
            raise SystemExit(f"{project}: no champion after 300 s")
        time.sleep(0.05)
    seconds = time.time() - begin
    run = answer["Item"]["owner"]
    key = {"pk": f"project#{project}", "sk": f"run#{run}"}
    record = cloud.registry.get_item(Key=key)["Item"]
    while cloud.states.describe_execution(executionArn=record["execution_arn"])["status"] == "RUNNING":
        time.sleep(0.05)
    record = cloud.registry.get_item(Key=key)["Item"]
    pages = cloud.states.get_paginator("get_execution_history").paginate(executionArn=record["execution_arn"])
    return (
        seconds,
        [event for page in pages for event in page["events"]],
        {"run": run, "begin": begin} | record,
    )


def by_state(events: list[dict[str, Any]], begin: float) -> dict[str, float]:
    """Seconds in each state up to the promotion; what precedes the first is the trigger's."""
    entered: dict[str, datetime] = {}
    seconds = {"trigger": events[0]["timestamp"].timestamp() - begin}
    for event in events:
        if details := event.get("stateEnteredEventDetails"):
            entered[details["name"]] = event["timestamp"]
        if (details := event.get("stateExitedEventDetails")) and details["name"] != "Train":
            seconds[details["name"]] = (event["timestamp"] - entered[details["name"]]).total_seconds()
        if details and details["name"] == "PromoteModel" and "stateExitedEventDetails" in event:
            break
    return seconds


def handler_seconds(cloud: Cloud, since: float) -> dict[str, float]:
    """The longest Duration that each function has reported since `since`, by function name."""
    longest: dict[str, float] = {}
    for group in cloud.logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]:
        name = group["logGroupName"].rpartition("/")[2].split("-")[1:2]
        for stream in cloud.logs.describe_log_streams(logGroupName=group["logGroupName"])["logStreams"]:
            events = cloud.logs.get_log_events(
                logGroupName=group["logGroupName"],
                logStreamName=stream["logStreamName"],
                startTime=int(since * 1000),
                startFromHead=True,
            )["events"]
            found = [float(match[1]) / 1000 for event in events if (match := REPORT.search(event["message"]))]
            if name and found:
                longest[name[0]] = max([longest.get(name[0], 0.0), *found])
    unpromoted = {"WriteReportFunction", "RecordFailureFunction", "PredictFunction"}
    return {name: seconds for name, seconds in longest.items() if name not in unpromoted}


def training_process_seconds(cloud: Cloud, project: str, run: str) -> float:
    """How long the training process lived in the run itself: SageMaker's Training phase."""
    found = cloud.sagemaker.list_training_jobs(NameContains=f"-{run}-0-")["TrainingJobSummaries"]
    (name,) = [job["TrainingJobName"] for job in found]
    job = cloud.sagemaker.describe_training_job(TrainingJobName=name)
    (phase,) = [step for step in job["SecondaryStatusTransitions"] if step["Status"] == "Training"]
    return float((phase["EndTime"] - phase["StartTime"]).total_seconds())


def bare_trainer(cloud: Cloud, project: str, record: dict[str, Any], folder: Path) -> float:
    """Seconds of `python -m lehr_trainer`, alone, on the shards of the round."""
    from lehr import layout
    from lehr.channel_lists import read_channel_list
    from lehr.contracts.recipe import parse_recipe
    from lehr.contracts.training import to_hyperparameters

    artifacts = cloud.outputs["ArtifactBucket"]
    channels = {"code": f"projects/{project}/bench/"}
    version = record["dataset_version"]
    channels["manifest"] = layout.dataset_manifest_key(project, version)
    keys = [
        (channel, entry["Key"])
        for channel, start in channels.items()
        for entry in cloud.s3.list_objects_v2(Bucket=artifacts, Prefix=start)["Contents"]
    ]
    for channel in ("train", "validation"):
        key = f"{layout.dataset_prefix(project, version)}{channel}.json"
        raw = cloud.s3.get_object(Bucket=artifacts, Key=key)["Body"].read()
        keys += [(channel, listed.key) for listed in read_channel_list(raw, key)]
    for channel, key in keys:
        target = folder / "input/data" / channel / key.rpartition("/")[2]
        target.parent.mkdir(parents=True, exist_ok=True)
        cloud.s3.download_file(artifacts, key, str(target))
    recipe = parse_recipe((folder / "input/data/code/lehr.toml").read_text())
    config = folder / "input/config"
    config.mkdir(parents=True)
    (config / "hyperparameters.json").write_text(json.dumps(to_hyperparameters(recipe.training)))
    (config / "inputdataconfig.json").write_text(json.dumps({name: {} for name in channels}))
    (config / "resourceconfig.json").write_text(json.dumps({"current_host": "algo-1", "hosts": ["algo-1"]}))
    environment = {
        "LEHR_ML_ROOT": str(folder),
        "LEHR_PROJECT": project,
        "LEHR_RUN": "bare",
        "LEHR_TRIAL": "0",
    }
    environment |= {"PATH": os.environ["PATH"], "HOME": str(folder)}
    begin = time.perf_counter()
    command = [sys.executable, "-m", "lehr_trainer", "train"]
    subprocess.run(command, env=environment, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def measure(cloud: Cloud, rounds: int, scratch: Path) -> list[dict[str, Any]]:
    results = []
    for number in range(rounds + 1):
        project = f"mnist-{number}"
        push_and_upload(cloud, project)
        seconds, events, record = run_project(cloud, project)
        bare = bare_trainer(cloud, project, record, scratch / project)
        handlers = handler_seconds(cloud, record["begin"])
        process = training_process_seconds(cloud, project, record["run"])
        rest = seconds - sum(handlers.values())
        results.append(
            {
                "round": "cold" if number == 0 else f"warm {number}",
                "total_s": seconds,
                "bare_trainer_s": bare,
                "handlers_s": sum(handlers.values()),
                "training_process_s": process,
                "orchestration_s": rest - process,
                "against_bare_s": rest - bare,
                "states_s": by_state(events, record["begin"]),
                "accuracy": float(record["accuracy"]),
                "load_average": os.getloadavg()[0],
            }
        )
        last = results[-1]
        print(
            f"{last['round']:8} total {seconds:6.2f}   bare trainer {bare:6.2f}   handlers {last['handlers_s']:5.2f}   "
            f"process {process:6.2f}   orchestration {last['orchestration_s']:5.2f}   "
            f"against bare {last['against_bare_s']:5.2f}   load {last['load_average']:.1f}",
            flush=True,
        )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="warm rounds after the cold one")
    parser.add_argument("--json-file", type=Path, help="also write the JSON document here")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="lehr-first-light-"))
    cloud = Cloud(scratch / "state")
    try:
        results = measure(cloud, options.rounds, scratch)
    finally:
        cloud.close()
        shutil.rmtree(scratch, ignore_errors=True)
    warm = results[1:] or results
    states = {name: statistics.median(r["states_s"][name] for r in warm) for name in warm[0]["states_s"]}
    print("\nseconds by state, median of the warm rounds")
    for name, value in states.items():
        print(f"  {name:18} {value:6.2f}")
    medians = {name: statistics.median(result[name] for result in warm) for name in NUMBERS}
    print(f"\norchestration, warm, median: {medians['orchestration_s']:.2f} s (target {TARGET_S:.0f} s)")
    print(f"against the bare trainer:    {medians['against_bare_s']:.2f} s")
    document = {
        "benchmark": "first_light",
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "warm_medians": medians,
        "states_s": states,
        "rounds": results,
    }
    line = json.dumps(document)
    if options.json_file:
        options.json_file.write_text(json.dumps(document, indent=2) + "\n")
    print(line)


if __name__ == "__main__":
    main()
