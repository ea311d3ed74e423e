"""The card says what the package's documents say, in a form that Hugging Face reads, whatever is in them."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.package_model.card import write_card
from lehr import layout
from lehr.contracts.dataset import DatasetManifest
from lehr.contracts.package import INT8_FILE, Lineage, Signature, TableSignature, TensorSpec
from lehr.contracts.tables import Column
from lehr.contracts.training import EpochRecord, Int8, TrainingSummary
from tests import tiny_tables
from tests.unit.functions.test_package_model import summary, trained, world

SECTIONS = [
    "Inputs and outputs",
    "Training data",
    "Training",
    "Evaluation",
    "Lineage",
    "How to ask it",
    "Limits",
]
LINEAGE = Lineage(
    project="mnist",
    run="r1",
    trial="0",
    dataset_version="d1",
    code_sha="c0de",
    training_job="job-0",
    image="image",
    instance_type="ml.g5.xlarge",
    hyperparameters={"optimizer": "adam", "seed": "7"},
)


def manifest() -> DatasetManifest:
    store, _ = world(0.9)
    return DatasetManifest.from_json(store.get(layout.dataset_manifest_key("mnist", "d1")))


def card(
    lineage: Lineage = LINEAGE, training: TrainingSummary | None = None, labels: list[str] | None = None
) -> tuple[dict[str, Any], str]:
    """The front matter, and the text below it."""
    signature = Signature.from_json(trained()["signature.json"])
    if labels:
        signature = msgspec.structs.replace(signature, labels=labels)
    training = training or TrainingSummary.from_json(summary(0.9125))
    text = write_card(signature, training, lineage, manifest()).decode()
    opening, front, body = text.split("---\n", 2)
    assert opening == ""
    return yaml.safe_load(front), body


def test_the_front_matter_is_a_model_index_of_the_validation_split() -> None:
    front, _ = card()
    assert (front["library_name"], front["tags"]) == ("onnx", ["onnx", "lehr", "image-classification"])
    (index,) = front["model-index"]
    (result,) = index["results"]
    assert result["task"] == {"type": "image-classification"}
    assert result["dataset"] == {"type": "mnist", "name": "mnist", "revision": "d1", "split": "validation"}
    assert {one["type"]: one["value"] for one in result["metrics"]} == {"accuracy": 0.9125, "loss": 0.1}


def test_every_section_is_there_with_what_the_documents_say() -> None:
    _, body = card()
    assert re.findall(r"^## (.*)$", body, re.MULTILINE) == SECTIONS
    for said in (
        "`adam`",
        "`d1`",
        "`ml.g5.xlarge`",
        "`c0de`",
        "`pixels`",
        "accuracy 0.9125",
        "lehr predict mnist",
    ):
        assert said in body
    assert "| seed | `7` |" in body
    assert "| test | `5` |" in body
    assert "runs/mnist/r1/evaluation.json" in body


def test_without_rows_held_out_the_figures_are_said_to_be_of_the_training_split() -> None:
    whole = TrainingSummary.from_json(summary(0.9))
    epoch = msgspec.structs.replace(whole.epochs[0], validation_loss=None, validation_accuracy=None)
    front, body = card(training=msgspec.structs.replace(whole, epochs=[epoch]))
    assert front["model-index"][0]["results"][0]["dataset"]["split"] == "train"
    assert "On the train split" in body
    assert "no estimate for new data" in body


def test_the_figures_are_those_of_the_last_epoch() -> None:
    whole = TrainingSummary.from_json(summary(0.9))
    epochs: list[EpochRecord] = [
        *whole.epochs,
        msgspec.structs.replace(whole.epochs[0], epoch=2, validation_accuracy=0.5),
    ]
    _, body = card(training=msgspec.structs.replace(whole, epochs=epochs))
    assert "after epoch 2: accuracy 0.5000" in body


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_figure_that_is_no_number_is_no_metric(loss: float) -> None:
    whole = TrainingSummary.from_json(summary(0.9))
    epoch = msgspec.structs.replace(whole.epochs[0], validation_loss=loss)
    front, _ = card(training=msgspec.structs.replace(whole, epochs=[epoch]))
    metrics = front["model-index"][0]["results"][0]["metrics"]
    assert [one["type"] for one in metrics] == ["accuracy"]


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_nothing_in_a_name_or_value_leaves_its_place(text: str) -> None:
    lineage = msgspec.structs.replace(LINEAGE, image=text, hyperparameters={text or "x": text})
    front, body = card(lineage, labels=[text, "---", "`|x"])
    assert front == card()[0]
    assert re.findall(r"^## (.*)$", body, re.MULTILINE) == SECTIONS
    plain = card(labels=["a", "b", "c"])[1]
    assert len(body.splitlines()) == len(plain.splitlines()) - 1
    for line in body.splitlines():
        # An escape outside of code, or a piece of code, in which a backslash is one: no other backtick is left.
        assert line.startswith("```") or "`" not in re.sub(r"\\.|`[^`]*`", "", line)
        assert not line.startswith("|") or len(re.findall(r"(?<!\\)\|", line)) in (3, 5)


def test_a_long_list_of_labels_is_cut_and_counted() -> None:
    assert "and 200 more" in card(labels=[str(number) for number in range(250)])[1]


def test_an_int8_graph_is_told_of_if_it_is_there() -> None:
    figures = Int8(
        is_published=True,
        rows=1000,
        bytes=100,
        float32_accuracy=0.912,
        int8_accuracy=0.911,
        float32_p50_us=14.62,
        int8_p50_us=12.4,
    )
    training = TrainingSummary.from_json(summary(0.9125))
    _, body = card(training=msgspec.structs.replace(training, int8=figures))
    assert (
        "`model.int8.onnx` is the graph in eight bits: on 1,000 rows its accuracy is 0.9110, that of `model.onnx` "
        "0.9120. One row takes it 12.4 µs instead of 14.6 on one thread of the machine that trained. `model.onnx` is "
        "the one that answers."
    ) in body
    refused = msgspec.structs.replace(figures, is_published=False)
    assert "model.int8" not in card(training=msgspec.structs.replace(training, int8=refused))[1]


def test_the_card_of_a_regression_speaks_of_values_and_gives_the_graph_all_of_its_inputs() -> None:
    signature = Signature(
        task="tabular_regression",
        input=TensorSpec(name="numbers", dtype="float32", shape=[-1, 1]),
        output=TensorSpec(name="values", dtype="float32", shape=[-1, 1]),
        labels=[],
        table=TableSignature(
            columns=[Column(name="area", kind="number"), Column(name="town", kind="category")],
            missing=[""],
            target="price",
            categories=TensorSpec(name="categories", dtype="str", shape=[-1, 1]),
        ),
    )
    training = TrainingSummary.from_json(summary(0.9))
    body = write_card(signature, training, LINEAGE, manifest()).decode()
    assert '(values,) = session.run(["values"], {"numbers": numbers, "categories": texts})' in body
    assert "at most, in the target's units." in body
    for word in ("logits", "probability", "another label"):
        assert word not in body


@pytest.mark.parametrize(
    ("labels", "has_categories", "call"),
    [
        ([], True, '(values,) = session.run(["values"], {"x": numbers, "categories": texts})'),
        (["a", "b"], False, '(probabilities,) = session.run(["probabilities"], {"x": rows})'),
    ],
)
def test_the_card_of_a_table_says_how_its_graph_is_called(
    labels: list[str], has_categories: bool, call: str
) -> None:
    signature = tiny_tables.signature(labels, has_categories=has_categories)
    training = TrainingSummary.from_json(summary(0.9125))
    text = write_card(signature, training, LINEAGE, manifest()).decode()
    assert call in text
    assert ("logits" in text) == ("another label" in text) == ("A probability" in text) == bool(labels)


def test_the_card_opens_the_graph_that_answers() -> None:
    signature = msgspec.structs.replace(Signature.from_json(trained()["signature.json"]), graph=INT8_FILE)
    training = TrainingSummary.from_json(summary(0.9125))
    text = write_card(signature, training, LINEAGE, manifest()).decode()
    assert 'InferenceSession("model.int8.onnx")' in text
