"""The int8 graph is published only if it is as good and faster; either way the figures are."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from lehr.contracts.package import Signature
from lehr_runtime.graphs import check_graph
from lehr_runtime.predictor import Predictor
from lehr_runtime.session import open_session
from lehr_trainer import export, quantise
from lehr_trainer.quantise import int8_line, is_quantisable, publish_int8, time_one_row, verdict

MakeJob = Callable[..., Any]
Digits = tuple[np.ndarray, np.ndarray]
SIGNATURE = export.make_signature("image_classification", [28, 28], [str(label) for label in range(10)])


def _train(model: Any, x: np.ndarray, y: np.ndarray) -> Any:
    """A few updates, so that rows are not on the edge between two labels."""
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), 0.003)
    pixels, labels = torch.from_numpy(x.copy()).float() / 255, torch.from_numpy(y.astype(np.int64))
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(pixels), labels).backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> dict[str, bytes]:
    """A small network of products, and one of convolutions."""
    torch.manual_seed(0)
    networks = {
        "products": nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10)),
        "convolutions": nn.Sequential(
            nn.Unflatten(1, (1, 28)),
            nn.Conv2d(1, 8, 5, stride=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(288, 10),
        ),
    }
    folder, found = tmp_path_factory.mktemp("graphs"), {}
    for name, model in networks.items():
        export.write_graph(_train(model, *digits), folder / name, input_shape=[28, 28])
        found[name] = (folder / name).read_bytes()
    return found


@pytest.mark.parametrize("kind", ["products", "convolutions"])
def test_the_int8_graph_fits_its_signature_and_nearly_agrees(
    tmp_path: Path, graphs: dict[str, bytes], digits: Digits, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(quantise, "time_one_row", lambda *rest: [2e-5, 1e-5])
    monkeypatch.setattr(quantise, "MAX_ACCURACY_LOSS", 0.01)
    (tmp_path / "model.onnx").write_bytes(graphs[kind])
    x, y = digits
    int8 = publish_int8(tmp_path, x, y, x, SIGNATURE)
    assert (int8.is_published, int8.reason, int8.rows) == (True, "", 2000)
    path = tmp_path / "model.int8.onnx"
    check_graph(path.read_bytes(), place=path.name)
    assert int8.bytes == path.stat().st_size < len(graphs[kind])
    weights = onnx.load(path).graph.initializer
    assert any(one.data_type == onnx.TensorProto.INT8 for one in weights)
    answers = [
        Predictor(open_session(tmp_path / name, threads=1), SIGNATURE).predict(x)
        for name in ("model.onnx", "model.int8.onnx")
    ]
    assert (answers[0].argmax(1) == answers[1].argmax(1)).mean() > 0.98
    assert np.abs(answers[0] - answers[1]).max() > 0, "it is another graph"
    assert (int8.float32_accuracy, int8.int8_accuracy) == tuple(
        float((answer.argmax(1) == y).mean()) for answer in answers
    )


@pytest.mark.parametrize("kind", ["products", "convolutions"])
def test_the_answer_of_a_row_does_not_depend_on_the_rows_beside_it(
    tmp_path: Path, graphs: dict[str, bytes], digits: Digits, kind: str
) -> None:
    quantise.write_int8(onnx.load_from_string(graphs[kind]), tmp_path / "int8.onnx", digits[0][:256])
    predictor = Predictor(open_session(tmp_path / "int8.onnx", threads=1), SIGNATURE)
    together = predictor.predict(digits[0][:50])
    alone = np.concatenate([predictor.predict(row[None]) for row in digits[0][:50]])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_the_same_graph_is_quantised_to_the_same_bytes(
    tmp_path: Path, graphs: dict[str, bytes], digits: Digits
) -> None:
    for kind in ("products", "convolutions"):
        first, second = (tmp_path / f"{kind}-{number}" for number in (1, 2))
        for path in (first, second):
            quantise.write_int8(onnx.load_from_string(graphs[kind]), path, digits[0][:50])
        assert first.read_bytes() == second.read_bytes()


def test_one_that_spoils_the_weights_is_refused(
    tmp_path: Path, graphs: dict[str, bytes], digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control of the gate on accuracy: a quantiser that forgets a scale."""
    write_int8 = quantise.write_int8

    def spoil(graph: Any, path: Path, *rest: Any) -> None:
        write_int8(graph, path, *rest)
        proto = onnx.load(path)
        for weights in proto.graph.initializer:
            if weights.data_type == onnx.TensorProto.INT8 and len(weights.dims) > 1:
                values = numpy_helper.to_array(weights)
                weights.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values[::-1]), weights.name))
        onnx.save(proto, path)

    monkeypatch.setattr(quantise, "write_int8", spoil)
    monkeypatch.setattr(quantise, "time_one_row", lambda *rest: [2e-5, 1e-5])
    (tmp_path / "model.onnx").write_bytes(graphs["products"])
    int8 = publish_int8(tmp_path, *digits, digits[0], SIGNATURE)
    assert not int8.is_published
    assert "percentage points of accuracy, more than 0.1" in int8.reason
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_one_that_is_slower_is_refused(
    tmp_path: Path, graphs: dict[str, bytes], digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantise, "time_one_row", lambda *rest: [1e-5, 1.5e-5])
    monkeypatch.setattr(quantise, "MAX_ACCURACY_LOSS", 1.0)
    (tmp_path / "model.onnx").write_bytes(graphs["products"])
    int8 = publish_int8(tmp_path, *digits, digits[0], SIGNATURE)
    assert int8.reason == "it is not faster: one row takes 15.0 us, float32 10.0"
    assert not (tmp_path / "model.int8.onnx").exists()
    assert "not published: it is not faster" in int8_line(int8)


