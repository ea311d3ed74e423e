"""Is a training worth it? Pure rules over what is known already: past runs, the data's size, labels that came back.

Two things may make the next model better. More data: errors fall with its amount as a power, error(n) = a n^-b
(Hestness et al., Deep Learning Scaling is Predictable, Empirically, 2017, arXiv:1712.00409), with the b that past runs
show, or a cautious one. And newer data: what the champion has lost between its test and the labels that came back may
be won again. The cost is what the champion's run has cost, times the growth of the data; or its worst case.

Bytes of raw data stand for rows, which nobody has counted before they are prepared. What is not known speaks for
training: a wall that stops what it cannot judge would stop the first runs of every project.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

from lehr import layout
from lehr.clock import moment
from lehr.contracts.drift import DriftReport
from lehr.contracts.recipe import Recipe
from lehr.contracts.recipe_tables import Retrain, Watch
from lehr.contracts.registry import RunRecord
from lehr.contracts.retraining import RetrainPlan
from lehr.errors import ContractError
from lehr.ports import EVERY_RUN, ModelRegistry, ObjectStore

# Hestness et al. found 0.07 to 0.35 in images, language and speech.
ASSUMED_EXPONENT = 0.1
MAX_EXPONENT = 0.5
MIN_FITTED_SIZES = 3


def weigh_retraining(
    recipe: Recipe, registry: ModelRegistry, artifacts: ObjectStore, *, raw_bytes: int, at: str
) -> RetrainPlan:
    """`plan_retraining` of what the registry and the last look at the endpoint say of the recipe's project."""
    project = recipe.project.name
    alias = registry.alias(project)
    return plan_retraining(
        project,
        recipe.retrain,
        recipe.watch,
        records=registry.runs(project, limit=EVERY_RUN),
        champion=alias.champion if alias else "",
        raw_bytes=raw_bytes,
        report=_last_report(project, artifacts),
        at=at,
    )


def plan_retraining(
    project: str,
    retrain: Retrain,
    watch: Watch,
    *,
    records: Sequence[RunRecord],
    champion: str,
    raw_bytes: int,
    report: DriftReport | None,
    at: str,
) -> RetrainPlan:
    """Weigh a training of `raw_bytes` of data at `at` (ISO 8601); `champion` is the version that serves, "" for none.

    `records` are the project's runs, `report` the last look at the endpoint. Without [retrain] max_usd_per_point all
    is worth it.
    """
    made = next((one for one in records if champion and one.model_version == champion), None)
    limit = retrain.max_usd_per_point
    if limit is None:
        return RetrainPlan(
            project=project,
            is_worth=True,
            reason="the recipe sets no price for a point: [retrain] max_usd_per_point",
        )
    if made is None:
        return RetrainPlan(project=project, is_worth=True, reason="nothing is known of a champion's run")
    age_d = (moment(at) - moment(made.started_at)).total_seconds() / 86_400
    if retrain.max_age_d is not None and age_d >= retrain.max_age_d:
        told = f"the champion was trained {age_d:.0f} days ago, max_age_d = {retrain.max_age_d}"
        return RetrainPlan(project=project, is_worth=True, reason=told)
    quality, usd = quality_of(made), made.estimated_usd if made.actual_usd is None else made.actual_usd
    if quality is None or not made.raw_bytes or usd is None:
        missing = "quality in points" if quality is None else "cost" if made.raw_bytes else "amount of data"
        told = f"the {missing} of the champion's run {made.run} is not known"
        return RetrainPlan(project=project, is_worth=True, reason=told)
    growth = raw_bytes / made.raw_bytes
    exponent, fitted = learning_exponent(records)
    growth_points = 100 * (1 - quality) * (1 - growth**-exponent) if growth > 1 else 0.0
    live_points = _lost(report, watch, champion, quality)
    points, usd = growth_points + live_points, usd * max(growth, 1.0)
    price = usd / points if points > 0 else None
    is_worth = price is not None and price <= limit
    curve = f"of {fitted} runs" if fitted else "assumed"
    told = (
        f"{points:.2f} points expected ({growth_points:.2f} from {growth:.2f} times the data by a curve with exponent "
        f"{exponent:.2f}, {curve}; {live_points:.2f} that live labels show lost) for {usd:.2f} USD: "
        + (f"{price:.2f} USD a point" if price is not None else "nothing for the money")
        + f", {'within' if is_worth else 'over'} max_usd_per_point = {limit:g}"
    )
    return RetrainPlan(
        project=project,
        is_worth=is_worth,
        reason=told,
        growth=round(growth, 4),
        exponent=round(exponent, 4),
        fitted_runs=fitted,
        growth_points=round(growth_points, 4),
        live_points=round(live_points, 4),
        usd=round(usd, 4),
        usd_per_point=None if price is None else round(price, 4),
    )


def quality_of(record: RunRecord) -> float | None:
    """What a run's candidate reached on its test, from 0 to 1; None of a regression, or of a run that got no model."""
    return next((one for one in (record.accuracy, record.mean_iou, record.map50) if one is not None), None)


def learning_exponent(records: Sequence[RunRecord]) -> tuple[float, int]:
    """How fast errors have fallen with the amount of data, and over how many runs; the assumed one, and 0, where they
    had fewer than MIN_FITTED_SIZES amounts. Least squares over the logarithms, within 0 and MAX_EXPONENT.
    """
    found = [
        (log(one.raw_bytes), log(1 - quality))
        for one in records
        if one.raw_bytes and (quality := quality_of(one)) is not None and quality < 1
    ]
    if len({size for size, _ in found}) < MIN_FITTED_SIZES:
        return ASSUMED_EXPONENT, 0
    mean_size = sum(size for size, _ in found) / len(found)
    mean_error = sum(error for _, error in found) / len(found)
    spread = sum((size - mean_size) ** 2 for size, _ in found)
    slope = sum((size - mean_size) * (error - mean_error) for size, error in found) / spread
    return min(max(-slope, 0.0), MAX_EXPONENT), len(found)


def _last_report(project: str, artifacts: ObjectStore) -> DriftReport | None:
    try:
        return DriftReport.from_json(artifacts.get(layout.drift_report_key(project)))
    except (KeyError, ContractError):  # nobody has looked, or an older Lehr has
        return None


def _lost(report: DriftReport | None, watch: Watch, champion: str, quality: float) -> float:
    """Points between the champion's test and the best that its live labels allow; 0 for too few of them."""
    live = next((one for one in report.live if one.model_version == champion), None) if report else None
    if live is None or live.rows < watch.min_labels:
        return 0.0
    return 100 * max(0.0, quality - live.high)
