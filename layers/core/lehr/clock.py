"""Moments, the present one above all, in the one form that documents carry."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> str:
    """ISO 8601 in UTC with milliseconds, as 2026-01-31T12:00:00.000Z; sorts as text."""
    return iso(datetime.now(UTC))


def iso(moment: datetime) -> str:
    """A moment in that form."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
