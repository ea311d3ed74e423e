"""Who is measured, and how a process of each is started, asked and ended.

Functions run under AWS's Runtime Interface Emulator, which imports the handler on the first invocation; servers
that are no Lambda functions (LitServe, BentoML) listen themselves. All get the same model from the same store.
"""

from __future__ import annotations

import http.client
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.rig.environments import PEERS, Tree, environment
from benchmarks.rig.events import Answer, template, to_answer
from benchmarks.rig.one_core import OneCore
from benchmarks.rig.process import Child, Usage, free_port
from benchmarks.rig.store import BUCKET, ROOT, TABLE, LocalStore
from lehr_local.emulator import find_emulator

EMULATED = ("naive", "powertools_validation", "fastapi_mangum", "torch_eager")
SERVERS = ("litserve", "bentoml")
_INVOKE = "/2015-03-31/functions/function/invocations"
_TIMEOUT_S = 60
# Conditions of the template that do not hold as it is deployed by default.
NOT_BY_DEFAULT = {"RequiresSignatures", "HasDriftCheck"}


@dataclass(frozen=True, kw_only=True)
class Contender:
    """How a process is started: a handler under the emulator, or a server's command with PORT in it."""

    name: str
    python: Path
    handler: str = ""
    command: tuple[str, ...] = ()
    path: str = ""
    code: Path
    packages: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    is_signed: bool = False


def predict_contender(
    tree: Tree, python: Path, *, handler: str = "", code: Path | None = None, is_signed: bool = False
) -> Contender:
    """The predict function as the template describes it; `handler` in `code` may stand before its own.

    With `is_signed` as under PackageSignatures=require: it loads what the store's key has signed, and nothing else.
    """
    function = template()["Resources"]["PredictFunction"]["Properties"]
    return Contender(
        name="predict_signed" if is_signed else "predict",
        is_signed=is_signed,
        python=python,
        handler=handler or function["Handler"],
        code=tree.code,
        packages=(*((code,) if code else ()), *tree.layers),
        environment={
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function["MemorySize"]),
            # Only what was shipped counts: on Lambda nothing can be written beside the code.
            **({"PYTHONDONTWRITEBYTECODE": "1"} if tree.is_built else {}),
            **_variables(template()["Globals"]["Function"]),
            **_variables(function),
        },
    )


def peer(name: str) -> Contender:
    """One of EMULATED or SERVERS. Raises NotInstalled."""
    folder = PEERS / name
    if name == "torch_eager":  # torch is too large for a second environment
        networks = (ROOT / "benchmarks/rig/torch_networks",)
        return Contender(
            name=name, python=Path(sys.executable), handler="handler.handler", code=folder, packages=networks
        )
    python = environment(name)
    if name == "litserve":
        command: tuple[str, ...] = (str(python), "server.py", "PORT")
        return Contender(name=name, python=python, command=command, path="/predict", code=folder)
    if name == "bentoml":
        options = ("--host", "127.0.0.1", "--port", "PORT")
        command = (str(python), "-m", "bentoml", "serve", "service:Predict", *options)
        return Contender(name=name, python=python, command=command, path="/predict", code=folder)
    return Contender(name=name, python=python, handler="handler.handler", code=folder)


