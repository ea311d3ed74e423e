"""What a report is made of. Whatever a run has not left behind is None, and a sentence says why it is missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from lehr import layout
from lehr.contracts.comparison import ComparedReport
from lehr.contracts.cost import RunCost
from lehr.contracts.data_checks import DataChecks
from lehr.contracts.dataset import DatasetManifest
from lehr.contracts.detection import DetectionReport
from lehr.contracts.document import Document
from lehr.contracts.evaluation import Decision, EvaluationReport
from lehr.contracts.package import LINEAGE_FILE, TRAINING_FILE, Lineage
from lehr.contracts.registry import RunRecord
from lehr.contracts.regression import RegressionReport
from lehr.contracts.segmentation import SegmentationReport
from lehr.contracts.sweep import Sweep
from lehr.contracts.training import TrainingSummary
from lehr.contracts.workflow import Failure
from lehr.errors import ContractError
from lehr.ports import ModelRegistry, ObjectStore

D = TypeVar("D", bound=Document)


class _Kind(msgspec.Struct):
    """The one field that tells reports apart; that of a classification has none."""

    kind: str = ""


@dataclass(kw_only=True)
class Sources:
    """The documents of one run; `missing` has one sentence for each that should have been there."""

    record: RunRecord | None = None
    evaluation: EvaluationReport | None = None
    regression: RegressionReport | None = None
    segmentation: SegmentationReport | None = None
    detection: DetectionReport | None = None
    decision: Decision | None = None
    failure: Failure | None = None
    manifest: DatasetManifest | None = None
    checks: DataChecks | None = None
    training: TrainingSummary | None = None
    lineage: Lineage | None = None
    sweep: Sweep | None = None
    cost: RunCost | None = None
    missing: list[str] = field(default_factory=list)

    @property
    def model_version(self) -> str:
        """The candidate's version, from wherever it was written first."""
        if self.record and self.record.model_version:
            return self.record.model_version
        return self.judged.candidate_version if self.judged else ""

    @property
    def judged(self) -> ComparedReport | None:
        """The evaluation, whatever the task."""
        return self.evaluation or self.regression or self.segmentation or self.detection

    @property
    def is_regression(self) -> bool:
        """Whether numbers are predicted: data of labels always names them."""
        return self.regression is not None or (self.manifest is not None and not self.manifest.labels)

    @property
    def dataset_version(self) -> str:
        if self.record and self.record.dataset_version:
            return self.record.dataset_version
        if self.judged:
            return self.judged.dataset_version
        return self.lineage.dataset_version if self.lineage else ""


def read_sources(project: str, run: str, artifacts: ObjectStore, registry: ModelRegistry) -> Sources:
    """Read everything there is. Absent or unreadable documents are no errors."""
    found = Sources(record=registry.run(project, run))

    def read(kind: type[D], key: str, what: str) -> D | None:
        try:
            return kind.from_json(artifacts.get(key))
        except KeyError:
            if what:
                found.missing.append(f"{what}: the run ended before it was written.")
        except ContractError as fault:
            found.missing.append(f"{what or key}: it cannot be read ({fault}).")
        return None

    found.failure = read(Failure, layout.failure_key(project, run), "")
    found.checks = read(DataChecks, layout.data_checks_key(project, run), "")
    found.sweep = read(Sweep, layout.sweep_key(project, run), "")
    found.cost = read(RunCost, layout.cost_key(project, run), "")
    key = layout.evaluation_report_key(project, run)
    match _kind_of(artifacts, key):
        case "regression":
            found.regression = read(RegressionReport, key, "Evaluation")
        case "segmentation":
            found.segmentation = read(SegmentationReport, key, "Evaluation")
        case "detection":
            found.detection = read(DetectionReport, key, "Evaluation")
        case _:  # a classification, or nothing
            found.evaluation = read(EvaluationReport, key, "Evaluation")
    found.decision = read(Decision, layout.decision_key(project, run), "Decision of the gate")
    version = found.model_version
    if version:
        key = layout.model_file_key(project, version, TRAINING_FILE)
        found.training = read(TrainingSummary, key, "Training curves")
        key = layout.model_file_key(project, version, LINEAGE_FILE)
        found.lineage = read(Lineage, key, "Lineage")
    else:
        found.missing.append("Training curves and lineage: no model was judged in this run.")
    if found.dataset_version:
        key = layout.dataset_manifest_key(project, found.dataset_version)
        found.manifest = read(DatasetManifest, key, "Data")
    else:
        found.missing.append("Data: no dataset version was recorded for this run.")
    return found


def _kind_of(artifacts: ObjectStore, key: str) -> str:
    try:
        return msgspec.json.decode(artifacts.get(key), type=_Kind).kind
    except (KeyError, msgspec.DecodeError, UnicodeDecodeError):
        return ""
