"""The token bucket of a stage: `burst` at once, `rate` a second, and a word on when to come again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lehr_local.throttle import Throttles, ThrottleSettings, TokenBucket, retry_after


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def passed(bucket: TokenBucket, asked: int) -> int:
    return sum(bucket.take() == 0 for _ in range(asked))


def test_a_burst_passes_at_once_and_the_rate_afterwards() -> None:
    clock = Clock()
    bucket = TokenBucket(ThrottleSettings(rate=5, burst=20), clock)
    assert passed(bucket, 30) == 20
    clock.now += 1
    assert passed(bucket, 30) == 5
    clock.now += 3600
    assert passed(bucket, 30) == 20


def test_who_is_refused_passes_after_the_time_that_was_named() -> None:
    clock = Clock()
    bucket = TokenBucket(ThrottleSettings(rate=4, burst=1), clock)
    assert bucket.take() == 0
    wait_s = bucket.take()
    assert wait_s == pytest.approx(0.25)
    clock.now += wait_s * 0.9
    assert bucket.take() > 0
    clock.now += wait_s * 0.2
    assert bucket.take() == 0


@given(
    rate=st.floats(0.5, 100),
    burst=st.integers(1, 50),
    pauses=st.lists(st.floats(0, 2), min_size=1, max_size=200),
)
def test_never_more_pass_than_burst_and_rate_allow(rate: float, burst: int, pauses: list[float]) -> None:
    clock, count = Clock(), 0
    bucket = TokenBucket(ThrottleSettings(rate, burst), clock)
    for pause in pauses:
        clock.now += pause
        count += bucket.take() == 0
    assert count <= burst + rate * (clock.now - 1000) + 1e-6


@pytest.mark.parametrize("settings", [ThrottleSettings(0, 0), ThrottleSettings(10, 0)])
def test_a_stage_that_lets_nobody_through_says_a_long_time(settings: ThrottleSettings) -> None:
    assert TokenBucket(settings).take() == 60


def test_apis_have_buckets_of_their_own_and_new_settings_count_at_once() -> None:
    throttles, one = Throttles(Clock()), ThrottleSettings(rate=1, burst=1)
    assert throttles.take("a", one) == 0
    assert throttles.take("a", one) > 0
    assert throttles.take("b", one) == 0
    assert throttles.take("a", ThrottleSettings(rate=1, burst=2)) == 0


@pytest.mark.parametrize(("wait_s", "told"), [(0.001, "1"), (1.0, "1"), (1.2, "2"), (60, "60")])
def test_retry_after_is_in_whole_seconds(wait_s: float, told: str) -> None:
    assert retry_after(wait_s) == told
