"""Candidate and champion, slice by slice, in every task: from shards to a decision."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss, mean_squared_error, roc_auc_score

from functions.evaluate_shard import timing
from functions.evaluate_shard.timing import time_models
from lehr.contracts.detection import DetectionReport
from lehr.contracts.evaluation import EvaluationReport
from lehr.contracts.regression import RegressionReport
from lehr.contracts.segmentation import SegmentationReport
from lehr_runtime.packages import LoadedModel
from lehr_runtime.tables import Table
from tests import tiny_boxes, tiny_masks, tiny_tables
from tests.evaluated import Evaluated, model
from tests.unit.functions.test_detections import ANSWERS
from tests.unit.functions.test_detections import SIGNATURE as BOXES

ROWS = 600
LABELS = ["no", "yes"]
CLASSIFICATION = """
[project]
name = "flights"
task = "tabular_classification"
[data]
format = "csv"
files = ["*.csv"]
target = "price"
labels = ["no", "yes"]
[evaluation.slices]
hour = [6, 12]
class = ["best"]
price = "each"
[gate]
max_ece = 0.5
min_class_recall = 0.5
max_package_mb = 10
max_latency_ms = 1000
max_latency_ratio = 1000
[gate.slices]
hour = 0.5
"""
REGRESSION = (
    CLASSIFICATION.replace("tabular_classification", "tabular_regression")
    .replace('labels = ["no", "yes"]\n', "")
    .replace('price = "each"', "price = [0]")
    .replace("max_ece = 0.5\nmin_class_recall = 0.5", "max_rmse = 5")
    .replace("hour = 0.5", "hour = 5")
    .replace("[evaluation", '[training]\nloss = "mse"\n[evaluation')
)


def rows(seed: int = 0) -> tuple[Table, np.ndarray]:
    """km tells the label, but for noise; hours are any, and a few are missing."""
    random = np.random.default_rng(seed)
    numbers = np.stack([random.normal(0, 1, ROWS), random.integers(0, 24, ROWS)], axis=1).astype(np.float32)
    numbers[:5, 1] = np.nan
    classes = random.choice(["best", "worst", ""], ROWS).astype(object)[:, None]
    return Table(numbers, classes), random.normal(0, 1, ROWS)


def classifier(version: str, noise: float, *, fails_at_night: bool = False) -> LoadedModel:
    """Probability of "yes" by km, worse with more noise, which is a function of the row."""

    def answer(feed: dict[str, np.ndarray]) -> np.ndarray:
        km, hour = feed["x"].astype(np.float64).T
        z = 2 * (km + noise * np.sin(1e4 * km))
        z = np.where(fails_at_night & (hour < 6), -z, z)
        yes = 1 / (1 + np.exp(-z))
        return np.stack([1 - yes, yes], axis=1).astype(np.float32)

    return model(version, tiny_tables.signature(LABELS, has_categories=True), answer)


def regressor(version: str, noise: float) -> LoadedModel:
    def answer(feed: dict[str, np.ndarray]) -> np.ndarray:
        km = feed["x"].astype(np.float64)[:, :1]
        return (km + noise * np.sin(1e4 * km)).astype(np.float32)

    return model(version, tiny_tables.signature([], has_categories=True), answer)


def classified(
    candidate: LoadedModel, champion: LoadedModel | None, ends: tuple[int, ...] = (100, 350, ROWS)
) -> Evaluated:
    x, noise = rows()
    y = (x.numbers[:, 0] + 0.3 * noise > 0).astype(np.uint8)
    return Evaluated(CLASSIFICATION, candidate, champion, x, y, ends)


def test_a_better_classification_is_promoted_and_every_slice_is_told() -> None:
    done = classified(classifier("new", 0.1), classifier("old", 1.0))
    report: EvaluationReport = done.report(EvaluationReport)
    decision = done.decision()
    assert decision.verdict == "promote", decision.reason
    assert len(decision.rules) == 12
    found = {(one.by, one.value): one for one in report.slices}
    assert list(found) == [
        *(("hour", name) for name in ("< 6", "6 to 12", ">= 12", "(missing)")),
        *(("class", name) for name in ("best", "(other)", "(missing)")),
        *(("price", name) for name in LABELS),
    ]
    for by in ("hour", "class", "price"):
        assert sum(one.rows for one in report.slices if one.by == by) == ROWS
    x, noise = rows()
    y = (x.numbers[:, 0] + 0.3 * noise > 0).astype(np.uint8)
    inside = x.numbers[:, 1] >= 12
    for version, told in (
        ("new", found["hour", ">= 12"].candidate),
        ("old", found["hour", ">= 12"].champion),
    ):
        probabilities = done.models[version].predictor.predict(x[inside])
        given = probabilities.argmax(axis=1)
        assert told is not None
        expected = {
            "accuracy": accuracy_score(y[inside], given),
            "macro F1": f1_score(y[inside], given, average="macro"),
            "log loss": log_loss(y[inside], probabilities),
        }
        assert told == pytest.approx(expected, rel=1e-5)
    assert report.candidate.ranking is not None
    area = roc_auc_score(y, done.models["new"].predictor.predict(x)[:, 1])
    assert report.candidate.ranking.roc_auc == pytest.approx(area, abs=report.candidate.ranking.roc_auc_error)
    assert report.comparison is not None
    assert report.paired is not None
    assert report.comparison.only_candidate == report.paired.only_candidate
    assert report.candidate_serving is not None
    assert report.candidate_serving.package_bytes == 3_000_000
    assert report.candidate_serving.median_ms <= report.candidate_serving.p99_ms


def untimed(report: msgspec.Struct) -> dict[str, Any]:
    """All figures but those of time."""
    told: dict[str, Any] = msgspec.to_builtins(report)
    for name in ("candidate_serving", "champion_serving"):
        told.pop(name)
    for name in ("candidate", "champion"):
        told[name].pop("rows_per_second")
    return told


def test_one_shard_gives_what_three_give() -> None:
    three, one = (
        classified(classifier("new", 0.1), classifier("old", 1.0), ends).report(EvaluationReport)
        for ends in ((100, 350, ROWS), (ROWS,))
    )
    for left, right in zip(_leaves(untimed(three)), _leaves(untimed(one)), strict=True):
        assert left == (pytest.approx(right, rel=1e-9) if isinstance(right, float) else right)


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for key in sorted(value) for leaf in _leaves(value[key])]
    return [leaf for one in value for leaf in _leaves(one)] if isinstance(value, list) else [value]


def test_a_planted_loss_in_one_slice_is_caught_although_the_whole_is_better() -> None:
    done = classified(classifier("new", 0.0, fails_at_night=True), classifier("old", 2.5))
    report, decision = done.report(EvaluationReport), done.decision()
    assert report.candidate.accuracy > report.champion.accuracy
    failed = [rule for rule in decision.rules if not rule.passed]
    assert [rule.rule for rule in failed] == ["no slice significantly worse", "every slice of hour"]
    assert failed[0].observed.endswith("hour < 6")
    unplanted = classified(classifier("new", 0.0), classifier("old", 2.5)).decision()
    assert unplanted.verdict == "promote", unplanted.reason


def test_equals_and_worse_models_are_not_promoted() -> None:
    for noise in (1.0, 2.0):
        assert classified(classifier("new", noise), classifier("old", 1.0)).judgement.verdict == "reject"


def test_a_first_classification_has_slices_and_times_but_nothing_to_compare() -> None:
    report = classified(classifier("new", 0.1), None).report(EvaluationReport)
    assert (report.comparison, report.champion_serving) == (None, None)
    assert {(one.champion, one.p_loss) for one in report.slices} == {(None, None)}
    assert report.candidate_serving.predictions >= 3


@pytest.mark.parametrize(("noise", "verdict"), [(0.1, "promote"), (1.0, "reject"), (1.1, "reject")])
def test_a_regression_is_compared_by_the_errors_on_the_same_rows(noise: float, verdict: str) -> None:
    x, spread = rows()
    y = (x.numbers[:, 0] + 0.3 * spread).astype(np.float32)
    done = Evaluated(REGRESSION, regressor("new", noise), regressor("old", 1.0), x, y, (200, ROWS))
    report: RegressionReport = done.report(RegressionReport)
    assert done.judgement.verdict == verdict, done.judgement.reason
    assert report.comparison is not None
    assert report.champion is not None
    assert report.comparison.gain == pytest.approx(report.champion.rmse - report.candidate.rmse)
    inside = y >= 0
    (told,) = (one for one in report.slices if (one.by, one.value) == ("price", ">= 0"))
    peer = done.models["new"].predictor.predict(x[inside])[:, 0]
    assert told.candidate["RMSE"] == pytest.approx(mean_squared_error(y[inside], peer) ** 0.5, rel=1e-6)
    assert told.rows == inside.sum()
    assert [rule.passed for rule in done.decision().rules if rule.rule.startswith("every slice")] == [True]


MASKS = """
[project]
name = "scenes"
task = "image_segmentation"
[data]
format = "masks"
files = ["images/*"]
masks = ["masks/*"]
image_size = [8, 6]
channels = 1
labels = ["dark", "grey", "light"]
[model]
name = "unet"
channels = [4]
[evaluation.slices]
brightness = [128]
[gate]
min_test_rows = 40
min_class_iou = 0.5
[gate.slices]
brightness = 0.5
"""


def masker(version: str, grey_from: float) -> LoadedModel:
    def answer(feed: dict[str, np.ndarray]) -> np.ndarray:
        labels = tiny_masks.labels_of(feed["x"], grey_from, 170.5)
        return np.moveaxis(np.eye(3, dtype=np.float32)[labels], -1, 1)

    return model(version, tiny_masks.signature(), answer)


def test_a_segmentation_is_compared_image_by_image() -> None:
    x = np.random.default_rng(3).integers(0, 256, (60, *tiny_masks.SHAPE), dtype=np.uint8)
    y = tiny_masks.labels_of(x)
    done = Evaluated(MASKS, masker("new", 80.5), masker("old", 60.5), x, y, (25, 60))
    report: SegmentationReport = done.report(SegmentationReport)
    assert done.judgement.verdict == "promote", done.judgement.reason
    assert report.comparison is not None
    assert report.comparison.p_gain < 0.01
    assert [one.value for one in report.slices] == ["< 128", ">= 128"]
    assert sum(one.rows for one in report.slices) == 60
    for one in report.slices:
        assert one.champion is not None
        assert one.candidate["mean IoU"] > one.champion["mean IoU"]
    back = Evaluated(MASKS, masker("new", 60.5), masker("old", 80.5), x, y, (25, 60))
    assert [rule.passed for rule in back.decision().rules if "slice" in rule.rule] == [False, True]


def finder(version: str, bar: float) -> LoadedModel:
    """Finds the bar where an image is light, and with score `bar` where it is dark."""

    def answer(feed: dict[str, np.ndarray]) -> np.ndarray:
        answers = np.repeat(ANSWERS[None], len(feed["x"]), axis=0)
        answers[feed["x"][:, 0, 0] < 128, 0, 4] = bar
        answers[feed["x"][:, 0, 0] < 128, 2, 4] = 0
        return answers

    return model(version, BOXES, answer)


def test_boxes_are_compared_image_by_image() -> None:
    x = np.zeros((120, *BOXES.input.shape[1:]), np.uint8)
    x[60:] = 200
    y = np.zeros((120, 3, 5), np.float32)
    y[..., 0] = -1
    y[:, 0] = [0, 0.25, 0.5, 0.5, 0.25]
    recipe = tiny_boxes.RECIPE + "\n[evaluation.slices]\nbrightness = [128]\nobjects = [1]\n"
    seeing, blind = finder("new", 0.9), finder("old", 0.0)
    done = Evaluated(recipe, seeing, blind, x, y, (50, 120))
    report: DetectionReport = done.report(DetectionReport)
    assert done.judgement.verdict == "promote", done.judgement.reason
    assert report.comparison is not None
    assert report.comparison.measure == "mAP"
    assert report.champion is not None
    assert report.comparison.gain == pytest.approx(report.candidate.map50_95 - report.champion.map50_95)
    assert "paired bootstrap of mAP" in "".join(rule.observed for rule in done.decision().rules)
    assert {(one.by, one.value): one.rows for one in report.slices} == {
        ("brightness", "< 128"): 60,
        ("brightness", ">= 128"): 60,
        ("objects", ">= 1"): 120,
    }
    dark, light, _ = report.slices
    assert dark.champion is not None
    assert (dark.candidate["mAP at IoU 0.5"], dark.champion["mAP at IoU 0.5"]) == (1.0, 0.0)
    assert dark.p_loss == 1.0
    assert light.candidate == light.champion
    back = Evaluated(recipe, finder("new", 0.0), finder("old", 0.9), x, y, (50, 120))
    assert "no slice significantly worse" in back.judgement.reason


# --- time


def test_models_take_turns_and_a_slow_one_ends_the_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    clock = iter(float(n) for n in range(10_000))
    monkeypatch.setattr(timing, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(timing, "MAX_SECONDS", 20.0)
    x, _ = rows()
    models: list[Any] = []
    for name in ("new", "old"):
        one = classifier(name, 0.1)

        def predict(rows: Table, name: str = name, one: LoadedModel = one) -> np.ndarray:
            asked.append(name)
            assert len(rows) == 1
            return one.predictor.predict(rows)

        models.append(
            type(
                "Model",
                (),
                {"predictor": type("P", (), {"predict": staticmethod(predict)}), "package": one.package},
            )
        )
    timings = time_models(models, x)
    turns = asked[2 * timing.WARM_UP :]
    assert turns[:4] == ["old", "new", "new", "old"]
    assert [one.milliseconds for one in timings] == [[1000.0] * (len(turns) // 2)] * 2
    assert 3 <= len(turns) // 2 <= 6
