"""Causes in the cloud: quotas, capacity, images, permissions, keys, limits, things that are not there."""

from __future__ import annotations

from lehr.causes.rule import Cause, cause, when

_AGAIN = ("lehr resume {run}",)
_TRAIN = "TrainTrials|Train|TrainOnBatch|TrainSlice"
# Of what an ARN may consist of and no more: it is put into a command that somebody will paste.
_ARN = r"arn:aws[\w-]*:[\w:/.+=,@-]+"

CAUSES: tuple[Cause, ...] = (
    cause(
        "key-disabled",
        "A KMS key that is needed is disabled or about to be deleted.",
        when(
            reason=r"KMS\.DisabledException|KMSDisabledException|DisabledException.*\b(?:KMS|kms)\b|(?P<key>"
            + _ARN
            + r") is (?:disabled|pending deletion)"
        ),
        when(error=r"Lambda\.KMS(?:Disabled|InvalidState)Exception"),
        when(reason=r"KMSInvalidStateException|KMS\.KMSInvalidStateException"),
        next=("aws kms enable-key --key-id {key}", *_AGAIN),
        details=("{key}",),
    ),
    cause(
        "key-denied",
        "A role may not use the KMS key that the data is encrypted with.",
        when(reason=r"not authorized to perform: (?P<action>kms:\w+)"),
        when(reason=r"KMSAccessDeniedException|KMS access was denied|KMS\.AccessDeniedException"),
        when(error=r"Lambda\.KMSAccessDeniedException"),
        next=("aws kms get-key-policy --key-id <key> --policy-name default", *_AGAIN),
        details=("{action}",),
    ),
    cause(
        "image-missing",
        "The training image does not exist, at least not under that name and tag.",
        when(
            reason=r"Cannot find (?:repository|the requested image)|Requested image .* not found"
            r"|manifest (?:for .* )?(?:not found|unknown)|failed to resolve ref(?:erence)? \S+: not found"
        ),
        next=("lehr doctor {project}", "lehr image build FOLDER", *_AGAIN),
    ),
    cause(
        "image-cannot-be-pulled",
        "The training image cannot be pulled: the role may not, its registry cannot be reached, or it is not there.",
        when(reason=r"CannotPullContainerError|Cannot pull algorithm container|Access denied for repository"),
        when(reason=r"not authorized to perform: ecr:\w+|does not grant ecr:\w+"),
        next=("lehr doctor {project}", "lehr image build FOLDER", *_AGAIN),
    ),
    cause(
        "image-of-another-processor",
        "The image was built for another kind of processor than the instance has.",
        when(state=_TRAIN, reason=r"exec format error"),
        when(state=_TRAIN, log=r"exec format error"),
        next=("lehr image build FOLDER", *_AGAIN),
    ),
    cause(
        "quota-reached",
        "A quota of the account is used up, or zero, as many are in a new account.",
        when(reason=r"account-level service limit '?(?P<resource>[^']*?)'? is (?P<limit>\d+)"),
        when(error=r"SageMaker\.ResourceLimitExceeded(?:Exception)?"),
        when(reason=r"(?:ResourceLimitExceeded|ServiceQuotaExceededException|LimitExceededException)\b"),
        next=(
            "lehr doctor {project}",
            "aws service-quotas list-service-quotas --service-code sagemaker",
            *_AGAIN,
        ),
        details=("{resource} is {limit}",),
    ),
    cause(
        "spot-waited-too-long",
        "No spot capacity came within backend.max_wait_s, and no further attempt was left.",
        when(state=_TRAIN, reason=r"MaxWaitTimeExceeded"),
        next=(
            "lehr push FOLDER  # with backend.spot = false, or a longer max_wait_s",
            "lehr train {project}",
        ),
    ),
    cause(
        "spot-interrupted",
        "The spot instance was taken away, and no further attempt was left.",
        when(
            state=_TRAIN,
            reason=r"Host EC2 \(instance i-\w+\) terminated|\bStopped \(Interrupted\)|[Ss]pot interruption",
        ),
        next=(*_AGAIN, "lehr push FOLDER  # with backend.spot = false"),
    ),
    cause(
        "no-capacity",
        "AWS has no instance of that type to give at the moment, in no attempt that the recipe allows.",
        when(
            reason=r"CapacityError|InsufficientInstanceCapacity|Unable to provision requested ML compute capacity"
        ),
        when(reason=r"Insufficient(?:Capacity|HostCapacity)|INSUFFICIENT_INSTANCE_CAPACITY"),
        next=(*_AGAIN, "lehr push FOLDER  # with backend.fallback_instance_types or fallback"),
    ),
    cause(
        "batch-cannot-place-job",
        "No machine of the Batch compute environment is large enough for the job, so it would wait for ever.",
        when(reason=r"MISCONFIGURATION:(?:COMPUTE_ENVIRONMENT_MAX_RESOURCE|JOB_RESOURCE_REQUIREMENT)"),
        next=("lehr push FOLDER  # with a smaller instance_type or memory_mb", "lehr train {project}"),
    ),
    cause(
        "batch-queue-unusable",
        "The Batch queue or its compute environment is disabled or invalid.",
        when(reason=r"(?i)job ?queue\b.*(?:disabled|invalid|not (?:found|valid|enabled|exist))"),
        next=("aws batch describe-job-queues", *_AGAIN),
    ),
    cause(
        "permission-denied",
        "A role may not do what it was asked to.",
        when(
            reason=r"not authorized to perform: (?P<action>[\w-]+:\w+)"
            r"(?: on (?:the )?resource: \"?(?P<resource>[^\s\"]+))?"
        ),
        when(
            reason=r"\((?:AccessDenied|AccessDeniedException|403|Forbidden)\) "
            r"when calling the (?P<action>\w+) operation"
        ),
        when(error=r"[\w.]*AccessDenied(?:Exception)?|States\.Permissions"),
        when(state=_TRAIN, reason=r"Could not assume role"),
        next=("sam deploy", "lehr resume {run}"),
        details=("{action} on {resource}", "{action}"),
    ),
    cause(
        "credentials-expired",
        "The credentials of a role have expired or are not valid.",
        when(
            reason=r"ExpiredToken(?:Exception)?|security token included in the request is (?:expired|invalid)"
        ),
        next=_AGAIN,
    ),
    cause(
        "throttled",
        "AWS refused requests because there were too many at once, for longer than they are retried.",
        when(
            error=r"Lambda\.TooManyRequestsException|[\w.]*Throttl(?:ing|ed)(?:Exception)?|[\w.]*ProvisionedThroughputExceeded(?:Exception)?"
        ),
        when(
            reason=r"\((?:Throttling|ThrottlingException|SlowDown|RequestLimitExceeded|TooManyRequestsException)\) "
            r"when calling|Rate [Ee]xceeded"
        ),
        next=("aws lambda get-account-settings", *_AGAIN),
    ),
    cause(
        "function-out-of-memory",
        "The function of {state} needed more memory than it has, and was killed.",
        when(error=r"Runtime\.OutOfMemory"),
        when(error=r"Runtime\.ExitError", reason=r"signal: killed"),
        when(reason=r"Runtime exited with error: signal: killed"),
        next=(
            "sam logs --stack-name lehr --filter REPORT",
            "sam deploy  # with more MemorySize for the function",
            "lehr resume {run}",
        ),
    ),
    cause(
        "function-timed-out",
        "The function of {state} took longer than it may.",
        when(error=r"Sandbox\.Timedout"),
        when(reason=r"Task timed out after [\d.]+ seconds"),
        next=("sam logs --stack-name lehr", *_AGAIN),
    ),
    cause(
        "function-crashed",
        "The function of {state} ended without an answer: its process was lost, or could not begin.",
        when(
            error=r"Runtime\.ExitError|Runtime\.ImportModuleError|Runtime\.HandlerNotFound|Lambda\.Unknown|Sandbox\.Failure|Runtime\.Unknown"
        ),
        next=("sam logs --stack-name lehr", "sam build", "sam deploy", "lehr resume {run}"),
    ),
    cause(
        "bucket-missing",
        "A bucket that the stack needs does not exist.",
        when(error=r"(?:S3\.)?NoSuchBucket(?:Exception)?"),
        when(reason=r"NoSuchBucket|The specified bucket does not exist"),
        next=("sam deploy", "lehr doctor", "lehr resume {run}"),
    ),
    cause(
        "object-missing",
        "A file of the run is no longer where it was written; files of runs expire.",
        when(
            error=r"S3\.NoSuchKey(?:Exception)?|KeyError",
            reason=r"s3://|NoSuchKey|specified key does not exist",
        ),
        when(reason=r"NoSuchKey|The specified key does not exist"),
        when(error=r"States\.ItemReaderFailed"),
        next=("lehr train {project} --data FOLDER",),
    ),
    cause(
        "function-missing",
        "A function that the state machine calls does not exist.",
        when(error=r"Lambda\.ResourceNotFoundException"),
        when(reason=r"Function not found: (?P<function>" + _ARN + ")"),
        next=("sam build", "sam deploy", "lehr resume {run}"),
    ),
    cause(
        "table-missing",
        "The registry table does not exist.",
        when(error=r"DynamoDB\.ResourceNotFoundException"),
        when(reason=r"\(ResourceNotFoundException\) when calling the (?:\w*Item|Query|Scan) operation"),
        next=("sam deploy", "lehr doctor", "lehr resume {run}"),
    ),
    cause(
        "job-name-taken",
        "A training job of that name exists already, of another run of this account.",
        when(reason=r"(?:Training job names must be unique|ResourceInUse|already exists)", state=_TRAIN),
        next=_AGAIN,
    ),
    cause(
        "job-request-refused",
        "SageMaker or Batch refused what the job was asked for.",
        when(
            state=_TRAIN,
            error=r"(?:SageMaker|Batch)\.(?:ValidationException|SageMakerException|ClientException|AmazonSageMakerException)",
        ),
        when(state=_TRAIN, reason=r"ValidationException|\d+ validation errors? detected"),
        next=("lehr doctor {project}", "lehr push FOLDER"),
    ),
    cause(
        "data-transfer-failed",
        "The training job could not fetch its data or save its results.",
        when(
            state=_TRAIN,
            reason=r"Data download failed|Failed to download data|Artifact upload failed|S3UploadFailedError",
        ),
        next=_AGAIN,
    ),
    cause(
        "network-unreachable",
        "A service could not be reached: a subnet without a way out, or an endpoint that is missing.",
        when(error=r"(?:EndpointConnection|ConnectTimeout|ReadTimeout|ConnectionClosed)Error"),
        when(
            reason=r"Could not connect to the endpoint URL|Connect timeout on endpoint URL|Read timeout on endpoint URL"
        ),
        next=("lehr doctor", *_AGAIN),
    ),
    cause(
        "service-error",
        "A service of AWS failed, also after retries. It is not the project's fault.",
        when(
            error=r"Lambda\.(?:ServiceException|AWSLambdaException|SdkClientException|ClientExecutionTimeoutException)|[\w.]*InternalServer(?:Error|Exception)"
        ),
        when(
            reason=r"InternalServerError|We encountered an internal error|ServiceUnavailable|\(InternalError\)"
        ),
        next=_AGAIN,
    ),
    cause(
        "state-too-large",
        "What one state hands to the next is over the limit of 256 KiB of Step Functions.",
        when(error=r"States\.DataLimitExceeded"),
        next=("lehr push FOLDER  # with fewer trials at once", "lehr train {project}"),
    ),
    cause(
        "state-machine-defect",
        "The state machine itself met what it was not written for. This is a defect of Lehr or of its deployment.",
        when(
            error=r"States\.(?:QueryEvaluationError|Runtime|ParameterPathFailure|ResultPathMatchFailure|IntrinsicFailure|NoChoiceMatched)"
        ),
        next=("sam build", "sam deploy", "lehr train {project}"),
    ),
    cause(
        "versions-do-not-fit",
        "Two parts of the stack are of different releases: one does not understand what the other has written.",
        when(error=r"ContractError", reason=r"not a [A-Z]\w+: "),
        next=("sam build", "sam deploy", "lehr image build FOLDER"),
    ),
    cause(
        "configuration-incomplete",
        "A function was deployed without a setting that it needs.",
        when(error=r"ConfigurationError"),
        next=("sam build", "sam deploy", "lehr resume {run}"),
    ),
    cause(
        "stopped-by-a-person",
        "Somebody stopped the run.",
        when(error=r"Stopped", reason=r"stopped by a person"),
        when(state=_TRAIN, reason=r"\bStopped \(Stopped\)"),
        when(error=r"ABORTED"),
        next=_AGAIN,
    ),
    cause(
        "run-took-too-long",
        "The execution was ended by its limit of seven days.",
        when(error=r"TIMED_OUT"),
        next=("aws sagemaker list-training-jobs --status-equals InProgress --name-contains lehr-", *_AGAIN),
    ),
    cause(
        "state-took-too-long",
        "The state {state} took longer than it may.",
        when(error=r"States\.Timeout|States\.HeartbeatTimeout"),
        next=("sam logs --stack-name lehr", *_AGAIN),
    ),
)
