"""The end of a batch: the parts of its units are joined in order, and result.json, written last, says where.

S3 joins objects by itself only from 5 MiB each on, and parts are smaller. So they pass through here, into files of
MAX_JOINED_BYTES at most: a batch has as many as its rows need.
"""

from __future__ import annotations

from collections.abc import Iterator

from lehr import layout
from lehr.contracts.batch_prediction import (
    Batch,
    BatchResult,
    BatchUnitResult,
    RefusedRows,
    SealBatchRequest,
)
from lehr.errors import ContractError
from lehr.ports import ObjectStore

MAX_JOINED_BYTES = 128 << 20
MAX_REFUSED = 100


def seal(
    request: SealBatchRequest, artifacts: ObjectStore, *, max_joined_bytes: int = MAX_JOINED_BYTES
) -> BatchResult:
    """Write `result.json`, and before it the files that it names.

    Raises ContractError if a unit has left nothing, which no execution of ours seals.
    """
    project, name, failure = request.project, request.batch, request.failure
    batch = Batch.from_json(artifacts.get(layout.batch_key(project, name)))
    prefix = layout.batch_units_prefix(project, name)
    units = [BatchUnitResult.from_json(artifacts.get(entry.key)) for entry in artifacts.list(prefix)]
    if failure is None and [unit.index for unit in units] != list(range(batch.units)):
        raise ContractError(f"{len(units)} of {batch.units} units of batch {name} have left a result")
    files: list[str] = []
    for parts in _files(units, max_joined_bytes) if failure is None else []:
        key = layout.batch_predictions_key(project, name, len(files))
        lines = [artifacts.get(layout.batch_part_key(project, name, unit.index)) for unit in parts]
        artifacts.put(key, b"".join(lines), content_type="application/jsonl")
        files.append(key)
    refused = [unit for unit in units if unit.refused]
    result = BatchResult(
        project=project,
        batch=name,
        model_version=batch.model_version,
        status="failed" if failure else "done",
        units=batch.units,
        rows=sum(unit.rows for unit in units),
        refused_units=len(refused),
        refused=[
            RefusedRows(key=unit.key, first=unit.first, reason=unit.refused) for unit in refused[:MAX_REFUSED]
        ],
        files=files,
        failure=failure,
    )
    key = layout.batch_result_key(project, name)
    artifacts.put(key, result.to_json(), content_type="application/json")
    return result


def _files(units: list[BatchUnitResult], limit: int) -> Iterator[list[BatchUnitResult]]:
    """The units with rows, in order, by the file that holds them; a unit over the limit has one for itself."""
    parts: list[BatchUnitResult] = []
    for unit in units:
        if unit.refused:
            continue
        if parts and sum(part.bytes for part in parts) + unit.bytes > limit:
            yield parts
            parts = []
        parts.append(unit)
    if parts:
        yield parts
