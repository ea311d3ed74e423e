"""Whether anybody is signed in, and whether this machine's clock is near enough to AWS's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from lehr_cli.findings import Finding, not_here
from lehr_cli.target import Target

# A signature is refused after five minutes; at one, something is wrong with the clock already.
_WARN_S, _FAIL_S = 60, 270


def check_account(target: Target, now: datetime | None = None) -> Iterator[Finding]:
    """Credentials, region, clock. Raises what botocore raises when nobody is signed in."""
    answer = target.client("sts").get_caller_identity()
    yield Finding(check="credentials", status="ok", saw=f"{answer['Arn']} of account {answer['Account']}")
    yield Finding(check="region", status="ok", saw=target.region)
    if target.endpoint_url:
        yield not_here("clock")
    else:
        yield from _clock(answer, now or datetime.now(UTC))


def _clock(answer: dict[str, Any], now: datetime) -> Iterator[Finding]:
    header = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    if not header:
        return
    skew = (now - parsedate_to_datetime(header)).total_seconds()
    saw = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} AWS"
    if abs(skew) < _WARN_S:
        yield Finding(check="clock", status="ok", saw=saw)
        return
    yield Finding(
        check="clock",
        status="fail" if abs(skew) >= _FAIL_S else "warn",
        saw=saw,
        meaning="signed requests are refused when the clock is five minutes off",
        command="timedatectl set-ntp true",
    )
