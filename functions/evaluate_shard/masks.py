"""One test shard of images with masks: what both models make of the same pixels, and a few images to look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lehr.contracts.segmentation import (
    ComparedRegions,
    RegionAreas,
    SegmentationCounts,
    SegmentationExample,
    SegmentationSlice,
    ShardSegmentation,
)
from lehr.errors import MismatchedDataError, ModelPackageError
from lehr_runtime.masks import encode_image, encode_mask
from lehr_runtime.packages import LoadedModel
from lehr_runtime.region_bootstrap import areas_of, areas_of_rows, merge_areas
from lehr_runtime.segmentation import count_regions, count_segmentation, paired_images, predict_masks
from lehr_runtime.slicing import Slice

MAX_EXAMPLES = 6
# Of either side of an example: the report has them all in one page.
MAX_EXAMPLE_SIDE = 128


def evaluate_masks(
    index: int,
    models: Sequence[LoadedModel],
    x: np.ndarray,
    y: np.ndarray,
    ids: np.ndarray,
    slices: Sequence[Slice],
) -> ShardSegmentation:
    """Count uint8 images `x` [n, height, width, …] with masks `y` [n, height, width].

    Raises ModelPackageError for a model of something else, MismatchedDataError for a label that it does not know.
    """
    masks, counts, ious, areas = zip(*(_count(model, x, y) for model in models), strict=True)
    labels = len(models[0].signature.labels)
    cuts = []
    for one in slices:
        own = [count_regions(found[one.rows], y[one.rows], labels) for found in masks]
        cuts.append(
            SegmentationSlice(
                by=one.by,
                value=one.value,
                candidate=own[0],
                champion=own[1] if own[1:] else None,
                regions=_compared(ids[one.rows], [areas_of_rows(each, one.rows) for each in areas]),
            )
        )
    return ShardSegmentation(
        index=index,
        candidate=counts[0],
        champion=counts[1] if counts[1:] else None,
        paired=paired_images(*ious) if counts[1:] else None,
        regions=_compared(ids, areas),
        slices=cuts,
        examples=[] if index else _examples(x, y, masks[0]),
    )


def _compared(ids: np.ndarray, areas: Sequence[RegionAreas]) -> ComparedRegions | None:
    """None without a champion."""
    if len(areas) == 1:
        return None
    raw = ids.astype("<u8").tobytes()
    return ComparedRegions(ids=raw, candidate=areas[0], champion=areas[1])


def _count(
    model: LoadedModel, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, SegmentationCounts, np.ndarray, RegionAreas]:
    signature = model.signature
    if len(signature.output.shape) != 4:
        raise ModelPackageError(f"model {model.version} gives no label for each pixel, the data has masks")
    labels = len(signature.labels)
    masks, _, seconds = predict_masks(model.predictor, x, labels=labels)
    areas: list[RegionAreas] = []
    try:
        counts, ious = count_segmentation(
            masks, y, labels, seconds, lambda part: areas.append(areas_of(part))
        )
        return masks, counts, ious, merge_areas(areas)
    except ValueError as fault:
        raise MismatchedDataError(f"the shard has {fault}, the labels of model {model.version}") from fault


def _examples(x: np.ndarray, y: np.ndarray, masks: np.ndarray) -> list[SegmentationExample]:
    """The first images, small ones whole and large ones thinned out."""
    step = -(-max(x.shape[1:3]) // MAX_EXAMPLE_SIDE)
    return [
        SegmentationExample(
            image=encode_image(x[row, ::step, ::step]),
            truth=encode_mask(y[row, ::step, ::step]),
            predicted=encode_mask(masks[row, ::step, ::step]),
        )
        for row in range(min(len(x), MAX_EXAMPLES))
    ]
