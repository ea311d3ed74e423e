"""What is told of a failure, a wait or a decision: the cause, what shows it, what is left, what to type."""

from __future__ import annotations

from typing import Literal

from lehr.contracts.document import Document, Part

# Where a piece of evidence was found. "error" is the name that a Catch saw, "reason" what it said.
Source = Literal["state", "error", "reason", "log", "record", "history", "decision", "job"]
UNKNOWN = "unknown"


class Evidence(Part, frozen=True, kw_only=True):
    """A piece of text, as it stood there, and where that was."""

    source: Source
    text: str


class Explanation(Document, frozen=True, kw_only=True):
    """One cause of the catalogue, met in one run. `cause` is its stable name, or "unknown".

    `kept` are sentences on what is left of the run's work, `next` are commands to type.
    """

    cause: str
    sentence: str
    evidence: list[Evidence]
    kept: list[str]
    next: list[str]
