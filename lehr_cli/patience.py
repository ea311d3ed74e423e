"""Asking again after 429: when the endpoint says so, for a bounded time.

API Gateway's own 429 has no Retry-After; without one the pause doubles, with some chance in it, so that many
callers who were refused together do not come back together.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

# What a person will wait for at a prompt, over all pauses together.
PATIENCE_S = 30.0
_FIRST_PAUSE_S = 1.0


def send_patiently(
    send: Callable[[], Any],
    *,
    sleep: Callable[[float], None] = time.sleep,
    chance: Callable[[], float] = random.random,
) -> Any:
    """The response that `send` gives, which is called again while it is 429 and the next pause fits into PATIENCE_S.

    What is still 429 then is returned as any other response.
    """
    left_s, pause_s = PATIENCE_S, _FIRST_PAUSE_S
    while True:
        response = send()
        if response.status_code != 429:
            return response
        asked_s = retry_after_s(response.headers.get("Retry-After", ""))
        wait_s = pause_s * (0.5 + chance()) if asked_s is None else asked_s
        if wait_s > left_s:
            return response
        sleep(wait_s)
        left_s -= wait_s
        pause_s *= 2


def retry_after_s(text: str) -> float | None:
    """Retry-After in its form of whole seconds; None for none, or for a date, which no endpoint of ours sends."""
    text = text.strip()
    return max(0.1, float(text)) if text.isascii() and text.isdigit() and len(text) < 9 else None
