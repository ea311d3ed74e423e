"""Lambda's freeze, made with SIGSTOP in the middle of a refresh: nothing hangs, nothing fails, the news arrives.

The outages are here too: S3 and DynamoDB that refuse or hang, under a warm process that is asked all the while.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lehr import layout
from lehr.contracts.package import MODEL_FILE
from tests import tiny_models
from tests.integration.predict.aws_stand_in import AwsStandIn, aws_stand_in

ROOT = Path(__file__).parents[3]
# A request may wait for no service. What hangs, hangs for a minute; half of a reader's time-out tells them apart.
BOUND_S = 1.0


class Predictor:
    """The process, asked one prediction at a time."""

    def __init__(self, aws: AwsStandIn, *, refresh_s: float, give_up_s: float = 0.5) -> None:
        environment = aws.environment() | {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "REFRESH_S": str(refresh_s),
            "GIVE_UP_S": str(give_up_s),
            "POWERTOOLS_LOG_LEVEL": "CRITICAL",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.predict.frozen_predictor"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self) -> tuple[str, float]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        version, seconds = self.process.stdout.readline().split()
        return version, float(seconds)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture
def aws() -> Iterator[AwsStandIn]:
    with aws_stand_in() as stand_in:
        stand_in.store.put(layout.project_head_key("mnist"), b"{}")
        yield stand_in


def promote(aws: AwsStandIn, seed: int) -> str:
    version = tiny_models.publish(aws.store, "mnist", tiny_models.files(seed))
    current = aws.registry.alias("mnist")
    aws.registry.promote("mnist", version, run=version, generation=current.generation if current else 0)
    return version


def ask_until(predictor: Predictor, version: str) -> list[float]:
    """Ask until `version` answers; the seconds that each request took."""
    took = []
    for _ in range(400):
        answer, seconds = predictor.ask()
        took.append(seconds)
        if answer == version:
            return took
        time.sleep(0.02)
    raise AssertionError(f"{version} never answered")


@pytest.mark.parametrize("where", ["alias", "model"])
def test_a_refresh_that_is_frozen_in_the_middle_neither_blocks_nor_poisons(
    where: str, aws: AwsStandIn
) -> None:
    first = promote(aws, 1)
    predictor = Predictor(aws, refresh_s=0.1)
    try:
        assert predictor.ask()[0] == first
        second = promote(aws, 2)
        time.sleep(0.15)
        aws.hang_s = 0.3
        aws.requests.clear()
        assert predictor.ask()[0] == first  # begins the refresh, and does not wait for it
        deadline = time.monotonic() + 20
        wanted = "POST" if where == "alias" else "GET"
        while not any(method == wanted for method, _, _ in aws.requests):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        predictor.stop()
        time.sleep(
            1.0
        )  # longer than give_up_s; the answer lies in the socket's buffer, then the socket is closed
        aws.drop_connections()
        aws.hang_s = 0
        third = promote(aws, 3)
        predictor.go_on()
        took = ask_until(predictor, third)
        assert max(took) < BOUND_S
        for _ in range(20):
            assert predictor.ask()[0] == third  # and what the frozen one found does not come back
            time.sleep(0.02)
        assert second != third
    finally:
        predictor.close()


def test_a_process_that_is_awake_for_moments_only_still_sees_a_promotion(aws: AwsStandIn) -> None:
    """A request now and then, and frozen at once after each: the last one lends its refresh the time it needs."""
    first = promote(aws, 1)
    predictor = Predictor(aws, refresh_s=0.1, give_up_s=0.2)
    try:
        assert predictor.ask()[0] == first
        aws.hang_s = 0.03  # four of them; without a moment lent, none ends while the process is awake
        second = promote(aws, 2)
        answers, took = [], []
        for _ in range(5):
            predictor.stop()
            aws.drop_connections()
            time.sleep(0.25)
            predictor.go_on()
            version, seconds = predictor.ask()
            answers.append(version)
            took.append(seconds)
            if version == second:
                break
        assert answers[-1] == second
        assert max(took) < BOUND_S
    finally:
        predictor.close()


@pytest.mark.parametrize("outage", ["refused", "hanging"])
def test_services_that_are_away_fail_no_warm_request_and_delay_none(outage: str, aws: AwsStandIn) -> None:
    first = promote(aws, 1)
    predictor = Predictor(aws, refresh_s=0.05, give_up_s=30)
    try:
        assert predictor.ask()[0] == first
        if outage == "refused":
            aws.stop()
        else:
            aws.hang_s = 60
        answers = []
        for _ in range(300):
            answers.append(predictor.ask())
            time.sleep(0.005)
        assert {version for version, _ in answers} == {first}
        assert max(seconds for _, seconds in answers) < BOUND_S
        assert predictor.process.poll() is None
    finally:
        predictor.close()


def test_a_hang_that_ends_is_followed_by_the_news(aws: AwsStandIn) -> None:
    first = promote(aws, 1)
    predictor = Predictor(aws, refresh_s=0.1)
    try:
        assert predictor.ask()[0] == first
        aws.hang_s = 60
        time.sleep(0.15)
        for _ in range(20):
            assert predictor.ask()[0] == first
            time.sleep(0.02)
        second = promote(aws, 2)
        aws.hang_s = 0
        assert max(ask_until(predictor, second)) < BOUND_S
    finally:
        predictor.close()


def test_a_corrupt_promotion_leaves_the_old_model_in_a_real_process(aws: AwsStandIn) -> None:
    first = promote(aws, 1)
    predictor = Predictor(aws, refresh_s=0.05)
    try:
        assert predictor.ask()[0] == first
        second = promote(aws, 2)
        key = layout.model_file_key("mnist", second, MODEL_FILE)
        aws.store.put(key, aws.store.objects[key][:-1] + b"\0")
        for _ in range(30):
            assert predictor.ask()[0] == first
            time.sleep(0.02)
    finally:
        predictor.close()
