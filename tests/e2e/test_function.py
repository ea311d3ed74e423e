"""The same training in a function, slice by slice, and on SageMaker in one piece: one and the same model."""

from __future__ import annotations

import io
import json
import os
import signal
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.small_mnist import EXAMPLE, recipe, write_data
from tests.e2e.workplace import Workplace, deployed_beside

TRAINING_JOBS = 1
STACK = "lehr-function"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/lehr-trainer:local"
SLICE_S = 5
# Of SageMaker's line of the recipe, with a margin of time for a busy machine.
ON_SAGEMAKER = 'kind = "sagemaker"\ninstance_type = "ml.m5.large"\nmax_runtime_s = 900'
IN_A_FUNCTION = 'kind = "lambda"\nmax_runtime_s = 900'

pytestmark = pytest.mark.local_only("the slices of a deployed function take minutes: its deadline is 900 s")


@pytest.fixture(scope="module")
def function_stack(workplace: Workplace) -> Iterator[Workplace]:
    """A stack with the training function, beside the suite's."""
    with deployed_beside(workplace, STACK, TrainerFunctionImageUri=IMAGE) as place:
        yield place


def with_slices_of(place: Workplace, seconds: float) -> str:
    """Shorten the slices of the stack's training function; its name."""
    (name,) = (
        function["FunctionName"]
        for page in place.client("lambda").get_paginator("list_functions").paginate()
        for function in page["Functions"]
        if function["PackageType"] == "Image"
    )
    place.client("lambda").update_function_configuration(
        FunctionName=name, Environment={"Variables": {"LEHR_SLICE_S": str(seconds)}}
    )
    return str(name)


def push(place: Workplace, project: str, backend: str, code: str = "", **changes: str) -> None:
    """Push a project; `code` is its net.py, if it has one."""
    text = recipe(project, **changes)
    head, _, rest = text.partition("[backend]\n")
    gate = rest[rest.index("[gate]") :]
    folder = place.folder / project
    folder.mkdir()
    (folder / "lehr.toml").write_text(f"{head}[backend]\n{backend}\n\n{gate}")
    if code:
        (folder / "net.py").write_text(code)
    assert place.lehr("push", str(folder)).code == 0


def trained(place: Workplace, project: str, run: str) -> Mapping[str, bytes]:
    """The files of the trial's model.tar.gz."""
    bucket = place.outputs()["ArtifactBucket"]
    ((_, key),) = [
        found
        for found in place.keys(project)
        if found[1].startswith(f"runs/{project}/{run}/") and found[1].endswith("/output/model.tar.gz")
    ]
    body = place.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        return {name: archive.extractfile(name).read() for name in archive.getnames()}  # type: ignore[union-attr]


def history(place: Workplace, project: str) -> Iterator[dict[str, Any]]:
    """The events of a project's last run."""
    (record,) = place.runs(project)[:1]
    pages = place.client("stepfunctions").get_paginator("get_execution_history")
    for page in pages.paginate(executionArn=record["execution_arn"], includeExecutionData=True):
        yield from page["events"]


def slices(place: Workplace, project: str) -> list[dict[str, Any]]:
    """What each slice of a project's last run has answered."""
    answers = []
    for event in history(place, project):
        output = event.get("taskSucceededEventDetails", {}).get("output", "")
        payload = json.loads(output).get("Payload") if output.startswith("{") else None
        if isinstance(payload, dict) and "progress" in payload:
            answers.append(payload)
    return answers


def crashes(place: Workplace, project: str) -> list[str]:
    """Errors of the calls that died."""
    details = (event.get("taskFailedEventDetails", {}) for event in history(place, project))
    return [detail["error"] for detail in details if detail]


