"""Boxes out of what a graph gives, and their average precision, against straightforward implementations of both."""

from __future__ import annotations

import numpy as np
import pytest

from lehr_runtime.detection import (
    IOU_THRESHOLDS,
    MAX_FOUND,
    count_detection,
    find_objects,
    match,
    merge_detection,
    pairwise_iou,
    summarise_detection,
    suppress,
    true_boxes,
)

LABELS = ["cat", "dog", "owl"]


def some_boxes(count: int, random: np.random.Generator) -> np.ndarray:
    starts = random.uniform(0, 0.7, (count, 2))
    return np.concatenate([starts, starts + random.uniform(0.1, 0.3, (count, 2))], 1).astype(np.float32)


def some_images(
    rows: int = 40, cells: int = 60, seed: int = 0, labels: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Outputs [rows, cells, 4 + labels], some near a true box, and targets [rows, 6, 5]."""
    random = np.random.default_rng(seed)
    outputs = np.zeros((rows, cells, 4 + labels), np.float32)
    targets = np.zeros((rows, 6, 5), np.float32)
    targets[..., 0] = -1
    for output, target in zip(outputs, targets, strict=True):
        count = int(random.integers(0, 7))
        corners = some_boxes(count, random)
        target[:count, 0] = random.integers(0, labels, count)
        target[:count, 1:3], target[:count, 3:5] = corners[:, :2], corners[:, 2:] - corners[:, :2]
        output[:, :4] = some_boxes(cells, random)
        output[:, 4:] = random.uniform(0, 0.2, (cells, labels))
        for place in range(count):
            near = random.choice(cells, 3, replace=False)
            output[near, :4] = np.clip(corners[place] + random.normal(0, 0.02, (3, 4)), 0, 1)
            output[near, 4 + int(target[place, 0])] = random.uniform(0.2, 1, 3)
    return outputs, targets


def slow_iou(one: np.ndarray, other: np.ndarray) -> float:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, float(across)) * max(0.0, float(down))
    areas = [float(box[2] - box[0]) * float(box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


def slow_objects(output: np.ndarray) -> list[tuple[float, int, int]]:
    """Score, label and cell of what is left, by sorting and throwing away one by one."""
    candidates = sorted(
        (
            (-float(score), cell, label)
            for cell, row in enumerate(output)
            for label, score in enumerate(row[4:])
            if score >= np.float32(0.05)
        ),
        key=lambda one: (one[0], one[1], one[2]),
    )[:1000]
    kept: list[tuple[float, int, int]] = []
    for negative, cell, label in candidates:
        rivals = [other for _, own, other in kept if own == label]
        if all(slow_iou(output[cell, :4], output[other, :4]) <= 0.5 for other in rivals):
            kept.append((-negative, label, cell))
    return kept[:100]


Objects = list[list[tuple[float, int, int]]]


def slow_ap(
    outputs: np.ndarray, targets: np.ndarray, objects: Objects, label: int, threshold: float
) -> float | None:
    """COCO's average precision of a label, from its definition: sums over recalls, and the best precision beyond."""
    found, truths = [], 0
    for image, (output, target, left) in enumerate(zip(outputs, targets, objects, strict=True)):
        corners = [
            np.array([x, y, x + width, y + height], np.float32)
            for own, x, y, width, height in target
            if own == label
        ]
        truths += len(corners)
        taken: set[int] = set()
        for score, own, cell in left:
            if own != label:
                continue
            best, best_iou = -1, threshold
            for place, truth in enumerate(corners):
                iou = slow_iou(output[cell, :4], truth)
                if place not in taken and iou >= best_iou:
                    best, best_iou = place, iou
            taken.add(best)
            found.append((score, image, best >= 0))
    if not truths:
        return None
    found.sort(key=lambda one: -one[0])
    true = np.cumsum([is_true for _, _, is_true in found])
    precision = [int(hits) / (place + 1) for place, hits in enumerate(true)]
    total = 0.0
    for recall in np.linspace(0, 1, 101):
        reached = [one for one, hits in zip(precision, true, strict=True) if hits / truths >= recall]
        total += max(reached, default=0.0)
    return total / 101


def test_boxes_that_are_left_are_those_of_a_naive_loop() -> None:
    for output in some_images(rows=10)[0]:
        found = find_objects(output)
        expected = slow_objects(output)
        assert found.labels.tolist() == [label for _, label, _ in expected]
        np.testing.assert_array_equal(found.boxes, [output[cell, :4] for _, _, cell in expected])
        np.testing.assert_array_equal(found.scores, np.array([score for score, _, _ in expected], np.float32))


def test_boxes_of_two_labels_are_two_objects_wherever_they_are() -> None:
    boxes = np.array([[0, 0, 0.5, 0.5]] * 3, np.float32)
    assert suppress(boxes, np.array([1, 2, 1])).tolist() == [0, 1]


def test_at_most_a_hundred_objects_are_found_in_an_image() -> None:
    random = np.random.default_rng(0)
    starts = random.uniform(0, 0.98, (500, 2)).astype(np.float32)
    output = np.concatenate([starts, starts + 0.01, random.uniform(0.1, 1, (500, 1))], 1).astype(np.float32)
    found = find_objects(output)
    assert len(found.scores) == MAX_FOUND
    assert found.scores.min() >= np.sort(output[:, 4])[-2 * MAX_FOUND]


def test_average_precision_is_that_of_its_definition() -> None:
    outputs, targets = some_images()
    metrics = summarise_detection(count_detection(outputs, targets, 3, 1.0), LABELS)
    objects = [slow_objects(output) for output in outputs]
    for label, report in enumerate(metrics.labels):
        expected = [slow_ap(outputs, targets, objects, label, float(iou)) for iou in IOU_THRESHOLDS]
        assert report.ap50 == pytest.approx(expected[0], abs=1e-12)
        assert report.ap50_95 == pytest.approx(
            np.mean([one for one in expected if one is not None]), abs=1e-12
        )
        assert 0.01 < (report.ap50_95 or 0) < (report.ap50 or 0) < 0.99
    assert metrics.map50 == pytest.approx(np.mean([one.ap50 for one in metrics.labels]))
    assert metrics.rows == 40
    assert metrics.rows_per_second == 40


def test_parts_merge_to_what_all_images_together_give() -> None:
    outputs, targets = some_images()
    whole = summarise_detection(count_detection(outputs, targets, 3, 2.0), LABELS)
    parts = [count_detection(outputs[rows], targets[rows], 3, 1.0) for rows in (slice(0, 7), slice(7, 40))]
    assert summarise_detection(merge_detection(parts), LABELS) == whole


def test_a_perfect_answer_has_a_precision_of_one_and_none_has_zero() -> None:
    _, targets = some_images(rows=8)
    perfect = np.zeros((8, 6, 7), np.float32)
    for output, target in zip(perfect, targets, strict=True):
        corners, own = true_boxes(target)
        output[: len(own), :4] = corners
        output[np.arange(len(own)), 4 + own] = 0.9
    metrics = summarise_detection(count_detection(perfect, targets, 3, 0.0), LABELS)
    assert (metrics.map50, metrics.map50_95) == (1.0, 1.0)
    nothing = summarise_detection(count_detection(np.zeros_like(perfect), targets, 3, 0.0), LABELS)
    assert (nothing.map50, nothing.map50_95, nothing.rows_per_second) == (0.0, 0.0, 0.0)


def test_a_label_without_a_box_is_left_out_of_the_mean() -> None:
    outputs, targets = some_images()
    targets[targets[..., 0] == 1, 0] = -1
    metrics = summarise_detection(count_detection(outputs, targets, 3, 0.0), LABELS)
    assert metrics.labels[1].ap50 is None
    assert metrics.labels[1].found > 0
    assert metrics.map50 == pytest.approx(((metrics.labels[0].ap50 or 0) + (metrics.labels[2].ap50 or 0)) / 2)


def test_each_true_box_is_taken_once_and_by_the_best_score() -> None:
    truths = np.array([[0.1, 0.1, 0.3, 0.3], [0.6, 0.6, 0.9, 0.9]], np.float32)
    boxes = np.array([truths[0], truths[0], truths[1]])
    every = (1 << len(IOU_THRESHOLDS)) - 1
    assert match(boxes, truths).tolist() == [every, 0, every]
    assert match(boxes, truths[:0]).tolist() == [0, 0, 0]


def test_overlap_is_symmetric_and_zero_of_nothing() -> None:
    random = np.random.default_rng(3)
    one, other = some_boxes(5, random), some_boxes(4, random)
    np.testing.assert_allclose(pairwise_iou(one, other), pairwise_iou(other, one).T)
    expected = [[slow_iou(a, b) for b in other] for a in one]
    np.testing.assert_allclose(pairwise_iou(one, other), expected, rtol=1e-6)
    assert pairwise_iou(np.zeros((1, 4)), np.zeros((1, 4))).tolist() == [[0.0]]


def test_what_does_not_fit_together_is_refused() -> None:
    outputs, targets = some_images(rows=4)
    with pytest.raises(ValueError, match="for 2 labels"):
        count_detection(outputs, targets, 2, 0.0)
    targets[0, 0, 0] = 3
    with pytest.raises(ValueError, match="a box of label 3"):
        count_detection(outputs, targets, 3, 0.0)
    with pytest.raises(ValueError, match="0 parts"):
        merge_detection([])
