"""Documents: strict in, canonical out; golden files pin the wire form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lehr.contracts.capture import PredictionCapture
from lehr.contracts.comparison import ComparedReport
from lehr.contracts.cost import RunCost
from lehr.contracts.detection import DetectionReport
from lehr.contracts.evaluation import EvaluationReport, ShardEvaluation
from lehr.contracts.package import ModelPackage, PackagedFile
from lehr.contracts.registry import Alias
from lehr.contracts.regression import RegressionReport
from lehr.contracts.segmentation import SegmentationReport
from lehr.contracts.workflow import PromoteRequest, RunInput
from lehr.errors import ContractError

GOLDEN = Path(__file__).parent / "golden"


def test_an_unknown_field_is_refused_by_name() -> None:
    with pytest.raises(ContractError, match="generatoin"):
        PromoteRequest.from_value({"project": "p", "run": "r", "version": "v", "generatoin": 1})


def test_a_document_of_another_schema_version_is_refused() -> None:
    raw = (GOLDEN / "alias.json").read_text().replace('"schema": 1', '"schema": 2')
    with pytest.raises(ContractError, match="schema"):
        Alias.from_json(raw)


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[" * 100_000, b"null", b'{"schema": 1}'])
def test_what_is_no_document_is_a_contract_error(raw: bytes) -> None:
    with pytest.raises(ContractError):
        Alias.from_json(raw)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("alias", Alias),
        ("run_input", RunInput),
        ("package", ModelPackage),
        ("run_cost", RunCost),
        ("prediction_capture", PredictionCapture),
    ],
)
def test_golden_documents_are_read_and_written_without_change(
    name: str, kind: type[Alias | RunInput | ModelPackage | RunCost | PredictionCapture]
) -> None:
    text = (GOLDEN / f"{name}.json").read_text()
    assert json.loads(kind.from_json(text).to_json()) == json.loads(text)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("classification", EvaluationReport),
        ("regression", RegressionReport),
        ("segmentation", SegmentationReport),
        ("detection", DetectionReport),
    ],
)
def test_evaluations_of_before_there_were_slices_are_read(name: str, kind: type[ComparedReport]) -> None:
    told = json.loads((GOLDEN / "evaluations_before_slices.json").read_text())
    report = kind.from_value(told[name])
    assert (report.slices, report.comparison, report.candidate_serving) == ([], None, None)
    assert report.champion_version == "old"
    part = ShardEvaluation.from_value(told["part"])
    assert (part.slices, part.candidate.scores, part.candidate_timing) == ([], None, None)


def test_equal_packages_have_equal_versions_whatever_the_order_of_their_files() -> None:
    one, two = PackagedFile(sha256="a" * 64, bytes=1), PackagedFile(sha256="b" * 64, bytes=2)
    first = ModelPackage(project="p", files={"x": one, "y": two})
    second = ModelPackage(project="p", files={"y": two, "x": one})
    assert first.version == second.version
    assert first.version != ModelPackage(project="p", files={"x": two, "y": one}).version
