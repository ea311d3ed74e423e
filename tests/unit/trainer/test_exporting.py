"""The exported graph is the trained model, and a graph that is not is refused."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from lehr.contracts.package import Signature
from lehr_runtime.predictor import Predictor
from lehr_runtime.session import open_session
from lehr_trainer import export
from lehr_trainer.errors import ExportParityError

MakeJob = Callable[..., Any]
Digits = tuple[np.ndarray, np.ndarray]
SIGNATURE = export.make_signature("image_classification", [28, 28], [str(label) for label in range(10)])


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A module and its graph; an export takes a second, so there is one for all tests."""
    torch.manual_seed(0)
    hidden = [nn.Flatten(), nn.Linear(784, 16), nn.ReLU(), nn.Dropout(0.2)]
    model = nn.Sequential(*hidden, nn.Linear(16, 10)).eval()
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    export.write_graph(model, path, input_shape=[28, 28])
    return model, path


@pytest.fixture
def model(pristine: tuple[Any, Path]) -> Any:
    """Each test's own, to be spoilt."""
    return copy.deepcopy(pristine[0])


@pytest.fixture
def graph(pristine: tuple[Any, Path]) -> Path:
    return pristine[1]


def _prove(model: Any, path: Path, digits: Digits) -> Any:
    return export.prove_parity(model, path, digits[0].copy(), SIGNATURE, threads=1)


def test_the_graph_takes_raw_pixels_of_any_batch_and_gives_probabilities(graph: Path) -> None:
    proto = onnx.load(graph)
    onnx.checker.check_model(proto, full_check=True)
    (opset,) = [entry.version for entry in proto.opset_import if entry.domain == ""]
    assert opset == export.OPSET
    x, probabilities = proto.graph.input[0], proto.graph.output[0]
    assert (x.name, x.type.tensor_type.elem_type) == ("x", onnx.TensorProto.UINT8)
    assert [side.dim_value or side.dim_param for side in x.type.tensor_type.shape.dim] == ["batch", 28, 28]
    assert (probabilities.name, len(proto.graph.output)) == ("probabilities", 1)
    assert proto.graph.node[-1].op_type == "Softmax"
    assert not list(graph.parent.glob("*.data")), "the package has one file for the graph"


def test_the_graph_says_nothing_of_the_place_where_it_was_exported(graph: Path) -> None:
    assert not re.findall(rb"[\w./-]*\.py\b", graph.read_bytes())


def test_the_exported_graph_is_proven_on_real_rows(model: Any, graph: Path, digits: Digits) -> None:
    parity = _prove(model, graph, digits)
    assert parity.rows == 2000
    assert parity.max_absolute_difference <= parity.tolerance == 1e-4
    assert parity.argmax_disagreements == 0


NORMED = """
from torch import nn

def build(input_shape, classes):
    return nn.Sequential(
        nn.Unflatten(1, (1, 28)), nn.Conv2d(1, 4, 5, stride=3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
        nn.Linear(256, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, classes),
    )
"""


def test_the_average_of_the_best_epoch_is_exported_with_its_statistics(
    make_job: MakeJob, digits: Digits
) -> None:
    job = make_job(
        model='name = "custom"\nfactory = "digit_model:build"\n',
        code=NORMED,
        rows=900,
        held_out=400,
        epochs=6,
        optimizer="muon",
        learning_rate=0.02,
        weight_decay=0.01,
        clip_norm=1.0,
        schedule="one_cycle",
        accumulate_steps=2,
        ema_decay=0.9,
        patience=2,
        monitor="validation_accuracy",
        precision="bfloat16",
    )
    assert job.run() == 0, job.failure
    summary = job.summary
    assert summary.parity.argmax_disagreements == 0
    session = open_session(job.root / "model/model.onnx", threads=1)
    signature = Signature.from_json((job.root / "model/signature.json").read_bytes())
    held_out, labels = digits[0][900:1300], digits[1][900:1300]
    right = Predictor(session, signature).predict(held_out).argmax(axis=1) == labels
    assert right.mean() == summary.figures().accuracy == max(r.validation_accuracy for r in summary.epochs)
    assert right.mean() > 0.8


def test_what_is_published_answers_as_the_job_says(make_job: MakeJob, digits: Digits) -> None:
    job = make_job(rows=900, held_out=400, epochs=4, learning_rate=0.005)
    assert job.run() == 0
    signature = Signature.from_json((job.root / "model/signature.json").read_bytes())
    assert signature == SIGNATURE
    predictor = Predictor(open_session(job.root / "model/model.onnx", threads=1), signature)
    x, y = digits
    accuracy = float((predictor.predict(x[900:1300]).argmax(1) == y[900:1300]).mean())
    assert accuracy == pytest.approx(job.summary.epochs[-1].validation_accuracy, abs=1e-9)
    assert job.summary.parity.rows == 1000


@pytest.mark.filterwarnings("ignore:Exporting a model while it is in training mode:UserWarning")
def test_a_graph_exported_with_its_dropout_on_is_refused(tmp_path: Path, model: Any, digits: Digits) -> None:
    path = tmp_path / "model.onnx"
    export.write_graph(model.train(), path, input_shape=[28, 28])
    assert "Dropout" in {node.op_type for node in onnx.load(path).graph.node}
    with pytest.raises(ExportParityError, match="has a Dropout as in training"):
        _prove(model, path, digits)


