"""The adapters that functions build on their first invocation: one call each, from the names in their environment."""

from __future__ import annotations

from collections.abc import Sequence

from botocore.config import Config

from lehr.aws.approvals import DynamoApprovals
from lehr.aws.captured_lines import CloudWatchCapturedLines
from lehr.aws.clients import CONFIG, make_client, make_table
from lehr.aws.endpoint_figures import CloudWatchFigures
from lehr.aws.events import EventBridgeEvents
from lehr.aws.executions import StepFunctionsExecutions, StepFunctionsTasks
from lehr.aws.jobs import BatchJobs, SageMakerJobs
from lehr.aws.kms import KmsSigner, KmsVerifier
from lehr.aws.logs import CloudWatchTrainingLogs
from lehr.aws.notices import AwsNotices
from lehr.aws.package_mirror import SageMakerPackages
from lehr.aws.registry import DynamoModelRegistry
from lehr.aws.s3 import S3ObjectStore
from lehr.ports import RunningJobs


def open_bucket(name: str, config: Config = CONFIG) -> S3ObjectStore:
    return S3ObjectStore(name, make_client("s3", config))


def open_registry(table: str, config: Config = CONFIG) -> DynamoModelRegistry:
    return DynamoModelRegistry(make_table(table, config))


def open_approvals(table: str) -> DynamoApprovals:
    return DynamoApprovals(make_table(table))


def open_waiting_tasks() -> StepFunctionsTasks:
    return StepFunctionsTasks(make_client("stepfunctions"))


def open_signer(key_id: str) -> KmsSigner | None:
    """None for no key: packages are not signed."""
    return KmsSigner(key_id, make_client("kms")) if key_id else None


def open_verifier(key_id: str) -> KmsVerifier | None:
    """None for no key: signatures are not asked for."""
    return KmsVerifier(key_id, make_client("kms")) if key_id else None


def open_executions(state_machine_arn: str) -> StepFunctionsExecutions:
    return StepFunctionsExecutions(state_machine_arn, make_client("stepfunctions"))


def open_notices(topic_arn: str) -> AwsNotices:
    return AwsNotices(topic_arn, make_client("sns"), make_client("events"))


def open_endpoint_figures(namespace: str) -> CloudWatchFigures:
    return CloudWatchFigures(namespace, make_client("cloudwatch"))


def open_training_logs() -> CloudWatchTrainingLogs:
    client = make_client("logs")
    return CloudWatchTrainingLogs(client, client.meta.region_name)


def open_captured_lines(group: str) -> CloudWatchCapturedLines:
    return CloudWatchCapturedLines(make_client("logs"), group)


def open_events() -> EventBridgeEvents:
    return EventBridgeEvents(make_client("events"))


def open_package_mirror(prefix: str) -> SageMakerPackages:
    return SageMakerPackages(prefix, make_client("sagemaker"))


def open_running_jobs(prefix: str, queues: Sequence[str]) -> tuple[RunningJobs, ...]:
    """What jobs with names of this prefix may run on: SageMaker, and Batch with these queues."""
    return (
        SageMakerJobs(make_client("sagemaker"), prefix),
        BatchJobs(make_client("batch"), queues, prefix),
    )
