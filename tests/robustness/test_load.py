"""The endpoint under load: nothing fails, nothing grows, and an answer is always of the version it names.

pytest tests/robustness/test_load.py                             the quick forms
pytest tests/robustness/test_load.py -m 'slow or not slow'       also those that take minutes
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import pytest

from tests.robustness.endpoint import Endpoint, version_of
from tests.robustness.gate import Gate
from tests.robustness.load import Load, Sample

# Rates are measured against one another.
pytestmark = pytest.mark.alone

PROCESSES = 2
Report = Callable[[str, object], None]


@dataclass(frozen=True)
class Form:
    """How long one form of a test takes; `is_judged`: long enough for memory to be judged."""

    seconds: float
    promotions: int = 0
    is_judged: bool = False


def forms(quick: Form, full: Form) -> list[object]:
    return [pytest.param(quick, id="quick"), pytest.param(full, id="full", marks=pytest.mark.slow)]


def eventually(check: Callable[[], bool], timeout_s: float = 15) -> bool:
    deadline = time.monotonic() + timeout_s
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def answered(samples: list[Sample]) -> list[str]:
    """Which version each answer names."""
    return [version_of(one.answer) for one in samples if one.answer and one.answer.status == 200]


@pytest.mark.parametrize("form", forms(Form(6), Form(600, is_judged=True)))
def test_at_seventy_percent_of_its_peak_nothing_fails_and_memory_stays(
    endpoint: Endpoint, form: Form, record_property: Report
) -> None:
    with endpoint.running(count=PROCESSES) as processes:
        with Load(processes, endpoint.request(), endpoint.fault_of) as peak:
            time.sleep(3)
        assert peak.faults == []
        rate = 0.7 * len(peak.samples) / 3 / PROCESSES
        memory: list[float] = []
        with Load(processes, endpoint.request(), endpoint.fault_of, rate=rate) as load:
            end = time.monotonic() + form.seconds
            while time.monotonic() < end:
                time.sleep(1)
                memory.append(sum(process.usage().rss_mb for process in processes))
    record_property("requests_per_s", rate * PROCESSES)
    record_property("rss_mb", memory)
    assert load.faults == []
    # A closed loop of the same length would have sent as many: the rate was kept up.
    assert len(load.samples) > 0.8 * rate * PROCESSES * form.seconds
    if form.is_judged:
        after_two_minutes, last = statistics.median(memory[115:125]), statistics.median(memory[-10:])
        assert last < 1.02 * after_two_minutes, f"{after_two_minutes:.1f} MB grew to {last:.1f} MB"


@pytest.mark.parametrize("form", forms(Form(6, promotions=2), Form(60, promotions=20)))
def test_promotions_under_load_fail_nothing_and_every_answer_is_of_the_version_it_names(
    endpoint: Endpoint, form: Form, record_property: Report
) -> None:
    with (
        endpoint.running("quick_refresh.handler", count=PROCESSES) as processes,
        Load(processes, endpoint.request(), endpoint.fault_of, rate=100) as load,
    ):
        for _ in range(form.promotions):
            time.sleep(form.seconds / form.promotions)
            (other,) = set(endpoint.versions) - {endpoint.champion()}
            endpoint.promote(other)
        arrived = eventually(lambda: set(answered(load.samples[-20:])) == {endpoint.champion()})
    sequences = [answered(found) for found in load.by_process]
    changes = [sum(one != other for one, other in pairwise(found)) for found in sequences]
    record_property("answers", sum(map(len, sequences)))
    record_property("changes_seen", changes)
    assert load.faults == []
    assert arrived, "the last champion never answered"
    # Each process has served every champion, and none of them twice.
    assert changes == [form.promotions] * PROCESSES


def test_an_endpoint_that_names_the_wrong_version_is_caught(endpoint: Endpoint) -> None:
    lie = {"LYING_ABOUT": ",".join(endpoint.versions)}
    with (
        endpoint.running("lying.handler", environment=lie) as processes,
        Load(processes, endpoint.request(), endpoint.fault_of, rate=50) as load,
    ):
        time.sleep(0.5)
    assert load.samples
    assert len(load.faults) == len(load.samples)
    assert "apart" in load.faults[0]


@pytest.mark.parametrize("form", forms(Form(5), Form(60)))
def test_predictions_go_on_while_s3_and_dynamodb_refuse_and_the_next_champion_arrives_afterwards(
    endpoint: Endpoint, form: Form, record_property: Report
) -> None:
    gate = Gate(endpoint.store.port)
    try:
        with (
            endpoint.running(
                "quick_refresh.handler", count=PROCESSES, endpoint_url=gate.endpoint_url
            ) as processes,
            Load(processes, endpoint.request(), endpoint.fault_of, rate=50) as load,
        ):
            time.sleep(1)
            gate.shut()
            shut_at = time.monotonic()
            assert gate.is_refusing()
            (other,) = set(endpoint.versions) - {endpoint.champion()}
            endpoint.promote(other)
            time.sleep(form.seconds)
            accepted_before = gate.accepted
            opened_at = time.monotonic()
            gate.open()
            arrived = eventually(lambda: set(answered(load.samples[-20:])) == {other})
    finally:
        gate.shut()
    during = [one for one in load.samples if shut_at <= one.at < opened_at]
    answered_within = [one for one in during if one.at + one.elapsed_ms / 1000 < opened_at]
    record_property("predictions_during_the_outage", len(during))
    record_property("slowest_ms", max(one.elapsed_ms for one in during))
    assert load.faults == []
    assert len(during) > form.seconds
    assert set(answered(answered_within)) == set(endpoint.versions) - {other}
    assert gate.accepted > accepted_before
    assert arrived, "the champion of the outage never answered"
