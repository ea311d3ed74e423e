"""Runs deployed functions: what `lambda:Invoke` reaches in the local cloud.

A function is deployed through the ordinary API or CloudFormation, into moto. This module turns moto's record
of it into a specification, and the specification into a pool of processes; when the record has changed by
the next invocation, so has the specification, and a new pool takes over.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
from pathlib import Path
from typing import Any

from lehr_local.async_invocations import AsyncInvocation
from lehr_local.emulator import FunctionProcess, FunctionSpec, InvocationResult, find_emulator
from lehr_local.errors import LocalCloudError
from lehr_local.function_code import unpack
from lehr_local.function_pool import CONCURRENCY_LIMIT, FunctionPool, Throttled
from lehr_local.processes import Supervisor
from lehr_local.settings import LocalSettings

__all__ = ["InvocationResult", "LambdaRuntime", "Throttled", "install"]

logger = logging.getLogger(__name__)

# No image is looked at: its entry point is how it is known to be Python.
IMAGE_ENTRYPOINT = ["python", "-m", "awslambdaric"]


class LambdaRuntime:
    """Invokes functions of one account and region."""

    def __init__(self, settings: LocalSettings, supervisor: Supervisor, emulator: Path) -> None:
        self.settings = settings
        self._supervisor = supervisor
        self._emulator = emulator
        self._lock = threading.Lock()
        self._pools: dict[tuple[str, str], tuple[FunctionSpec, FunctionPool]] = {}
        self._closed = threading.Event()

    def invoke(self, function_name: str, payload: bytes) -> InvocationResult:
        """Invoke by name or ARN and wait. Raises LocalCloudError if there is no such function, Throttled if
        its processes stayed busy for as long as its timeout."""
        return self.run(self._function(function_name), payload)

    def invoke_later(self, function_name: str, payload: bytes) -> None:
        """Invoke as an event: in the background, with two more tries. Raises LocalCloudError as `invoke`."""
        self.run_later(self._function(function_name), payload)

    def run(
        self, function: Any, payload: bytes, *, is_tail_wanted: bool = False, is_patient: bool = False
    ) -> InvocationResult:
        """Invoke moto's LambdaFunction; `is_patient` waits for a free process without limit."""
        try:
            spec, pool = self._pool(function)
            wait_s = None if is_patient else float(spec.timeout_s)
            return pool.invoke(payload, wait_s=wait_s, is_tail_wanted=is_tail_wanted)
        except LocalCloudError as error:
            logger.error("function %s could not run: %s", function.function_name, error)
            document = {"errorType": "LocalCloudError", "errorMessage": str(error)}
            return InvocationResult(payload=json.dumps(document).encode(), error="Unhandled", log_tail="")

    def run_later(self, function: Any, payload: bytes) -> None:
        """Invoke moto's LambdaFunction as an event."""
        AsyncInvocation(self, function, payload, self._closed).start()

    def forget(self, function_name: str) -> None:
        """End the processes of a function that was deleted."""
        with self._lock:
            names = [key for key in self._pools if key[0] == function_name]
            pools = [self._pools.pop(key)[1] for key in names]
        for pool in pools:
            pool.retire()

    def close(self) -> None:
        """End every process; invocations that still run fail."""
        self._closed.set()
        with self._lock:
            pools = [pool for _, pool in self._pools.values()]
            self._pools.clear()
        for pool in pools:
            pool.close()

    def _function(self, name: str) -> Any:
        from moto.awslambda.exceptions import UnknownFunctionException
        from moto.awslambda.utils import get_backend

        try:
            return get_backend(self.settings.account_id, self.settings.region).get_function(name)
        except UnknownFunctionException as error:
            raise LocalCloudError(f"There is no function {name!r}.", "Deploy the stack first.") from error

    def _pool(self, function: Any) -> tuple[FunctionSpec, FunctionPool]:
        spec, archives = _describe(function, self.settings.state_dir)
        reserved = function.reserved_concurrency
        limit = min(int(reserved), CONCURRENCY_LIMIT) if reserved is not None else CONCURRENCY_LIMIT
        key = (spec.name, spec.version)
        with self._lock:
            if self._closed.is_set():
                raise LocalCloudError("The local cloud is shutting down.")
            known = self._pools.get(key)
            if known is not None and known[0] == spec:
                return known
            pool = FunctionPool(lambda: self._start(spec, archives), limit)
            self._pools[key] = (spec, pool)
        if known is not None:
            known[1].retire()
        return spec, pool

    def _start(self, spec: FunctionSpec, archives: dict[Path, bytes]) -> FunctionProcess:
        for target, archive in archives.items():
            unpack(archive, target)
        return FunctionProcess(spec, self.settings, self._supervisor, self._emulator)