@pytest.mark.parametrize(("seconds", "judged"), [(0.001, 2000), (0.004, 1250), (1.0, 1000)])
def test_a_slow_model_is_judged_by_fewer_rows(
    tmp_path: Path,
    graphs: dict[str, bytes],
    digits: Digits,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    judged: int,
) -> None:
    monkeypatch.setattr(quantise, "time_one_row", lambda *rest: [seconds, seconds])
    (tmp_path / "model.onnx").write_bytes(graphs["products"])
    assert publish_int8(tmp_path, *digits, digits[0], SIGNATURE).rows == judged


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ((0.980, 0.980, 2.0, 1.0), ""),
        ((0.980, 0.979, 2.0, 1.0), ""),
        ((0.980, 0.990, 2.0, 1.0), ""),
        ((0.980, 0.9789, 2.0, 1.0), "loses 0.11 percentage points"),
        ((0.980, 0.980, 1.0, 1.0), "not faster"),
        ((0.980, math.nan, 2.0, 1.0), "loses nan"),
        ((0.980, 0.980, 2.0, math.nan), "not faster"),
    ],
)
def test_what_is_worth_having(figures: tuple[float, float, float, float], words: str) -> None:
    found = verdict(*figures)
    assert words in found
    assert bool(words) == bool(found)


def test_graphs_are_timed_turn_about() -> None:
    turns: list[str] = []

    class Slow:
        def __init__(self, name: str, rows: int) -> None:
            self.name, self.rows = name, rows

        def predict(self, x: np.ndarray) -> np.ndarray:
            turns.append(self.name)
            sum(range(self.rows))
            return x

    slow, fast = time_one_row([Slow("slow", 20_000), Slow("fast", 10)], np.zeros((3, 2)))  # type: ignore[list-item]
    assert slow > fast
    assert turns == ["slow", "fast"] * quantise._TIMED_RUNS


def test_a_graph_without_products_has_nothing_to_quantise(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, 2])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [value])
    model = helper.make_model(graph)
    assert not is_quantisable(model)
    onnx.save(model, tmp_path / "model.onnx")
    nothing = np.zeros((1, 2), np.uint8)
    int8 = publish_int8(tmp_path, nothing, nothing[:, 0], nothing, SIGNATURE)
    assert int8_line(int8) == "no int8 graph: the graph has neither convolutions nor products of matrices"


def test_a_quantiser_that_fails_fails_no_training(
    tmp_path: Path, graphs: dict[str, bytes], digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(graph: Any, path: Path, *rest: Any) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("no such\noperator")

    monkeypatch.setattr(quantise, "write_int8", fail)
    (tmp_path / "model.onnx").write_bytes(graphs["products"])
    int8 = publish_int8(tmp_path, *digits, digits[0], SIGNATURE)
    assert int8.reason == "cannot be made: no such operator"
    assert not (tmp_path / "model.int8.onnx").exists()


@pytest.mark.parametrize("is_faster", [True, False])
def test_a_recipe_that_asks_for_int8_gets_it_where_it_is_worth_having(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_faster: bool
) -> None:
    monkeypatch.setattr(quantise, "time_one_row", lambda *rest: [2e-5, 1e-5 if is_faster else 3e-5])
    monkeypatch.setattr(quantise, "MAX_ACCURACY_LOSS", 0.05)
    job = make_job(model='name = "mlp"\nhidden = [16]\n[serving]\nprecision = "int8"\n', epochs=1)
    assert job.run() == 0, job.failure
    signature = Signature.from_json((job.root / "model/signature.json").read_bytes())
    assert signature.graph == ("model.int8.onnx" if is_faster else "model.onnx")
    assert (job.root / signature.graph).name in {path.name for path in (job.root / "model").iterdir()}
    assert (job.root / "model/model.int8.onnx").exists() is is_faster
    assert job.summary.int8.is_published is is_faster
    assert ("the float32 graph answers" in capsys.readouterr().out) is not is_faster
