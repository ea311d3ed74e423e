"""Whether a second training has made the same model: by its weights, and where those differ by its answers."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from lehr.contracts.detection_rules import DETECTIONS
from lehr.contracts.package import (
    GOLDEN_FILE,
    LINEAGE_FILE,
    SIGNATURE_FILE,
    TRAINING_FILE,
    Lineage,
    Signature,
)
from lehr.contracts.reproduction import Compared, CompareRequest, Comparison
from lehr.contracts.training import TrainingSummary
from lehr.contracts.workflow import TrialResult
from lehr.errors import ModelPackageError
from lehr.model_archive import fetch_archive
from lehr.model_packages import MAX_DOCUMENT_BYTES, read_package
from lehr.ports import ObjectStore
from lehr_runtime.golden import MAX_GOLDEN_BYTES, Golden, read_golden
from lehr_runtime.graphs import check_graph
from lehr_runtime.package_files import PackageFiles
from lehr_runtime.predictor import Predictor
from lehr_runtime.session import check_signature, open_session

# Under it a probability's logarithm is more of float32's rounding than of the model.
_LEAST_PROBABILITY = 1e-6
_FIGURES = ("loss", "accuracy", "rmse", "mae", "mean_iou", "map50")
_CIRCUMSTANCES = ("device", "threads", "processes", "precision", "micro_batch_rows")


def compare(request: CompareRequest, artifacts: ObjectStore) -> Comparison:
    """Compare what a training has left with the package of `request.version`.

    Raises ModelPackageError for a package whose files are not what was published, or an archive that cannot be read.
    """
    known: dict[str, Any] = {
        "project": request.project,
        "run": request.run,
        "version": request.version,
        "tolerance": request.tolerance,
        "job": request.result.job,
    }
    if request.result.status != "Completed":
        reason = request.result.cause or request.result.error or "the training has not ended"
        return Comparison(outcome="failed", reason=reason[:2000], **known)
    package, _ = read_package(artifacts, request.project, request.version)
    files = PackageFiles(artifacts, request.project, request.version, package)
    before = TrainingSummary.from_json(files.fetch(TRAINING_FILE, MAX_DOCUMENT_BYTES))
    lineage = Lineage.from_json(files.fetch(LINEAGE_FILE, MAX_DOCUMENT_BYTES))
    signature = Signature.from_json(files.fetch(SIGNATURE_FILE, MAX_DOCUMENT_BYTES))
    again = fetch_archive(request.result, artifacts)
    after = TrainingSummary.from_json(again[TRAINING_FILE])
    # The same weights make the same answers, whatever a graph of another exporter's version looks like.
    is_identical = before.weights_sha256 == after.weights_sha256
    answers = _answers(files, signature, again) if GOLDEN_FILE in package.files else None
    if is_identical:
        outcome = "identical"
    else:
        is_close = answers is not None and answers.is_within(request.tolerance)
        outcome = "within_tolerance" if is_close else "different"
    return Comparison(
        outcome=outcome,  # type: ignore[arg-type]
        weights_sha256=before.weights_sha256,
        weights_sha256_again=after.weights_sha256,
        is_graph_identical=_sha256(again.get(signature.graph, b"")) == package.files[signature.graph].sha256,
        **(answers.told() if answers else {}),
        figures=_figures(before, after),
        circumstances=_circumstances(before, after, lineage, request.result),
        **known,
    )


class Answers:
    """The golden rows' answers of both models, float32 [n, …]; with labels along axis 1 they are probabilities."""

    def __init__(self, before: np.ndarray, after: np.ndarray, signature: Signature) -> None:
        self.before, self.after = before, after
        self.are_probabilities = bool(signature.labels) and signature.task not in DETECTIONS

    def is_within(self, tolerance: float) -> bool:
        """Whether no answer differs by more than `tolerance` (of the largest, for values) and no label changes."""
        scale = max(1.0, float(np.abs(self.before).max()))
        return self._difference() <= tolerance * scale and not self._label_changes()

    def told(self) -> dict[str, Any]:
        return {
            "rows": len(self.before),
            "max_difference": self._difference(),
            "max_logit_difference": self._logit_difference(),
            "label_changes": self._label_changes(),
        }

    def _difference(self) -> float:
        return float(np.abs(self.after - self.before).max())

    def _label_changes(self) -> int | None:
        if not self.are_probabilities:
            return None
        return int((self.before.argmax(axis=1) != self.after.argmax(axis=1)).sum())

    def _logit_difference(self) -> float | None:
        if not self.are_probabilities:
            return None
        is_known = (self.before > _LEAST_PROBABILITY) & (self.after > _LEAST_PROBABILITY)
        if not is_known.any():
            return None
        return float(np.abs(np.log(self.after[is_known]) - np.log(self.before[is_known])).max())


def _answers(files: PackageFiles, signature: Signature, again: dict[str, bytes]) -> Answers:
    """Both models' answers; those of the published one are in its package."""
    golden = read_golden(files.fetch(GOLDEN_FILE, MAX_GOLDEN_BYTES), place=GOLDEN_FILE)
    found = Signature.from_json(again[SIGNATURE_FILE])
    if (found.input, found.output, found.labels) != (signature.input, signature.output, signature.labels):
        raise ModelPackageError(f"{SIGNATURE_FILE}: the second training made a model of another signature")
    if signature.graph not in again:
        raise ModelPackageError(f"the second training left no {signature.graph}")
    with tempfile.TemporaryDirectory(prefix="lehr-reproduction-") as folder:
        path = Path(folder) / signature.graph
        path.write_bytes(again[signature.graph])
        check_graph(again[signature.graph], place=signature.graph)
        session = open_session(path, threads=1)
        check_signature(session, signature)
        after = _predict(Predictor(session, signature), golden)
    return Answers(golden.y, after, signature)


def _predict(predictor: Predictor, golden: Golden) -> np.ndarray:
    try:
        return predictor.predict(golden.x)
    except ValueError as fault:
        raise ModelPackageError(f"{GOLDEN_FILE}: {fault}") from fault


def _figures(before: TrainingSummary, after: TrainingSummary) -> list[Compared]:
    """What both trainings measured on the rows held out, at the epoch that each has exported."""
    first, second = before.figures(), after.figures()
    pairs = [("epoch", first.epoch, second.epoch)]
    pairs += [(name, getattr(first, name), getattr(second, name)) for name in _FIGURES]
    return [
        Compared(name=f"{first.split} {name}", original=repr(one), again=repr(other))
        for name, one, other in pairs
        if one is not None or other is not None
    ]


def _circumstances(
    before: TrainingSummary, after: TrainingSummary, lineage: Lineage, result: TrialResult
) -> list[Compared]:
    """What was not the same: hardware, its use, and versions."""
    pairs: list[tuple[str, Any, Any]] = [
        ("image", lineage.image, result.image),
        ("instance", lineage.instance_type, result.instance_type),
    ]
    pairs += [(name, getattr(before, name), getattr(after, name)) for name in _CIRCUMSTANCES]
    pairs += [
        (name, before.versions.get(name, "none"), after.versions.get(name, "none"))
        for name in sorted(before.versions.keys() | after.versions.keys())
    ]
    return [
        Compared(name=name, original=str(one), again=str(other)) for name, one, other in pairs if one != other
    ]


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
