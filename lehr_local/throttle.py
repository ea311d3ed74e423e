"""How many requests the HTTPS front lets through: the stage's token bucket, as API Gateway throttles.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-throttling.html
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

# What an account has for all its APIs in a region, and a stage without settings of its own gets.
ACCOUNT_RATE = 10_000.0
ACCOUNT_BURST = 5_000
# For who is never let through.
_LONG_S = 60.0


@dataclass(frozen=True)
class ThrottleSettings:
    """`rate` requests a second in the long run, and `burst` of them at once."""

    rate: float = ACCOUNT_RATE
    burst: int = ACCOUNT_BURST


class TokenBucket:
    """Holds `burst` tokens at most and gets `rate` a second; a request takes one. Starts full."""

    def __init__(self, settings: ThrottleSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens = float(settings.burst)
        self._counted_at = clock()

    def take(self) -> float:
        """0 if there was a token; else the seconds until there is one."""
        rate, burst = self.settings.rate, self.settings.burst
        with self._lock:
            now = self._clock()
            self._tokens = min(float(burst), self._tokens + (now - self._counted_at) * rate)
            self._counted_at = now
            if self._tokens >= 1:
                self._tokens -= 1
                return 0.0
            return (1 - self._tokens) / rate if rate > 0 and burst >= 1 else _LONG_S


class Throttles:
    """A bucket for each API; a stage that was deployed with other settings begins with a full one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, TokenBucket] = {}

    def take(self, api_id: str, settings: ThrottleSettings) -> float:
        """0 if a request may pass; else the seconds until one may."""
        with self._lock:
            bucket = self._buckets.get(api_id)
            if bucket is None or bucket.settings != settings:
                bucket = self._buckets[api_id] = TokenBucket(settings, self._clock)
        return bucket.take()


def retry_after(wait_s: float) -> str:
    """The value of Retry-After: whole seconds, at least one."""
    return str(max(1, math.ceil(wait_s)))