def test_a_batch_normalisation_left_in_training_is_refused(
    tmp_path: Path, model: Any, graph: Path, digits: Digits
) -> None:
    proto = onnx.load(graph)
    proto.graph.node[0].attribute.append(onnx.helper.make_attribute("training_mode", 1))
    onnx.save(proto, tmp_path / "spoilt.onnx")
    with pytest.raises(ExportParityError, match="as in training"):
        _prove(model, tmp_path / "spoilt.onnx", digits)


def test_a_graph_without_the_scaling_of_pixels_is_refused(
    tmp_path: Path, model: Any, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    with monkeypatch.context() as patch:
        patch.setattr(export, "scale_pixels", lambda x: x.to(torch.float32))
        export.write_graph(model, path, input_shape=[28, 28])
    with pytest.raises(ExportParityError, match="is not the trained model"):
        _prove(model, path, digits)


class _Transposed(nn.Module):  # type: ignore[misc]
    """The model with height and width exchanged: the shapes all fit, as those of 28x28 do."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Any) -> Any:
        return self.model(x.transpose(1, 2))


class _Swapped(_Transposed):
    """The model with two of its classes exchanged."""

    def forward(self, x: Any) -> Any:
        return self.model(x)[:, [0, 1, 2, 4, 3, 5, 6, 7, 8, 9]]


@pytest.mark.parametrize("wrong", [_Transposed, _Swapped])
def test_a_graph_of_a_wrong_axis_or_of_exchanged_classes_is_refused(
    tmp_path: Path, model: Any, digits: Digits, wrong: Any
) -> None:
    path = tmp_path / "model.onnx"
    export.write_graph(wrong(model).eval(), path, input_shape=[28, 28])
    with pytest.raises(ExportParityError, match=r"is not the trained model: .* [1-9]\d* labels differ"):
        _prove(model, path, digits)


def test_a_softmax_over_the_batch_is_refused(tmp_path: Path, model: Any, graph: Path, digits: Digits) -> None:
    """The logits are right, and so the answer of no row is."""
    proto = onnx.load(graph)
    proto.graph.node[-1].CopyFrom(
        onnx.helper.make_node("Softmax", list(proto.graph.node[-1].input), ["probabilities"], axis=0)
    )
    path = tmp_path / "spoilt.onnx"
    onnx.save(proto, path)
    with pytest.raises(
        ExportParityError, match=r"the exported graph cannot serve: .* no probability distribution"
    ):
        _prove(model, path, digits)


@pytest.mark.parametrize(("change", "is_refused"), [(0.0, False), (3e-5, False), (3e-4, True)])
def test_a_logit_may_be_off_by_the_tolerance_and_no_more(
    model: Any, graph: Path, digits: Digits, change: float, is_refused: bool
) -> None:
    with torch.no_grad():
        model[4].bias[3] += change
    if is_refused:
        with pytest.raises(ExportParityError):
            _prove(model, graph, digits)
    else:
        assert _prove(model, graph, digits).max_absolute_difference == pytest.approx(change, abs=2e-5)


def test_a_model_with_a_weight_that_is_no_number_is_refused(model: Any, graph: Path, digits: Digits) -> None:
    with torch.no_grad():
        model[1].weight[0, 300] = torch.nan
    with pytest.raises(ExportParityError, match="the trained model gives NaN or infinity on 2000 real rows"):
        _prove(model, graph, digits)


def test_a_graph_that_gives_what_is_no_number_is_refused(
    tmp_path: Path, model: Any, graph: Path, digits: Digits
) -> None:
    proto = onnx.load(graph)
    for weights in proto.graph.initializer:
        if weights.data_type == onnx.TensorProto.FLOAT and list(weights.dims) == [10]:
            weights.CopyFrom(onnx.numpy_helper.from_array(np.full(10, np.nan, np.float32), weights.name))
    path = tmp_path / "spoilt.onnx"
    onnx.save(proto, path)
    with pytest.raises(ExportParityError, match=r"the exported graph cannot serve: .* NaN or infinity"):
        _prove(model, path, digits)


def test_logits_pass_for_probabilities_nowhere(
    tmp_path: Path, model: Any, graph: Path, digits: Digits
) -> None:
    proto = onnx.load(graph)
    proto.graph.node[-1].CopyFrom(
        onnx.helper.make_node("Identity", [proto.graph.node[-1].input[0]], ["probabilities"])
    )
    path = tmp_path / "spoilt.onnx"
    onnx.save(proto, path)
    with pytest.raises(ExportParityError, match="not given by a softmax"):
        _prove(model, path, digits)


def test_a_label_that_flips_within_the_tolerance_is_no_disagreement() -> None:
    logits = np.array([[1.0, 1.00005], [1.0, 2.0]], np.float32)
    assert export._disagreements(logits, np.array([[0.6, 0.4], [0.1, 0.9]]), ties_within=2e-4) == 0
    assert export._disagreements(logits, np.array([[0.6, 0.4], [0.9, 0.1]]), ties_within=2e-4) == 1
    assert export._disagreements(logits, np.array([[0.6, 0.4], [0.1, 0.9]]), ties_within=1e-5) == 1


def test_a_violation_fails_the_job_with_its_numbers(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_graph = export.write_graph

    def write_another(model: Any, path: Path, **options: Any) -> None:
        another = copy.deepcopy(model)
        with torch.no_grad():
            another[-1].bias[0] += 0.5
        write_graph(another, path, **options)

    monkeypatch.setattr(export, "write_graph", write_another)
    job = make_job(epochs=1)
    assert job.run() == 1
    assert re.match(
        r"ExportParityError: the exported graph is not the trained model: on 700 rows the logits differ by up to "
        r"0\.5 \(tolerance 0\.0001\) and \d+ labels differ",
        job.failure,
    )
    assert not list((job.root / "model").iterdir())
