"""What the checks have found in the data of a run: runs/<project>/<run>/checks.json."""

from __future__ import annotations

from typing import Literal

from msgspec import field

from lehr.contracts.document import Document, Part

CheckName = Literal[
    "overlap",
    "duplicates",
    "out_of_range",
    "missing",
    "constant",
    "leakage",
    "balance",
    "size",
    "schema_drift",
    "label_drift",
]
# A check passes, or what its policy says has been done; or it was not done, and `observed` says why.
Verdict = Literal["passed", "warned", "quarantined", "rejected", "not_checked"]


class CheckResult(Part, frozen=True, kw_only=True):
    """One check: what the recipe requires, what was there, and what came of it. `details` are lines for a person."""

    check: CheckName
    verdict: Verdict
    required: str
    observed: str
    details: list[str] = field(default_factory=list)


class RefusedUnit(Part, frozen=True, kw_only=True):
    """How many rows of one file or unit were set aside when they were read, and the object that lists them."""

    key: str
    rows: int


class DataChecks(Document, frozen=True, kw_only=True):
    """All checks of a run, also those that passed. `version` is empty where the data was refused.

    `compared_with` is the dataset version of the champion, empty without one. `refused` and `set_aside` say what is in
    the quarantine: rows that cannot be read, and rows that a check of the whole data took out.
    """

    schema: Literal[1] = 1
    project: str
    run: str
    version: str = ""
    compared_with: str = ""
    results: list[CheckResult]
    refused: list[RefusedUnit] = field(default_factory=list)
    set_aside: int = 0
