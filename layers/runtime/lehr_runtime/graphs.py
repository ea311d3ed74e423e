"""What a graph may consist of, read from its bytes before ONNX Runtime sees them.

A model is trained by code that nobody has reviewed, so its graph is looked through first: operators of the ONNX
standard only, which compute and do nothing else; no branches or loops, whose cost no shape bounds; no functions, which
can expand without end; weights in the graph or in files of its own package. A graph that ONNX Runtime has optimised
may have, besides, the fused operators that its optimiser makes.

The reader knows the few fields of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto) that this
takes, in the encoding of https://protobuf.dev/programming-guides/encoding/: the onnx package is 50 MB.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from lehr.errors import ModelPackageError

_STANDARD = {"", "ai.onnx", "ai.onnx.ml"}
_CONTROL_FLOW = {"If", "Loop", "Scan", "SequenceMap"}
# What the optimiser of ONNX Runtime 1.32 puts in the place of standard operators on a CPU.
_FUSED = {
    "com.microsoft": {
        "Attention",
        "BiasGelu",
        "BiasSoftmax",
        "ConvTransposeWithDynamicPads",
        "DequantizeLinear",
        "DynamicQuantizeLSTM",
        "DynamicQuantizeMatMul",
        "EmbedLayerNormalization",
        "FastGelu",
        "FusedConv",
        "FusedGemm",
        "FusedMatMul",
        "FusedMatMulActivation",
        "Gelu",
        "MatMulInteger16",
        "MatMulIntegerToFloat",
        "MatMulNBits",
        "MultiHeadAttention",
        "NhwcFusedConv",
        "NhwcMaxPool",
        "QAttention",
        "QGemm",
        "QLinearAdd",
        "QLinearAveragePool",
        "QLinearConcat",
        "QLinearConv",
        "QLinearGlobalAveragePool",
        "QLinearLeakyRelu",
        "QLinearMul",
        "QLinearReduceMean",
        "QLinearSigmoid",
        "QLinearSoftmax",
        "QLinearWhere",
        "QuantizeLinear",
        "QuickGelu",
        "SkipLayerNormalization",
        "SkipSimplifiedLayerNormalization",
        "TransposeMatMul",
    },
    "com.microsoft.nchwc": {
        "AveragePool",
        "Conv",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "MaxPool",
        "ReorderInput",
        "ReorderOutput",
        "Upsample",
    },
}
_MAX_NODES = 100_000
_EXTERNAL = 1

# Field numbers of onnx.proto.
_MODEL_GRAPH, _MODEL_FUNCTIONS = 7, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_OP_TYPE, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = {5, 10}, {6, 11}
_TENSOR_EXTERNAL_DATA, _TENSOR_LOCATION = 13, 14
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def check_graph(raw: bytes, *, place: str, is_optimised: bool = False, files: Collection[str] = ()) -> None:
    """Raises ModelPackageError, naming `place`, for a graph that may not be opened.

    `files` are those that its weights may lie in.
    """
    try:
        for field, _, value in _fields(memoryview(raw)):
            if field == _MODEL_FUNCTIONS:
                raise ModelPackageError(f"{place}: the graph has functions of its own")
            if field == _MODEL_GRAPH:
                _check_nodes(_message(value), place, is_optimised, files)
    except ValueError as fault:  # also of text that is not UTF-8
        raise ModelPackageError(f"{place}: not an ONNX graph: {fault}") from fault


def _check_nodes(graph: memoryview, place: str, is_optimised: bool, files: Collection[str]) -> None:
    nodes = 0
    for field, _, value in _fields(graph):
        if field == _GRAPH_NODE:
            nodes += 1
            if nodes > _MAX_NODES:
                raise ModelPackageError(f"{place}: more than {_MAX_NODES} nodes")
            _check_node(_message(value), place, is_optimised, files)
        elif field == _GRAPH_INITIALIZER:
            _check_tensor(_message(value), place, files)
        elif field == _GRAPH_SPARSE:
            raise ModelPackageError(f"{place}: the graph has sparse weights")


def _check_node(node: memoryview, place: str, is_optimised: bool, files: Collection[str]) -> None:
    operator = domain = ""
    for field, _, value in _fields(node):
        if field == _NODE_OP_TYPE:
            operator = _text(value)
        elif field == _NODE_DOMAIN:
            domain = _text(value)
        elif field == _NODE_ATTRIBUTE:
            _check_attribute(_message(value), place, files)
    if domain in _STANDARD:
        if operator in _CONTROL_FLOW:
            raise ModelPackageError(f"{place}: the operator {operator} is not allowed")
    elif not (is_optimised and operator in _FUSED.get(domain, ())):
        raise ModelPackageError(
            f"{place}: the operator {operator[:80]!r} of {domain[:80]!r} is not of the ONNX standard"
        )


def _check_attribute(attribute: memoryview, place: str, files: Collection[str]) -> None:
    for field, _, value in _fields(attribute):
        if field in _ATTRIBUTE_GRAPHS:
            raise ModelPackageError(f"{place}: a node has a graph of its own")
        if field in _ATTRIBUTE_TENSORS:
            _check_tensor(_message(value), place, files)


def _check_tensor(tensor: memoryview, place: str, files: Collection[str]) -> None:
    is_external, locations = False, []
    for field, _, value in _fields(tensor):
        if field == _TENSOR_LOCATION:
            is_external = value == _EXTERNAL
        elif field == _TENSOR_EXTERNAL_DATA:
            key = text = ""
            for part, _, inner in _fields(_message(value)):
                if part == _ENTRY_KEY:
                    key = _text(inner)
                elif part == _ENTRY_VALUE:
                    text = _text(inner)
            if key == "location":
                locations.append(text)
    if is_external and not locations:
        raise ModelPackageError(f"{place}: weights lie nowhere")
    for location in locations:
        if location not in files:
            raise ModelPackageError(
                f"{place}: weights lie in {location[:80]!r}, which is none of the package's"
            )


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message belongs")
    return value


def _text(value: int | memoryview) -> str:
    return str(_message(value), "utf-8")


def _fields(message: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Number, wire type and value of each field. Raises ValueError for what is no message."""
    position, end = 0, len(message)
    while position < end:
        tag, position = _varint(message, position)
        field, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            number, position = _varint(message, position)
            yield field, wire, number
            continue
        if wire == _LENGTH:
            size, position = _varint(message, position)
        elif wire == _FIXED64:
            size = 8
        elif wire == _FIXED32:
            size = 4
        else:
            raise ValueError(f"wire type {wire}")
        if field == 0 or size > end - position:
            raise ValueError("a field ends after its message")
        yield field, wire, message[position : position + size]
        position += size


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if position >= len(message) or shift > 63:
            raise ValueError("a number does not end")
        byte = message[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7
