"""What each task's evaluation comes to, once its shards are added up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from functions.judge_model.parts import slice_reports
from lehr.contracts.comparison import Comparison, PairedBootstrap, Slicing
from lehr.contracts.detection import DetectionCounts, DetectionReport, DetectionSlice, ShardDetection
from lehr.contracts.evaluation import ClassificationSlice, EvaluationReport, ShardEvaluation
from lehr.contracts.recipe import Recipe
from lehr.contracts.regression import RegressionCounts, RegressionReport, RegressionSlice, ShardRegression
from lehr.contracts.segmentation import SegmentationReport, SegmentationSlice, ShardSegmentation
from lehr.significance import mcnemar
from lehr_runtime.bootstrap import compare, merge_bootstraps
from lehr_runtime.detection import merge_detection, summarise_detection
from lehr_runtime.detection_bootstrap import ALL_THRESHOLDS, AT_50, compare_maps
from lehr_runtime.metrics import (
    merge_counts,
    merge_paired,
    merge_slices,
    summarise,
    summarise_slice,
)
from lehr_runtime.region_bootstrap import compare_regions, merge_areas
from lehr_runtime.regression import merge_regression, summarise_regression
from lehr_runtime.segmentation import (
    merge_paired_images,
    merge_regions,
    merge_segmentation,
    sign_test,
    summarise_regions,
    summarise_segmentation,
)


def classification(
    parts: Sequence[ShardEvaluation], slicings: Sequence[Slicing], recipe: Recipe, head: dict[str, Any]
) -> EvaluationReport:
    labels = recipe.data.labels
    champions = [part.champion for part in parts if part.champion]
    pairs = [part.paired for part in parts if part.paired]
    paired = merge_paired(pairs) if pairs else None

    def p_loss(same: list[ClassificationSlice]) -> float | None:
        found = [one.paired for one in same if one.paired]
        return mcnemar(merge_paired(found)).p_loss if found else None

    return EvaluationReport(
        **head,
        candidate=summarise(merge_counts(part.candidate for part in parts), labels),
        champion=summarise(merge_counts(champions), labels) if champions else None,
        paired=paired,
        comparison=mcnemar(paired) if paired else None,
        slices=slice_reports(
            slicings,
            (one for part in parts for one in part.slices),
            merge_slices,
            summarise_slice,
            lambda sums: sums.rows,
            p_loss,
        ),
    )


def regression(
    parts: Sequence[ShardRegression], slicings: Sequence[Slicing], recipe: Recipe, head: dict[str, Any]
) -> RegressionReport:
    champions = [part.champion for part in parts if part.champion]
    errors = _merged([part.errors for part in parts])

    def p_loss(same: list[RegressionSlice]) -> float | None:
        found = _merged([one.errors for one in same])
        return compare(found, "RMSE", np.sqrt, is_error=True).p_loss if found else None

    return RegressionReport(
        **head,
        target=recipe.data.target,
        candidate=summarise_regression(merge_regression(part.candidate for part in parts)),
        champion=summarise_regression(merge_regression(champions)) if champions else None,
        comparison=compare(errors, "RMSE", np.sqrt, is_error=True) if errors else None,
        slices=slice_reports(
            slicings,
            (one for part in parts for one in part.slices),
            merge_regression,
            _regression_figures,
            lambda counts: counts.rows,
            p_loss,
        ),
    )


def _regression_figures(counts: RegressionCounts) -> dict[str, float]:
    metrics = summarise_regression(counts)
    return {"RMSE": metrics.rmse, "MAE": metrics.mae, "R²": metrics.r2}


def segmentation(
    parts: Sequence[ShardSegmentation], slicings: Sequence[Slicing], recipe: Recipe, head: dict[str, Any]
) -> SegmentationReport:
    labels = recipe.data.labels
    champions = [part.champion for part in parts if part.champion]
    pairs = [part.paired for part in parts if part.paired]
    paired = merge_paired_images(pairs) if pairs else None

    def p_loss(same: list[SegmentationSlice]) -> float | None:
        compared = _compared_regions(same)
        return compared.p_loss if compared else None

    return SegmentationReport(
        **head,
        candidate=summarise_segmentation(merge_segmentation(part.candidate for part in parts), labels),
        champion=summarise_segmentation(merge_segmentation(champions), labels) if champions else None,
        paired=paired,
        sign_test_p=sign_test(paired) if paired else None,
        comparison=_compared_regions(parts),
        slices=slice_reports(
            slicings,
            (one for part in parts for one in part.slices),
            merge_regions,
            summarise_regions,
            lambda sums: sums.rows,
            p_loss,
        ),
        examples=[example for part in parts for example in part.examples],
    )


def _compared_regions(
    same: Sequence[ShardSegmentation] | Sequence[SegmentationSlice],
) -> Comparison | None:
    """Resamples of the images of all shards; None without a champion."""
    found = [one.regions for one in same if one.regions]
    if len(found) < len(same):
        return None
    ids = np.frombuffer(b"".join(one.ids for one in found), dtype="<u8")
    own, other = merge_areas(one.candidate for one in found), merge_areas(one.champion for one in found)
    return compare_regions(ids, own, other, "mean IoU")


def detection(
    parts: Sequence[ShardDetection], slicings: Sequence[Slicing], recipe: Recipe, head: dict[str, Any]
) -> DetectionReport:
    labels = recipe.data.labels
    champions = [part.champion for part in parts if part.champion]
    comparison = _compared_images(parts, "mAP", ALL_THRESHOLDS)

    def p_loss(same: list[DetectionSlice]) -> float | None:
        compared = _compared_images(same, "mAP at IoU 0.5", AT_50)
        return compared.p_loss if compared else None

    def figures(counts: DetectionCounts) -> dict[str, float]:
        metrics = summarise_detection(counts, labels)
        return {"mAP at IoU 0.5": metrics.map50, "mAP": metrics.map50_95}

    return DetectionReport(
        **head,
        candidate=summarise_detection(merge_detection(part.candidate for part in parts), labels),
        champion=summarise_detection(merge_detection(champions), labels) if champions else None,
        comparison=comparison,
        slices=slice_reports(
            slicings,
            (one for part in parts for one in part.slices),
            merge_detection,
            figures,
            lambda counts: counts.rows,
            p_loss,
        ),
        examples=[example for part in parts for example in part.examples],
    )


def _compared_images(
    same: Sequence[ShardDetection] | Sequence[DetectionSlice], measure: str, thresholds: Sequence[int]
) -> Comparison | None:
    """Resamples of the images of all shards; None without a champion."""
    champions = [one.champion for one in same if one.champion]
    if len(champions) < len(same):
        return None
    ids = np.frombuffer(b"".join(one.ids for one in same), dtype="<u8")
    own = merge_detection(one.candidate for one in same)
    return compare_maps(ids, own, merge_detection(champions), measure, thresholds)


def _merged(found: Sequence[PairedBootstrap | None]) -> PairedBootstrap | None:
    known = [one for one in found if one is not None]
    return merge_bootstraps(known) if known else None
