"""The local cloud as a person starts and stops it: `python -m lehr_local up | down | status | serve`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest

from lehr_local.__main__ import DEFAULT_HTTPS_PORT, DEFAULT_PORT, _parser
from lehr_local.errors import LocalCloudError
from lehr_local.server import listen
from lehr_local.state_files import CloudInfo, StateFiles, process_started
from tests.integration.local_cloud.functions_cloud import ROLE, eventually, zipped
from tests.integration.local_cloud.test_processes import is_alive

ROOT = Path(__file__).resolve().parents[3]
ANY_PORTS = ("--port", "0", "--https-port", "0")


def lehr_local(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lehr_local", *arguments],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
    )


def up(state_dir: Path, **env: str) -> dict[str, Any]:
    done = lehr_local("up", "--state", str(state_dir), "--json", *ANY_PORTS, env=env)
    assert done.returncode == 0, done.stderr
    info: dict[str, Any] = json.loads(done.stdout)
    return info


@cache
def session() -> boto3.session.Session:
    """One for all clouds: it reads the description of a service once."""
    return boto3.session.Session()


def client(info: dict[str, Any], service: str) -> Any:
    return session().client(
        service,
        endpoint_url=info["endpoint_url"],
        region_name=info["region"],
        aws_access_key_id="local",
        aws_secret_access_key="local-secret",
    )


def session_members(leader: int) -> set[int]:
    """Processes of other sessions whose parent is `leader`, and their sessions' processes."""
    from lehr_local import reaper

    return (reaper.members({leader}) or set()) - {leader}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A cloud that was started from an unfriendly shell."""
    state_dir = tmp_path_factory.mktemp("running")
    trap = tmp_path_factory.mktemp("trap")
    for module in ("moto", "boto3", "socketserver"):
        (trap / f"{module}.py").write_text("raise SystemExit('the host leaked in')\n")
    info = up(
        state_dir,
        AWS_PROFILE="no-such-profile",
        AWS_ENDPOINT_URL="http://localhost:1",
        AWS_ACCESS_KEY_ID="of-the-host",
        AWS_DEFAULT_REGION="eu-central-1",
        AWS_CONFIG_FILE="/no/such/file",
        HTTP_PROXY="http://localhost:1",
        PYTHONPATH=str(trap),
        PYTHONSTARTUP="/no/such/file",
        MOTO_PORT="1",
    )
    yield state_dir, info
    lehr_local("down", "--state", str(state_dir))


def test_the_info_says_everything_that_a_client_needs(running: tuple[Path, dict[str, Any]]) -> None:
    state_dir, info = running
    stored = json.loads((state_dir / "local.json").read_text())
    assert info == {"running": True, **stored}
    assert set(stored) >= {
        *(
            "pid",
            "started_at",
            "endpoint_url",
            "port",
            "https_port",
            "ca_file",
            "account_id",
            "region",
            "log",
        ),
    }
    assert stored["endpoint_url"] == f"http://localhost:{stored['port']}"
    assert Path(stored["ca_file"]).read_text().startswith("-----BEGIN CERTIFICATE")
    assert client(info, "sts").get_caller_identity()["Account"] == stored["account_id"]


def test_a_function_runs_and_sees_nothing_of_the_unfriendly_shell(
    running: tuple[Path, dict[str, Any]],
) -> None:
    info = running[1]
    lambda_ = client(info, "lambda")
    client(info, "iam").create_role(RoleName="test", AssumeRolePolicyDocument="{}")
    code = (
        "import boto3, os\n"
        "def handler(event, context):\n"
        "    boto3.client('s3').list_buckets()\n"
        "    return [os.environ['AWS_REGION'], os.environ.get('AWS_PROFILE'), os.environ.get('HTTP_PROXY')]\n"
    )
    lambda_.create_function(
        FunctionName="sees",
        Code={"ZipFile": zipped({"app.py": code})},
        Runtime="python3.13",
        Handler="app.handler",
        Role=ROLE,
        Timeout=20,
    )
    answer = lambda_.invoke(FunctionName="sees")
    with answer["Payload"] as body:
        assert json.loads(body.read()) == ["us-east-1", None, None]


def test_up_again_finds_the_cloud_that_runs(running: tuple[Path, dict[str, Any]]) -> None:
    state_dir, info = running
    assert up(state_dir) == info
    status = lehr_local("status", "--state", str(state_dir), "--json")
    assert (status.returncode, json.loads(status.stdout)) == (0, info)


def test_a_second_cloud_in_the_same_folder_is_refused(running: tuple[Path, dict[str, Any]]) -> None:
    done = lehr_local("serve", "--state", str(running[0]), *ANY_PORTS)
    assert done.returncode == 2
    assert done.stderr.startswith("error: A local cloud already runs in ")
    assert len(done.stderr.splitlines()) == 1
    assert (running[0] / "local.json").exists()


@pytest.mark.parametrize("option", ["--port", "--https-port"])
def test_a_port_that_is_taken_is_named_together_with_the_option(
    running: tuple[Path, dict[str, Any]], tmp_path: Path, option: str
) -> None:
    taken = str(running[1]["port"])
    done = lehr_local("up", "--state", str(tmp_path), *ANY_PORTS, option, taken)
    assert done.returncode == 2
    assert (
        done.stderr == f"error: Port {taken} is taken by another program. Choose another one with {option}.\n"
    )
    assert lehr_local("status", "--state", str(tmp_path)).returncode == 3


def test_every_socket_is_bound_to_the_loopback_interface(running: tuple[Path, dict[str, Any]]) -> None:
    pid = running[1]["pid"]
    ours = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in ours:
                listening.append(fields[1])
    assert len(listening) >= 2
    assert {address.split(":")[0] for address in listening} == {"0100007F"}


def test_the_access_log_is_silent(running: tuple[Path, dict[str, Any]]) -> None:
    client(running[1], "s3").list_buckets()
    assert "GET /" not in (running[0] / "cloud.log").read_text()


def test_two_ups_at_once_start_one_cloud_and_a_killed_one_leaves_no_process(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(lambda _: up(tmp_path), range(2))
    assert one == other
    client(one, "iam").create_role(RoleName="test", AssumeRolePolicyDocument="{}")
    lambda_ = client(one, "lambda")
    lambda_.create_function(
        FunctionName="waits",
        Code={"ZipFile": zipped({"app.py": "import time\ndef handler(e, c):\n    time.sleep(60)\n"})},
        Runtime="python3.13",
        Handler="app.handler",
        Role=ROLE,
        Timeout=100,
    )
    lambda_.invoke(FunctionName="waits", InvocationType="Event")["Payload"].close()
    # The reaper, the emulator, and the Python under it.
    children = eventually(lambda: found if len(found := session_members(one["pid"])) >= 3 else None)
    os.kill(one["pid"], signal.SIGKILL)
    eventually(lambda: not any(is_alive(pid) for pid in {one["pid"], *children}), timeout_s=10)
    assert (tmp_path / "local.json").exists(), "the file that must not be believed"
    assert lehr_local("status", "--state", str(tmp_path)).returncode == 3
    down = lehr_local("down", "--state", str(tmp_path), "--json")
    assert (down.returncode, json.loads(down.stdout)) == (0, {"was_running": False})
    assert not (tmp_path / "local.json").exists()


def test_down_stops_everything_and_can_be_repeated(tmp_path: Path) -> None:
    info = up(tmp_path)
    children = session_members(info["pid"])
    assert children
    for was_running in (True, False):
        down = lehr_local("down", "--state", str(tmp_path), "--json")
        assert (down.returncode, json.loads(down.stdout)) == (0, {"was_running": was_running})
    assert not any(is_alive(pid) for pid in {info["pid"], *children})
    assert not (tmp_path / "local.json").exists()
    with socket.create_server(("127.0.0.1", info["port"])):
        pass  # the port is free again
    assert "Traceback" not in (tmp_path / "cloud.log").read_text()


def test_down_in_a_folder_that_does_not_exist_makes_none(tmp_path: Path) -> None:
    assert lehr_local("down", "--state", str(tmp_path / "none")).returncode == 0
    assert lehr_local("status", "--state", str(tmp_path / "none")).returncode == 3


def test_serve_runs_in_the_foreground_until_it_is_interrupted(tmp_path: Path) -> None:
    serve = subprocess.Popen(
        [sys.executable, "-m", "lehr_local", "serve", "--state", str(tmp_path), *ANY_PORTS],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        eventually(lambda: (tmp_path / "local.json").exists() or serve.poll() is not None)
        serve.send_signal(signal.SIGINT)
        output, errors = serve.communicate(timeout=20)
    finally:
        serve.kill()
    assert serve.returncode == 0, errors.decode()
    assert output == b""
    assert not (tmp_path / "local.json").exists()


def info_of(pid: int, started: str) -> CloudInfo:
    return CloudInfo(
        pid=pid,
        process_started=started,
        started_at="",
        endpoint_url="",
        port=1,
        https_port=2,
        ca_file="",
        account_id="",
        region="",
        log="",
    )


def test_a_cloud_whose_folder_is_deleted_stops_by_itself(tmp_path: Path) -> None:
    info = up(tmp_path / "state")
    shutil.rmtree(tmp_path / "state")
    assert eventually(lambda: process_started(info["pid"]) is None, timeout_s=20)


def test_a_pid_that_now_belongs_to_another_process_is_not_believed(tmp_path: Path) -> None:
    files = StateFiles(tmp_path)
    mine = process_started(os.getpid())
    assert mine is not None
    with files.cloud_lock():
        files.write_info(info_of(os.getpid(), mine))
        assert files.read_info() == info_of(os.getpid(), mine)
        files.write_info(info_of(os.getpid(), "earlier"))
        assert files.read_info() is None
    files.write_info(info_of(os.getpid(), mine))
    assert files.read_info() is None, "nobody holds the lock"


def test_damaged_info_counts_as_none(tmp_path: Path) -> None:
    files = StateFiles(tmp_path)
    with files.cloud_lock():
        for text in ("", "{", "[]", '{"pid": 1}'):
            files.info_file.write_text(text)
            assert files.read_info() is None


def test_looking_at_a_cloud_does_not_keep_it_from_starting(tmp_path: Path) -> None:
    files = StateFiles(tmp_path)
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            files.is_running()

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for _ in range(50):
            with files.cloud_lock():
                pass
    finally:
        stop.set()
        looker.join()


def test_a_port_that_cannot_exist_is_told_as_well() -> None:
    with pytest.raises(LocalCloudError, match=r"no port 70000.*--port"):
        listen(70_000, "--port")


def test_the_default_ports_and_folder_are_those_of_the_manual() -> None:
    arguments = _parser().parse_args(["up"])
    assert (arguments.state, arguments.port, arguments.https_port) == (Path(".lehr"), 4710, 4743)
    assert (DEFAULT_PORT, DEFAULT_HTTPS_PORT) == (4710, 4743)
