"""`lehr doctor` on simulated accounts: every fault is named with what it means and the command that mends it."""

from __future__ import annotations

import inspect
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from lehr.contracts.recipe import Recipe, parse_recipe
from lehr.contracts.recipe_tables import Backend
from lehr_cli.check_account import check_account
from lehr_cli.check_quotas import SHARD_CONCURRENCY, check_batch_quotas
from lehr_cli.doctor import doctor, examine
from lehr_cli.failures import CommandError
from lehr_cli.findings import Finding
from lehr_cli.invocation import Invocation
from lehr_cli.target import Target
from lehr_local.shield.policies import Demand, decide
from tests.template.translated import EVERYTHING, deployed, policies

RECIPE = (Path(__file__).parents[3] / "examples" / "mnist" / "lehr.toml").read_text()
REGION, ACCOUNT = "eu-central-1", "123456789012"
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/lehr-trainer:1"
QUOTAS = {
    "ml.g5.xlarge for training job usage": 4,
    "ml.g5.xlarge for spot training job usage": 4,
    "ml.g5.xlarge for endpoint usage": 1,
    "ml.m5.large for training job usage": 20,
    "ml.c5.xlarge for training job usage": 20,
}
OUTPUTS = {
    "DataBucket": "lehr-data",
    "ArtifactBucket": "lehr-artifacts",
    "RegistryTable": "lehr-registry",
    "StateMachineArn": "arn",
    "StartRunFunction": "start-run",
    "EndpointUrl": "https://x",
    "NotificationTopicArn": "arn:topic",
    "TrainerImage": IMAGE,
}
STOCK_IMAGE = f"763104351884.dkr.ecr.{REGION}.amazonaws.com/pytorch-training:2.10.0-gpu-py313"


def error(code: str, operation: str = "Operation") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, operation)


