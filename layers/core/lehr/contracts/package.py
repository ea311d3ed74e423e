"""The model package: what is published under models/<project>/<version>/ and served."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, UnsetType

from lehr.contracts.document import Document, Part
from lehr.contracts.tables import Column

MODEL_FILE = "model.onnx"
INT8_FILE = "model.int8.onnx"
SIGNATURE_FILE = "signature.json"
TRAINING_FILE = "training.json"
LINEAGE_FILE = "lineage.json"
PACKAGE_FILE = "package.json"
CARD_FILE = "card.md"
GOLDEN_FILE = "golden.safetensors"
WEIGHTS_FILE = "weights.safetensors"
REFERENCE_FILE = "reference.json"
TRAINED_FILES = (MODEL_FILE, SIGNATURE_FILE, TRAINING_FILE)
# What a training may leave besides; an older trainer, as in an image of one's own, writes no weights.
OPTIONAL_FILES = (INT8_FILE, WEIGHTS_FILE)


def serving_file(architecture: str, onnxruntime: str) -> str:
    """The name of model.onnx optimised for an architecture (`lehr_runtime.session`) and a version of ONNX Runtime.

    So package.json itself says where it may be opened. Its weights lie beside it, in a file of this name and `.data`.
    """
    return f"serving.{architecture}.{onnxruntime}.onnx"


class TensorSpec(Part, frozen=True, kw_only=True):
    """Name, numpy dtype name and shape of a tensor; -1 stands for the batch dimension."""

    name: str
    dtype: str
    shape: list[int]


class TableSignature(Part, frozen=True, kw_only=True):
    """What a row of a table consists of: its columns in order, and the cells that stand for a missing value.

    The graph takes the numbers as `input`, in the order of their columns and NaN for a missing one, and the
    categories as text, "" for a missing one; None: there are none. `target` is the name of what is predicted.
    """

    columns: list[Column]
    missing: list[str]
    target: str
    categories: TensorSpec | None


class Signature(Document, frozen=True, kw_only=True):
    """How the graph is called: it takes raw inputs (uint8 pixels, numbers) and gives one probability per label.

    Without labels it gives one value, in the units of the target. Only a table's model has `table`, and only one
    of sound `sample_rate`, in Hz, to which a recording is brought.
    `graph` names the file that answers: model.onnx, or model.int8.onnx where the recipe asks for it.
    """

    schema: Literal[1] = 1
    graph: Literal["model.onnx", "model.int8.onnx"] = "model.onnx"
    task: str
    input: TensorSpec
    output: TensorSpec
    labels: list[str]
    table: TableSignature | UnsetType = UNSET
    sample_rate: int | UnsetType = UNSET

    @property
    def of_table(self) -> TableSignature | None:
        """`table`, or None of a model of something else."""
        return None if self.table is UNSET else self.table

    @property
    def of_sound(self) -> int | None:
        """`sample_rate`, or None of a model of something else."""
        return None if self.sample_rate is UNSET else self.sample_rate


class PackagedFile(Part, frozen=True, kw_only=True):
    """A file of the package; checked before use."""

    sha256: str
    bytes: int


class Lineage(Document, frozen=True, kw_only=True):
    """Where a model came from: enough to train it again.

    `trial` is the best of `trials`, chosen by `search`, which is empty where the recipe named them.
    `trainer_version` names the trainer's source that a stock image was given; it is empty for an image with its own.
    `initial_version` is the model version whose weights the training started from, empty for random ones.
    """

    schema: Literal[1] = 1
    project: str
    run: str
    trial: str
    trials: int = 1
    search: str = ""
    dataset_version: str
    code_sha: str
    training_job: str
    image: str
    trainer_version: str = ""
    initial_version: str = ""
    instance_type: str
    hyperparameters: dict[str, str]


class ModelPackage(Document, frozen=True, kw_only=True):
    """`package.json`: the files with their digests. The version is the start of this document's sha256.

    model.onnx opens everywhere; a file named by `serving_file` is the signature's graph for one kind of processor.
    weights.safetensors holds the trained module's parameters and buffers by name: trainings start from it, and nothing
    serves it. An older trainer wrote none. reference.json is what captured predictions are counted by; packages from
    before there was one are served all the same.
    """

    schema: Literal[1] = 1
    project: str
    files: dict[str, PackagedFile]

    @property
    def version(self) -> str:
        return self.sha256()[:16]
