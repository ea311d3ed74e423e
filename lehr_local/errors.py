"""The error a person sees when the local cloud cannot do what was asked: what happened, and what to do."""

from __future__ import annotations


class LocalCloudError(Exception):
    """Raised when the local cloud cannot start, or cannot run a function, for a reason outside the code.

    `message` is one sentence; `hint` says what to do about it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()
