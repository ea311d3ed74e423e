"""From the parts that EvaluateShards wrote to a decision with its reasons."""

from __future__ import annotations

from functions.judge_model import tasks
from functions.judge_model.parts import head, read_parts, read_plan
from lehr import layout
from lehr.contracts.comparison import ComparedReport
from lehr.contracts.data_rules import REGRESSIONS, SEGMENTATIONS
from lehr.contracts.detection import ShardDetection
from lehr.contracts.detection_rules import DETECTIONS
from lehr.contracts.evaluation import Decision, ShardEvaluation
from lehr.contracts.recipe import Recipe
from lehr.contracts.regression import ShardRegression
from lehr.contracts.segmentation import ShardSegmentation
from lehr.contracts.workflow import Judgement, JudgeRequest
from lehr.detection_gate import decide_detection
from lehr.gate import decide
from lehr.ports import ObjectStore
from lehr.regression_gate import decide_regression
from lehr.segmentation_gate import decide_segmentation


def judge(request: JudgeRequest, artifacts: ObjectStore) -> Judgement:
    """Merge, decide, write both documents. Raises MissingDataError if a planned part was never written."""
    recipe = Recipe.from_json(artifacts.get(layout.recipe_key(request.project, request.run)))
    report, decision, figures = _decided(request, recipe, artifacts)
    for key, document in (
        (layout.evaluation_report_key(request.project, request.run), report),
        (layout.decision_key(request.project, request.run), decision),
    ):
        artifacts.put(key, document.to_json(), content_type="application/json")
    return Judgement(verdict=decision.verdict, reason=decision.reason, **figures)


def _decided(
    request: JudgeRequest, recipe: Recipe, artifacts: ObjectStore
) -> tuple[ComparedReport, Decision, dict[str, float | None]]:
    """The report, what follows from it, and the figures that the state machine sees."""
    plan = read_plan(request, artifacts)
    slicings = plan[0].slices if plan else []
    task = recipe.project.task
    if task in REGRESSIONS:
        errors = read_parts(request, plan, artifacts, ShardRegression)
        numbers = tasks.regression(errors, slicings, recipe, head(request, errors))
        before = numbers.champion.rmse if numbers.champion else None
        return (
            numbers,
            decide_regression(numbers, recipe.gate),
            {"rmse": numbers.candidate.rmse, "champion_rmse": before},
        )
    if task in SEGMENTATIONS:
        masks = read_parts(request, plan, artifacts, ShardSegmentation)
        pixels = tasks.segmentation(masks, slicings, recipe, head(request, masks))
        before = pixels.champion.mean_iou if pixels.champion else None
        return (
            pixels,
            decide_segmentation(pixels, recipe.gate),
            {"mean_iou": pixels.candidate.mean_iou, "champion_mean_iou": before},
        )
    if task in DETECTIONS:
        found = read_parts(request, plan, artifacts, ShardDetection)
        boxes = tasks.detection(found, slicings, recipe, head(request, found))
        before = boxes.champion.map50 if boxes.champion else None
        return (
            boxes,
            decide_detection(boxes, recipe.gate),
            {"map50": boxes.candidate.map50, "champion_map50": before},
        )
    counts = read_parts(request, plan, artifacts, ShardEvaluation)
    labels = tasks.classification(counts, slicings, recipe, head(request, counts))
    before = labels.champion.accuracy if labels.champion else None
    return (
        labels,
        decide(labels, recipe.gate),
        {"accuracy": labels.candidate.accuracy, "champion_accuracy": before},
    )
