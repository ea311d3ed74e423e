"""The local cloud as a program of its own: started, asked and stopped through its command line only.

Its processes get a session of their own, so that Ctrl-C reaches this command and not a deployment halfway.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lehr_cli.failures import LocalCloudError
from lehr_cli.target import STATE_DIR

TEMPLATE = "template.yaml"
_NOT_INSTALLED = "No module named"
_PORTS_HINT = "any free ones: lehr local up --port 0 --https-port 0 (the demo then uses that cloud)"


@dataclass(frozen=True, kw_only=True)
class Finished:
    """How a process ended."""

    code: int
    stdout: str
    stderr: str


Runner = Callable[[Sequence[str], Path], Finished]


def run_to_its_end(arguments: Sequence[str], folder: Path) -> Finished:
    """Run a process. The first Ctrl-C lets it finish what it is doing; a second one stops it."""
    process = subprocess.Popen(
        arguments,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate()
    except KeyboardInterrupt:
        print("\nfinishing this step first; Ctrl-C again to stop it", file=sys.stderr)
        try:
            process.communicate()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
        raise
    return Finished(code=process.returncode, stdout=stdout, stderr=stderr)


class LocalCloud:
    """The local cloud of one folder."""

    def __init__(self, folder: Path, runner: Runner = run_to_its_end) -> None:
        self._folder, self._run = folder, runner

    def up(
        self,
        *,
        port: int | None = None,
        https_port: int | None = None,
        enforce_iam: bool = False,
        keep: bool = False,
    ) -> Mapping[str, Any]:
        """Start it, or find it running; returns its info document."""
        options = [] if port is None else ["--port", str(port)]
        options += [] if https_port is None else ["--https-port", str(https_port)]
        options += ["--enforce-iam"] if enforce_iam else []
        options += ["--keep"] if keep else []
        return self._document(self._call("up", *options))

    def down(self) -> bool:
        """Stop it, and forget what it holds unless it keeps it. Returns whether there was one."""
        return bool(self._document(self._call("down")).get("was_running", True))

    def status(self) -> Mapping[str, Any] | None:
        """Its info document, or None when it does not run."""
        finished = self._call("status", accepted=(0, 3))
        document = self._document(finished)
        return document if finished.code == 0 and document.get("running", True) else None

    def deploy(
        self, info: Mapping[str, Any], stack: str, parameters: Sequence[str] = ()
    ) -> Mapping[str, Any]:
        """Deploy the folder's template with parameters as KEY=VALUE; returns the outputs of the stack."""
        template = self._folder / TEMPLATE
        if not template.is_file():
            raise LocalCloudError(
                f"there is no {TEMPLATE} in {self._folder}", "run this in the root of the repository"
            )
        options = ["--template", str(template), "--stack", stack, "--endpoint-url", str(info["endpoint_url"])]
        options += [word for pair in parameters for word in ("--parameter", pair)]
        command = [sys.executable, "-m", "lehr_local.deploy", *options, "--json"]
        return self._document(self._checked(self._run(command, self._folder), (0,)))

    def _call(self, verb: str, *options: str, accepted: tuple[int, ...] = (0,)) -> Finished:
        state = ["--state", str(self._folder / STATE_DIR)]
        command = [sys.executable, "-m", "lehr_local", verb, *state, *options, "--json"]
        return self._checked(self._run(command, self._folder), accepted)

    @staticmethod
    def _checked(finished: Finished, accepted: tuple[int, ...]) -> Finished:
        if finished.code in accepted:
            return finished
        if _NOT_INSTALLED in finished.stderr:
            missing = finished.stderr.rsplit(_NOT_INSTALLED, 1)[1].strip()
            raise LocalCloudError(
                f"the local cloud needs a package that is not installed: {missing}",
                "install it with `pip install -e '.[local]'` in the repository",
            )
        lines = finished.stderr.strip().splitlines() or [f"the local cloud ended with code {finished.code}"]
        message = lines[-1].removeprefix("error: ")
        raise LocalCloudError(message, _PORTS_HINT if " is taken" in message else "")

    @staticmethod
    def _document(finished: Finished) -> Mapping[str, Any]:
        # Warnings of libraries may stand before it; the document is the last line.
        lines = finished.stdout.strip().splitlines()
        try:
            document = json.loads(lines[-1]) if lines else {}
        except ValueError as fault:
            raise LocalCloudError(
                f"the local cloud answered {lines[-1][:200]!r}, which is not JSON"
            ) from fault
        return document if isinstance(document, dict) else {}
