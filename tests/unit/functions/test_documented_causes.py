"""Causes that AWS alone can say, in the form in which it says them: each case names where that is documented.

They take the way of a run: the error's name and the cause as Step Functions hands them to RecordFailure.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

from lehr.contracts.explanation import Explanation
from tests.failures import batch, explained, raised, trained

Told = Callable[[], Explanation]
GITHUB = "https://github.com/"
AWS = "https://docs.aws.amazon.com/"
S3_ERRORS = AWS + "AmazonS3/latest/API/ErrorResponses.html"
STEP_FUNCTIONS_ERRORS = AWS + "step-functions/latest/dg/concepts-error-handling.html"
DESCRIBE_TRAINING_JOB = AWS + "sagemaker/latest/APIReference/API_DescribeTrainingJob.html"

ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/lehr-trainer:1"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd"
ROLE = "arn:aws:sts::123456789012:assumed-role/lehr-SealDataset/lehr"


def refused(code: str, operation: str, message: str) -> Told:
    """A client of botocore in a function."""
    fault = ClientError({"Error": {"Code": code, "Message": message}}, operation)
    return lambda: raised("SealDataset", fault)


def answered(state: str, error: str, cause: str) -> Told:
    """An integration of Step Functions: the cause is a text."""
    return lambda: explained(state, error, cause)


def crashed(error: str, message: str) -> Told:
    """A function without an answer of its own: Lambda's."""
    return lambda: explained("PackageModel", error, json.dumps({"errorType": error, "errorMessage": message}))


def asked(error: str, message: str, code: str) -> Told:
    """CreateTrainingJob, refused: with the words that the client of Step Functions adds."""
    service = f" (Service: AmazonSageMaker; Status Code: 400; Error Code: {code}; Request ID: 1; Proxy: null)"
    return answered("TrainTrials", f"SageMaker.{error}", message + service)


