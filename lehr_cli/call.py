"""A function of the stack, asked directly; and who asks."""

from __future__ import annotations

import json

from botocore.exceptions import BotoCoreError, ClientError

from lehr.contracts.document import Document
from lehr_cli.failures import CloudError
from lehr_cli.invocation import Invocation


def call_function(invocation: Invocation, output: str, request: Document) -> bytes:
    """What the function answers whose name is an output of the stack. Raises CloudError if it fails."""
    answer = invocation.target.client("lambda").invoke(
        FunctionName=invocation.stack.output(output), Payload=request.to_json()
    )
    payload: bytes = answer["Payload"].read()
    if answer.get("FunctionError"):
        fault = json.loads(payload)
        raise CloudError(
            f"{output} failed: {fault.get('errorType', '?')}: {fault.get('errorMessage', '?')}",
            "see the log of that function",
        )
    return payload


def caller(invocation: Invocation) -> str:
    """The ARN of the credentials in use; empty where STS cannot be asked, since nothing depends on it."""
    try:
        return str(invocation.target.client("sts").get_caller_identity()["Arn"])
    except (BotoCoreError, ClientError):
        return ""
