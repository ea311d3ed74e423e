"""What a person sees when a command cannot do what was asked: one sentence, the way out, an exit code.

0    done, and also: the gate kept the champion, or there was nothing new to train on
1    the run failed, was stopped, or was refused (RunFailedError); a model is not what it should be (VerificationError)
2    the person can put it right (lehr.errors.UserError, LocalCloudError)
3    the cloud cannot be reached or said no (CloudError and botocore's errors)
130  Ctrl-C
"""

from __future__ import annotations

from dataclasses import dataclass

from botocore import exceptions as aws

from lehr.errors import LehrError, UserError

RUN_FAILED, USER_ERROR, CLOUD_ERROR, INTERRUPTED = 1, 2, 3, 130

_NO_CREDENTIALS = (
    aws.NoCredentialsError,
    aws.PartialCredentialsError,
    aws.ProfileNotFound,
    aws.TokenRetrievalError,
    aws.SSOError,
    aws.UnauthorizedSSOTokenError,
)
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"}
_CREDENTIALS_HINT = "`aws configure sso`, `aws login` or AWS_PROFILE gives them; `lehr local up` needs none"


class CommandError(Exception):
    """A sentence and, as `hint`, what to do about it."""

    exit_code = USER_ERROR

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class LocalCloudError(CommandError):
    """Raised when `python -m lehr_local` ends with an error; the sentence is its own."""


class CloudError(CommandError):
    """Raised when the stack is not there, or does not answer as a Lehr stack does."""

    exit_code = CLOUD_ERROR


class RunFailedError(CommandError):
    """Raised when a run ended without a decision, or was never started."""

    exit_code = RUN_FAILED


class VerificationError(CommandError):
    """Raised when a model package is not what was published and signed, or could not be reproduced."""

    exit_code = RUN_FAILED


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """How an error is told."""

    exit_code: int
    message: str
    hint: str = ""


def explain(fault: Exception) -> Explanation | None:
    """How to tell `fault` to a person; None for what is a defect of this program."""
    match fault:
        case CommandError():
            return Explanation(exit_code=fault.exit_code, message=fault.message, hint=fault.hint)
        case UserError():
            told = f"{fault.place}: {fault.message}" if fault.place else fault.message
            return Explanation(exit_code=USER_ERROR, message=told, hint=fault.hint)
        case LehrError():
            return Explanation(
                exit_code=CLOUD_ERROR,
                message=f"the stack answered what this version of lehr does not understand: {fault}",
                hint="deploy the stack and install the command from the same release",
            )
        case _:
            return _explain_aws(fault)


def _explain_aws(fault: Exception) -> Explanation | None:
    match fault:
        case _ if isinstance(fault, _NO_CREDENTIALS):
            return _cloud(f"no usable AWS credentials: {fault}", _CREDENTIALS_HINT)
        case aws.NoRegionError():
            return _cloud("no AWS region is set", "add --region eu-west-1, or set AWS_REGION")
        case aws.EndpointConnectionError() | aws.HTTPClientError():
            return _cloud(
                f"the cloud does not answer: {fault}",
                "is it running? `lehr local status` says so for the local cloud",
            )
        case aws.ClientError():
            error = fault.response.get("Error", {})
            code, said = error.get("Code", "?"), error.get("Message", "")
            return _cloud(
                f"AWS refused {fault.operation_name}: {code}: {said}",
                _CREDENTIALS_HINT
                if code in _EXPIRED
                else "the credentials in use may lack this permission"
                if "AccessDenied" in code
                else "",
            )
        case aws.BotoCoreError():
            return _cloud(str(fault))
        case _:
            return None


def _cloud(message: str, hint: str = "") -> Explanation:
    return Explanation(exit_code=CLOUD_ERROR, message=message.rstrip("."), hint=hint)
