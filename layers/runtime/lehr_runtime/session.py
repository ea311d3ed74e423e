"""ONNX Runtime sessions for one core of a function: few threads, no spinning, checked against the signature.

Sessions open from a path, never from bytes: from bytes a model is held twice, and one option of ONNX
Runtime 1.32 (session.use_ort_model_bytes_for_initializers) ends the process.
"""

from __future__ import annotations

import platform
from pathlib import Path

import onnxruntime as ort

from lehr.contracts.data_rules import SEGMENTATIONS
from lehr.contracts.detection_rules import DETECTIONS
from lehr.contracts.package import Signature, TensorSpec
from lehr.errors import ModelPackageError
from lehr_runtime.detection import CORNERS

# One vCPU per 1,769 MB: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
MEMORY_MB_PER_VCPU = 1769
# Weights from this size on are mapped from their file instead of parsed with the graph.
EXTERNAL_FROM_BYTES = 256
_TENSOR_TYPES = {
    "uint8": "tensor(uint8)",
    "int16": "tensor(int16)",
    "float32": "tensor(float)",
    "string": "tensor(string)",
}


def threads_for_memory(memory_mb: int) -> int:
    """Threads for the CPU share of a function of that memory: more only wait for one another."""
    return max(1, memory_mb // MEMORY_MB_PER_VCPU)


def open_session(path: Path, *, threads: int, is_optimised: bool = False) -> ort.InferenceSession:
    """Open the graph at `path`, and optimise it unless it is already.

    A ResNet-18 takes 150 ms to optimise and open, 6 ms to open optimised, with weights in a file that is mapped.
    Raises ModelPackageError if ONNX Runtime refuses it.
    """
    options = _options(threads)
    if is_optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return _open(path, options)


def save_optimised(path: Path, target: Path, *, data_name: str = "") -> None:
    """Write the graph at `path` to `target` as ONNX Runtime would run it here, with its weights.

    With a `data_name` they go into a file of that name beside it, from where they are mapped.

    What it writes is for this processor's architecture and this version. Raises ModelPackageError.
    """
    options = _options(1)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(target)
    if data_name:
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", data_name)
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_min_size_in_bytes", str(EXTERNAL_FROM_BYTES)
        )
    _open(path, options)


def runtime_of_this_process() -> tuple[str, str]:
    """The processor's architecture and the version of ONNX Runtime: what an optimised graph is good for."""
    return architecture_of(platform.machine(), Path("/proc/cpuinfo")), ort.__version__


def architecture_of(machine: str, cpuinfo: Path) -> str:
    """`machine`, and for x86_64 how wide its registers are.

    ONNX Runtime lays the weights of convolutions out in blocks of 16 with AVX-512 and of 8 without. A kernel that is
    given blocks of the other size reads past their end, which no comparison of answers would survive.
    """
    if machine != "x86_64" or not cpuinfo.exists():
        return machine
    with cpuinfo.open() as lines:
        flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return f"{machine}-avx512" if "avx512f" in flags else f"{machine}-avx2" if "avx2" in flags else machine


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


def _open(path: Path, options: ort.SessionOptions) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as fault:  # ONNX Runtime's errors share no base class of their own
        raise ModelPackageError(f"{path.name}: ONNX Runtime refuses it: {fault}") from fault


def check_signature(session: ort.InferenceSession, signature: Signature) -> None:
    """Raises ModelPackageError unless the graph takes and gives what the signature says.

    One input of free batch size, uint8 pixels, int16 samples, or the float32 numbers of a table with the text of its
    categories beside it; one float32 output of one value per label, or of one value; of one per label and pixel where
    pixels have labels; of a box and one value per label for each cell where boxes are found.
    """
    table = signature.of_table
    wanted = "float32" if table else "int16" if signature.of_sound else "uint8"
    if signature.input.dtype != wanted:
        raise ModelPackageError(f"the signature's input is {signature.input.dtype}, not {wanted}")
    smallest = 0 if table and table.categories else 1
    if len(signature.input.shape) < 2 or any(size < smallest for size in signature.input.shape[1:]):
        raise ModelPackageError(f"the signature's input has shape {signature.input.shape}")
    values = len(signature.labels) or (1 if table else 0)
    pixels = signature.input.shape[1:3] if signature.task in SEGMENTATIONS else []
    output = [-1, values, *pixels]
    if signature.task in DETECTIONS and len(signature.output.shape) == 3:
        output = [-1, max(1, signature.output.shape[1]), CORNERS + values]
    if signature.output.dtype != "float32" or signature.output.shape != output:
        raise ModelPackageError(
            f"the signature's output is {signature.output.dtype} {signature.output.shape}, "
            f"not one float32 for each of {len(signature.labels)} labels"
        )
    inputs = session.get_inputs()
    if table and table.categories:
        beside = [node for node in inputs if node.name != signature.input.name]
        inputs = [node for node in inputs if node.name == signature.input.name]
        _check_tensor("input", beside, table.categories)
    _check_tensor("input", inputs, signature.input)
    _check_tensor("output", session.get_outputs(), signature.output)


def _check_tensor(role: str, nodes: list[ort.NodeArg], spec: TensorSpec) -> None:
    """An output's size may be unknown to the graph: shape inference does not see through every operator."""
    if len(nodes) != 1:
        raise ModelPackageError(f"the graph has {len(nodes)} {role}s, the signature one")
    node = nodes[0]
    if node.name != spec.name:
        raise ModelPackageError(f"the graph's {role} is {node.name!r}, the signature's {spec.name!r}")
    if node.type != _TENSOR_TYPES.get(spec.dtype):
        raise ModelPackageError(f"the graph's {role} is {node.type}, the signature's {spec.dtype}")
    if spec.shape[0] != -1 or (node.shape and isinstance(node.shape[0], int)):
        raise ModelPackageError(f"the {role}'s batch is fixed: graph {node.shape}, signature {spec.shape}")
    known = [size if isinstance(size, int) else -1 for size in node.shape]
    fits = len(known) == len(spec.shape) and all(
        found == wanted or (found == -1 and role == "output")
        for found, wanted in zip(known[1:], spec.shape[1:], strict=True)
    )
    if not fits:
        raise ModelPackageError(f"the graph's {role} is {node.shape}, the signature's {spec.shape}")
