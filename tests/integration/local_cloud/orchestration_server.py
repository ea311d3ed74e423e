"""A moto server with the Step Functions, SageMaker and Batch parts of the local cloud, in a process of its own.

Its hooks are global to a process, so tests keep them out of theirs. Run: `python orchestration_server.py PORT
STATE_DIR`; it prints `ready` and ends when its input does. Lambda functions are played by `StubLambda`.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

from lehr_local import batch_backend, step_functions, training_jobs
from lehr_local.control_requests import ControlRequests
from lehr_local.interruptions import interruption
from lehr_local.processes import Supervisor
from lehr_local.settings import LocalSettings


def main(port: int, state_dir: Path) -> None:
    settings = LocalSettings(state_dir=state_dir, port=port, https_port=0)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    supervisor = Supervisor()
    for _ in range(2):  # Installing twice has to be the same as installing once.
        step_functions.install(settings)
        jobs = training_jobs.install(settings, supervisor)
        batch = batch_backend.install(settings, supervisor)
    install_stub_lambda()
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    assert server._server is not None
    server._server.app = ControlRequests(server._server.app, {"interrupt": interruption(jobs, batch)})
    print("ready", flush=True)
    sys.stdin.read()
    jobs.close()
    batch.close()
    supervisor.close()
    print("closed", flush=True)


def install_stub_lambda() -> None:
    import moto.awslambda_simple.models as lambda_models
    from moto.awslambda.models import LambdaBackend
    from moto.core.config import default_user_config

    failures: dict[str, int] = {}
    scripts: dict[str, list[Any]] = {}
    calls: dict[str, list[Any]] = {}

    class StubLambda(LambdaBackend):  # type: ignore[misc]
        """`echo` answers its event, `unwrap` the event's `rest`; `throttled-once` fails on its first call for each key
        of the event; `scripted-…` gives the answers, one after the other, that `script` was given for its name, and
        `calls` tells with what it was called."""

        def invoke(
            self, function_name: str, qualifier: Any, body: bytes, headers: Any, response_headers: Any
        ) -> bytes:
            name = function_name.split(":")[-1]
            event = json.loads(body or b"{}")
            error = None
            if name == "script":
                scripts[event["name"]], calls[event["name"]] = list(event["answers"]), []
            elif name == "calls":
                return json.dumps(calls[event["name"]]).encode()
            elif name in scripts:
                calls[name].append(event)
                event = scripts[name].pop(0)
                error = event.get("errorType")
            elif name == "throttled-once":
                failures[event["key"]] = failures.get(event["key"], 0) + 1
                error = "ThrottledError" if failures[event["key"]] == 1 else None
            elif name == "broken":
                error = "DataRejectedError"
            if name == "unwrap":
                event = event["rest"]
            if error is None:
                return json.dumps(event).encode()
            response_headers["x-amz-function-error"] = "Unhandled"
            return json.dumps({"errorType": error, "errorMessage": f"{name} failed"}).encode()

    default_user_config["lambda"] = {"use_docker": False}
    lambda_models.lambda_simple_backends.backend = StubLambda


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