class Running:
    """A started contender, which is asked one thing at a time."""

    def __init__(
        self,
        contender: Contender,
        store: LocalStore,
        model: str,
        *,
        core: OneCore | None = None,
        endpoint_url: str = "",
    ) -> None:
        self.contender = contender
        self.scratch = Path(tempfile.mkdtemp(prefix="lehr-bench-"))
        port = free_port()
        if contender.handler:
            command = [
                str(find_emulator()),
                *("--log-level", "error"),
                *("--runtime-interface-emulator-address", f"127.0.0.1:{port}"),
                *("--runtime-api-address", f"127.0.0.1:{free_port()}"),
                *(str(contender.python), "-m", "awslambdaric", contender.handler),
            ]
        else:
            command = [part.replace("PORT", str(port)) for part in contender.command]
        self._child = Child(
            core.wrap(command) if core else command,
            environment=process_environment(contender, store, model, self.scratch, endpoint_url),
            folder=contender.code,
            log=self.scratch / "output.log",
        )
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
        self.started_at = self._child.started_at
        try:
            self._child.wait_for_port(port)
        except BaseException:
            self.close()
            raise

    def prepare(self, event: Mapping[str, Any]) -> tuple[str, bytes, dict[str, str]]:
        """Path, body and headers of an invocation, made outside of what is timed."""
        if self.contender.handler:
            return _INVOKE, json.dumps(event).encode(), {}
        return self.contender.path, str(event["body"]).encode(), {"content-type": "application/json"}

    def send(self, prepared: tuple[str, bytes, dict[str, str]]) -> bytes:
        """The raw answer. Raises OSError or HTTPException when the process is gone."""
        path, body, headers = prepared
        self._connection.request("POST", path, body, headers)
        response = self._connection.getresponse()
        raw = response.read()
        if not self.contender.handler and response.status != 200:
            raise RuntimeError(f"{self.contender.name}: {response.status} {raw[:300]!r}")
        return raw

    def answer(self, raw: bytes) -> Answer:
        """The HTTP answer that a client would get. Raises MalformedResponse, or RuntimeError for a function's error."""
        if not self.contender.handler:
            return Answer(200, {"content-type": "application/json"}, raw)
        document = json.loads(raw)
        if not isinstance(document, dict) or "errorType" in document:
            raise RuntimeError(f"{self.contender.name} failed: {raw[:2000]!r}\n{self._child.log_tail()}")
        return to_answer(raw)

    def ask(self, event: Mapping[str, Any]) -> Answer:
        return self.answer(self.send(self.prepare(event)))

    def is_alive(self) -> bool:
        return self._child.is_alive()

    def output(self) -> str:
        """What it has written: the log of the function."""
        return self._child.log.read_text(errors="replace")

    def usage(self) -> Usage:
        return self._child.usage(is_leader_counted=not self.contender.handler)

    def close(self) -> None:
        self._connection.close()
        self._child.close()
        shutil.rmtree(self.scratch, ignore_errors=True)


def process_environment(
    one: Contender, store: LocalStore, model: str, scratch: Path, endpoint_url: str = ""
) -> dict[str, str]:
    """The environment of a process: what Lambda sets, what the contender wants, where store and model are."""
    return {
        **store.environment(endpoint_url),
        "PATH": f"{one.python.parent}:/usr/local/bin:/usr/bin:/bin",
        "LANG": "en_US.UTF-8",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "TZ": ":UTC",
        "PYTHONPATH": ":".join(str(folder) for folder in [*one.packages, one.code]),
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
        "AWS_LAMBDA_FUNCTION_HANDLER": one.handler,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
        "AWS_LAMBDA_FUNCTION_NAME": one.name,
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(_TIMEOUT_S),
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{one.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": "benchmark",
        "LAMBDA_TASK_ROOT": str(one.code),
        "POWERTOOLS_TRACE_DISABLED": "1",
        "BENTOML_HOME": str(scratch / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "MODEL_NAME": model,
        "MODEL_BUCKET": BUCKET,
        "MODEL_KEY": f"peers/{model}/model.onnx",
        "MODEL_STATE_KEY": f"peers/{model}/state.pt",
        **one.environment,
        **({"SIGNING_KEY": store.signing_key} if one.is_signed else {}),
    }


def _variables(properties: Mapping[str, Any]) -> dict[str, str]:
    """The function's environment, with the local store's names and the parameters' defaults for references."""
    names = {"ArtifactBucket": BUCKET, "RegistryTable": TABLE, "AWS::Region": "us-east-1"}
    parameters = template().get("Parameters", {})
    found = {}
    for name, value in properties.get("Environment", {}).get("Variables", {}).items():
        if isinstance(value, dict):
            condition, _, otherwise = value.get("Fn::If", ("", "", ""))
            reference = str(value.get("Ref"))
            value = names.get(reference, parameters.get(reference, {}).get("Default"))
            if condition in NOT_BY_DEFAULT:
                value = otherwise
            if value is None:
                raise RuntimeError(f"benchmarks/rig does not know what the template's {name} is")
        found[name] = str(value)
    return found
