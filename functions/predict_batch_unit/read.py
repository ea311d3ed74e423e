"""One file of rows to an array that fits the model, or the reason why it is refused."""

from __future__ import annotations

import io

import numpy as np

from lehr.contracts.batch_prediction import BatchUnit
from lehr.contracts.package import Signature, TableSignature, TensorSpec
from lehr.errors import (
    ChangedDataError,
    ContractError,
    MalformedDataError,
    MismatchedDataError,
    MissingDataError,
)
from lehr.file_formats import START_BYTES, file_format
from lehr.ports import ObjectStore
from lehr_runtime.decode import decode_idx, decode_text
from lehr_runtime.shards import read_shard
from lehr_runtime.table_files import read_csv
from lehr_runtime.tables import Inputs, as_inputs

# The file and what is decoded of it fit into the function's 2 GB beside the model.
MAX_FILE_BYTES = 512 << 20
# Text of one or two digits a value is parsed at several times its size.
MAX_CSV_BYTES = 128 << 20
# Of a table: a row of few bytes becomes a line of the result of a hundred and more.
MAX_TABLE_ROWS = 1_000_000


def read_rows(unit: BatchUnit, data: ObjectStore, signature: Signature, pii_key: str = "") -> Inputs:
    """The unit's rows, of the model's input dtype and shape [count, *shape], or a table.

    Raises DataError's children for a file to put right, ContractError for a unit that no plan of ours contains.
    """
    if unit.source.bucket != data.bucket:
        raise ContractError(
            f"the unit names bucket {unit.source.bucket}; rows are read from {data.bucket} only"
        )
    place = data.uri(unit.source.key)
    if table := signature.of_table:
        return _read_table(_get(unit, data, place), table, place, pii_key)
    spec = signature.input
    x = _decode(_get(unit, data, place), spec, place)
    if x.dtype != np.dtype(spec.dtype) or list(x.shape[1:]) != spec.shape[1:]:
        raise MismatchedDataError(
            f"holds {x.dtype} {list(x.shape)}, the model takes {spec.dtype} rows of {spec.shape[1:]}",
            place=place,
        )
    rows = x[unit.first : unit.first + unit.count] if unit.count else x
    if not len(rows):
        raise MalformedDataError("holds no rows", place=place)
    return rows


def _read_table(raw: bytes, table: TableSignature, place: str, pii_key: str) -> Inputs:
    """CSV, gzipped or plain, with a first line of names or without one."""
    text = decode_text(raw, place=place, max_bytes=MAX_CSV_BYTES)
    try:
        found = read_csv(text, table.columns, table.missing, max_rows=MAX_TABLE_ROWS, pii_key=pii_key)
        return as_inputs(found)
    except MalformedDataError as fault:
        raise MalformedDataError(f"{fault.place}: {fault.message}", place=place, hint=fault.hint) from fault


def _get(unit: BatchUnit, data: ObjectStore, place: str) -> bytes:
    if unit.source.bytes > MAX_FILE_BYTES:
        raise MalformedDataError(
            f"has {unit.source.bytes} bytes, more than {MAX_FILE_BYTES}",
            place=place,
            hint="cut it into several files",
        )
    try:
        return data.get(unit.source.key, etag=unit.source.etag)
    except KeyError as fault:
        raise MissingDataError("was deleted after the batch was started", place=place) from fault
    except ChangedDataError as fault:
        raise ChangedDataError(
            "was overwritten after the batch was started", place=place, hint="start a batch of the new file"
        ) from fault


def _decode(raw: bytes, spec: TensorSpec, place: str) -> np.ndarray:
    match file_format(raw[:START_BYTES]):
        case "idx":
            return decode_idx(raw, place=place, max_bytes=MAX_FILE_BYTES)
        case "safetensors":
            tensors = read_shard(raw, place=place)
            if "x" not in tensors or not tensors["x"].ndim:
                raise MismatchedDataError("holds no tensor x with rows", place=place)
            return tensors["x"]
        case "csv":
            return _decode_csv(raw, spec, place)
        case image:
            raise MalformedDataError(
                f"is a {image.upper()} image; a batch takes IDX, safetensors and CSV", place=place
            )


def _decode_csv(raw: bytes, spec: TensorSpec, place: str) -> np.ndarray:
    """Numbers with commas between, one row a line, without a line of names."""
    if len(raw) > MAX_CSV_BYTES:
        raise MalformedDataError(
            f"has {len(raw)} bytes of text, more than {MAX_CSV_BYTES}",
            place=place,
            hint="cut it into several files",
        )
    columns = int(np.prod(spec.shape[1:]))
    if not raw.strip():
        raise MalformedDataError("is empty", place=place)
    try:
        text = io.StringIO(raw.decode("utf-8-sig"))
        rows = np.loadtxt(text, delimiter=",", dtype=spec.dtype, ndmin=2, comments=None)
    except UnicodeDecodeError as fault:
        raise MalformedDataError("is neither text nor of a format that a batch takes", place=place) from fault
    except ValueError as fault:
        raise MalformedDataError(f"is no CSV of {spec.dtype}: {str(fault)[:200]}", place=place) from fault
    if rows.shape[1] != columns:
        raise MismatchedDataError(
            f"has {rows.shape[1]} columns, the model takes {columns} ({spec.shape[1:]})", place=place
        )
    return rows.reshape(-1, *spec.shape[1:])
