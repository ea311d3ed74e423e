"""The options of the end-to-end suite, and its aws side against a local cloud that stands in for AWS.

pytest runs in a process of its own, with an environment like that of somebody who has an account.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest

from tests.e2e.targets import LocalTarget
from tests.e2e.workplace import ROOT, Workplace, make_workplace

BATCH = ["BatchSubnetIds=subnet-0123456789abcdef0", "BatchSecurityGroupIds=sg-0123456789abcdef0"]
CLOSED = "http://127.0.0.1:1"
KEYS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local-secret"}


def suite(
    *arguments: str, variables: Mapping[str, str], timeout_s: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run tests/e2e with these arguments; nothing of AWS is in the environment but these variables."""
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "tests/e2e", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=ROOT,
        env=environment | nowhere | {"AWS_EC2_METADATA_DISABLED": "true"} | dict(variables),
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


@pytest.mark.parametrize(
    ("arguments", "variables", "sentence"),
    [
        (["--target", "aws"], {}, "--target aws needs --stack NAME"),
        (["--target", "aws", "--stack", "mine", "-n", "2"], KEYS, "--target aws runs in one process"),
        (["--stack", "mine"], {}, "--stack names a stack on AWS: it goes with --target aws"),
        (["--target", "aws", "--stack", "mine"], KEYS, "no AWS region is set"),
        (["--target", "aws", "--stack", "mine"], {"AWS_REGION": "eu-west-1"}, "no usable AWS credentials"),
        (
            ["--target", "aws", "--stack", "mine"],
            KEYS | {"AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": CLOSED},
            "the cloud does not answer",
        ),
    ],
    ids=["no stack", "many processes", "no target", "no region", "no credentials", "nobody there"],
)
def test_what_is_missing_is_said_in_one_sentence(
    arguments: list[str], variables: dict[str, str], sentence: str
) -> None:
    result = suite(*arguments, variables=variables)
    assert result.returncode == pytest.ExitCode.USAGE_ERROR, result.stdout + result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.strip()]
    assert line.startswith("ERROR: ")
    assert sentence in line
    assert result.stdout.strip() == ""


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A local cloud whose stack `lehr` has subnets for Batch."""
    place = make_workplace(tmp_path_factory.mktemp("stand-in"), LocalTarget())
    up = place.lehr("local", "up", "--port", "0", "--https-port", "0")
    assert up.code == 0, up.stderr
    deploy(place, "lehr", BATCH)
    yield place
    assert place.lehr("local", "down").code == 0


def deploy(place: Workplace, stack: str, parameters: list[str]) -> None:
    command = [sys.executable, "-m", "lehr_local.deploy", "--template", "template.yaml", "--stack", stack]
    command += ["--endpoint-url", str(place.cloud.endpoint_url)]
    command += [word for parameter in parameters for word in ("--parameter", parameter)]
    environment = place.target.environment()
    subprocess.run(command, cwd=place.folder, env=environment, capture_output=True, timeout=120, check=True)


def as_an_account(place: Workplace) -> dict[str, str]:
    """What makes a client take the local cloud for AWS."""
    cloud = place.cloud
    here = {"AWS_ENDPOINT_URL": str(cloud.endpoint_url), "AWS_REGION": cloud.region}
    return KEYS | here | {"AWS_CA_BUNDLE": str(cloud.ca_file)}


def everything(place: Workplace) -> tuple[list[str], list[str]]:
    """All object versions of the stack's buckets, and all items of its registry.

    Not the trainer's source: that is the stack's own, for whoever trains next.
    """
    outputs, s3 = place.outputs(), place.client("s3")
    keys = [
        version["Key"]
        for bucket in (outputs["DataBucket"], outputs["ArtifactBucket"])
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket)
        for version in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        if not version["Key"].startswith("trainer/")
    ]
    pages = place.client("dynamodb").get_paginator("scan").paginate(TableName=outputs["RegistryTable"])
    return keys, [item["pk"]["S"] for page in pages for item in page["Items"]]


def jobs(place: Workplace) -> int:
    """How many training jobs the cloud has seen."""
    trained = place.client("sagemaker").list_training_jobs()["TrainingJobSummaries"]
    batch = place.client("batch")
    statuses = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
    queues = [queue["jobQueueName"] for queue in batch.describe_job_queues()["jobQueues"]]
    listed = [
        batch.list_jobs(jobQueue=queue, jobStatus=status)["jobSummaryList"]
        for queue in queues
        for status in statuses
    ]
    return len(trained) + sum(map(len, listed))


def test_a_stack_that_is_not_there_is_named(stand_in: Workplace) -> None:
    result = suite("--target", "aws", "--stack", "other", variables=as_an_account(stand_in))
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert "there is no stack 'other'" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_stack_whose_endpoint_takes_no_signatures_is_refused(stand_in: Workplace) -> None:
    deploy(stand_in, "public", ["EndpointAuth=NONE", "IAcceptAPublicEndpoint=yes"])
    result = suite("--target", "aws", "--stack", "public", variables=as_an_account(stand_in))
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert "the stack 'public' has EndpointAuth=NONE" in result.stderr


@pytest.mark.slow
def test_the_aws_target_trains_asks_and_leaves_nothing_behind(stand_in: Workplace) -> None:
    """The quick form: one model, asked over HTTPS. What is of a local cloud only is skipped and says so."""
    before = everything(stand_in)
    result = suite(
        *(
            "--target",
            "aws",
            "--stack",
            "lehr",
            "-rs",
            "-k",
            "names_label or unsigned or outside_of_the_repository",
        ),
        variables=as_an_account(stand_in),
        timeout_s=240,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"^2 passed, 1 skipped", result.stdout, re.MULTILINE), result.stdout
    assert "local only: the demo brings up a local cloud" in result.stdout
    assert "stack lehr: at most 1 training jobs on ml.m5.large, 0.01 USD if each" in result.stdout
    assert everything(stand_in) == before


@pytest.mark.slow
def test_the_whole_suite_passes_with_the_aws_target_and_starts_no_more_than_it_says(
    stand_in: Workplace,
) -> None:
    before, had = everything(stand_in), jobs(stand_in)
    result = suite(
        *("--target", "aws", "--stack", "lehr", "-rs"),
        variables=as_an_account(stand_in),
        timeout_s=900,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    (most,) = re.findall(r"at most (\d+) training jobs", result.stdout)
    assert 7 <= jobs(stand_in) - had <= int(most)
    assert everything(stand_in) == before
