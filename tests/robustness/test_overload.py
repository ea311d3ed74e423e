"""More requests than the stage lets through: each is answered, or told when to come again, and none fails.

pytest tests/robustness/test_overload.py                             the quick form
pytest tests/robustness/test_overload.py -m 'slow or not slow'       also one of a minute
"""

from __future__ import annotations

import http.client
import json
import queue
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from benchmarks.rig.contenders import Running
from benchmarks.rig.events import Answer
from lehr_local.api_gateway import SERVICE
from lehr_local.https_front import HttpsFront
from lehr_local.server import listen
from lehr_local.service_clients import ServiceClients
from lehr_local.settings import ACCESS_KEY_ID, SECRET_ACCESS_KEY, LocalSettings
from tests.http_apis import create_api
from tests.robustness.endpoint import PROJECT, Endpoint

PROCESSES = 2
CLIENTS = 16
RATE, BURST = 10, 10
Report = Callable[[str, object], None]


@dataclass(frozen=True)
class Result:
    """What a function answered, as the front wants to know it."""

    payload: bytes
    error: str | None = None


@dataclass
class Answers:
    """What all clients got; `faults` are answers that are wrong, and connections that broke."""

    by_status: dict[int, int] = field(default_factory=dict)
    retry_after: set[str | None] = field(default_factory=set)
    bodies: set[bytes] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)


@contextmanager
def front_of(
    processes: list[Running], folder: Path, throttle: dict[str, int] | None
) -> Iterator[LocalSettings]:
    """The HTTPS front with one signed route to the processes, each of which takes one request at a time."""
    free: queue.SimpleQueue[Running] = queue.SimpleQueue()
    for process in processes:
        free.put(process)

    def invoke(name: str, payload: bytes) -> Result:
        process = free.get()
        try:
            return Result(process.send(process.prepare(json.loads(payload))))
        finally:
            free.put(process)

    listener = listen(0, "--https-port")
    settings = LocalSettings(state_dir=folder, port=1, https_port=listener.getsockname()[1])
    client = ServiceClients(settings)(SERVICE)
    for api in client.get_apis()["Items"]:
        client.delete_api(ApiId=api["ApiId"])
    stage = {"DefaultRouteSettings": throttle} if throttle else {}
    api_id = create_api(client, "overload", {"POST /predict/{project}": "AWS_IAM"}, stage=stage)
    front = HttpsFront(settings, invoke)
    front.start(listener)
    try:
        yield settings
    finally:
        front.close()
        client.delete_api(ApiId=api_id)


def overload(settings: LocalSettings, endpoint: Endpoint, seconds: float) -> Answers:
    """Ask from CLIENTS connections, each again as soon as it has its answer."""
    found, lock = Answers(), threading.Lock()
    body = json.dumps({"inputs": endpoint.row.tolist()}).encode()
    path = f"/predict/{PROJECT}"
    signed = AWSRequest(
        "POST",
        f"https://localhost:{settings.https_port}{path}",
        {"Host": f"localhost:{settings.https_port}", "Content-Type": "application/json"},
        body,
    )
    SigV4Auth(Credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY), "execute-api", settings.region).add_auth(signed)
    headers = dict(signed.headers.items())
    context = ssl.create_default_context(cafile=str(settings.ca_file))
    end = time.monotonic() + seconds

    def ask() -> None:
        connection = http.client.HTTPSConnection(
            "localhost", settings.https_port, context=context, timeout=30
        )
        try:
            while time.monotonic() < end:
                connection.request("POST", path, body, headers)
                response = connection.getresponse()
                answer = Answer(response.status, {}, response.read())
                with lock:
                    found.by_status[answer.status] = found.by_status.get(answer.status, 0) + 1
                    if answer.status == 429:
                        found.retry_after.add(response.headers["retry-after"])
                        found.bodies.add(answer.body)
                    elif fault := endpoint.fault_of(answer):
                        found.faults.append(fault)
        except (OSError, http.client.HTTPException) as fault:
            with lock:
                found.faults.append(f"{type(fault).__name__}: {fault}")
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize(
    "seconds", [pytest.param(4, id="quick"), pytest.param(60, id="full", marks=pytest.mark.slow)]
)
def test_overload_is_turned_away_with_a_word_on_when_to_come_again_and_nothing_fails(
    endpoint: Endpoint, tmp_path: Path, seconds: float, record_property: Report
) -> None:
    throttle = {"ThrottlingRateLimit": RATE, "ThrottlingBurstLimit": BURST}
    with endpoint.running(count=PROCESSES) as processes, front_of(processes, tmp_path, throttle) as settings:
        begin = time.monotonic()
        found = overload(settings, endpoint, seconds)
        elapsed_s = time.monotonic() - begin
    record_property("answers", found.by_status)
    assert found.faults == []
    assert set(found.by_status) == {200, 429}
    assert found.retry_after == {"1"}
    assert found.bodies == {b'{"message":"Too Many Requests"}'}
    # As many as the bucket had, and no fewer: what is turned away keeps nobody else out.
    assert 0.8 * RATE * seconds <= found.by_status[200] <= BURST + RATE * elapsed_s


def test_without_a_throttle_the_same_load_is_answered_in_full(
    endpoint: Endpoint, tmp_path: Path, record_property: Report
) -> None:
    with endpoint.running(count=PROCESSES) as processes, front_of(processes, tmp_path, None) as settings:
        found = overload(settings, endpoint, 4)
    record_property("answers", found.by_status)
    assert found.faults == []
    assert set(found.by_status) == {200}
    # More than the throttle above would have let through: it was a load that is worth turning away.
    assert found.by_status[200] > BURST + 4 * RATE
