"""What the training function is told and what it answers: one slice of a training.

The state machine hands `progress` back as it got it, so that what counts as progress is decided in one place.
"""

from __future__ import annotations

from typing import Literal

from lehr.contracts.document import Document, Part


class SliceProgress(Part, frozen=True, kw_only=True):
    """How far the slices have come: `update` is that of the last checkpoint, `seconds` what they took together.

    `stalled` counts the slices in a row that have moved nothing.
    """

    slices: int = 0
    update: int = 0
    stalled: int = 0
    seconds: int = 0


class SliceRequest(Document, frozen=True, kw_only=True):
    """Input of TrainSlice. URIs are prefixes in S3, but `train_uri` and `validation_uri` lists of shards; the second is
    empty if nothing is held out.

    `initial_uri` has the weights of the model version `initial_version`; both are empty if random ones are meant.
    """

    project: str
    run: str
    trial: str
    job: str
    code_uri: str
    manifest_uri: str
    train_uri: str
    validation_uri: str = ""
    initial_uri: str = ""
    initial_version: str = ""
    hyperparameters: dict[str, str]
    checkpoint_uri: str
    output_uri: str
    max_runtime_s: int
    progress: SliceProgress


class SliceAnswer(Document, frozen=True, kw_only=True):
    """Output of TrainSlice: a training that failed is an answer, with the trainer's reason and where its log is."""

    status: Literal["continues", "Completed", "Failed"]
    job: str
    progress: SliceProgress
    instance_type: str
    error: str = ""
    reason: str = ""
    log_group: str = ""
    log_stream: str = ""
