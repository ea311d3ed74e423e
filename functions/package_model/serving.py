"""What a package gets beside what was trained: golden rows, and the graph optimised for the processor that serves.

This function runs on the architecture that the endpoint runs on, with the same ONNX Runtime, so what its optimiser
writes here the endpoint opens without optimising again. It is published only if both graphs agree.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import numpy as np
from aws_lambda_powertools import Logger

from lehr import layout
from lehr.contracts.dataset import DatasetManifest
from lehr.contracts.package import GOLDEN_FILE, INT8_FILE, MODEL_FILE, SIGNATURE_FILE, Signature, serving_file
from lehr.errors import ContractError, DataError, ModelPackageError
from lehr.ports import ObjectStore
from lehr_runtime.golden import MAX_GOLDEN_BYTES, MAX_GOLDEN_ROWS, Golden, write_golden
from lehr_runtime.graphs import check_graph
from lehr_runtime.predictor import Predictor
from lehr_runtime.session import check_signature, open_session, runtime_of_this_process, save_optimised
from lehr_runtime.shards import read_shard
from lehr_runtime.tables import Inputs, from_tensors

PARITY_TOLERANCE = 1e-5
# Of the golden rows' file, beside its header and what text takes besides.
_ROOM_BYTES = MAX_GOLDEN_BYTES * 7 // 8
TOO_LARGE = "a row with its answer is too large for a golden one"
# Parsing a small graph with its weights takes less than fetching them as a second object.
EXTERNAL_OVER_BYTES = 1 << 20


def prepare_serving(trained: dict[str, bytes], rows: Inputs, logger: Logger) -> dict[str, bytes]:
    """Golden rows, and the optimised graph with its weights if it gives the same answers on them; nothing where a row
    and its answer are too large for that.

    Both are of the graph that the signature names. Raises ModelPackageError for a graph that the endpoint would
    refuse, before anybody judges it.
    """
    try:
        signature = Signature.from_json(trained[SIGNATURE_FILE])
    except ContractError as fault:
        raise ModelPackageError(f"{SIGNATURE_FILE}: {fault}") from fault
    if signature.graph not in trained:
        raise ModelPackageError(f"{SIGNATURE_FILE} names {signature.graph}, which the training did not leave")
    for graph in (MODEL_FILE, INT8_FILE):
        if graph in trained:
            check_graph(trained[graph], place=graph)
    name = serving_file(*runtime_of_this_process())
    with tempfile.TemporaryDirectory(prefix="lehr-package-") as temporary:
        folder = Path(temporary)
        (folder / signature.graph).write_bytes(trained[signature.graph])
        golden = _within_bytes(Golden(rows, _answers(folder / signature.graph, rows, signature)))
        if golden is None:
            logger.warning("the portable graph is published alone", extra={"reason": TOO_LARGE})
            return {}
        files = {GOLDEN_FILE: write_golden(golden)}
        try:
            difference = _optimise(folder, name, golden, signature)
        except ModelPackageError as fault:
            logger.warning("the portable graph is published alone", extra={"reason": str(fault)})
            return files
        logger.info(
            "graph optimised", extra={"file": name, "rows": len(rows), "max_absolute_difference": difference}
        )
        return files | {path.name: path.read_bytes() for path in folder.glob(f"{name}*")}


def _within_bytes(golden: Golden) -> Golden | None:
    """As many of the rows as a package may have; None if not even one fits, as of a large image's pixels."""
    each = golden.x[:1].nbytes + golden.y[:1].nbytes
    rows = min(len(golden.x), _ROOM_BYTES // max(1, each))
    return Golden(golden.x[:rows], golden.y[:rows]) if rows else None


def _answers(path: Path, rows: Inputs, signature: Signature, *, is_optimised: bool = False) -> np.ndarray:
    session = open_session(path, threads=1, is_optimised=is_optimised)
    check_signature(session, signature)
    try:
        return Predictor(session, signature).predict(rows)
    except ValueError as fault:
        raise ModelPackageError(f"{path.name}: {fault}") from fault


def _optimise(folder: Path, name: str, golden: Golden, signature: Signature) -> float:
    """Write the optimised graph; the largest difference on the golden rows. Raises ModelPackageError."""
    is_large = (folder / signature.graph).stat().st_size > EXTERNAL_OVER_BYTES
    data = [f"{name}.data"] if is_large else []
    save_optimised(folder / signature.graph, folder / name, data_name="".join(data))
    check_graph((folder / name).read_bytes(), place=name, is_optimised=True, files=data)
    found = _answers(folder / name, golden.x, signature, is_optimised=True)
    difference = float(np.abs(found - golden.y).max())
    if not difference <= PARITY_TOLERANCE * max(1.0, float(np.abs(golden.y).max())):
        raise ModelPackageError(
            f"the optimised graph differs by {difference:.2e}, over {PARITY_TOLERANCE:.0e}"
        )
    if (found.argmax(axis=1) != golden.y.argmax(axis=1)).any():
        raise ModelPackageError("the optimised graph gives another label")
    return difference


def read_rows(project: str, version: str, artifacts: ObjectStore) -> Inputs:
    """A few rows of the dataset's first test shard, spread over it. Raises DataError if it is not what it should be."""
    manifest = DatasetManifest.from_json(artifacts.get(layout.dataset_manifest_key(project, version)))
    shard = next((one for one in manifest.shards if one.split == "test"), None)
    if shard is None:
        raise DataError("the dataset has no test shard", place=f"{project} {version}")
    key = layout.datasets_prefix(project) + shard.key
    place = artifacts.uri(key)
    raw = artifacts.get(key)
    if hashlib.sha256(raw).hexdigest() != shard.sha256:
        raise DataError("is not what the manifest says", place=place)
    x = from_tensors(read_shard(raw, place=place), place=place)
    if not x.ndim or not len(x):
        raise DataError("has no rows", place=place)
    count = min(len(x), MAX_GOLDEN_ROWS, max(1, (MAX_GOLDEN_BYTES >> 1) // max(1, x[:1].nbytes)))
    return x[np.linspace(0, len(x) - 1, count).astype(int)]
