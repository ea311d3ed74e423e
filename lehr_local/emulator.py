"""One process of one function, under AWS's own Runtime Interface Emulator (RIE).

The emulator is the program that the Lambda base images contain: it serves the invoke API on one port and the
runtime API on another, starts the Python runtime, enforces the timeout and writes START, END and REPORT. It
ships as a binary in the aws-sam-cli wheel and needs no container.

What it leaves to us: two requests at once make it panic, so each process serves one at a time; it answers
200 for errors too, so an error is told from its body. A handler that *returns* a document with both
`errorType` and `errorMessage` can therefore not be told from one that raised; here it counts as an error.

What differs from AWS: the time that the imports take counts towards the timeout of the first invocation (AWS
gives them 10 s of their own); the memory size is told to the function but not enforced; the account in
`context.invoked_function_arn` is the emulator's; the Python is this environment's, whatever Runtime says.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.metadata
import json
import os
import platform
import shutil
import socket
import sys
import tempfile
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from lehr_local import settings as local
from lehr_local.cloudwatch_logs import LogStream, log_permit
from lehr_local.embedded_metrics import put_metrics
from lehr_local.errors import LocalCloudError
from lehr_local.layer_packages import usable
from lehr_local.processes import ManagedProcess, Supervisor
from lehr_local.tracing import demand_tracing

_START_ATTEMPTS = 3
_START_LIMIT_S = 20.0
# Beyond the function's own timeout: the import of its modules, and a machine that is busy.
_REPLY_MARGIN_S = 60.0
_LOG_TAIL_BYTES = 4096
_HINT = "Install aws-sam-cli (`pip install aws-sam-cli`), or set LEHR_RIE to the path of aws-lambda-rie."


@dataclass(frozen=True, kw_only=True)
class FunctionSpec:
    """Everything that makes a process of a function; two processes may share work only if it is equal."""

    name: str
    version: str
    handler: str
    runtime: str
    memory_mb: int
    timeout_s: int
    environment: tuple[tuple[str, str], ...]
    code: Path
    layers: tuple[Path, ...]
    role: str = ""
    is_traced: bool = False
    log_group: str = ""


@dataclass(frozen=True, kw_only=True)
class InvocationResult:
    """What one invocation answered; `error` is the value of the FunctionError header, or None."""

    payload: bytes
    error: str | None
    log_tail: str


def find_emulator() -> Path:
    """Path of the emulator's binary for this machine.

    Looks at LEHR_RIE, at the aws-sam-cli of this environment, and at a `.venv-sam` beside the project.
    Raises LocalCloudError if there is none.
    """
    named = os.environ.get("LEHR_RIE")
    if named:
        if not Path(named).is_file():
            raise LocalCloudError(f"LEHR_RIE names {named}, which is not a file.", _HINT)
        return Path(named)
    if sys.platform != "linux":
        raise LocalCloudError(
            "AWS's Lambda emulator runs on Linux only.", "Use Linux, WSL 2 or a Linux container."
        )
    arch = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
    inside = f"samcli/local/rapid/aws-lambda-rie-{arch}"
    found: list[Path] = []
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        found.append(Path(str(importlib.metadata.distribution("aws-sam-cli").locate_file(inside))))
    for folder in (Path.cwd(), *Path.cwd().parents, *Path(__file__).resolve().parents):
        found.extend(folder.glob(f".venv-sam/lib/python3*/site-packages/{inside}"))
    for path in found:
        if path.is_file():
            return path
    raise LocalCloudError("AWS's Lambda emulator, aws-lambda-rie, was not found.", _HINT)


class FunctionProcess:
    """A started function, which answers one invocation at a time."""

    def __init__(
        self, spec: FunctionSpec, settings: local.LocalSettings, supervisor: Supervisor, emulator: Path
    ) -> None:
        self.spec, self._settings = spec, settings
        self.last_used = time.monotonic()
        stream = f"{time.strftime('%Y/%m/%d')}/[{spec.version}]{uuid.uuid4().hex}"
        group = spec.log_group or f"/aws/lambda/{spec.name}"
        self._log = LogStream(
            settings.account_id, settings.region, group, stream, log_permit(settings, spec.role)
        )
        if spec.is_traced:
            demand_tracing(settings.authority, spec.role)
        self._tail: deque[str] = deque(maxlen=500)
        self._has_reported = threading.Event()
        scratch_root = settings.state_dir / "functions" / "tmp"
        scratch_root.mkdir(parents=True, exist_ok=True)
        self._scratch = Path(tempfile.mkdtemp(prefix=f"{spec.name[:40]}-", dir=scratch_root))
        try:
            self._process, self._port = self._start(settings, supervisor, emulator)
        except BaseException:
            shutil.rmtree(self._scratch, ignore_errors=True)
            raise

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def invoke(self, payload: bytes, *, is_tail_wanted: bool) -> InvocationResult:
        """Send one event and wait for its answer; with `is_tail_wanted` also for the last lines it wrote."""
        self._tail.clear()
        self._has_reported.clear()
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._port, timeout=self.spec.timeout_s + _REPLY_MARGIN_S
        )
        try:
            connection.request("POST", "/2015-03-31/functions/function/invocations", payload or b"{}")
            body = connection.getresponse().read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            text = f"RequestId: {uuid.uuid4()} Error: the runtime is gone ({error or type(error).__name__})"
            body = json.dumps({"errorType": "Runtime.ExitError", "errorMessage": text}).encode()
        finally:
            connection.close()
            self.last_used = time.monotonic()
        body, error_kind = _classify(body)
        if is_tail_wanted or error_kind:
            self._has_reported.wait(0.2)
        return InvocationResult(payload=body, error=error_kind, log_tail=self._log_tail())

    def close(self) -> None:
        """Kill the process; what it wrote to its private folder goes with it."""
        self._process.kill()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _start(
        self, settings: local.LocalSettings, supervisor: Supervisor, emulator: Path
    ) -> tuple[ManagedProcess, int]:
        # Another program can take a port between our look and the emulator's: then it ends, and we look again.
        for _ in range(_START_ATTEMPTS):
            port, runtime_port = _free_ports()
            process = supervisor.spawn(
                [
                    str(emulator),
                    *("--log-level", "error"),
                    *("--runtime-interface-emulator-address", f"127.0.0.1:{port}"),
                    *("--runtime-api-address", f"127.0.0.1:{runtime_port}"),
                    *(str(settings.python), "-m", "awslambdaric", self.spec.handler),
                ],
                env=self._environment(settings),
                cwd=self.spec.code,
                on_line=self._on_line,
            )
            if _is_listening(port, process):
                return process, port
            process.kill()
        raise LocalCloudError(f"The process of {self.spec.name} did not start.", " / ".join(self._tail))

    def _environment(self, settings: local.LocalSettings) -> dict[str, str]:
        spec = self.spec
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        packages = [
            usable(folder)
            for layer in spec.layers
            for folder in (layer / "python", *layer.glob(f"python/lib/{version}/site-packages"))
        ]
        return {
            # What a function may set for itself, as on AWS.
            "PATH": f"{settings.python.parent}:/usr/local/bin:/usr/bin:/bin",
            "LANG": "en_US.UTF-8",
            "POWERTOOLS_TRACE_DISABLED": "1",
            **dict(spec.environment),
            "PYTHONPATH": ":".join(str(folder) for folder in [*packages, spec.code]),
            "HOME": str(self._scratch),
            "TMPDIR": str(self._scratch),
            "TZ": ":UTC",
            "AWS_REGION": settings.region,
            "AWS_DEFAULT_REGION": settings.region,
            "AWS_ACCESS_KEY_ID": settings.authority.key_of(spec.role),
            "AWS_SECRET_ACCESS_KEY": local.SECRET_ACCESS_KEY,
            "AWS_ENDPOINT_URL": settings.endpoint_url,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{spec.runtime}",
            "AWS_LAMBDA_FUNCTION_HANDLER": spec.handler,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_mb),
            "AWS_LAMBDA_FUNCTION_NAME": spec.name,
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(spec.timeout_s),
            "AWS_LAMBDA_FUNCTION_VERSION": spec.version,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": self._log.group,
            "AWS_LAMBDA_LOG_STREAM_NAME": self._log.stream,
            "LAMBDA_RUNTIME_DIR": str(self._scratch),
            "LAMBDA_TASK_ROOT": str(spec.code),
        }

    def _on_line(self, line: str) -> None:
        self._tail.append(line)
        if line.startswith("REPORT RequestId:"):
            self._has_reported.set()
        self._log.write(line)
        put_metrics(self._settings.account_id, self._settings.region, line)

    def _log_tail(self) -> str:
        text = "".join(f"{line}\n" for line in list(self._tail))
        return text.encode()[-_LOG_TAIL_BYTES:].decode(errors="ignore")


def _classify(body: bytes) -> tuple[bytes, str | None]:
    """The payload as AWS would give it, and the FunctionError header."""
    try:
        document = json.loads(body)
    except ValueError:
        # The one answer of the emulator that is not JSON; a handler's answer always is.
        text = f"RequestId: {uuid.uuid4()} Error: {body.decode(errors='replace').strip()}"
        kind = "Sandbox.Timedout" if body.startswith(b"Task timed out") else "Runtime.Unknown"
        return json.dumps({"errorType": kind, "errorMessage": text}).encode(), "Unhandled"
    is_error = isinstance(document, dict) and "errorType" in document and "errorMessage" in document
    return body, "Unhandled" if is_error else None


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def _is_listening(port: int, process: ManagedProcess) -> bool:
    deadline = time.monotonic() + _START_LIMIT_S
    while process.is_alive() and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.003)
        else:
            return True
    return False
