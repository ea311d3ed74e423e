"""Sessions and predictors: a graph that does not fit its signature never answers."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnxruntime import InferenceSession

from lehr.contracts.package import Signature, TensorSpec
from lehr.errors import ModelPackageError
from lehr_runtime.predictor import Predictor
from lehr_runtime.session import architecture_of, check_signature, open_session, threads_for_memory
from tests import tiny_models as models


def opened(folder: Path, model: onnx.ModelProto) -> InferenceSession:
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return open_session(folder / "model.onnx", threads=1)


@pytest.mark.parametrize(
    ("memory_mb", "threads"), [(128, 1), (1768, 1), (1769, 1), (3537, 1), (3538, 2), (10240, 5)]
)
def test_threads_follow_the_cpu_share_of_the_memory(memory_mb: int, threads: int) -> None:
    assert threads_for_memory(memory_mb) == threads


@pytest.mark.parametrize(
    ("machine", "flags", "architecture"),
    [
        ("x86_64", "fpu avx avx2 avx512f avx512bw", "x86_64-avx512"),
        ("x86_64", "fpu avx avx2", "x86_64-avx2"),
        ("x86_64", "fpu", "x86_64"),
        ("aarch64", "fp asimd", "aarch64"),
    ],
)
def test_an_architecture_says_for_which_registers_weights_are_laid_out(
    machine: str, flags: str, architecture: str, tmp_path: Path
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: none\n")
    assert architecture_of(machine, cpuinfo) == architecture
    assert architecture_of(machine, tmp_path / "absent") == machine


def test_probabilities_are_those_of_numpy(tmp_path: Path) -> None:
    weights = models.weights(3)
    predictor = Predictor(opened(tmp_path, models.graph(weights)), models.signature())
    x = np.random.default_rng(5).integers(0, 256, (7, 28, 28), dtype=np.uint8)
    logits = x.reshape(7, 784).astype(np.float64) @ weights.astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = predictor.predict(x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_no_rows_give_no_rows(tmp_path: Path) -> None:
    predictor = Predictor(opened(tmp_path, models.graph(models.weights())), models.signature())
    assert predictor.predict(np.zeros((0, 28, 28), np.uint8)).shape == (0, 10)


def test_a_session_does_not_spin_and_keeps_to_its_threads(tmp_path: Path) -> None:
    options = opened(tmp_path, models.graph(models.weights())).get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


@pytest.mark.parametrize("raw", [b"", b"not a model", b"\x08\x0a" * 100])
def test_a_file_that_is_no_graph_is_refused(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(raw)
    with pytest.raises(ModelPackageError, match=r"model\.onnx"):
        open_session(tmp_path / "model.onnx", threads=1)


def _with(spec: TensorSpec, **changes: object) -> TensorSpec:
    return msgspec.structs.replace(spec, **changes)


GOOD = models.signature()
MISFITS: dict[str, Signature] = {
    "another input name": msgspec.structs.replace(GOOD, input=_with(GOOD.input, name="images")),
    "another output name": msgspec.structs.replace(GOOD, output=_with(GOOD.output, name="logits")),
    "another input size": msgspec.structs.replace(GOOD, input=_with(GOOD.input, shape=[-1, 28, 32])),
    "another input rank": msgspec.structs.replace(GOOD, input=_with(GOOD.input, shape=[-1, 784])),
    "a free input size": msgspec.structs.replace(GOOD, input=_with(GOOD.input, shape=[-1, -1, 28])),
    "an input without a size": msgspec.structs.replace(GOOD, input=_with(GOOD.input, shape=[-1])),
    "a fixed batch": msgspec.structs.replace(GOOD, input=_with(GOOD.input, shape=[1, 28, 28])),
    "a float input": msgspec.structs.replace(GOOD, input=_with(GOOD.input, dtype="float32")),
    "a double output": msgspec.structs.replace(GOOD, output=_with(GOOD.output, dtype="float64")),
    "fewer labels": msgspec.structs.replace(GOOD, labels=GOOD.labels[:9]),
    "fewer labels and outputs": msgspec.structs.replace(
        GOOD, labels=GOOD.labels[:9], output=_with(GOOD.output, shape=[-1, 9])
    ),
}


@pytest.mark.parametrize("signature", MISFITS.values(), ids=MISFITS)
def test_a_graph_that_disagrees_with_its_signature_is_refused(signature: Signature, tmp_path: Path) -> None:
    session = opened(tmp_path, models.graph(models.weights()))
    check_signature(session, GOOD)
    with pytest.raises(ModelPackageError):
        check_signature(session, signature)


def test_a_graph_of_fixed_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelPackageError, match="batch is fixed"):
        check_signature(opened(tmp_path, models.graph(models.weights(), batch=1)), GOOD)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_answer_that_is_not_finite_is_refused(bad: float, tmp_path: Path) -> None:
    weights = models.weights()
    weights[0, 0] = bad
    predictor = Predictor(opened(tmp_path, models.graph(weights)), GOOD)
    x = np.zeros((3, 28, 28), np.uint8)
    x[1] = 255
    with pytest.raises(ModelPackageError, match="NaN or infinity"):
        predictor.predict(x)


def test_logits_are_no_probabilities(tmp_path: Path) -> None:
    predictor = Predictor(opened(tmp_path, models.graph(models.weights(), softmax=False)), GOOD)
    with pytest.raises(ModelPackageError, match="no probability distribution"):
        predictor.predict(np.full((2, 28, 28), 200, np.uint8))


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((1, 28, 28), np.float32),
        np.zeros((1, 28, 27), np.uint8),
        np.zeros((28, 28), np.uint8),
        np.zeros((1, 784), np.uint8),
    ],
)
def test_inputs_of_another_shape_or_type_are_refused(x: np.ndarray, tmp_path: Path) -> None:
    predictor = Predictor(opened(tmp_path, models.graph(models.weights())), GOOD)
    with pytest.raises(ValueError, match="the model takes"):
        predictor.predict(x)


def test_a_graph_that_gives_another_number_of_columns_is_refused() -> None:
    class Wide:
        def run(self, output_names: list[str], input_feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            return [np.zeros((1, 11), np.float32)]

    with pytest.raises(ModelPackageError, match="11"):
        Predictor(Wide(), GOOD).predict(np.zeros((1, 28, 28), np.uint8))


class Fixed:
    """A session that gives the same whatever it is asked."""

    def __init__(self, output: np.ndarray) -> None:
        self.output = output

    def run(self, output_names: list[str], input_feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [self.output]


@pytest.mark.parametrize("rows", [3, 100])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({0: np.nan}, "NaN or infinity for row 2"),
        ({9: np.nan}, "NaN or infinity for row 2"),
        ({0: np.inf}, "NaN or infinity for row 2"),
        ({3: np.inf, 4: -np.inf}, "NaN or infinity for row 2"),
        ({0: -0.2, 1: 0.4}, "no probability distribution"),
        ({0: 0.102}, "no probability distribution"),
        ({0: 0.1004}, ""),
    ],
)
def test_small_and_large_outputs_are_checked_alike(rows: int, values: dict[int, float], message: str) -> None:
    output = np.full((rows, 10), 0.1, np.float32)
    for column, value in values.items():
        output[2, column] = value
    predictor = Predictor(Fixed(output), GOOD)
    x = np.zeros((rows, 28, 28), np.uint8)
    if not message:
        assert predictor.predict(x) is output
        return
    with pytest.raises(ModelPackageError, match=message):
        predictor.predict(x)


def test_onnxruntime_has_what_the_short_way_into_it_needs(tmp_path: Path) -> None:
    """Private, and used in one place: where it is gone, predictions are as right and a little slower."""
    session = opened(tmp_path, models.graph(models.weights()))
    x = np.full((2, 28, 28), 200, np.uint8)
    feed = {GOOD.input.name: x}
    assert np.array_equal(
        session._sess.run([GOOD.output.name], feed, None)[0], session.run([GOOD.output.name], feed)[0]
    )
    assert np.array_equal(Predictor(session, GOOD).predict(x), session.run(None, feed)[0])