def install(settings: LocalSettings, supervisor: Supervisor) -> LambdaRuntime:
    """Make moto run functions for real. Raises LocalCloudError if this machine has no Lambda emulator."""
    runtime = LambdaRuntime(settings, supervisor, find_emulator())
    # What the functions of a cloud that was killed have left.
    shutil.rmtree(settings.state_dir / "functions" / "tmp", ignore_errors=True)

    from lehr_local import lambda_backend

    lambda_backend.install(runtime)
    return runtime


def _describe(function: Any, state_dir: Path) -> tuple[FunctionSpec, dict[Path, bytes]]:
    """The specification of moto's LambdaFunction, and the archives that must be unpacked for it."""
    from moto.awslambda.utils import get_backend

    if function.package_type == "Image":
        handler, runtime, code = _describe_image(function, state_dir)
        archives: dict[Path, bytes] = {}
    elif not str(function.run_time or "").startswith("python"):
        raise LocalCloudError(
            f"The local cloud runs Python functions only; {function.function_name} has "
            f"runtime {function.run_time!r}."
        )
    else:
        handler, runtime = function.handler, function.run_time
        code = state_dir / "functions" / function.code_digest
        archives = {code: function.code_bytes}
    layers = []
    backend = get_backend(function.account_id, function.region)
    for attached in function.layers:
        layer = backend.layers_versions_by_arn(attached["Arn"])
        if layer is None:
            raise LocalCloudError(f"Layer {attached['Arn']} of {function.function_name} was deleted.")
        folder = state_dir / "layers" / layer.code_digest
        archives[folder] = layer.code_bytes
        layers.append(folder)
    spec = FunctionSpec(
        name=function.function_name,
        version=str(function.version),
        handler=handler,
        runtime=runtime,
        memory_mb=int(function.memory_size),
        timeout_s=int(function.timeout),
        environment=tuple(
            sorted((name, _as_text(value)) for name, value in function.environment_vars.items())
        ),
        code=code,
        layers=tuple(layers),
        role=str(function.role),
        is_traced=(function.tracing_config or {}).get("Mode") == "Active",
        log_group=str((getattr(function, "logging_config", None) or {}).get("LogGroup", "")),
    )
    return spec, archives


def _describe_image(function: Any, state_dir: Path) -> tuple[str, str, Path]:
    """Handler, runtime and folder of a function from an image, which this machine's Python stands in for.

    Raises LocalCloudError unless its ImageConfig says that it is Python under AWS's runtime client.
    """
    config = function.image_config
    command = list(config.cmd)
    if list(config.entry_point) != IMAGE_ENTRYPOINT or len(command) != 1:
        raise LocalCloudError(
            f"The image of {function.function_name} cannot be run here.",
            f"Only images whose ImageConfig has the EntryPoint {IMAGE_ENTRYPOINT} and a handler as its Command are: "
            "their code is imported from this environment.",
        )
    code = state_dir / "functions" / "image"
    code.mkdir(parents=True, exist_ok=True)
    return command[0], "python", code


def _as_text(value: object) -> str:
    # CloudFormation turns the numbers and booleans of a template into text, moto does not.
    return json.dumps(value) if isinstance(value, bool) else str(value)
