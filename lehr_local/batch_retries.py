"""Whether AWS Batch tries a job again: `retryStrategy` with `evaluateOnExit`, as a pure function.

docs.aws.amazon.com/batch/latest/APIReference/API_EvaluateOnExit.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

EXITED = "Essential container in task exited"
TIMED_OUT = "Job attempt duration exceeded timeout"
_CONDITIONS = {"onStatusReason": "status_reason", "onReason": "reason", "onExitCode": "exit_code"}


@dataclass(frozen=True, kw_only=True)
class AttemptEnd:
    """How an attempt ended; `exit_code` is None when the host went away under it."""

    exit_code: int | None
    status_reason: str
    reason: str = ""

    @property
    def has_succeeded(self) -> bool:
        return self.exit_code == 0 and self.status_reason == EXITED


def is_retried(strategy: Mapping[str, Any] | None, attempts_made: int, end: AttemptEnd) -> bool:
    """Whether another attempt follows the `attempts_made`-th one, which ended as `end`.

    An attempt that ran out of time is the last one. Of `evaluateOnExit` the first entry all of whose conditions
    match decides; when none does, the job is tried again.
    """
    strategy = strategy or {}
    if end.has_succeeded or attempts_made >= int(strategy.get("attempts") or 1):
        return False
    if end.status_reason == TIMED_OUT:
        return False
    for rule in strategy.get("evaluateOnExit") or []:
        if _matches(rule, end):
            return str(rule["action"]).upper() == "RETRY"
    return True


def _matches(rule: Mapping[str, Any], end: AttemptEnd) -> bool:
    conditions = [(member, str(rule[member])) for member in _CONDITIONS if rule.get(member)]
    return bool(conditions) and all(
        _fits(pattern, getattr(end, _CONDITIONS[member])) for member, pattern in conditions
    )


def _fits(pattern: str, value: object) -> bool:
    # Batch knows no other wildcard than an asterisk at the end, and does not regard case.
    text, pattern = ("" if value is None else str(value)).lower(), pattern.lower()
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern
