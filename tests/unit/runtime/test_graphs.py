"""A graph is looked through before it is opened: standard operators, no control flow, weights of its own package."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from lehr.errors import ModelPackageError
from lehr_runtime.graphs import check_graph
from lehr_runtime.session import save_optimised
from tests import tiny_models as models

GOOD = models.graph(models.weights()).SerializeToString()


def changed(change: str) -> onnx.ModelProto:
    """The good graph with one thing that is not allowed."""
    model = models.graph(models.weights())
    graph = model.graph
    body = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "body",
        [],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, None)],
    )
    if change == "a custom operator":
        graph.node.append(helper.make_node("Cast", ["x"], ["z"], domain="evil.example", to=1))
    elif change == "an operator of Python":
        graph.node.append(helper.make_node("PyOp", ["x"], ["z"], domain="ai.onnx.contrib"))
    elif change == "a fused operator":
        graph.node.append(helper.make_node("Gelu", ["f"], ["z"], domain="com.microsoft"))
    elif change == "a branch":
        graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=body, else_branch=body))
    elif change == "a loop":
        graph.node.append(helper.make_node("Loop", ["n", "c", "x"], ["z"], body=body))
    elif change == "a scan":
        graph.node.append(helper.make_node("Scan", ["x"], ["z"], body=body, num_scan_inputs=1))
    elif change == "a loop under the domain's long name":
        graph.node.append(helper.make_node("Loop", ["n", "c", "x"], ["z"], domain="ai.onnx"))
    elif change == "a graph in an attribute":
        graph.node[0].attribute.append(helper.make_attribute("g", body))
    elif change == "graphs in an attribute":
        graph.node[0].attribute.append(helper.make_attribute("g", [body]))
    elif change == "a function":
        function = helper.make_function(
            "local", "F", ["x"], ["y"], [helper.make_node("Identity", ["x"], ["y"])], []
        )
        model.functions.append(function)
    elif change == "sparse weights":
        values = numpy_helper.from_array(np.ones(1, np.float32), "s")
        indices = numpy_helper.from_array(np.zeros(1, np.int64), "i")
        graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [10]))
    else:
        location = {
            "weights outside": "/etc/passwd",
            "weights above": "../w",
            "weights elsewhere": "other",
            "weights in a constant": "../c",
            "weights nowhere": "",
        }[change]
        tensor = TensorProto(name="e", data_type=TensorProto.FLOAT, dims=[1])
        tensor.data_location = TensorProto.EXTERNAL
        if location:
            tensor.external_data.add(key="location", value=location)
        if change == "weights in a constant":
            graph.node.append(helper.make_node("Constant", [], ["k"], value=tensor))
        else:
            graph.initializer.append(tensor)
    return model


CHANGES = {
    "a custom operator": "'Cast' of 'evil.example'",
    "an operator of Python": "'PyOp' of 'ai.onnx.contrib'",
    "a fused operator": "'Gelu' of 'com.microsoft'",
    "a branch": "graph of its own|If is not allowed",
    "a loop": "graph of its own|Loop is not allowed",
    "a scan": "graph of its own|Scan is not allowed",
    "a loop under the domain's long name": "Loop is not allowed",
    "a graph in an attribute": "graph of its own",
    "graphs in an attribute": "graph of its own",
    "a function": "functions of its own",
    "sparse weights": "sparse",
    "weights outside": "/etc/passwd",
    "weights above": r"\.\./w",
    "weights elsewhere": "'other'",
    "weights in a constant": r"\.\./c",
    "weights nowhere": "nowhere",
}


def test_a_graph_of_standard_operators_is_allowed() -> None:
    check_graph(GOOD, place="g")
    check_graph(models.convolutional().SerializeToString(), place="g")


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_not_allowed_is_named(change: str) -> None:
    with pytest.raises(ModelPackageError, match=CHANGES[change]):
        check_graph(changed(change).SerializeToString(), place="g", files=["model.onnx.data"])


def test_an_optimised_graph_may_be_fused_and_nothing_else() -> None:
    check_graph(changed("a fused operator").SerializeToString(), place="g", is_optimised=True)
    for change in set(CHANGES) - {"a fused operator"}:
        with pytest.raises(ModelPackageError):
            check_graph(changed(change).SerializeToString(), place="g", is_optimised=True)


def test_weights_in_a_file_of_the_package_are_allowed(tmp_path: Path) -> None:
    raw = models.files(external=tmp_path)["model.onnx"]
    check_graph(raw, place="g", files=["model.onnx.data"])
    with pytest.raises(ModelPackageError, match=r"model\.onnx\.data"):
        check_graph(raw, place="g")


@pytest.mark.parametrize("model", [models.graph(models.weights()), models.convolutional()])
def test_what_the_optimiser_writes_is_allowed(model: onnx.ModelProto, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    save_optimised(tmp_path / "model.onnx", tmp_path / "s.onnx", data_name="s.onnx.data")
    raw = (tmp_path / "s.onnx").read_bytes()
    check_graph(raw, place="g", is_optimised=True, files=["s.onnx.data"])
    assert len(raw) < (tmp_path / "s.onnx.data").stat().st_size  # the weights went out


def test_a_second_graph_in_the_same_file_is_looked_through_too() -> None:
    """protobuf merges a field that comes twice."""
    bad = changed("a custom operator").SerializeToString()
    for raw in (GOOD + bad, bad + GOOD):
        assert onnx.load_from_string(raw)
        with pytest.raises(ModelPackageError, match="evil"):
            check_graph(raw, place="g")


def test_more_nodes_than_any_model_has_are_refused() -> None:
    node = helper.make_node("Identity", ["x"], ["y"]).SerializeToString()
    graph = b"".join([b"\x0a", bytes([len(node)]), node]) * 100_001
    size = len(graph)
    varint = bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14 & 0x7F | 0x80, size >> 21])
    with pytest.raises(ModelPackageError, match="100000 nodes"):
        check_graph(b"\x3a" + varint + graph, place="g")


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(GOOD)), st.binary(max_size=8), st.integers(0, 40))
def test_bytes_that_are_no_graph_are_refused_and_never_crash(at: int, noise: bytes, cut: int) -> None:
    raw = GOOD[: min(at, 300)] + noise + GOOD[min(at, 300) + cut :]
    with suppress(ModelPackageError):
        check_graph(raw, place="g")


@pytest.mark.parametrize(
    "raw", [b"\x3a", b"\x3a\xff", b"\x3a" + b"\xff" * 12, b"\x3a\x05ab", b"\x3b", b"\x38\x01"]
)
def test_bytes_of_no_message_are_refused(raw: bytes) -> None:
    with pytest.raises(ModelPackageError, match="not an ONNX graph"):
        check_graph(raw, place="g")
