"""An approval: what waits for a person, and what that person says."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from lehr.contracts.document import Document

# SageMaker's words for it, ModelApprovalStatus.
ApprovalStatus = Literal["PendingManualApproval", "Approved", "Rejected"]
Verdict = Literal["approve", "reject"]
Said = Annotated[str, Meta(max_length=500)]


class Approval(Document, frozen=True, kw_only=True):
    """Whether a model version may be promoted at a generation of its project's champion.

    `figures` is what the gate said of it. It takes answers until `expires_at`. `task_token` lets the execution go on,
    and `link_sha256` is of the secret in the link of its notification, empty without one. `by` is who answered, as
    they say themselves, and `via` how.
    """

    schema: Literal[1] = 1
    project: str
    run: str
    version: str
    generation: int
    status: ApprovalStatus
    figures: str
    asked_at: str
    expires_at: str
    task_token: str
    link_sha256: str = ""
    answered_at: str = ""
    by: str = ""
    via: Literal["", "command", "link", "nobody"] = ""
    comment: str = ""


class AwaitRequest(Document, frozen=True, kw_only=True):
    """Input of AwaitApproval; `generation` is the one that the candidate was judged at."""

    project: str
    run: str
    version: str
    generation: int
    figures: str
    task_token: str
    expires_after_s: int


class ApprovalRequest(Document, frozen=True, kw_only=True):
    """What a person says of a run that waits, as `lehr approve` and `lehr reject` send it."""

    schema: Literal[1] = 1
    project: str
    run: str
    verdict: Verdict
    by: Said = ""
    comment: Said = ""


class ApprovalAnswer(Document, frozen=True, kw_only=True):
    """What came of it. Of a refusal, `reason` and `hint` say what is wrong and what to do."""

    schema: Literal[1] = 1
    project: str
    run: str
    outcome: Literal["approved", "rejected", "refused"]
    version: str = ""
    reason: str = ""
    hint: str = ""


class GivenVerdict(Document, frozen=True, kw_only=True):
    """What the state machine goes on with."""

    verdict: Verdict
    reason: str
