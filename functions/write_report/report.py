"""From the documents of a run to one HTML file that needs nothing else: no script, no server, no network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from functions.write_report.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    LineChart,
    confusion_cells,
    line_chart,
    worst_confusions,
)
from functions.write_report.comparison import comparison_section
from functions.write_report.data_card import MARKS, make_environment, write_card
from functions.write_report.detection import detection_section
from functions.write_report.segmentation import segmentation_section
from functions.write_report.sources import Sources, read_sources
from functions.write_report.sweep import sweep_section
from functions.write_report.timeline import Execution, read_execution, read_history
from lehr import layout
from lehr.contracts.dataset import DatasetManifest, Split
from lehr.contracts.evaluation import ClassificationMetrics
from lehr.contracts.training import EpochRecord, TrainingSummary
from lehr.contracts.workflow import ReportRequest
from lehr.ports import ModelRegistry, ObjectStore
from lehr.resuming import executions_of

TEMPLATE = "report.html.j2"
MAX_MATRIX_LABELS = 26
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class WriteReport:
    """The operation, with what it needs of the world; `executions` is a Step Functions client."""

    artifacts: ObjectStore
    registry: ModelRegistry
    executions: Any

    def write(self, request: ReportRequest) -> str:
        """Write report.html of a run; returns its key."""
        sources = read_sources(request.project, request.run, self.artifacts, self.registry)
        card_name = write_card(sources.checks, self.artifacts) if sources.checks else ""
        page = render(request, sources, self._executions(request, sources), card_name)
        key = layout.report_key(request.project, request.run)
        self.artifacts.put(key, page.encode(), content_type="text/html; charset=utf-8")
        return key

    def _executions(self, request: ReportRequest, sources: Sources) -> list[Execution]:
        """Those of the run in their order; the last one is writing this report."""
        resumes = sources.record.resumes if sources.record else 0
        arns = executions_of(request.project, request.run, resumes, request.execution_arn)
        found: list[Execution] = []
        ended: datetime | None = None
        for number, arn in enumerate(arns):
            try:
                execution, ended = read_execution(read_history(self.executions, arn), number, ended)
            except Exception as fault:
                # Whatever it is: the verdict matters more than where the time went.
                which = "the execution" if len(arns) == 1 else f"execution {number + 1} of {len(arns)}: its"
                sources.missing.append(f"Timeline: {which} history cannot be read ({fault}).")
                ended = None
            else:
                found.append(execution)
        return found


def render(
    request: ReportRequest, sources: Sources, executions: Sequence[Execution], card_name: str = ""
) -> str:
    """The page, with a link to the data card of that name. Every string of a user or a model is escaped."""
    environment = make_environment()
    environment.filters |= {"seconds": seconds, "percent": percent}
    evaluation = sources.evaluation
    section = {"segmentation": None, **segmentation_section(sources.segmentation)}
    return environment.get_template(TEMPLATE).render(
        request=request,
        sources=sources,
        marks=MARKS,
        card_name=card_name,
        verdict=verdict(request, sources),
        evaluation=evaluation,
        regression=sources.regression,
        **{"detection": None, **detection_section(sources.detection)},
        **comparison_section(sources.judged),
        table=sources.manifest.of_table if sources.manifest else None,
        charts=_charts(sources.training),
        sweep=sweep_section(sources.sweep, sources.cost, is_regression=sources.is_regression),
        **({"matrix": _matrix(evaluation.candidate) if evaluation else None} | section),
        mistakes=_mistakes(evaluation.candidate) if evaluation else [],
        data=_data(sources.manifest) if sources.manifest else None,
        executions=executions,
        total_s=sum(one.seconds for one in executions),
        longest_s=max((one.seconds for one in executions), default=0.0) or 1.0,
        frame={"w": WIDTH, "h": HEIGHT, "l": LEFT, "r": RIGHT, "t": TOP, "b": BOTTOM},
    )


def verdict(request: ReportRequest, sources: Sources) -> str:
    """The sentence that stands first."""
    version = sources.model_version
    if request.outcome == "failed":
        if sources.failure:
            return f"The run failed in {sources.failure.state}: {sources.failure.reason}"
        reason = sources.record.reason if sources.record else ""
        return f"The run failed{': ' + reason if reason else ''}."
    evaluation = sources.evaluation
    measured = ""
    if evaluation:
        candidate, champion = evaluation.candidate, evaluation.champion
        measured = f" It is right on {percent(candidate.accuracy)} of {candidate.rows:,} test rows"
        measured += f"; the champion before it on {percent(champion.accuracy)}." if champion else "."
    errors = sources.regression
    if errors:
        error, rows = errors.candidate.rmse, errors.candidate.rows
        measured = f" It predicts {errors.target} with an RMSE of {error:.6g} on {rows:,} test rows"
        measured += f"; the champion before it with {errors.champion.rmse:.6g}." if errors.champion else "."
    segmented = sources.segmentation
    if segmented:
        found, rows = segmented.candidate.mean_iou, segmented.candidate.rows
        measured = f" Its mean IoU on {rows:,} test images is {found:.4f}"
        measured += (
            f"; that of the champion before it {segmented.champion.mean_iou:.4f}."
            if segmented.champion
            else "."
        )
    detected = sources.detection
    if detected:
        boxes = detected.candidate
        measured = f" Its mAP on {boxes.rows:,} test images is {boxes.map50_95:.4f}, {boxes.map50:.4f} at an IoU of 0.5"
        before = detected.champion
        measured += f"; that of the champion before it {before.map50_95:.4f}." if before else "."
    if request.outcome == "promoted":
        return f"Model {version or '(unknown)'} is the new champion.{measured}"
    judged = sources.judged
    stays = f"champion {judged.champion_version} stays" if judged and judged.champion_version else ""
    reason = (
        sources.decision.headline if sources.decision else sources.record.reason if sources.record else ""
    )
    tail = "; ".join(part for part in (stays, reason) if part)
    return f"Model {version or '(unknown)'} was rejected{': ' + tail if tail else ''}."


def seconds(value: float) -> str:
    """Seconds with one decimal and the unit; from an hour on in hours and minutes."""
    if value < 60:
        return f"{value:.1f} s"
    if value < 3600:
        return f"{int(value // 60)} min {value % 60:04.1f} s"
    return f"{int(value // 3600)} h {int(value % 3600 // 60):02d} min"


def percent(value: float) -> str:
    return f"{value * 100:.2f} %"


def _charts(training: TrainingSummary | None) -> list[LineChart]:
    if training is None or not training.epochs:
        return []
    epochs = training.epochs
    losses = {"training": [epoch.loss for epoch in epochs]}
    if any(epoch.validation_map50 is not None for epoch in epochs):
        return _charts_of_boxes(epochs)
    if any(epoch.accuracy is None for epoch in epochs):
        return _charts_of_errors(epochs)
    has_iou = any(epoch.validation_mean_iou is not None for epoch in epochs)
    ious = [_or_nan(epoch.validation_mean_iou) for epoch in epochs]
    accuracies = {"training": [_or_nan(epoch.accuracy) for epoch in epochs]}
    if any(epoch.validation_loss is not None for epoch in epochs):
        losses["validation"] = [_or_nan(epoch.validation_loss) for epoch in epochs]
        accuracies["validation"] = [_or_nan(epoch.validation_accuracy) for epoch in epochs]
    own = {name: [_or_nan(epoch.metrics.get(name)) for epoch in epochs] for name in epochs[0].metrics}
    return [
        line_chart("Loss", "cross-entropy, nats", losses),
        line_chart("Accuracy", "share of pixels" if has_iou else "share of rows", accuracies),
        *([line_chart("Mean IoU", "of the labels", {"validation": ious})] if has_iou else []),
        *(line_chart(name, "metric of the project", {"validation": values}) for name, values in own.items()),
    ]


def _charts_of_errors(epochs: Sequence[EpochRecord]) -> list[LineChart]:
    charts = [
        line_chart("Loss", "of the recipe, in training", {"training": [epoch.loss for epoch in epochs]})
    ]
    if any(epoch.validation_rmse is not None for epoch in epochs):
        errors = {
            "RMSE": [_or_nan(epoch.validation_rmse) for epoch in epochs],
            "MAE": [_or_nan(epoch.validation_mae) for epoch in epochs],
        }
        charts.append(line_chart("Validation error", "in the target's units", errors))
    return charts


def _charts_of_boxes(epochs: Sequence[EpochRecord]) -> list[LineChart]:
    losses = {
        "training": [epoch.loss for epoch in epochs],
        "validation": [_or_nan(epoch.validation_loss) for epoch in epochs],
    }
    found = {"validation": [_or_nan(epoch.validation_map50) for epoch in epochs]}
    return [
        line_chart("Loss", "of scores and boxes", losses),
        line_chart("mAP", "at an IoU of 0.5", found),
    ]


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _matrix(metrics: ClassificationMetrics) -> Mapping[str, Any] | None:
    """None when there are more labels than fit a page; the list of mistakes stands for it then."""
    if len(metrics.classes) > MAX_MATRIX_LABELS:
        return None
    return {
        "labels": [one.label for one in metrics.classes],
        "rows": confusion_cells(metrics.confusion),
    }


def _mistakes(metrics: ClassificationMetrics) -> list[tuple[str, str, int]]:
    return worst_confusions(metrics.confusion, [one.label for one in metrics.classes])


def _data(manifest: DatasetManifest) -> Mapping[str, Any]:
    """Rows of each split, and rows, pixels or boxes of each label in the training split."""
    counts = [0] * len(manifest.labels)
    for shard in manifest.shards:
        if shard.split == "train":
            counts = [have + more for have, more in zip(counts, shard.class_counts, strict=True)]
    largest, rows = max(counts, default=0) or 1, sum(counts) or 1
    return {
        "rows": {split: manifest.rows(split) for split in SPLITS},
        "shards": len(manifest.shards),
        "of": "boxes" if manifest.format == "coco" else "pixels" if rows > manifest.rows("train") else "rows",
        "bytes": sum(shard.bytes for shard in manifest.shards),
        "balance": [
            {"label": label, "count": count, "share": count / rows, "width": 100 * count / largest}
            for label, count in zip(manifest.labels, counts, strict=True)
        ],
    }
