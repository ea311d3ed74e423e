"""A promoter is stopped between reading and writing the alias, and wakes after another has promoted: too late."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer

from lehr.aws.clients import make_table
from lehr.aws.registry import DynamoModelRegistry
from tests.registry_table import make_registry_table

ASLEEP_S, AT_MOST_S = 1.0, 60
ROOT = Path(__file__).parents[3]
# Stops itself before it writes the alias, as the machine might stop it; "unfenced" writes without the condition.
PROMOTER = """
import os, signal, sys
from lehr.aws.clients import make_table
from lehr.aws.registry import DynamoModelRegistry
from lehr.errors import ChampionChangedError

class Sleepy:
    def __init__(self, table):
        self._table = table

    def __getattr__(self, name):
        return getattr(self._table, name)

    def put_item(self, **arguments):
        if arguments["Item"]["sk"] == "alias":
            os.kill(os.getpid(), signal.SIGSTOP)
            if sys.argv[1] == "unfenced":
                arguments = {"Item": arguments["Item"]}
        return self._table.put_item(**arguments)

try:
    DynamoModelRegistry(Sleepy(make_table("registry"))).promote(sys.argv[1], "v2", run="r2", generation=1)
    print("promoted")
except ChampionChangedError as fault:
    print(fault)
"""


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[DynamoModelRegistry]:
    """Over a table of a server of its own, which other processes reach too."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    try:
        make_registry_table()
        yield DynamoModelRegistry(make_table("registry"))
    finally:
        server.stop()


def asleep(project: str) -> subprocess.Popen[str]:
    """A promoter that has read the alias, and has been stopped."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROMOTER, project], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + AT_MOST_S
    while time.monotonic() < deadline:
        pid, status = os.waitpid(process.pid, os.WUNTRACED | os.WNOHANG)
        if pid:
            assert os.WIFSTOPPED(status), "it ended before it wrote"
            return process
        time.sleep(0.02)
    process.kill()
    raise AssertionError("it never came to write")


def test_a_promoter_that_wakes_too_late_is_fenced_off_by_the_generation(
    registry: DynamoModelRegistry, record_property: Callable[[str, object], None]
) -> None:
    sleepers: dict[str, subprocess.Popen[str]] = {}
    told: dict[str, Any] = {}
    try:
        for project in ("fenced", "unfenced"):
            registry.promote(project, "v1", run="r1", generation=0)
            sleepers[project] = asleep(project)
            assert registry.promote(project, "v3", run="r3", generation=1).generation == 2
        time.sleep(ASLEEP_S)
        for project, process in sleepers.items():
            os.kill(process.pid, signal.SIGCONT)
            told[project] = process.communicate(timeout=AT_MOST_S)[0].strip()
    finally:
        for process in sleepers.values():
            if process.poll() is None:
                process.kill()
                process.wait()
    record_property("asleep_s", ASLEEP_S)
    assert told["fenced"] == "fenced: judged at generation 1, the alias is now at 2"
    history = registry.champions("fenced")
    assert [(one.champion, one.previous, one.generation) for one in history] == [
        ("v3", "v1", 2),
        ("v1", None, 1),
    ]
    # Negative control: without the condition whoever wakes undoes what was promoted meanwhile, and nobody hears of it.
    assert told["unfenced"] == "promoted"
    undone = registry.alias("unfenced")
    assert undone is not None
    assert (undone.champion, undone.previous, undone.generation) == ("v2", "v1", 2)
