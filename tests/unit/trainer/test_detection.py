"""A detector from files to a decision, and its parts: assignment, loss, flips, and the graph that is proven."""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from lehr.contracts.detection import DetectionReport
from lehr.contracts.package import MODEL_FILE, Signature
from lehr.contracts.recipe_tables import Augment, Model
from lehr.contracts.training import TrainingSummary
from lehr.contracts.workflow import Judgement
from lehr_runtime.detection import pairwise_iou
from lehr_runtime.graphs import check_graph
from lehr_trainer import boxes, export, main
from lehr_trainer.augment import Augmentation
from lehr_trainer.box_export import make_box_signature
from lehr_trainer.data import Examples, load_examples
from lehr_trainer.errors import ExportParityError, JobInputError, ModelCodeError
from lehr_trainer.measuring import measure
from lehr_trainer.metrics import METRIC_DEFINITIONS, epoch_line
from lehr_trainer.models import build_model, importable
from lehr_trainer.targets import kind_of
from tests import tiny_boxes
from tests.whole_run import WholeRun

CPU = torch.device("cpu")
ENVIRON = {"LEHR_PROJECT": "scenes", "LEHR_RUN": "run-1", "LEHR_TRIAL": "0", "LEHR_THREADS": "1"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[WholeRun, Judgement]:
    """A training takes some seconds, so there is one for all tests."""
    run = WholeRun(tiny_boxes.RECIPE, tiny_boxes.files(), tmp_path_factory.mktemp("run"))
    return run, run.decide()


def targets_of(rows: int, seed: int = 0) -> torch.Tensor:
    """float32 [rows, 4, 5] with 0 to 4 boxes each, which may overlap."""
    random = np.random.default_rng(seed)
    targets = np.zeros((rows, 4, 5), np.float32)
    targets[..., 0] = -1
    for row, target in enumerate(targets):
        count = row % 5
        target[:count, 0] = random.integers(0, 3, count)
        target[:count, 1:3] = random.uniform(0, 0.6, (count, 2))
        target[:count, 3:] = random.uniform(0.02, 0.4, (count, 2))
    return torch.from_numpy(targets)


def maps_of(rows: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(rows, 7, 5, 6, generator=torch.Generator().manual_seed(seed))


# --- the whole


def test_a_detector_finds_what_it_was_shown_and_is_promoted(whole: tuple[WholeRun, Judgement]) -> None:
    run, judgement = whole
    assert judgement.verdict == "promote", judgement.reason
    assert judgement.map50 is not None
    assert judgement.map50 > 0.8
    assert judgement.accuracy is None
    figures = run.summary.figures()
    assert figures.accuracy is None
    assert figures.map50 == pytest.approx(judgement.map50, abs=0.2)
    assert run.summary.epochs[0].loss > 2 * run.summary.epochs[-1].loss
    assert run.summary.int8 is not None
    assert "float32" in run.summary.int8.reason


def test_the_metric_of_an_epoch_is_in_the_line_that_is_read(whole: tuple[WholeRun, Judgement]) -> None:
    last = whole[0].summary.epochs[-1]
    line = epoch_line(last, 6)
    (regex,) = [one["Regex"] for one in METRIC_DEFINITIONS if one["Name"] == "validation:map50"]
    assert re.findall(regex, line) == [f"{last.validation_map50:.4f}"]
    assert " accuracy=" not in line


def test_the_graph_is_proven_and_says_what_it_gives(whole: tuple[WholeRun, Judgement]) -> None:
    run, _ = whole
    parity = run.summary.parity
    assert parity.rows == 200
    assert parity.max_absolute_difference <= 1e-4
    signature = Signature.from_json((run.root / "model/signature.json").read_bytes())
    assert signature.output.shape == [-1, 64, 6]
    check_graph((run.root / "model" / MODEL_FILE).read_bytes(), place=MODEL_FILE)


def test_the_report_has_what_was_found_in_the_first_images(whole: tuple[WholeRun, Judgement]) -> None:
    run, judgement = whole
    (raw,) = [raw for key, raw in run.artifacts.objects.items() if key.endswith("/evaluation.json")]
    report = DetectionReport.from_json(raw)
    assert len(report.examples) == 6
    assert report.candidate.map50 == judgement.map50
    assert all(one.image.startswith(b"\x89PNG") for one in report.examples)
    for one in report.examples:
        for box in one.found:
            assert box.score is not None
            assert box.score >= 0.3
    found, truths = (sum(len(boxes) for boxes in both) for both in zip(*_drawn(report), strict=True))
    assert found >= truths / 2 > 0


def _drawn(report: DetectionReport) -> list[tuple[list[Any], list[Any]]]:
    return [(one.found, one.truth) for one in report.examples]


@pytest.mark.usefixtures("without_export")
def test_a_stopped_training_ends_with_the_bits_of_one_that_was_not(
    whole: tuple[WholeRun, Judgement], stop_after: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = whole
    environ = ENVIRON | {"LEHR_RUN": run.summary.run}
    shutil.copytree(run.root / "input", tmp_path / "input")
    assert main.run(tmp_path, stop_after(15), environ=environ) == 0
    assert not (tmp_path / "model").exists()
    assert main.run(tmp_path, environ=environ) == 0
    again = TrainingSummary.from_json((tmp_path / "model/training.json").read_bytes())
    assert again.weights_sha256 == run.summary.weights_sha256
    assert [one.validation_map50 for one in again.epochs] == [
        one.validation_map50 for one in run.summary.epochs
    ]


# --- assignment and loss


def slow_assignment(target: np.ndarray, height: int, width: int) -> list[int]:
    """For each cell the box that it answers for, or -1."""
    found = []
    for cell in range(height * width):
        x, y = (cell % width + 0.5) / width, (cell // width + 0.5) / height
        best, best_area = -1, np.inf
        for place, (label, left, top, across, down) in enumerate(target):
            if label < 0:
                continue
            dx, dy = abs(x - left - across / 2) * width, abs(y - top - down / 2) * height
            is_inside = left < x < left + across and top < y < top + down
            if ((is_inside and max(dx, dy) < 1.5) or max(dx, dy) <= 0.5) and across * down < best_area:
                best, best_area = place, across * down
        found.append(best)
    return found


def test_cells_answer_for_the_boxes_that_a_naive_loop_gives_them() -> None:
    targets = targets_of(40)
    which, is_positive = boxes.assign(targets, 5, 6)
    for row, target in enumerate(targets.double().numpy()):
        expected = slow_assignment(target, 5, 6)
        assert is_positive[row].tolist() == [place >= 0 for place in expected]
        assert [int(place) for place in which[row]] == [
            place if place >= 0 else int(which[row, cell]) for cell, place in enumerate(expected)
        ]


def test_every_box_that_no_other_hides_has_a_cell_however_small() -> None:
    targets = torch.zeros(30, 1, 5)
    targets[:, 0, 1:3] = torch.rand(30, 2, generator=torch.Generator().manual_seed(0)) * 0.99
    targets[:, 0, 3:] = 0.005
    assert bool(boxes.assign(targets, 5, 6)[1].any(1).all())


def test_the_loss_of_a_batch_is_the_mean_of_its_rows() -> None:
    maps, targets = maps_of(10), targets_of(10)
    alone = [boxes.detection(maps[row : row + 1], targets[row : row + 1]) for row in range(10)]
    assert float(boxes.detection(maps, targets)) == pytest.approx(float(torch.stack(alone).mean()), rel=1e-5)


def test_the_loss_is_that_of_its_formulas_cell_by_cell() -> None:
    maps, targets = maps_of(5), targets_of(5)
    expected = []
    for row in range(5):
        grid, target = maps[row].double().numpy(), targets[row].double().numpy()
        total, positives = 0.0, 0
        for cell, place in enumerate(slow_assignment(target, 5, 6)):
            dx, dy, across, down, *logits = grid[:, cell // 6, cell % 6]
            x, y = (cell % 6 + 0.5 + dx) / 6, (cell // 6 + 0.5 + dy) / 5
            half = np.exp(across) / 12, np.exp(down) / 10
            box = np.array([[x - half[0], y - half[1], x + half[0], y + half[1]]])
            quality = np.zeros(3)
            if place >= 0:
                label, left, top, width, height = target[place]
                truth = np.array([[left, top, left + width, top + height]])
                iou = float(pairwise_iou(box, truth)[0, 0])
                hull = np.prod(np.maximum(box, truth)[0, 2:] - np.minimum(box, truth)[0, :2])
                shared = np.prod(np.maximum(0, np.minimum(box, truth)[0, 2:] - np.maximum(box, truth)[0, :2]))
                union = np.prod(box[0, 2:] - box[0, :2]) + width * height - shared
                total += boxes.BOX_WEIGHT * (1 - (iou - (hull - union) / hull))
                positives += 1
                quality[int(label)] = iou
            score = 1 / (1 + np.exp(-np.array(logits)))
            entropy = -quality * np.log(score) - (1 - quality) * np.log(1 - score)
            total += float((np.abs(quality - score) ** 2 * entropy).sum())
        expected.append(total / max(1, positives))
    assert float(boxes.detection(maps, targets)) == pytest.approx(np.mean(expected), rel=1e-5)


def test_a_perfect_map_has_next_to_no_loss_and_a_gradient_reaches_every_output() -> None:
    maps = maps_of(20).requires_grad_()
    boxes.detection(maps, targets_of(20)).backward()
    assert maps.grad is not None
    assert bool((maps.grad.abs().sum((0, 2, 3)) > 0).all())
    targets = torch.tensor([[[1.0, 0.3, 0.4, 0.25, 0.2]]])
    perfect = torch.full((1, 7, 5, 6), -12.0)
    grid = torch.tensor([6.0, 5.0])
    away = (torch.tensor([0.425, 0.5]) - boxes.cell_centres(5, 6, device="cpu")) * grid
    perfect[0, :2] = away.T.reshape(2, 5, 6)
    perfect[0, 2:4] = torch.log(torch.tensor([0.25, 0.2]) * grid)[:, None, None]
    positive = boxes.assign(targets, 5, 6)[1].reshape(5, 6)
    perfect[0, 5][positive] = 12.0
    assert float(boxes.detection(perfect, targets)) < 1e-4


def test_a_row_without_boxes_learns_that_there_is_nothing() -> None:
    nothing = torch.full((2, 3, 5), 0.0)
    nothing[..., 0] = -1
    maps = maps_of(2).requires_grad_()
    boxes.detection(maps, nothing).backward()
    assert maps.grad is not None
    assert float(maps.grad[:, :4].abs().max()) == 0
    assert bool((maps.grad[:, 4:] > 0).all())


# --- augmentation, data and measures


def test_boxes_are_flipped_with_their_images() -> None:
    x, objects = tiny_boxes.scenes(60)
    targets = torch.full((60, 2, 5), 0.0)
    targets[..., 0] = -1
    for row, there in enumerate(objects):
        for place, (label, box) in enumerate(there):
            targets[row, place] = torch.tensor([label, *(side / 32 for side in box)])
    augmentation = Augmentation(Augment(horizontal_flip=True, brightness=0.05, contrast=0.1))
    draws = augmentation.draws(60, seed=1, epoch=0, device="cpu")
    pixels, moved = augmentation.pixels(torch.from_numpy(x), draws), augmentation.targets(targets, draws)
    changed = 0
    for image, before, after in zip(pixels, targets, moved, strict=True):
        for label, left, top, width, height in (after * 32).round().int().tolist():
            if label < 0:
                continue
            inside = image[top : top + height, left : left + width]
            assert float(inside.min()) > 0.5
        changed += int(not torch.equal(before, after))
    assert 10 < changed < 50


def test_light_changes_within_its_limits_and_leaves_the_other_draws_alone() -> None:
    x = torch.randint(60, 190, (50, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    augmentation = Augmentation(Augment(brightness=0.1, contrast=0.2))
    draws = augmentation.draws(50, seed=3, epoch=1, device="cpu")
    assert draws.shape == (50, 6)
    plain, lit = x / 255.0, augmentation.pixels(x, draws)
    shift = (lit.flatten(1).mean(1) - plain.flatten(1).mean(1)).abs()
    spread = lit.flatten(1).std(1) / plain.flatten(1).std(1)
    assert 0.05 < float(shift.max()) <= 0.1 + 1e-5
    assert 0.8 - 1e-4 <= float(spread.min()) < 0.9
    assert 1.1 < float(spread.max()) <= 1.2 + 1e-4


def test_targets_are_told_apart_in_one_place() -> None:
    assert kind_of(torch.zeros(3, dtype=torch.int64)) == "labels"
    assert kind_of(torch.zeros(3, 1)) == "values"
    assert kind_of(torch.zeros(3, 2, 5)) == "boxes"


def test_a_measure_of_boxes_is_its_loss_and_its_precision(whole: tuple[WholeRun, Judgement]) -> None:
    run, _ = whole
    paths = sorted((run.root / "input/data/validation").glob("*"))
    examples = load_examples(paths, input_shape=(32, 32), classes=2, device=CPU, max_boxes=3)
    assert isinstance(examples, Examples)
    model = build_model(
        Model(name="detector", channels=(8, 16)), input_shape=(32, 32), classes=2, code_folder=paths[0]
    )
    few, many = (measure(model, examples, rows=rows) for rows in (7, 512))
    streamed = load_examples(
        paths, input_shape=(32, 32), classes=2, device=CPU, max_boxes=3, residency="streamed"
    )
    assert not isinstance(streamed, Examples)
    assert measure(model, streamed, rows=512) == many
    assert few.loss == pytest.approx(many.loss, rel=1e-4)
    assert few.map50 == pytest.approx(many.map50, abs=1e-6)
    assert few.accuracy is None


def test_targets_of_another_shape_than_the_recipe_says_are_refused(whole: tuple[WholeRun, Judgement]) -> None:
    path = sorted((whole[0].root / "input/data/validation").glob("*"))[0]
    with pytest.raises(JobInputError, match=r"holds labels float32 \[\d+, 3, 5\]"):
        load_examples([path], input_shape=(32, 32), classes=2, device=CPU, max_boxes=4)
    with pytest.raises(JobInputError, match="has label 1 of 1 classes"):
        load_examples([path], input_shape=(32, 32), classes=1, device=CPU, max_boxes=3)


# --- the model and its graph


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path, Signature, np.ndarray]:
    torch.manual_seed(0)
    model = build_model(
        Model(name="detector", channels=(4, 8)), input_shape=(20, 24, 3), classes=3, code_folder=Path()
    )
    # Until it has learnt, every score is the same.
    torch.nn.init.normal_(model[-1].weight, std=0.5)
    model.eval()
    path = tmp_path_factory.mktemp("graph") / MODEL_FILE
    export.write_graph(model, path, input_shape=[20, 24, 3], finds_boxes=True)
    signature = make_box_signature(model, "object_detection", [20, 24, 3], ["a", "b", "c"], name="x")
    rows = np.random.default_rng(0).integers(0, 256, (40, 20, 24, 3), dtype=np.uint8)
    return model, path, signature, rows


def test_a_graph_gives_the_boxes_and_scores_of_the_module(graph: Any) -> None:
    model, path, signature, rows = graph
    parity = export.prove_parity(model, path, rows, signature, threads=1)
    assert signature.output.shape == [-1, 30, 7]
    assert 0 < parity.max_absolute_difference <= parity.tolerance


def _shifted_boxes(model: Any) -> None:
    with torch.no_grad():
        model[-1].bias[0] += 0.01


def _other_scores(model: Any) -> None:
    with torch.no_grad():
        model[-1].bias[5] += 0.001


@pytest.mark.parametrize("spoil", [_shifted_boxes, _other_scores])
def test_a_graph_that_is_not_the_module_is_refused(graph: Any, spoil: Callable[[Any], None]) -> None:
    model, path, signature, rows = graph
    other = copy.deepcopy(model)
    spoil(other)
    with pytest.raises(ExportParityError, match="boxes and logits differ"):
        export.prove_parity(other, path, rows, signature, threads=1)


def test_a_graph_whose_scores_are_no_sigmoid_is_refused(graph: Any, tmp_path: Path) -> None:
    model, path, signature, rows = graph
    proto = onnx.load(path)
    for node in proto.graph.node:
        if node.op_type == "Sigmoid":
            node.op_type = "Softplus"
    onnx.save(proto, tmp_path / MODEL_FILE)
    with pytest.raises(ExportParityError, match=r"no boxes and scores within 0 and 1|beside a sigmoid"):
        export.prove_parity(model, tmp_path / MODEL_FILE, rows, signature, threads=1)


OWN = """
import torch


def build(input_shape, classes):
    return torch.nn.Sequential(
        torch.nn.Unflatten(1, (1, 32)), torch.nn.Conv2d(1, {outputs}, 8, stride=8), torch.nn.Identity()
    )
"""


def test_a_projects_own_module_gives_maps_of_any_grid(tmp_path: Path) -> None:
    (tmp_path / "own_maps.py").write_text(OWN.format(outputs="4 + classes"))
    (tmp_path / "own_logits.py").write_text(OWN.format(outputs="classes"))
    with importable(tmp_path):
        built = build_model(
            Model(name="custom", factory="own_maps:build"),
            input_shape=(32, 32),
            classes=2,
            code_folder=tmp_path,
            finds_boxes=True,
        )
        assert built(torch.zeros(3, 32, 32)).shape == (3, 6, 4, 4)
        with pytest.raises(ModelCodeError, match=r"gives \[2, 2, 4, 4\].*\[2, 6, grid height, grid width\]"):
            build_model(
                Model(name="custom", factory="own_logits:build"),
                input_shape=(32, 32),
                classes=2,
                code_folder=tmp_path,
                finds_boxes=True,
            )


def test_an_image_that_cannot_be_halved_so_often_is_refused() -> None:
    with pytest.raises(JobInputError, match="cannot be halved 4 times"):
        build_model(
            Model(name="detector", channels=(4, 4, 4, 4)), input_shape=(12, 40), classes=2, code_folder=Path()
        )