DOCUMENTED: list[tuple[str, str, Told]] = [
    (
        "permission-denied",
        AWS + "IAM/latest/UserGuide/troubleshoot_access-denied.html",
        refused(
            "AccessDenied",
            "PutObject",
            f'User: {ROLE} is not authorized to perform: s3:PutObject on resource: "arn:aws:s3:::lehr/datasets/x" '
            "because no identity-based policy allows the s3:PutObject action",
        ),
    ),
    (
        "permission-denied",
        GITHUB + "boto/boto3/issues/2952",
        refused("AccessDenied", "GetObject", "Access Denied"),
    ),
    (
        "key-denied",
        GITHUB + "ministryofjustice/modernisation-platform/pull/11726",
        refused(
            "AccessDenied",
            "GetObject",
            f"User: {ROLE} is not authorized to perform: kms:Decrypt on resource: {KEY} because no identity-based "
            "policy allows the kms:Decrypt action",
        ),
    ),
    (
        "key-denied",
        GITHUB + "cattle-ops/terraform-aws-gitlab-runner/pull/1253",
        answered(
            "PackageModel",
            "Lambda.KMSAccessDeniedException",
            "Lambda was unable to decrypt the environment variables because KMS access was denied. Please check the "
            f"function's KMS key settings. KMS Exception: AccessDeniedExceptionKMS Message: User: {ROLE} is not "
            f"authorized to perform: kms:Decrypt on resource: {KEY} because no identity-based policy allows the "
            "kms:Decrypt action (Service: Kms, Status Code: 400, Request ID: 1)",
        ),
    ),
    (
        "key-disabled",
        GITHUB + "localstack/localstack/issues/8422",
        refused("KMS.DisabledException", "GetObject", f"{KEY} is disabled."),
    ),
    (
        "key-disabled",
        GITHUB + "localstack/localstack/issues/8422",
        refused("KMS.KMSInvalidStateException", "GetObject", f"{KEY} is pending deletion."),
    ),
    (
        "credentials-expired",
        S3_ERRORS,
        refused("ExpiredToken", "GetObject", "The provided token has expired."),
    ),
    (
        "bucket-missing",
        S3_ERRORS,
        refused("NoSuchBucket", "PutObject", "The specified bucket does not exist"),
    ),
    (
        "throttled",
        S3_ERRORS,
        refused("SlowDown", "PutObject", "Please reduce your request rate."),
    ),
    (
        "throttled",
        AWS + "lambda/latest/api/API_Invoke.html",
        answered(
            "JudgeModel",
            "Lambda.TooManyRequestsException",
            "Rate Exceeded. (Service: Lambda, Status Code: 429)",
        ),
    ),
    (
        "table-missing",
        AWS + "amazondynamodb/latest/developerguide/Programming.Errors.html",
        refused("ResourceNotFoundException", "PutItem", "Requested resource not found"),
    ),
    (
        "image-missing",
        GITHUB + "aws/amazon-sagemaker-examples/issues/2534",
        asked(
            "AmazonSageMakerException",
            "Cannot find repository: lehr-trainer in registry ID: 123456789012 Please check if your ECR repository "
            "exists and role arn:aws:iam::123456789012:role/lehr-TrainingRole has proper pull permissions for "
            "SageMaker: ecr:BatchCheckLayerAvailability, ecr:BatchGetImage, ecr:GetDownloadUrlForLayer",
            "ValidationException",
        ),
    ),
    (
        "image-missing",
        GITHUB + "aws/amazon-sagemaker-examples/issues/1476",
        asked("AmazonSageMakerException", f"Cannot find the requested image: {ECR}", "ValidationException"),
    ),
    (
        "image-missing",
        GITHUB + "aws-samples/amazon-sagemaker-tensorflow-object-detection-api/issues/14",
        lambda: trained(
            f"ClientError: API error (404): manifest for {ECR} not found: manifest unknown: Requested image not found"
        ),
    ),
    (
        "image-missing",
        AWS + "AmazonECS/latest/developerguide/task_cannot_pull_image.html",
        lambda: batch(
            "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref "
            f"{ECR}: not found"
        ),
    ),
    (
        "image-cannot-be-pulled",
        AWS + "AmazonECS/latest/developerguide/task_cannot_pull_image.html",
        lambda: batch(
            "CannotPullContainerError: pull image manifest has been retried 5 time(s): failed to resolve ref "
            f'{ECR}: failed to do request: Head "https://{ECR}": dial tcp 10.0.3.17:443: i/o timeout'
        ),
    ),
    (
        "image-cannot-be-pulled",
        GITHUB + "aws/sagemaker-python-sdk/issues/57",
        lambda: trained(
            "ClientError: Cannot pull algorithm container. Either the image does not exist or its permissions are "
            "incorrect."
        ),
    ),
    (
        "image-cannot-be-pulled",
        GITHUB + "aws/sagemaker-spark-container/issues/158",
        asked(
            "AmazonSageMakerException",
            "Access denied for repository: lehr-trainer in registry ID: 123456789012.",
            "ValidationException",
        ),
    ),
    (
        "image-cannot-be-pulled",
        GITHUB + "aws/deep-learning-containers/issues/5657",
        asked(
            "AmazonSageMakerException",
            f"The repository of your image {ECR} does not grant ecr:GetDownloadUrlForLayer, ecr:BatchGetImage, "
            "ecr:BatchCheckLayerAvailability permission to sagemaker.amazonaws.com service principal.",
            "ValidationException",
        ),
    ),
    (
        "image-of-another-processor",
        GITHUB + "aws-samples/sagemaker-studio-custom-image-samples/issues/30",
        lambda: trained("AlgorithmError: , exit code: 1", "exec /usr/local/bin/start.sh: exec format error"),
    ),
    (
        "quota-reached",
        GITHUB + "aws/amazon-sagemaker-examples/issues/263",
        asked(
            "ResourceLimitExceededException",
            "The account-level service limit 'ml.g5.xlarge for training job usage' is 0 Instances, with current "
            "utilization of 0 Instances and a request delta of 1 Instances. Please contact AWS support to request an "
            "increase for this limit.",
            "ResourceLimitExceeded",
        ),
    ),
    (
        "no-capacity",
        GITHUB + "DIAGNijmegen/rse-grand-challenge/issues/2631",
        lambda: trained(
            "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML "
            "instance type."
        ),
    ),
    (
        "no-capacity",
        AWS + "batch/latest/userguide/job_stuck_in_runnable_capacity.html",
        lambda: batch(
            "Canceled by JobStateTimeLimit action due to reason: CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"
        ),
    ),
    ("spot-waited-too-long", DESCRIBE_TRAINING_JOB, lambda: trained("", secondary="MaxWaitTimeExceeded")),
    (
        "spot-interrupted",
        GITHUB + "saebyn/glowing-telegram/issues/564",
        lambda: batch("Host EC2 (instance i-0737c70432d64f82a) terminated."),
    ),
    ("training-took-too-long", DESCRIBE_TRAINING_JOB, lambda: trained("", secondary="MaxRuntimeExceeded")),
    (
        "training-took-too-long",
        AWS + "batch/latest/userguide/job_timeouts.html",
        lambda: batch("Job attempt duration exceeded timeout"),
    ),
    (
        "batch-cannot-place-job",
        AWS + "batch/latest/userguide/job_stuck_in_runnable_time_limit_actions.html",
        lambda: batch(
            "Canceled by JobStateTimeLimit action due to reason: MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"
        ),
    ),
    (
        "batch-queue-unusable",
        GITHUB + "base2genomics/batchit/issues/13",
        answered(
            "TrainTrials",
            "Batch.ClientException",
            "JobQueue lehr-spot not found. (Service: AWSBatch; Status Code: 400; Error Code: ClientException)",
        ),
    ),
    (
        "function-out-of-memory",
        GITHUB + "praetorian-inc/chariot-ui/issues/166",
        crashed("Runtime.ExitError", "RequestId: 8b6a1d0e Error: Runtime exited with error: signal: killed"),
    ),
    (
        "function-crashed",
        GITHUB + "aws/aws-lambda-python-runtime-interface-client/issues/29",
        crashed(
            "Runtime.ImportModuleError",
            "Unable to import module 'functions.package_model.app': No module named 'onnxruntime'",
        ),
    ),
    (
        "function-timed-out",
        AWS + "lambda/latest/dg/troubleshooting-invocation.html",
        crashed("Sandbox.Timedout", "RequestId: 8b6a1d0e Error: Task timed out after 300.00 seconds"),
    ),
    (
        "function-timed-out",
        GITHUB + "rstudio/r-builds/pull/101",
        answered(
            "PackageModel",
            "Lambda.Unknown",
            "The cause could not be determined because Lambda did not return an error type. Returned payload: "
            '{"errorMessage":"2026-11-20T16:03:15.756Z 6a875273 Task timed out after 300.03 seconds"}',
        ),
    ),
    (
        "function-missing",
        GITHUB + "codetheweb/serverless-step-functions-local/issues/3",
        answered(
            "JudgeModel",
            "Lambda.ResourceNotFoundException",
            "Function not found: arn:aws:lambda:eu-west-1:123456789012:function:lehr-judge-model (Service: AWSLambda; "
            "Status Code: 404; Error Code: ResourceNotFoundException; Request ID: null)",
        ),
    ),
    (
        "job-name-taken",
        GITHUB + "SuperCowPowers/workbench/issues/384",
        asked(
            "ResourceInUseException",
            "Training job names must be unique within an AWS account and region, and a training job with this name "
            "already exists (arn:aws:sagemaker:eu-west-1:123456789012:training-job/lehr-mnist-r1-0-a0r0d0)",
            "ResourceInUse",
        ),
    ),
    (
        "job-request-refused",
        GITHUB + "Kenza-AI/sagify/issues/57",
        asked(
            "AmazonSageMakerException",
            "1 validation error detected: failed to satisfy constraint: Member must satisfy regular expression "
            "pattern: ^[a-zA-Z0-9](-*[a-zA-Z0-9])*",
            "ValidationException",
        ),
    ),
    (
        "data-transfer-failed",
        GITHUB + "aws/amazon-sagemaker-examples/issues/4384",
        lambda: trained(
            "ClientError: Data download failed:Unable to download object s3://lehr/x (AccessDenied: Access Denied)"
        ),
    ),
    (
        "data-transfer-failed",
        GITHUB + "aws/amazon-sagemaker-operator-for-k8s/pull/22",
        lambda: trained(
            "ClientError: Artifact upload failed:Please ensure that the subnet's route table has a route to an S3 VPC "
            "endpoint or a NAT device, and both the security groups and the subnet's network ACL allow outbound "
            "traffic to S3"
        ),
    ),
    (
        "service-error",
        GITHUB + "aws/sagemaker-python-sdk/issues/2496",
        lambda: trained("InternalServerError: We encountered an internal error.  Please try again."),
    ),
    (
        "service-error",
        GITHUB + "HumanCellAtlas/data-store/issues/1632",
        answered(
            "JudgeModel",
            "Lambda.ServiceException",
            "ServiceException (Service: AWSLambda; Status Code: 500; Error Code: ServiceException; Request ID: 1)",
        ),
    ),
    (
        "service-error",
        GITHUB + "aws/aws-cdk/issues/26470",
        answered(
            "JudgeModel",
            "Lambda.ClientExecutionTimeoutException",
            "Client execution did not complete before the specified timeout configuration.",
        ),
    ),
    (
        "state-machine-defect",
        GITHUB + "floci-io/floci/issues/2665",
        answered(
            "PackageModel",
            "States.QueryEvaluationError",
            "An error occurred while executing the state 'PackageModel' (entered at the event id #2). The JSONata "
            "expression '$states.input.missing' specified for the field 'Output/v' returned nothing (undefined).",
        ),
    ),
    ("state-took-too-long", STEP_FUNCTIONS_ERRORS, answered("SealDataset", "States.Timeout", "")),
]


@pytest.mark.parametrize(("name", "source", "told"), DOCUMENTED)
def test_what_aws_says_is_explained(name: str, source: str, told: Told) -> None:
    assert source.startswith("https://")
    explanation = told()
    assert explanation.cause == name, [one.text for one in explanation.evidence]
