"""Statements of the template that no run in the local cloud can need, each with the reason.

Whoever adds a statement finds it needed by a scenario, adds a scenario that needs it, or says here why none can.
"""

from __future__ import annotations

_IMAGES = "SageMaker pulls the image; the local cloud runs the trainer without one"

_NO_BATCH = "the stack is deployed as by default, without Batch"

# Roles that nothing acts under: all of their statements.
ROLES: dict[str, str] = {}

# Role and actions: the reason.
STATEMENTS: dict[str, str] = {
    "TrainingRole: cloudwatch:PutMetricData": "SageMaker publishes metrics; the local cloud keeps them in the job",
    "TrainingRole: ecr:BatchGetImage, ecr:GetDownloadUrlForLayer, ecr:BatchCheckLayerAvailability": _IMAGES,
    "TrainingRole: ecr:GetAuthorizationToken": _IMAGES,
    "StopOrphansFunctionRole: batch:TerminateJob": _NO_BATCH,
}

# Actions that stand in a needed statement beside others and are not called themselves.
ACTIONS: dict[str, str] = {
    "RetrainStateMachineRole: states:StopExecution": "children of a Map are no executions of their own here",
    "PredictBatchStateMachineRole: states:StopExecution": "children of a Map are no executions of their own here",
    "RetrainStateMachineRole: sagemaker:ListTags": "Step Functions reads tags when it looks for its own jobs",
    "TrainingRole: s3:DeleteObject": "the local checkpoint sync does not pass deletions on",
    "StopOrphansFunctionRole: batch:ListJobs": _NO_BATCH,
    "StopOrphansFunctionRole: batch:DescribeJobs": _NO_BATCH,
}