class KillsOnce(threading.Thread):
    """Kills the process that trains a project, once its first slice has left a checkpoint and the next one trains."""

    def __init__(self, place: Workplace, project: str) -> None:
        super().__init__(daemon=True)
        self.place, self.project = place, project
        self.has_killed = threading.Event()

    def run(self) -> None:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            if any("/checkpoints/" in key for _, key in self.place.keys(self.project)):
                time.sleep(SLICE_S / 2)
                for process in self._processes():
                    os.kill(process, signal.SIGKILL)
                    self.has_killed.set()
                return
            time.sleep(0.3)

    def _processes(self) -> Iterator[int]:
        """Python under the emulator, of this test's own local cloud."""
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes().split(b"\0")
                variables = (folder / "environ").read_bytes()
            except OSError:
                continue
            is_python = command[1:4] == [b"-m", b"awslambdaric", b"lehr_trainer.function.handler"]
            if is_python and str(self.place.folder).encode() in variables:
                yield int(folder.name)


@pytest.mark.slow  # two minutes; its quick form is of the trainer alone, tests/unit/trainer/test_train_slice.py
def test_mnist_in_slices_of_five_seconds_is_the_model_that_one_piece_gives(function_stack: Workplace) -> None:
    """Though one of the slices is killed."""
    with_slices_of(function_stack, SLICE_S)
    files = {}
    for name, backend in (("whole", ON_SAGEMAKER), ("sliced", IN_A_FUNCTION)):
        project = function_stack.project(name)
        push(function_stack, project, backend)
        if name == "sliced":
            killer = KillsOnce(function_stack, project)
            killer.start()
        done = function_stack.lehr("train", project, "--data", str(EXAMPLE / "data"), timeout_s=600)
        assert done.code == 0, done.stderr
        (run,) = function_stack.runs(project)
        files[name] = trained(function_stack, project, run["run"])
    whole, sliced = (json.loads(files[name]["training.json"]) for name in ("whole", "sliced"))
    assert sliced["weights_sha256"] == whole["weights_sha256"]
    assert files["sliced"]["model.onnx"] == files["whole"]["model.onnx"]
    answers = slices(function_stack, project)
    assert len(answers) >= 3
    assert [answer["status"] for answer in answers] == ["continues"] * (len(answers) - 1) + ["Completed"]
    updates = [answer["progress"]["update"] for answer in answers[:-1]]
    assert updates == sorted(set(updates)), "a slice has moved nothing"
    assert [event["slice"] for event in done.events if event["event"] == "slice_ended"] == [
        answer["progress"]["slices"] for answer in answers
    ]
    assert killer.has_killed.is_set()
    assert "Runtime.ExitError" in crashes(function_stack, project)
    cost = json.loads(
        function_stack.client("s3")
        .get_object(
            Bucket=function_stack.outputs()["ArtifactBucket"], Key=f"runs/{project}/{run['run']}/cost.json"
        )["Body"]
        .read()
    )
    (trial,) = cost["trials"]
    assert (trial["instance_type"], trial["is_whole"]) == ("lambda-3008mb", True)
    assert trial["billable_seconds"] == answers[-1]["progress"]["seconds"]
    assert function_stack.training_jobs(project) == [], "SageMaker trained it"


@pytest.mark.slow
def test_a_trainer_that_fails_in_a_function_says_why_and_shows_its_log(function_stack: Workplace) -> None:
    project = function_stack.project("broken")
    push(
        function_stack,
        project,
        IN_A_FUNCTION,
        code="def build(**shape):\n    raise ValueError('no such layer: convolver')\n",
        **{'name = "mlp"': 'name = "custom"\nfactory = "net:build"'},
    )
    data = write_data(function_stack.folder / "data-1000", 1000)
    failed = function_stack.lehr("train", project, "--data", str(data))
    assert failed.code == 1
    (run,) = function_stack.runs(project)
    assert "net.py:2 in build: ValueError: no such layer: convolver" in run["reason"]
    bucket = function_stack.outputs()["ArtifactBucket"]
    key = f"runs/{project}/{run['run']}/failure.json"
    failure = json.loads(function_stack.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
    assert any("FAILED: net.py:2 in build" in line for line in failure["log_tail"])


def test_a_function_in_a_stack_without_it_is_refused_before_anything_starts(workplace: Workplace) -> None:
    project = workplace.project("no-function")
    push(workplace, project, IN_A_FUNCTION)
    data = write_data(workplace.folder / "data-400", 400)
    refused = workplace.lehr("train", project, "--data", str(data))
    assert refused.code == 1
    assert "TrainerFunctionImageUri" in refused.only("answer")["reason"]
