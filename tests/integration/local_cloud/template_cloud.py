"""A local AWS with the CloudFormation hooks only, in a process of its own: hooks last as long as their process.

python tests/integration/local_cloud/template_cloud.py PORT HTTPS_PORT STATE_DIR
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3

from lehr_local.settings import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, LocalSettings

APPLICATION = Path(__file__).parent / "fixtures" / "application"
PROJECT = Path(__file__).parents[3]


@dataclass(frozen=True)
class TemplateCloud:
    settings: LocalSettings

    @cached_property
    def session(self) -> boto3.Session:
        return boto3.Session(
            aws_access_key_id=ACCESS_KEY_ID, aws_secret_access_key=SECRET_ACCESS_KEY, region_name=REGION
        )

    def client(self, service: str) -> Any:
        return self.session.client(service, endpoint_url=self.settings.endpoint_url)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_cloud(state_dir: Path) -> Iterator[TemplateCloud]:
    settings = LocalSettings(state_dir=state_dir, port=free_port(), https_port=free_port())
    process = subprocess.Popen(
        [sys.executable, __file__, str(settings.port), str(settings.https_port), str(state_dir)],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield TemplateCloud(settings)
    finally:
        process.terminate()
        process.communicate(timeout=10)


def main() -> None:
    from moto.server import ThreadedMotoServer

    from lehr_local import cloudformation

    port, https_port, state_dir = sys.argv[1:]
    settings = LocalSettings(state_dir=Path(state_dir), port=int(port), https_port=int(https_port))
    cloudformation.install(settings)
    # Twice is once.
    cloudformation.install(settings)
    ThreadedMotoServer("127.0.0.1", settings.port, verbose=False).start()
    print("ready", flush=True)
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main()
