"""`Executions` over Step Functions: content-named, so that the same input starts once."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from lehr.ports import ExecutionEnd

_WAITS_NO_MORE = {"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"}
_GOING_ON = {"RUNNING", "PENDING_REDRIVE"}


class StepFunctionsExecutions:
    """Starts one state machine."""

    def __init__(self, state_machine_arn: str, client: Any) -> None:
        self._arn = state_machine_arn
        self._client = client

    def arn_of(self, name: str) -> str:
        """Of an execution, whether there is one of that name or not."""
        return f"{self._arn.replace(':stateMachine:', ':execution:')}:{name}"

    def start(self, name: str, body: bytes) -> tuple[str, bool]:
        """Start the execution `name`. Returns (execution ARN, started now); False: it exists already."""
        try:
            answer = self._client.start_execution(stateMachineArn=self._arn, name=name, input=body.decode())
        except ClientError as fault:
            if fault.response["Error"]["Code"] != "ExecutionAlreadyExists":
                raise
            return self.arn_of(name), False
        return str(answer["executionArn"]), True

    def is_running(self, arn: str) -> bool:
        """Whether the execution has not ended; one that Step Functions no longer knows has."""
        try:
            answer = self._client.describe_execution(executionArn=arn)
        except ClientError as fault:
            if fault.response["Error"]["Code"] != "ExecutionDoesNotExist":
                raise
            return False
        return bool(answer["status"] in _GOING_ON)

    def input_of(self, arn: str) -> bytes | None:
        """What an execution was started with; None if Step Functions no longer knows it."""
        try:
            answer = self._client.describe_execution(executionArn=arn)
        except ClientError as fault:
            if fault.response["Error"]["Code"] != "ExecutionDoesNotExist":
                raise
            return None
        return str(answer["input"]).encode()

    def ended_as(self, name: str) -> ExecutionEnd | None:
        """How and when the execution `name` ended; None if it goes on, or Step Functions knows none of that name."""
        try:
            answer = self._client.describe_execution(executionArn=self.arn_of(name))
        except ClientError as fault:
            if fault.response["Error"]["Code"] != "ExecutionDoesNotExist":
                raise
            return None
        if answer["status"] in _GOING_ON or "stopDate" not in answer:
            return None
        return ExecutionEnd(status=str(answer["status"]), at=answer["stopDate"])


class StepFunctionsTasks:
    """`WaitingTasks` over task tokens."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def go_on(self, token: str, output: bytes) -> bool:
        """Let the task of this token go on; False if it waits no more."""
        try:
            self._client.send_task_success(taskToken=token, output=output.decode())
        except ClientError as fault:
            if fault.response["Error"]["Code"] not in _WAITS_NO_MORE:
                raise
            return False
        return True
