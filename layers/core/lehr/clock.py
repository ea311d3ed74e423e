"""Moments, the present one above all, in the one form that documents carry."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> str:
    """ISO 8601 in UTC with milliseconds, as 2026-01-31T12:00:00.000Z; sorts as text."""
    return iso(datetime.now(UTC))


def iso(at: datetime) -> str:
    """A moment in that form."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(text: str) -> datetime:
    """The inverse of `iso`; of a text without a zone, as an older release wrote it, in UTC."""
    read = datetime.fromisoformat(text)
    return read if read.tzinfo else read.replace(tzinfo=UTC)
