"""The items of the registry table, as the rest of the program sees them."""

from __future__ import annotations

from typing import Literal

import msgspec

from lehr.contracts.document import Document

RunStatus = Literal["running", "promoted", "rejected", "failed"]
# Why a run is asked for: by a person or by data that was dropped (""), or by what Lehr itself has seen.
StartCause = Literal["", "drift", "schedule"]
TriggerOutcome = Literal["started", "queued", "nothing_new", "refused"]
# Triggers that a turn keeps; more share the run of those that are kept.
MAX_WAITING = 100


class Alias(Document, frozen=True, kw_only=True):
    """The one mutable item of a project: which model version serves.

    `generation` grows by one with every move and `owner` is who made the last one (a run, or one request to roll
    back), so that a writer whose reply was lost recognises its own success. `run` is the one whose model serves; it
    is empty where an earlier release has written the item. Of a rollback, `by` and `reason` are what was said.

    `canary` is a candidate on its way: a share of `weight` of the requests is answered by it or, with `is_shadow`, only
    scored by it too; and no more from `bakes_until` on, so that what an execution leaves behind ends by itself. With
    `is_compared` the champion scores a canary's requests beside it; it is not written where it is not so, for an
    endpoint of an earlier release reads no field that it does not know.
    """

    schema: Literal[1] = 1
    project: str
    champion: str
    previous: str | None = None
    canary: str | None = None
    weight: float = 0.0
    is_shadow: bool = False
    is_compared: Literal[True] | msgspec.UnsetType = msgspec.UNSET
    bakes_until: str = ""
    generation: int
    owner: str
    kind: Literal["promotion", "rollback", "rollout", "withdrawal"] = "promotion"
    run: str = ""
    by: str = ""
    reason: str = ""
    updated_at: str


class Turn(Document, frozen=True, kw_only=True):
    """The one run of a project that may go on, and the triggers that wait for its end; they all get one run.

    A turn whose execution has ended is free. Those whose run is about to start stay in `waiting` until they have their
    answer. `number` grows by one with every turn that is taken, and when they leave: within a number nobody does.
    """

    schema: Literal[1] = 1
    project: str
    run: str
    execution_arn: str
    number: int
    waiting: list[str] = msgspec.field(default_factory=list)


class RunRecord(Document, frozen=True, kw_only=True):
    """A run: one pass from data to decision. Times are ISO 8601 in UTC.

    `estimated_usd` is the worst case at its start, `actual_usd` what its training was billed for and its
    functions are estimated at; None: not known. `trial` of `trials` has made the model. A run that was resumed has the
    ARN of its last execution, and says how often that was. What an erased run has read and
    made is deleted for good: the same content may be trained on again. `cause` is why it started where neither a person
    nor data asked for it: such runs count for [retrain]. `raw_bytes` lay under incoming/<project>/ at its start; 0: not
    known.
    """

    schema: Literal[1] = 1
    project: str
    run: str
    status: RunStatus
    started_at: str
    execution_arn: str
    code_sha: str
    fingerprint: str
    reason: str = ""
    ended_at: str = ""
    dataset_version: str = ""
    model_version: str = ""
    accuracy: float | None = None
    champion_accuracy: float | None = None
    rmse: float | None = None
    champion_rmse: float | None = None
    mean_iou: float | None = None
    champion_mean_iou: float | None = None
    map50: float | None = None
    champion_map50: float | None = None
    estimated_usd: float | None = None
    actual_usd: float | None = None
    trial: str = ""
    trials: int = 0
    resumes: int = 0
    is_erased: bool = False
    cause: StartCause = ""
    raw_bytes: int = 0


class ModelRecord(Document, frozen=True, kw_only=True):
    """A model version, written once; `trial` of `trials` has made it."""

    schema: Literal[1] = 1
    project: str
    version: str
    run: str
    dataset_version: str
    created_at: str
    package_sha256: str
    trial: str = ""
    trials: int = 1


class DatasetRecord(Document, frozen=True, kw_only=True):
    """A dataset version, written once."""

    schema: Literal[1] = 1
    project: str
    version: str
    run: str
    created_at: str
    rows: dict[str, int]


class ErasureRecord(Document, frozen=True, kw_only=True):
    """What was deleted for good, written when it was gone; `files` are SHA-256 digests of keys, which name nobody."""

    schema: Literal[1] = 1
    project: str
    erasure: str
    at: str
    files: list[str]
    datasets: list[str]
    models: list[str]
    runs: list[str]


class TriggerRecord(Document, frozen=True, kw_only=True):
    """What came of one trigger (a `_READY` object, a call): the answer a person looks for after a drop.

    "queued" is not the last word: `run` is the run that it waits for, and another answer is written after its end.
    """

    schema: Literal[1] = 1
    project: str
    trigger: str
    outcome: TriggerOutcome
    run: str = ""
    execution_arn: str = ""
    reason: str
    error: str = ""
    at: str
