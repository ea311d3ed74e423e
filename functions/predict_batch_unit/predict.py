"""One unit of a batch: its rows through the model that the batch was started with.

Everything is a function of the unit alone, so a retry writes the same bytes to the same keys.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from functions.predict_batch_unit.read import read_rows
from lehr import layout
from lehr.contracts.batch_prediction import BatchUnit, BatchUnitResult, PredictedNumber, PredictedRow
from lehr.contracts.detection_rules import DETECTIONS
from lehr.errors import DataError
from lehr.ports import ObjectStore
from lehr_runtime.packages import LoadedModel
from lehr_runtime.tables import Inputs

BATCH_ROWS = 512
NO_MASKS = (
    "the model labels pixels, and a line of a batch has no room for a mask: send images to POST /predict"
)
NO_BOXES = "the model finds boxes, and a line of a batch has one label: send images to POST /predict"


def predict_unit(
    unit: BatchUnit,
    data: ObjectStore,
    artifacts: ObjectStore,
    load: Callable[[str, str], LoadedModel],
    pii_key: str = "",
) -> BatchUnitResult:
    """Write the unit's lines of the result, then its BatchUnitResult. A file that is no input is refused, not raised.

    Raises ModelPackageError for a model that must not be used.
    """
    model = load(unit.project, unit.model_version)
    if len(model.signature.output.shape) == 4:
        return _write(unit, artifacts, rows=0, size=0, refused=NO_MASKS)
    if model.signature.task in DETECTIONS:
        return _write(unit, artifacts, rows=0, size=0, refused=NO_BOXES)
    try:
        x = read_rows(unit, data, model.signature, pii_key)
    except DataError as fault:
        return _write(unit, artifacts, rows=0, size=0, refused=str(fault))
    lines = b"".join(
        _lines(unit, model, first, x[first : first + BATCH_ROWS]) for first in range(0, len(x), BATCH_ROWS)
    )
    key = layout.batch_part_key(unit.project, unit.batch, unit.index)
    artifacts.put(key, lines, content_type="application/jsonl")
    return _write(unit, artifacts, rows=len(x), size=len(lines))


def _lines(unit: BatchUnit, model: LoadedModel, first: int, x: Inputs) -> bytes:
    """One line of JSON for each row of `x`, whose first is row `first` of the unit."""
    probabilities = model.predictor.predict(x)
    if not model.signature.labels:
        values = [
            PredictedNumber(
                key=unit.source.key,
                row=unit.first + first + offset,
                value=value,
                model_version=model.version,
            )
            for offset, value in enumerate(probabilities[:, 0].tolist())
        ]
        return msgspec.json.Encoder().encode_lines(values)
    best = probabilities.argmax(axis=1)
    rows = [
        PredictedRow(
            key=unit.source.key,
            row=unit.first + first + offset,
            label=model.signature.labels[label],
            probability=float(probabilities[offset, label]),
            model_version=model.version,
        )
        for offset, label in enumerate(best.tolist())
    ]
    return msgspec.json.Encoder().encode_lines(rows)


def _write(
    unit: BatchUnit, artifacts: ObjectStore, *, rows: int, size: int, refused: str = ""
) -> BatchUnitResult:
    result = BatchUnitResult(
        index=unit.index, key=unit.source.key, first=unit.first, rows=rows, bytes=size, refused=refused
    )
    key = layout.batch_unit_key(unit.project, unit.batch, unit.index)
    artifacts.put(key, result.to_json(), content_type="application/json")
    return result