class Client:
    """Answers by operation: a value, an error to raise, or a function of the request."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self._answers = answers

    def __getattr__(self, operation: str) -> Any:
        def call(**request: Any) -> Any:
            answer = self._answers[operation]
            if isinstance(answer, Exception):
                raise answer
            return answer(**request) if callable(answer) else answer

        return call

    def get_paginator(self, operation: str) -> Any:
        class Pages:
            @staticmethod
            def paginate(**request: Any) -> Any:
                return [getattr(self, operation)(**request)]

        return Pages()


class Account:
    """A good account with a whole stack; tests take away from it. It is the session of its own target."""

    def __init__(self) -> None:
        self.quotas: dict[str, int] = dict(QUOTAS)
        self.concurrency = 1000
        self.vcpus = 0
        self.stack: dict[str, Any] = {
            "StackName": "lehr",
            "StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/lehr/51af3dc0-2e64-11f1-9c5a-0a1b2c3d4e5f",
            "StackStatus": "UPDATE_COMPLETE",
            "Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in OUTPUTS.items()],
            "Parameters": [],
        }
        self.stack_region = REGION
        self.decision = "allowed"
        self.subscription = "arn:topic:1"
        self.faults: dict[str, Any] = {}

    @property
    def target(self) -> Target:
        return Target(session=self, region=REGION)

    def client(self, service: str, region_name: str = REGION, **_: Any) -> Client:
        answers = {
            "get_caller_identity": {"Arn": "arn:aws:iam::1:user/ada", "Account": ACCOUNT},
            "list_service_quotas": {
                "Quotas": [
                    {"QuotaName": name, "QuotaCode": f"L-{number}", "Value": float(value)}
                    for number, (name, value) in enumerate(self.quotas.items())
                ]
            },
            "get_service_quota": lambda ServiceCode, QuotaCode: {
                "Quota": {"Value": float(self.concurrency if ServiceCode == "lambda" else self.vcpus)}
            },
            "describe_stacks": lambda StackName: (
                {"Stacks": [self.stack]} if region_name == self.stack_region else self._missing()
            ),
            "list_stack_resources": {
                "StackResourceSummaries": [
                    {
                        "LogicalResourceId": name,
                        "PhysicalResourceId": f"lehr-{name}",
                        "ResourceType": "AWS::IAM::Role",
                    }
                    for name in ("TrainingRole", "RetrainStateMachineRole")
                ]
            },
            "simulate_principal_policy": lambda ActionNames, **_: {
                "EvaluationResults": [
                    {"EvalActionName": action, "EvalDecision": self.decision} for action in ActionNames
                ]
            },
            "head_bucket": {},
            "batch_get_image": {"images": [{"imageId": {}}], "failures": []},
            "describe_images": {"imageDetails": [{"imageSizeInBytes": 4_200_000_000}]},
            "list_subscriptions_by_topic": {
                "Subscriptions": [{"Endpoint": "a@b.c", "SubscriptionArn": self.subscription}]
            },
            "describe_instance_type_offerings": {"InstanceTypeOfferings": [{}]},
            "describe_instance_types": {"InstanceTypes": [{"VCpuInfo": {"DefaultVCpus": 4}}]},
        }
        return Client(answers | self.faults)

    def _missing(self) -> Any:
        raise error("ValidationError")


def recipe(**backend: Any) -> Recipe:
    parsed = parse_recipe(RECIPE)
    return msgspec.structs.replace(parsed, backend=msgspec.structs.replace(parsed.backend, **backend))


def found(account: Account, asked: Recipe | None = None) -> dict[str, Finding]:
    return {finding.check: finding for finding in examine(account.target, "lehr", asked or recipe(spot=True))}


def test_a_good_account_is_ok_throughout() -> None:
    findings = found(Account())
    assert {finding.status for finding in findings.values()} == {"ok"}
    assert set(findings) == {
        "credentials",
        "region",
        "ml.g5.xlarge training jobs",
        "ml.g5.xlarge spot training jobs",
        "Lambda concurrent executions",
        "stack",
        "S3 DataBucket",
        "S3 ArtifactBucket",
        "trainer image",
        "role TrainingRole",
        "role RetrainStateMachineRole",
        "notifications",
    }


@pytest.mark.parametrize("parameters", [{}, EVERYTHING], ids=["default", "everything"])
def test_the_roles_are_asked_about_jobs_as_closed_as_the_template_wants_them(
    parameters: dict[str, str],
) -> None:
    account = Account()
    account.stack["Parameters"] = [
        {"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()
    ]
    document = policies(deployed(parameters))["RetrainStateMachineRole/0"]

    def simulate(
        ActionNames: list[str], ResourceArns: list[str], ContextEntries: list[dict[str, Any]], **_: Any
    ) -> Any:
        context = {
            entry["ContextKeyName"]: tuple(entry["ContextKeyValues"])
            if entry["ContextKeyType"].endswith("List")
            else entry["ContextKeyValues"][0]
            for entry in ContextEntries
        }
        return {
            "EvaluationResults": [
                {
                    "EvalActionName": action,
                    "EvalDecision": "allowed"
                    if not action.startswith("sagemaker:")
                    else decide([document], Demand(action, ResourceArns[0], context)),
                }
                for action in ActionNames
            ]
        }

    account.faults["simulate_principal_policy"] = simulate
    assert found(account)["role RetrainStateMachineRole"].status == "ok"


def test_a_new_account_is_told_how_to_ask_for_its_gpu_and_what_can_start_today() -> None:
    account = Account()
    account.quotas["ml.g5.xlarge for training job usage"] = 0
    account.quotas["ml.g5.xlarge for spot training job usage"] = 0
    findings = found(account)
    gpu = findings["ml.g5.xlarge training jobs"]
    assert (gpu.status, gpu.saw) == ("fail", "quota 0, 1 needed")
    assert gpu.meaning == (
        "no training job of this type can start; these can start today: ml.m5.large, ml.c5.xlarge"
    )
    assert gpu.command == (
        "aws service-quotas request-service-quota-increase --service-code sagemaker "
        "--quota-code L-0 --desired-value 1 --region eu-central-1"
    )
    spot = findings["ml.g5.xlarge spot training jobs"]
    assert (spot.status, "--quota-code L-1" in spot.command) == ("warn", True)


@pytest.mark.parametrize(
    ("limit", "deployed", "saw"),
    [
        (10, None, "10"),
        (10, "8", "10"),
        (9, None, "9, 10 wanted: ShardConcurrency is 8, and 2 beside it"),
        (10, "100", "10, 102 wanted: ShardConcurrency is 100, and 2 beside it"),
        (1000, "100", "1000"),
        (1000, "1000", "1000, 1002 wanted: ShardConcurrency is 1000, and 2 beside it"),
    ],
)
def test_fewer_functions_at_once_than_the_stack_wants_are_worth_knowing(
    limit: int, deployed: str | None, saw: str
) -> None:
    account = Account()
    account.concurrency = limit
    if deployed:
        account.stack["Parameters"] += [{"ParameterKey": "ShardConcurrency", "ParameterValue": deployed}]
    finding = found(account)["Lambda concurrent executions"]
    assert (finding.status, finding.saw) == ("ok" if "wanted" not in saw else "warn", saw)
    if finding.status == "warn":
        assert f"deploy with ShardConcurrency={limit - 2}" in finding.meaning
        most = max(1000, int(deployed or 8) + 2)
        assert f"--quota-code L-B99A9384 --desired-value {most} " in finding.command


def test_without_a_stack_the_template_s_default_is_held_against_the_limit() -> None:
    account = Account()
    account.stack_region, account.concurrency = "nowhere", 9
    finding = found(account)["Lambda concurrent executions"]
    assert finding.saw.startswith("9, 10 wanted")
    template = (Path(__file__).parents[3] / "template.yaml").read_text()
    declared = template.partition("\n  ShardConcurrency:\n")[2].partition("    MinValue")[0]
    assert f"Default: {SHARD_CONCURRENCY}\n" in declared


def test_a_quota_for_fewer_trials_than_train_at_once_is_worth_knowing() -> None:
    account = Account()
    account.quotas["ml.g5.xlarge for training job usage"] = 1
    overrides = "\n[trials]\nconcurrency = 3\noverrides = [{ seed = 1 }, { seed = 2 }, { seed = 3 }]\n"
    finding = found(account, parse_recipe(RECIPE + overrides))["ml.g5.xlarge training jobs"]
    assert (finding.status, finding.saw) == ("warn", "quota 1, 3 asked for at once")
    assert "--desired-value 3" in finding.command


def test_an_instance_that_the_region_does_not_have_is_named_with_those_it_has() -> None:
    finding = found(Account(), recipe(instance_type="ml.p5.48xlarge"))["ml.p5.48xlarge training jobs"]
    assert (finding.status, finding.saw) == ("fail", "no quota of that name in eu-central-1")
    assert "these can start today: ml.m5.large" in finding.meaning


def test_quotas_that_may_not_be_read_are_not_checked_and_say_so() -> None:
    account = Account()
    for operation in ("list_service_quotas", "get_service_quota"):
        account.faults[operation] = error("AccessDeniedException", "ListServiceQuotas")
    findings = found(account)
    assert findings["ml.g5.xlarge training jobs"].status == "not_checked"
    assert "these credentials may not call ListServiceQuotas" in findings["Lambda concurrent executions"].saw
    assert findings["stack"].status == "ok"


@pytest.mark.parametrize(
    "fault", [error("ThrottlingException"), EndpointConnectionError(endpoint_url="https://x")]
)
def test_a_question_that_is_not_answered_does_not_end_the_examination(fault: Exception) -> None:
    account = Account()
    account.faults["list_service_quotas"] = fault
    findings = found(account)
    assert findings["ml.g5.xlarge training jobs"].status == "not_checked"
    assert findings["notifications"].status == "ok"


def test_a_missing_stack_gives_the_command_that_deploys_it() -> None:
    account = Account()
    account.stack_region = "nowhere"
    findings = found(account)
    assert (findings["stack"].status, findings["stack"].command) == ("fail", "sam build && sam deploy")
    assert "S3 DataBucket" not in findings


def test_a_stack_in_another_region_is_found_there() -> None:
    account = Account()
    account.stack_region = "us-east-1"
    stack = found(account)["stack"]
    assert (stack.meaning, stack.command) == ("there is one in us-east-1", "lehr doctor --region us-east-1")


def test_a_stack_that_was_rolled_back_is_no_stack() -> None:
    account = Account()
    account.stack |= {"StackStatus": "ROLLBACK_COMPLETE", "Outputs": []}
    stack = found(account)["stack"]
    assert stack.status == "fail"
    assert "describe-stack-events" in stack.command


@pytest.mark.parametrize(("code", "meaning"), [("403", "may not use it"), ("404", "it is not there")])
def test_a_bucket_out_of_reach_says_why(code: str, meaning: str) -> None:
    account = Account()
    account.faults["head_bucket"] = error(code)
    finding = found(account)["S3 DataBucket"]
    assert (finding.status, meaning in finding.meaning) == ("fail", True)


def give_image(account: Account, uri: str) -> None:
    outputs = OUTPUTS | {"TrainerImage": uri}
    account.stack["Outputs"] = [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()]


def test_a_stock_image_that_aws_does_not_have_gives_the_way_to_ones_own() -> None:
    account = Account()
    give_image(account, STOCK_IMAGE)
    account.faults["batch_get_image"] = {"images": [], "failures": [{"failureCode": "ImageNotFound"}]}
    finding = found(account)["trainer image"]
    assert (finding.status, "ImageNotFound" in finding.saw) == ("fail", True)
    assert "lehr image build" in finding.command


@pytest.mark.parametrize(
    ("uri", "status", "words"),
    [
        ("lehr-trainer:latest", "fail", "names no registry"),
        (IMAGE.replace(REGION, "us-east-1"), "fail", "is in us-east-1, the stack in eu-central-1"),
        (STOCK_IMAGE, "ok", "the PyTorch container of AWS"),
        (IMAGE.replace(":1", "@sha256:0"), "ok", "4.2 GB"),
    ],
)
def test_an_image_that_sagemaker_cannot_pull_is_found_before_it_tries(
    uri: str, status: str, words: str
) -> None:
    account = Account()
    give_image(account, uri)
    finding = found(account)["trainer image"]
    assert finding.status == status
    assert words in finding.saw


@pytest.mark.parametrize(
    ("code", "command"),
    [
        ("RepositoryNotFoundException", "aws ecr create-repository --repository-name lehr-trainer"),
        ("ImageNotFoundException", f"docker push {IMAGE}"),
    ],
)
def test_an_image_that_nobody_pushed_gives_the_next_command(code: str, command: str) -> None:
    account = Account()
    account.faults["describe_images"] = error(code)
    finding = found(account)["trainer image"]
    assert finding.status == "fail"
    assert command in finding.command


def test_a_role_that_an_organisation_holds_back_is_found() -> None:
    account = Account()
    account.decision = "explicitDeny"
    finding = found(account)["role TrainingRole"]
    assert (finding.status, finding.saw) == ("fail", "s3:GetObject, s3:PutObject would be denied")


def test_a_simulation_that_is_not_allowed_is_skipped_politely() -> None:
    account = Account()
    account.faults["simulate_principal_policy"] = error("AccessDenied", "SimulatePrincipalPolicy")
    assert found(account)["roles"].status == "not_checked"


def test_a_subscription_that_waits_for_its_confirmation_is_worth_knowing() -> None:
    account = Account()
    account.subscription = "PendingConfirmation"
    finding = found(account)["notifications"]
    assert (finding.status, finding.saw) == ("warn", "a@b.c has not confirmed")


def test_without_credentials_there_is_one_finding_with_the_way_out() -> None:
    account = Account()
    account.faults["get_caller_identity"] = NoCredentialsError()
    (finding,) = found(account).values()
    assert (finding.check, finding.status) == ("credentials", "fail")
    assert "aws configure sso" in finding.meaning


@pytest.mark.parametrize(
    ("skew_s", "status", "words"),
    [(5, "ok", "5 s ahead"), (-90, "warn", "90 s behind"), (600, "fail", "600 s ahead")],
)
def test_a_clock_that_is_off_is_found_before_signatures_are_refused(
    skew_s: int, status: str, words: str
) -> None:
    account, now = Account(), datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
    account.faults["get_caller_identity"] = {
        "Arn": "arn",
        "Account": ACCOUNT,
        "ResponseMetadata": {"HTTPHeaders": {"date": "Sat, 31 Jan 2026 12:00:00 GMT"}},
    }
    clock = list(check_account(account.target, now + timedelta(seconds=skew_s)))[-1]
    assert (clock.check, clock.status) == ("clock", status)
    assert words in clock.saw


@pytest.mark.parametrize(("vcpus", "statuses"), [(8, ["ok", "ok"]), (0, ["fail", "warn"])])
def test_batch_needs_vcpus_of_the_family(vcpus: int, statuses: list[str]) -> None:
    account = Account()
    account.vcpus = vcpus
    findings = list(check_batch_quotas(account.target, "g5.xlarge", 2))
    assert [finding.status for finding in findings] == statuses
    assert vcpus or "--service-code ec2 --quota-code L-DB2E81BA --desired-value 8" in findings[0].command


def test_batch_needs_a_type_that_the_region_offers() -> None:
    account = Account()
    account.faults["describe_instance_type_offerings"] = {"InstanceTypeOfferings": []}
    (finding,) = check_batch_quotas(account.target, "p5.48xlarge", 1)
    assert (finding.status, finding.saw) == ("fail", "not offered in eu-central-1")


def test_every_backend_of_the_recipe_is_asked_about() -> None:
    names = set(found(Account(), recipe(kind="batch", fallback="sagemaker")))
    assert {"EC2 g5.xlarge on demand", "EC2 g5.xlarge spot", "ml.g5.xlarge training jobs"} <= names
    assert "ml.g5.xlarge training jobs" not in found(Account(), recipe(kind="batch"))


@pytest.mark.parametrize(
    ("parameters", "backend", "check", "status", "saw"),
    [
        ({}, {"kind": "lambda"}, "training function", "fail", "none"),
        ({"TrainerFunctionImageUri": "i"}, {"kind": "lambda"}, "training function", "ok", "3008 MB"),
        (
            {"TrainerFunctionImageUri": "i", "TrainerFunctionMemoryMb": "4096"},
            {"fallback": "lambda", "memory_mb": 8192},
            "training function",
            "fail",
            "4096 MB, 8192 needed",
        ),
        ({}, {"fallback": "batch"}, "AWS Batch", "fail", "no queues"),
        ({"BatchSubnetIds": "subnet-1"}, {"kind": "batch"}, "AWS Batch", "ok", "queues"),
    ],
)
def test_a_backend_that_the_stack_was_deployed_without_is_found_before_a_run_is_refused(
    parameters: dict[str, str], backend: dict[str, Any], check: str, status: str, saw: str
) -> None:
    account = Account()
    account.stack["Parameters"] = [
        {"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()
    ]
    finding = found(account, recipe(**backend))[check]
    assert (finding.status, saw in finding.saw) == (status, True)


def test_trials_in_functions_count_among_those_that_run_at_once() -> None:
    account = Account()
    account.concurrency = 20
    asked = recipe(kind="lambda")
    trials = msgspec.structs.replace(asked.trials, concurrency=30, overrides=({},) * 30)
    finding = found(account, msgspec.structs.replace(asked, trials=trials))["Lambda concurrent executions"]
    assert (finding.status, "trials.concurrency is 30" in finding.saw) == ("warn", True)


def test_a_local_cloud_is_asked_only_what_it_can_answer() -> None:
    account = Account()
    target = Target(session=account, region=REGION, endpoint_url="http://localhost:1")
    findings = {finding.check: finding for finding in examine(target, "lehr", None)}
    skipped = {name for name, finding in findings.items() if finding.status == "not_checked"}
    assert skipped == {"clock", "training quotas", "Lambda concurrent executions", "trainer image", "roles"}
    assert all("not checked here" in findings[name].saw for name in skipped)
    assert findings["S3 DataBucket"].status == findings["stack"].status == "ok"


def test_the_command_ends_with_a_count_and_fails_when_something_must_be_put_right(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command: Any = inspect.unwrap(doctor)
    account = Account()
    command(Invocation(given_target=account.target))
    assert capsys.readouterr().out.endswith("12 ok, 0 to know, 0 to put right\n")
    account.quotas["ml.g5.xlarge for training job usage"] = 0
    with pytest.raises(CommandError, match="11 ok, 0 to know, 1 to put right"):
        command(Invocation(given_target=account.target))
    printed = capsys.readouterr().out
    assert "✗ ml.g5.xlarge training jobs: quota 0, 1 needed\n    no training job" in printed
    assert "\n    $ aws service-quotas request-service-quota-increase" in printed


def test_with_json_every_finding_is_a_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command: Any = inspect.unwrap(doctor)
    command(Invocation(given_target=Account().target, is_json=True))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["check"] == "credentials"
    assert lines[-1] == {"event": "examined", "ok": 12, "warn": 0, "fail": 0, "not_checked": 0}


def test_the_default_recipe_is_asked_about_where_there_is_none() -> None:
    names = {finding.check for finding in examine(Account().target, "lehr", None)}
    assert f"{Backend().instance_type} training jobs" in names
