"""From the parts that EvaluateShards wrote to a decision with its reasons."""

from __future__ import annotations

import msgspec

from lehr import layout
from lehr.contracts.evaluation import EvaluateUnit, EvaluationReport, ShardEvaluation
from lehr.contracts.recipe import Recipe
from lehr.contracts.workflow import Judgement, JudgeRequest
from lehr.errors import MissingDataError
from lehr.gate import decide
from lehr.ports import ObjectStore
from lehr_runtime.metrics import merge_counts, merge_paired, summarise


def judge(request: JudgeRequest, artifacts: ObjectStore) -> Judgement:
    """Merge, decide, write both documents. Raises MissingDataError if a planned part was never written."""
    project, run = request.project, request.run
    recipe = Recipe.from_json(artifacts.get(layout.recipe_key(project, run)))
    parts = _parts(request, artifacts)
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
    for key, document in (
        (layout.evaluation_report_key(project, run), report),
        (layout.decision_key(project, run), decision),
    ):
        artifacts.put(key, document.to_json(), content_type="application/json")
    return Judgement(
        verdict=decision.verdict,
        reason=decision.reason,
        accuracy=report.candidate.accuracy,
        champion_accuracy=report.champion.accuracy if report.champion else None,
    )


def _parts(request: JudgeRequest, artifacts: ObjectStore) -> list[ShardEvaluation]:
    pairing = (request.project, request.run, request.candidate, request.champion)
    plan = msgspec.json.decode(artifacts.get(layout.evaluation_plan_key(*pairing)), type=list[EvaluateUnit])
    parts = []
    for unit in plan:
        key = layout.evaluation_part_key(*pairing, unit.index)
        try:
            parts.append(ShardEvaluation.from_json(artifacts.get(key)))
        except KeyError as fault:
            raise MissingDataError(
                f"the evaluation of shard {unit.index + 1} of {unit.of} was never written",
                place=artifacts.uri(key),
            ) from fault
    return parts
