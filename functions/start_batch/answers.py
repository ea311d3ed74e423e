"""What the routes of batches answer."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from lehr.contracts.batch_prediction import RefusedRows


class UploadAddress(msgspec.Struct):
    """The answer to a POST without fields: `upload` takes one file by PUT, `batch` starts a batch of it."""

    upload: str
    batch: str


class BatchStarted(msgspec.Struct):
    """The batch that was started, and where its progress is; `rows` counts those that the files' headers promise."""

    batch: str
    status_url: str
    units: int
    rows: int


class BatchProgress(msgspec.Struct, kw_only=True):
    """How far a batch is: with `reason` when it failed, with `result_urls` when it is done."""

    project: str
    batch: str
    model_version: str
    status: Literal["running", "done", "failed"]
    units: int
    units_done: int
    rows: int
    rows_done: int
    refused_units: int
    refused: list[RefusedRows]
    reason: str | UnsetType = UNSET
    result_urls: list[str] | UnsetType = UNSET
