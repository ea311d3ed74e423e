"""A part of the local cloud inside the test process: moto's server with our functions and events."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest

from lehr_local import lambda_functions, server
from lehr_local.lambda_functions import LambdaRuntime
from lehr_local.processes import Supervisor
from lehr_local.settings import LocalSettings

ROLE = "arn:aws:iam::123456789012:role/test"


def zipped(files: dict[str, str]) -> bytes:
    """A zip archive of these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def eventually(check: Callable[[], Any], timeout_s: float = 30) -> Any:
    """The first true value of `check`; fails if there is none in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < deadline, f"still {value!r} after {timeout_s} s"
        time.sleep(0.05)


@dataclass
class FunctionsCloud:
    """Functions and events on a server of their own."""

    settings: LocalSettings
    runtime: LambdaRuntime
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = boto3.session.Session().client(
                service,
                endpoint_url=self.settings.endpoint_url,
                region_name=self.settings.region,
                aws_access_key_id="local",
                aws_secret_access_key="local-secret",
                # 12 invocations at once, and an answer that says so when there are too many.
                config=boto3.session.Config(max_pool_connections=32, retries={"total_max_attempts": 1}),
            )
        return self._clients[service]

    def function(self, name: str, code: str, **options: Any) -> None:
        """Deploy `code` as app.py; the role is made once, in the fixture."""
        spec = {"Runtime": "python3.13", "Handler": "app.handler", "Role": ROLE, "Timeout": 20, **options}
        self.client("lambda").create_function(
            FunctionName=name, Code={"ZipFile": zipped({"app.py": code})}, **spec
        )

    def call(self, name: str, event: Any = None, **options: Any) -> tuple[Any, str | None]:
        """Payload and FunctionError of one invocation."""
        answer = self.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event), **options)
        with contextlib.closing(answer["Payload"]) as body:
            return json.loads(body.read()), answer.get("FunctionError")

    def logged(self, function: str) -> list[str]:
        """Every line that a function wrote to CloudWatch Logs."""
        logs = self.client("logs")
        group = f"/aws/lambda/{function}"
        if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
            return []
        return [event["message"] for event in logs.filter_log_events(logGroupName=group)["events"]]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionsCloud]:
    state_dir: Path = tmp_path_factory.mktemp("cloud")
    with contextlib.ExitStack() as closing:
        closing.enter_context(_unhooked_afterwards())
        listener = closing.enter_context(server.listen(0, "--port"))
        settings = LocalSettings(state_dir=state_dir, port=listener.getsockname()[1], https_port=0)
        server.clean_environment(settings)
        supervisor = Supervisor()
        closing.callback(supervisor.close)
        api = server._make_server(listener)
        closing.callback(api.server_close)
        runtime = lambda_functions.install(settings, supervisor)
        from lehr_local import cloudformation, event_delivery

        cloudformation.install(settings)
        delivery = event_delivery.install(settings, runtime)
        thread = threading.Thread(target=api.serve_forever, daemon=True)
        thread.start()
        closing.callback(thread.join)
        closing.callback(api.shutdown)
        closing.callback(runtime.close)
        closing.callback(delivery.close)
        cloud = FunctionsCloud(settings, runtime)
        policy = {"Version": "2012-10-17", "Statement": []}
        cloud.client("iam").create_role(RoleName="test", AssumeRolePolicyDocument=json.dumps(policy))
        yield cloud


@contextlib.contextmanager
def _unhooked_afterwards() -> Iterator[None]:
    """An empty moto without our hooks, for the other tests that use it in this process."""
    from moto.awslambda.models import LambdaFunction
    from moto.awslambda_simple.models import lambda_simple_backends
    from moto.cloudformation import models as stacks
    from moto.core.base_backend import BackendDict
    from moto.core.config import default_user_config
    from moto.events.models import Rule
    from moto.sqs.models import Queue, SQSBackend

    hooked = [
        *((LambdaFunction, "invoke"), (lambda_simple_backends, "backend"), (Rule, "send_to_targets")),
        (LambdaFunction, "get_configuration"),
        *((SQSBackend, "receive_message"), (Queue, "delete_message")),
        *((stacks, name) for name in ("ResourceMap", "Stack", "ChangeSet")),
        (stacks.CloudFormationBackend, "execute_change_set"),
    ]
    kept_environment, kept_config = dict(os.environ), copy.deepcopy(dict(default_user_config))
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in hooked:
            patch.setattr(owner, name, getattr(owner, name))
        try:
            yield
        finally:
            BackendDict.reset()
            default_user_config.clear()
            default_user_config.update(kept_config)
            os.environ.clear()
            os.environ.update(kept_environment)
