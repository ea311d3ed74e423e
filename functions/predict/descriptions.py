"""What /models answers: documents of the projects that have a champion."""

from __future__ import annotations

from typing import Any

import msgspec

from lehr.contracts.figures import TrainingFigures
from lehr.contracts.package import PackagedFile
from lehr.contracts.tables import Column


class ServingModel(msgspec.Struct):
    """One project that has a champion."""

    project: str
    model_version: str
    generation: int


class ModelList(msgspec.Struct):
    """The answer to GET /models; `is_truncated`: there are projects beyond the first MAX_PROJECTS_LISTED."""

    models: list[ServingModel]
    is_truncated: bool


class InputDescription(msgspec.Struct):
    """What one input is; -1 stands for the batch."""

    dtype: str
    shape: list[int]


class TableDescription(msgspec.Struct):
    """What a row of a table is: its columns in order, and what is predicted of it."""

    columns: list[Column]
    target: str


class ModelDescription(msgspec.Struct):
    """The answer to GET /models/{project}: the champion, what it takes, and its package's own documents.

    `sample_rate` is of a model of sound, in Hz. `metrics` are what training measured, on the split that they name: the
    test split is in the run's report.
    """

    project: str
    model_version: str
    generation: int
    task: str
    labels: list[str]
    input: InputDescription
    sample_rate: int | None
    table: TableDescription | None
    files: dict[str, PackagedFile]
    metrics: TrainingFigures | None
    card: str | None
    training: dict[str, Any] | None
    lineage: dict[str, Any] | None
