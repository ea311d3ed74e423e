"""The bootstrap of mAP: each resample has the mAP of its images, and chance promotes as often as said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.rig.detectors import detectors
from lehr.contracts.comparison import REPLICATES
from lehr.contracts.detection import DetectionCounts, LabelDetections
from lehr_runtime import bootstrap as module
from lehr_runtime.bootstrap import row_ids, times
from lehr_runtime.detection import (
    IOU_THRESHOLDS,
    MATCHES,
    PLACES,
    SCORES,
    count_detection,
    merge_detection,
    summarise_detection,
)
from lehr_runtime.detection_bootstrap import AT_50, compare_maps, mean_average_precisions
from tests.unit.runtime.test_detection import LABELS, slow_ap, slow_objects, some_images


def repeated(counts: DetectionCounts, taken: np.ndarray) -> DetectionCounts:
    """The counts of a test in which each image really is there so many times, int [images]."""
    labels = []
    for one in counts.labels:
        found = taken[np.frombuffer(one.images, dtype=PLACES)]
        truths = np.repeat(
            np.frombuffer(one.truth_images, dtype=PLACES),
            taken[np.frombuffer(one.truth_images, dtype=PLACES)],
        )
        labels.append(
            LabelDetections(
                truths=len(truths),
                scores=np.repeat(np.frombuffer(one.scores, dtype=SCORES), found).tobytes(),
                matches=np.repeat(np.frombuffer(one.matches, dtype=MATCHES), found).tobytes(),
                images=np.repeat(np.frombuffer(one.images, dtype=PLACES), found).tobytes(),
                truth_images=truths.tobytes(),
            )
        )
    return DetectionCounts(rows=int(taken.sum()), labels=labels, seconds=0.0)


def test_each_image_once_gives_the_map_of_the_report() -> None:
    counts = count_detection(*some_images(), 3, 0.0)
    report = summarise_detection(counts, LABELS)
    once = np.ones((1, 40), np.uint8)
    assert mean_average_precisions(counts, once)[0] == pytest.approx(report.map50_95, abs=1e-12)
    assert mean_average_precisions(counts, once, AT_50)[0] == pytest.approx(report.map50, abs=1e-12)


def test_a_resample_has_the_map_of_its_images_by_the_definition() -> None:
    outputs, targets = some_images(rows=8)
    taken = np.random.default_rng(1).poisson(1, (2, 8)).astype(np.uint8)
    found = mean_average_precisions(count_detection(outputs, targets, 3, 0.0), taken)
    for row, image_times in zip(found, taken, strict=True):
        x, y = np.repeat(outputs, image_times, axis=0), np.repeat(targets, image_times, axis=0)
        objects = [slow_objects(output) for output in x]
        precisions = [
            [slow_ap(x, y, objects, label, float(iou)) for iou in IOU_THRESHOLDS] for label in range(3)
        ]
        there = [one for label in precisions for one in label if one is not None]
        assert row == pytest.approx(np.mean(there), abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 30), st.integers(0, 6), st.sampled_from([1, 3, 1000]))
def test_any_resample_is_the_test_of_which_it_is_a_resample(
    seed: int, images: int, boxes: int, steps: int
) -> None:
    """Scores of few steps have ties; labels and resamples without a box are among the cases."""
    random = np.random.default_rng(seed)
    counts, _ = detectors(random, images, 0.0, boxes=boxes)
    labels = [
        LabelDetections(
            truths=one.truths,
            scores=(np.ceil(np.frombuffer(one.scores, dtype=SCORES) * steps) / steps)
            .astype(SCORES)
            .tobytes(),
            matches=one.matches,
            images=one.images,
            truth_images=one.truth_images,
        )
        for one in counts.labels
    ]
    counts = DetectionCounts(rows=images, labels=labels, seconds=0.0)
    taken = random.poisson(1, (4, images)).astype(np.uint8)
    expected = [summarise_detection(repeated(counts, one.astype(int)), LABELS) for one in taken]
    np.testing.assert_allclose(
        mean_average_precisions(counts, taken), [one.map50_95 for one in expected], atol=1e-12
    )
    np.testing.assert_allclose(
        mean_average_precisions(counts, taken, AT_50), [one.map50 for one in expected], atol=1e-12
    )


def test_recalls_are_reached_where_the_report_has_them_reached() -> None:
    """Such as 57 of 100, which is a little less than the recall of 0.57 of the 101."""
    for truths in range(1, 201):
        places = np.arange(truths)
        one = LabelDetections(
            truths=truths,
            scores=np.linspace(0.9, 0.1, truths).astype(SCORES).tobytes(),
            matches=(places % 3 != 1).astype(MATCHES).tobytes(),
            images=places.astype(PLACES).tobytes(),
            truth_images=places.astype(PLACES).tobytes(),
        )
        counts = DetectionCounts(rows=truths, labels=[one], seconds=0.0)
        found = mean_average_precisions(counts, np.ones((1, truths), np.uint8), AT_50)
        assert found[0] == pytest.approx(summarise_detection(counts, ["x"]).map50, abs=1e-12), truths


def test_shards_and_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs, targets = some_images()
    worse = outputs.copy()
    worse[..., :4] += np.random.default_rng(2).normal(0, 0.02, worse[..., :4].shape).astype(np.float32)
    models = [
        [count_detection(x[rows], targets[rows], 3, 0.0) for rows in (slice(0, 9), slice(9, 40))]
        for x in (outputs, worse)
    ]
    own, other = (merge_detection(parts) for parts in models)
    ids = row_ids("a" * 64, 40)
    whole = compare_maps(ids, own, other, "mAP")
    assert (whole.method, whole.measure, whole.rows) == ("bootstrap", "mAP", 40)
    assert whole.gain > 0
    turned = [merge_detection(reversed(parts)) for parts in models]
    again = compare_maps(np.concatenate([ids[9:], ids[:9]]), turned[0], turned[1], "mAP")
    assert (again.p_gain, again.p_loss) == (whole.p_gain, whole.p_loss)
    assert again.gain_at_least == pytest.approx(whole.gain_at_least, abs=1e-12)
    monkeypatch.setattr(module, "_HELD", 300 * 1000)
    assert compare_maps(ids, own, other, "mAP") == whole
    redrawn = compare_maps(row_ids("b" * 64, 40), own, other, "mAP")
    assert redrawn.gain == whole.gain
    assert redrawn.gain_at_least != whole.gain_at_least


def test_the_bound_is_about_that_of_an_ordinary_bootstrap() -> None:
    candidate, champion = detectors(np.random.default_rng(3), 80, 0.5)
    random = np.random.default_rng(4)
    drawn = random.multinomial(80, np.full(80, 1 / 80), 1500).astype(np.uint8)
    gains = mean_average_precisions(candidate, drawn) - mean_average_precisions(champion, drawn)
    low, high = np.quantile(gains, [0.05, 0.95])
    found = compare_maps(row_ids("c" * 64, 80), candidate, champion, "mAP")
    assert found.gain_at_least == pytest.approx(low, abs=0.1 * (high - low))


def test_a_tie_is_no_gain_and_no_loss_and_neither_are_images_without_a_box() -> None:
    counts, _ = detectors(np.random.default_rng(5), 30, 0.0)
    nothing = LabelDetections(truths=0, scores=b"", matches=b"", images=b"", truth_images=b"")
    empty = DetectionCounts(rows=30, labels=[nothing] * 3, seconds=0.0)
    for one in (counts, empty):
        found = compare_maps(row_ids("d" * 64, 30), one, one, "mAP")
        assert (found.gain, found.p_gain, found.p_loss) == (0.0, 1.0, 1.0)


def test_counts_of_other_images_are_refused() -> None:
    counts, _ = detectors(np.random.default_rng(6), 3, 0.0)
    with pytest.raises(ValueError, match="2 images, counts of 3 and 3"):
        compare_maps(row_ids("e" * 64, 2), counts, counts, "mAP")


@pytest.mark.parametrize(
    ("most", "resamples"), [(10**9, 2000), (3000, 2000), (2250, 1500), (1000, REPLICATES), (0, REPLICATES)]
)
def test_the_more_there_is_the_fewer_resamples_but_never_too_few_for_a_level(
    monkeypatch: pytest.MonkeyPatch, most: int, resamples: int
) -> None:
    asked: list[range] = []

    def remembered(ids: np.ndarray, several: range) -> np.ndarray:
        asked.append(several)
        return times(ids, several)

    boxes = LabelDetections(
        truths=500,
        scores=np.linspace(0, 1, 1000).astype(SCORES).tobytes(),
        matches=np.array([1, 0] * 500, MATCHES).tobytes(),
        images=np.zeros(1000, PLACES).tobytes(),
        truth_images=np.zeros(500, PLACES).tobytes(),
    )
    # Of both models 3,000 values: each has a thousand boxes, of which five hundred are true ones at one threshold.
    counts = DetectionCounts(rows=1, labels=[boxes], seconds=0.0)
    monkeypatch.setattr(module, "times", remembered)
    monkeypatch.setattr(module, "MOST_VALUES", most)
    compare_maps(row_ids("f" * 64, 1), counts, counts, "mAP")
    assert sum(len(one) for one in asked) == resamples
    assert [one.start for one in asked] == [0, *(one.stop for one in asked[:-1])]


def promoted(gain: float, pairs: int, level: float = 0.05) -> float:
    """How many candidates whose boxes are true at so many more of the ten IoUs gain significantly on 60 images."""
    found = 0
    for pair in range(pairs):
        candidate, champion = detectors(np.random.default_rng(pair), 60, gain)
        ids = row_ids(f"{pair + 1:064d}", 60)
        found += compare_maps(ids, candidate, champion, "mAP").p_gain <= level
    return found / pairs


def test_detectors_that_are_no_better_are_seldom_taken_for_better_ones() -> None:
    assert promoted(0.0, 20) <= 0.2  # 5 % expected; above 20 % in one of four hundred
    assert promoted(-1.0, 3) == 0.0
    assert promoted(1.5, 3) == 1.0


@pytest.mark.slow
def test_of_equal_detectors_about_as_many_as_the_level_says_are_taken_for_better_ones() -> None:
    assert 0.02 <= promoted(0.0, 500) <= 0.08
