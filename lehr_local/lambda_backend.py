"""Our hooks into moto's Lambda: every private name of it that we rely on is touched in this file.

moto would run functions in Docker, or (its "simple" backend) echo the event. Hooked are the backend behind
the API, and the method that SNS, S3 notifications and log subscriptions call.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, ClassVar

from moto.awslambda.exceptions import InvalidParameterValueException, LambdaClientError
from moto.awslambda.models import EventSourceMapping, LambdaBackend, LambdaFunction
from moto.awslambda_simple import models as simple_models
from moto.core.config import default_user_config
from moto.sqs.models import sqs_backends

from lehr_local.function_pool import Throttled

if TYPE_CHECKING:
    from lehr_local.lambda_functions import LambdaRuntime


_moto_get_configuration = LambdaFunction.get_configuration


class TooManyRequestsException(LambdaClientError):  # type: ignore[misc]
    """Raised when the processes of a function stay busy for as long as its timeout."""

    code = 429

    def __init__(self) -> None:
        super().__init__("TooManyRequestsException", "Rate Exceeded.")


class EmulatedLambdaBackend(LambdaBackend):  # type: ignore[misc]
    """moto's Lambda, with real processes behind Invoke."""

    runtime: ClassVar[LambdaRuntime]

    def create_function(self, spec: dict[str, Any]) -> Any:
        function = super().create_function(spec)
        function.dead_letter_config = spec.get("DeadLetterConfig")
        function.logging_config = spec.get("LoggingConfig")
        return function

    def update_function_configuration(self, function_name: str, qualifier: str, body: dict[str, Any]) -> Any:
        if "DeadLetterConfig" in body:
            self.get_function(function_name, qualifier).dead_letter_config = body["DeadLetterConfig"]
        if "LoggingConfig" in body:
            self.get_function(function_name, qualifier).logging_config = body["LoggingConfig"]
        return super().update_function_configuration(function_name, qualifier, body)

    def delete_function(self, function_name: str, qualifier: str | None = None) -> None:
        name = self.get_function(function_name, qualifier).function_name
        super().delete_function(function_name, qualifier)
        self.runtime.forget(name)

    def invoke(
        self, function_name: str, qualifier: str | None, body: Any, headers: Any, response_headers: Any
    ) -> bytes:
        function = self.get_function(function_name, qualifier)
        payload = body.encode() if isinstance(body, str) else bytes(body or b"")
        kind = headers.get("X-Amz-Invocation-Type", "RequestResponse")
        if kind == "DryRun":
            return b""
        if kind == "Event":
            self.runtime.run_later(function, payload)
            return b""
        is_tail_wanted = headers.get("X-Amz-Log-Type") == "Tail"
        try:
            result = self.runtime.run(function, payload, is_tail_wanted=is_tail_wanted)
        except Throttled as error:
            raise TooManyRequestsException from error
        response_headers["x-amz-executed-version"] = str(function.version)
        response_headers["x-amz-log-result"] = base64.b64encode(result.log_tail.encode()).decode()
        if result.error:
            response_headers["x-amz-function-error"] = result.error
        return result.payload

    def create_event_source_mapping(self, spec: dict[str, Any]) -> Any:
        """Make a mapping that moto does not serve itself.

        moto calls the function inside SendMessage, one message at a time, without visibility timeouts and
        without a redrive policy; `queue_polling` does it as AWS does.
        """
        is_queue = ":sqs:" in spec.get("EventSourceArn", "")
        if spec.get("FilterCriteria"):
            raise InvalidParameterValueException("FilterCriteria is not simulated by the local cloud.")
        spec = dict(spec)
        if "BatchSize" in spec:
            spec["BatchSize"] = int(spec["BatchSize"])
        is_enabled = str(spec.get("Enabled", True)).lower() == "true"
        # Not enabled until it is off the queue: a message sent meanwhile would be delivered by moto.
        mapping = super().create_event_source_mapping({**spec, "Enabled": False if is_queue else is_enabled})
        if is_queue:
            for queue in sqs_backends[self.account_id][self.region_name].queues.values():
                if queue.queue_arn == mapping.event_source_arn:
                    queue.lambda_event_source_mappings.pop(mapping.function_arn, None)
        mapping.enabled = is_enabled
        return mapping

    def update_event_source_mapping(self, uuid: str, spec: dict[str, Any]) -> Any:
        spec = dict(spec)
        if "BatchSize" in spec:
            spec["BatchSize"] = int(spec["BatchSize"])
        if "Enabled" in spec:
            spec["Enabled"] = str(spec["Enabled"]).lower() == "true"
        return super().update_event_source_mapping(uuid, spec)

    def queue_mappings(self) -> list[Any]:
        """The mappings from queues to functions, as `queue_polling` reads them."""
        mappings: list[EventSourceMapping] = list(self._event_source_mappings.values())
        return [mapping for mapping in mappings if ":sqs:" in mapping.event_source_arn]


def _get_configuration(function: Any, on_create: bool = False) -> dict[str, Any]:
    # moto drops where a function logs to, so it does not tell either.
    given = getattr(function, "logging_config", None) or {}
    logging = {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{function.function_name}", **given}
    return {**_moto_get_configuration(function, on_create), "LoggingConfig": logging}


def _invoke_from_service(function: Any, body: Any, request_headers: Any, response_headers: Any) -> bytes:
    payload = body.encode() if isinstance(body, str) else bytes(body or b"")
    EmulatedLambdaBackend.runtime.run_later(function, payload)
    return b""


def install(runtime: LambdaRuntime) -> None:
    """Put the hooks in place; must come before the first call to moto's Lambda. Idempotent."""
    EmulatedLambdaBackend.runtime = runtime
    default_user_config["lambda"] = {"use_docker": False}
    simple_models.lambda_simple_backends.backend = EmulatedLambdaBackend
    LambdaFunction.invoke = _invoke_from_service
    LambdaFunction.get_configuration = _get_configuration
