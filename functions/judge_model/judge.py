"""From the parts that EvaluateShards wrote to a decision with its reasons."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from lehr import layout
from lehr.contracts.data_rules import REGRESSIONS, SEGMENTATIONS
from lehr.contracts.detection import DetectionReport, ShardDetection
from lehr.contracts.detection_rules import DETECTIONS
from lehr.contracts.document import Document
from lehr.contracts.evaluation import Decision, EvaluateUnit, EvaluationReport, ShardEvaluation
from lehr.contracts.recipe import Recipe
from lehr.contracts.regression import RegressionReport, ShardRegression
from lehr.contracts.segmentation import SegmentationReport, ShardSegmentation
from lehr.contracts.workflow import Judgement, JudgeRequest
from lehr.detection_gate import decide_detection
from lehr.errors import MissingDataError
from lehr.gate import decide
from lehr.ports import ObjectStore
from lehr.regression_gate import decide_regression
from lehr.segmentation_gate import decide_segmentation
from lehr_runtime.detection import merge_detection, summarise_detection
from lehr_runtime.metrics import merge_counts, merge_paired, summarise
from lehr_runtime.regression import merge_regression, summarise_regression
from lehr_runtime.segmentation import (
    merge_paired_images,
    merge_segmentation,
    sign_test,
    summarise_segmentation,
)


def judge(request: JudgeRequest, artifacts: ObjectStore) -> Judgement:
    """Merge, decide, write both documents. Raises MissingDataError if a planned part was never written."""
    recipe = Recipe.from_json(artifacts.get(layout.recipe_key(request.project, request.run)))
    if recipe.project.task in REGRESSIONS:
        return _judge_regression(request, recipe, artifacts)
    if recipe.project.task in SEGMENTATIONS:
        return _judge_segmentation(request, recipe, artifacts)
    if recipe.project.task in DETECTIONS:
        return _judge_detection(request, recipe, artifacts)
    project, run = request.project, request.run
    parts = _parts(request, artifacts, ShardEvaluation)
    champions = [part.champion for part in parts if part.champion]
    paired = [part.paired for part in parts if part.paired]
    report = EvaluationReport(
        project=project,
        run=run,
        dataset_version=request.dataset_version,
        candidate_version=request.candidate,
        champion_version=request.champion,
        candidate=summarise(merge_counts(part.candidate for part in parts), recipe.data.labels),
        champion=summarise(merge_counts(champions), recipe.data.labels) if champions else None,
        paired=merge_paired(paired) if paired else None,
    )
    decision = decide(report, recipe.gate)
    _write(request, report, decision, artifacts)
    return Judgement(
        verdict=decision.verdict,
        reason=decision.reason,
        accuracy=report.candidate.accuracy,
        champion_accuracy=report.champion.accuracy if report.champion else None,
    )


def _judge_regression(request: JudgeRequest, recipe: Recipe, artifacts: ObjectStore) -> Judgement:
    parts = _parts(request, artifacts, ShardRegression)
    champions = [part.champion for part in parts if part.champion]
    report = RegressionReport(
        project=request.project,
        run=request.run,
        dataset_version=request.dataset_version,
        candidate_version=request.candidate,
        champion_version=request.champion,
        target=recipe.data.target,
        candidate=summarise_regression(merge_regression(part.candidate for part in parts)),
        champion=summarise_regression(merge_regression(champions)) if champions else None,
    )
    decision = decide_regression(report, recipe.gate)
    _write(request, report, decision, artifacts)
    return Judgement(
        verdict=decision.verdict,
        reason=decision.reason,
        rmse=report.candidate.rmse,
        champion_rmse=report.champion.rmse if report.champion else None,
    )


def _judge_segmentation(request: JudgeRequest, recipe: Recipe, artifacts: ObjectStore) -> Judgement:
    parts = _parts(request, artifacts, ShardSegmentation)
    labels = recipe.data.labels
    champions = [part.champion for part in parts if part.champion]
    pairs = [part.paired for part in parts if part.paired]
    paired = merge_paired_images(pairs) if pairs else None
    report = SegmentationReport(
        project=request.project,
        run=request.run,
        dataset_version=request.dataset_version,
        candidate_version=request.candidate,
        champion_version=request.champion,
        candidate=summarise_segmentation(merge_segmentation(part.candidate for part in parts), labels),
        champion=summarise_segmentation(merge_segmentation(champions), labels) if champions else None,
        paired=paired,
        sign_test_p=sign_test(paired) if paired else None,
        examples=[example for part in parts for example in part.examples],
    )
    decision = decide_segmentation(report, recipe.gate)
    _write(request, report, decision, artifacts)
    return Judgement(
        verdict=decision.verdict,
        reason=decision.reason,
        mean_iou=report.candidate.mean_iou,
        champion_mean_iou=report.champion.mean_iou if report.champion else None,
    )


def _judge_detection(request: JudgeRequest, recipe: Recipe, artifacts: ObjectStore) -> Judgement:
    parts, labels = _parts(request, artifacts, ShardDetection), recipe.data.labels
    champions = [part.champion for part in parts if part.champion]
    report = DetectionReport(
        project=request.project,
        run=request.run,
        dataset_version=request.dataset_version,
        candidate_version=request.candidate,
        champion_version=request.champion,
        candidate=summarise_detection(merge_detection(part.candidate for part in parts), labels),
        champion=summarise_detection(merge_detection(champions), labels) if champions else None,
        examples=[example for part in parts for example in part.examples],
    )
    decision = decide_detection(report, recipe.gate)
    _write(request, report, decision, artifacts)
    return Judgement(
        verdict=decision.verdict,
        reason=decision.reason,
        map50=report.candidate.map50,
        champion_map50=report.champion.map50 if report.champion else None,
    )


def _write(
    request: JudgeRequest,
    report: EvaluationReport | RegressionReport | SegmentationReport | DetectionReport,
    decision: Decision,
    artifacts: ObjectStore,
) -> None:
    documents: tuple[tuple[str, Document], ...] = (
        (layout.evaluation_report_key(request.project, request.run), report),
        (layout.decision_key(request.project, request.run), decision),
    )
    for key, document in documents:
        artifacts.put(key, document.to_json(), content_type="application/json")


_Part = TypeVar("_Part", ShardEvaluation, ShardRegression, ShardSegmentation, ShardDetection)


def _parts(request: JudgeRequest, artifacts: ObjectStore, kind: type[_Part]) -> list[_Part]:
    pairing = (request.project, request.run, request.candidate, request.champion)
    plan = msgspec.json.decode(artifacts.get(layout.evaluation_plan_key(*pairing)), type=list[EvaluateUnit])
    parts = []
    for unit in plan:
        key = layout.evaluation_part_key(*pairing, unit.index)
        try:
            parts.append(kind.from_json(artifacts.get(key)))
        except KeyError as fault:
            raise MissingDataError(
                f"the evaluation of shard {unit.index + 1} of {unit.of} was never written",
                place=artifacts.uri(key),
            ) from fault
    return parts
