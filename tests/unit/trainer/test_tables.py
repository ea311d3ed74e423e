"""Models of tables: category maps, means and missing values are in the exported graph, and a wrong map is refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
import torch

from functions.package_model.card import write_card
from functions.predict_batch_unit.predict import predict_unit
from functions.write_report.report import render
from functions.write_report.sources import Sources
from lehr import layout
from lehr.contracts.batch_prediction import BatchUnit
from lehr.contracts.dataset import ObjectRef
from lehr.contracts.evaluation import Decision
from lehr.contracts.package import Lineage
from lehr.contracts.recipe_tables import Model
from lehr.contracts.regression import RegressionReport
from lehr.contracts.tables import CategoryColumn, Column, NumberColumn, TableSchema, TableStatistics
from lehr.contracts.workflow import ReportRequest
from lehr.layout import batch_part_key
from lehr_runtime.graphs import check_graph
from lehr_runtime.predictor import Predictor
from lehr_runtime.session import open_session
from lehr_runtime.tables import Table
from lehr_trainer import export, table_export
from lehr_trainer.errors import ExportParityError
from lehr_trainer.export import export_model, make_signature
from lehr_trainer.stop import StopFlag
from lehr_trainer.tables import TableFeatures, build_table_model, decode, encode
from tests.fakes import InMemoryObjectStore
from tests.tables import RUN, Trained, prepare, train, train_job, write_job

NUMBERS = [
    NumberColumn(name="km", mean=10.0, std=4.0, missing=3),
    NumberColumn(name="constant", mean=7.0, std=0.0, missing=0),
]
CATEGORIES = [
    CategoryColumn(name="class", values=["best", "plain", 'ß "q"'], missing=1),
    CategoryColumn(name="empty", values=[], missing=9),
]


def statistics(
    *, numbers: bool = True, categories: bool = True, labels: tuple[str, ...] = ("a", "b")
) -> TableStatistics:
    chosen = (NUMBERS if numbers else [], CATEGORIES if categories else [])
    columns = [Column(name=one.name, kind="number") for one in chosen[0]]
    columns += [Column(name=one.name, kind="category") for one in chosen[1]]
    return TableStatistics(
        table=TableSchema(
            columns=columns, target="y", labels=list(labels), delimiter=",", missing=["", "NA"]
        ),
        numbers=chosen[0],
        categories=chosen[1],
        refused=0,
        target_mean=500.0 if not labels else 0.0,
        target_std=20.0 if not labels else 1.0,
    )


def rows(table: TableStatistics, count: int = 50) -> np.ndarray:
    random = np.random.default_rng(0)
    numbers = random.normal(10, 4, (count, len(table.numbers))).astype(np.float32)
    if table.numbers:
        numbers[::5, 0] = np.nan
    codes = [random.integers(0, len(column.values) + 1, count) for column in table.categories]
    return np.concatenate([numbers, *(code[:, None].astype(np.float32) for code in codes)], axis=1)


def published(table: TableStatistics, folder: Path) -> tuple[torch.nn.Module, Predictor]:
    torch.manual_seed(1)
    model = build_table_model(Model(hidden=(8,)), table, code_folder=folder)
    task = "tabular_classification" if table.table.labels else "tabular_regression"
    signature = make_signature(task, [], table.table.labels, table=table)
    export_model(model, folder, rows(table), signature, threads=1, table=table)
    path = folder / "model.onnx"
    check_graph(path.read_bytes(), place="model.onnx")
    return model, Predictor(open_session(path, threads=1), signature)


def test_features_are_standardised_and_missing_numbers_are_told_apart() -> None:
    features = TableFeatures(statistics(categories=False))
    x = torch.tensor([[14.0, 9.0], [float("nan"), 7.0]])
    assert features(x).tolist() == [[1.0, 2.0, 0.0], [0.0, 0.0, 1.0]]


def test_a_row_is_encoded_by_the_vocabulary_of_the_manifest_and_decoded_again() -> None:
    table = statistics()
    arrays: dict[str, np.ndarray] = {
        "x": np.array([[1, 2], [3, 4], [5, 6]], np.float32),
        "categories": np.array([[2, 0], [0, 0], [1, 1]], np.int32),
        "values": np.frombuffer(b'[["best", "never", "plain"], ["", "x"]]', np.uint8),
    }
    x = encode(arrays, table, place="s")
    assert x.tolist() == [[1, 2, 2, 0], [3, 4, 1, 0], [5, 6, 0, 0]]
    raw = decode(x, table)
    assert isinstance(raw, Table)
    assert raw.categories.tolist() == [["plain", ""], ["best", ""], ["", ""]]
    assert raw.numbers.tolist() == arrays["x"].tolist()


@pytest.mark.parametrize(
    "make",
    [
        lambda: statistics(),
        lambda: statistics(labels=()),
        lambda: statistics(numbers=False),
        lambda: statistics(categories=False, labels=()),
    ],
    ids=["mixed", "mixed regression", "categories alone", "numbers alone"],
)
def test_the_graph_takes_numbers_and_text_and_gives_what_the_module_gives(
    make: Callable[[], TableStatistics], tmp_path: Path
) -> None:
    table = make()
    model, predictor = published(table, tmp_path)
    x = rows(table, 20)
    with torch.no_grad():
        given = model(torch.from_numpy(x))
    expected = torch.softmax(given, 1) if table.table.labels else given * 20 + 500
    np.testing.assert_allclose(predictor.predict(decode(x, table)), expected.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("far", [3.4e38, -3.4e38])
def test_a_number_far_from_all_of_training_is_answered_too(far: float, tmp_path: Path) -> None:
    _, predictor = published(statistics(categories=False, labels=()), tmp_path)
    assert np.isfinite(predictor.predict(np.array([[far, -far]], np.float32))).all()


def test_text_that_training_never_saw_is_answered_like_a_missing_one(tmp_path: Path) -> None:
    _, predictor = published(statistics(), tmp_path)
    numbers = np.array([[1, 7]] * 4, np.float32)
    texts = np.array([["", ""], ["never", "x"], ["Best", "\x00"], ["best", ""]], dtype=object)
    missing, never, other_case, known = predictor.predict(Table(numbers, texts))
    assert missing.tolist() == never.tolist() == other_case.tolist()
    assert missing.tolist() != known.tolist()


def test_a_graph_with_a_wrong_category_map_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = table_export.add_categories

    def add_wrongly(path: Path, table: TableStatistics, *, input_name: str) -> None:
        add(path, table, input_name=input_name)
        graph = onnx.load(path)
        first = next(node for node in graph.graph.node if node.op_type == "LabelEncoder")
        keys = next(one for one in first.attribute if one.name == "keys_strings")
        keys.strings[0], keys.strings[1] = keys.strings[1], keys.strings[0]
        onnx.save(graph, path)

    monkeypatch.setattr(export, "add_categories", add_wrongly)
    with pytest.raises(ExportParityError, match="is not the trained model"):
        published(statistics(), tmp_path)
    assert not (tmp_path / "model.onnx").exists()


def test_a_graph_of_values_with_a_wrong_scale_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = statistics(labels=())
    serve = table_export.ServedValues

    def serve_wrongly(model: object, table: TableStatistics) -> torch.nn.Module:
        served = serve(model, table)
        served.mean += 0.1
        return served

    monkeypatch.setattr(export, "ServedValues", serve_wrongly)
    with pytest.raises(ExportParityError, match=r"the values differ by up to 0\.1 "):
        published(table, tmp_path)


RECIPE = """
[project]
name = "fares"
task = "tabular_regression"

[data]
format = "csv"
files = ["fares.csv"]
target = "price"
validation_fraction = 0.2

[model]
hidden = [16]
dropout = 0.1

[training]
loss = "mse"
optimizer = "adamw"
learning_rate = 0.02
epochs = 15
patience = 5
"""


def fares(rows: int = 1200) -> bytes:
    """price = 2 km + 30 for the best class + noise of spread 1; one distance in ten is missing."""
    random = np.random.default_rng(0)
    lines = ["km,class,price"]
    for _ in range(rows):
        km, best = random.uniform(1, 20), random.random() < 0.5
        price = 2 * km + 30 * best + random.normal()
        shown = "NA" if random.random() < 0.1 else f"{km:.3f}"
        lines.append(f"{shown},{'best' if best else 'plain'},{price:.3f}")
    return ("\n".join(lines) + "\n").encode()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(tmp_path_factory.mktemp("job"), RECIPE, {"fares.csv": fares()})


def test_a_regression_is_learnt_judged_and_served_in_the_units_of_its_target(trained: Trained) -> None:
    judgement = trained.judgement
    # Missing distances alone leave a spread of 2 * 19 / sqrt(12) for a tenth of the rows: 3.5 in all, and noise of 1.
    assert judgement.rmse is not None
    assert judgement.rmse < 4.3
    assert (judgement.verdict, judgement.accuracy) == ("promote", None)
    record = trained.summary.epochs[-1]
    assert record.accuracy is None
    assert record.validation_rmse is not None
    assert record.validation_rmse == pytest.approx(judgement.rmse, rel=0.3)
    table = Table(np.array([[10], [10]], np.float32), np.array([["plain"], ["best"]], dtype=object))
    plain, best = trained.model.predictor.predict(table)[:, 0]
    assert plain == pytest.approx(20, abs=2)
    assert best == pytest.approx(50, abs=2)


def test_the_package_is_opened_optimised_with_its_golden_rows(trained: Trained) -> None:
    assert (trained.model.graph, trained.model.reason) == ("serving", "")


def test_an_input_of_another_kind_is_refused(trained: Trained) -> None:
    texts = np.array([["plain"]], dtype=object)
    for wrong in (
        np.zeros((1, 1), np.float32),
        Table(np.zeros((1, 2), np.float32), texts),
        Table(np.zeros((1, 1), np.float32), np.array([["a", "b"]], dtype=object)),
    ):
        with pytest.raises(ValueError, match="the model takes"):
            trained.model.predictor.predict(wrong)


def test_a_batch_of_csv_is_answered_with_values_line_by_line(trained: Trained) -> None:
    raw = gzip.compress(b"class;km;more\nplain;10;x\nbest;NA;y\n")
    data, artifacts = InMemoryObjectStore("data", {"batches/fares/rows": raw}), InMemoryObjectStore("a")
    source = ObjectRef(
        bucket="data", key="batches/fares/rows", etag=data.etag("batches/fares/rows"), bytes=len(raw)
    )
    unit = BatchUnit(project="fares", batch="b1", model_version="v", index=0, source=source, first=0, count=0)
    result = predict_unit(unit, data, artifacts, lambda project, version: trained.model)
    assert (result.rows, result.refused) == (2, "")
    lines = [json.loads(one) for one in artifacts.objects[batch_part_key("fares", "b1", 0)].splitlines()]
    table = Table(np.array([[10], [np.nan]], np.float32), np.array([["plain"], ["best"]], dtype=object))
    assert [line["value"] for line in lines] == trained.model.predictor.predict(table)[:, 0].tolist()
    assert [line["row"] for line in lines] == [0, 1]
    data.put("batches/fares/rows", b"km,class\nfar,best\n")
    changed = msgspec.structs.replace(
        unit, source=msgspec.structs.replace(source, etag=data.etag("batches/fares/rows"), bytes=18)
    )
    refused = predict_unit(changed, data, artifacts, lambda project, version: trained.model)
    assert "rows[0]: km: no number within float32" in refused.refused


def test_the_report_and_the_card_tell_errors_and_columns(trained: Trained) -> None:
    get = trained.artifacts.get
    sources = Sources(
        regression=RegressionReport.from_json(get(layout.evaluation_report_key("fares", RUN))),
        decision=Decision.from_json(get(layout.decision_key("fares", RUN))),
        manifest=trained.manifest,
        training=trained.summary,
    )
    request = ReportRequest(project="fares", run=RUN, execution_arn="arn", outcome="promoted")
    page = render(request, sources, [])
    assert f"It predicts price with an RMSE of {trained.judgement.rmse:.6g} on" in page
    assert "Validation error" in page
    assert "<td>class</td><td>category</td>" in page
    assert "Confusion matrix" not in page

    lineage = Lineage(
        project="fares",
        run=RUN,
        trial="0",
        dataset_version="d",
        code_sha="c",
        training_job="j",
        image="i",
        instance_type="ml.m5.large",
        hyperparameters={},
    )
    card = write_card(trained.model.signature, trained.summary, lineage, trained.manifest).decode()
    figures = trained.summary.figures()
    assert f"RMSE {figures.rmse:.6g}, MAE {figures.mae:.6g}" in card
    assert "An output row is one value of `price`" in card
    assert "`km` (number), `class` (category)" in card
    assert "labels for any input" not in card


def test_the_same_table_trains_to_the_same_bytes(trained: Trained, tmp_path: Path) -> None:
    artifacts, manifest, _ = prepare(RECIPE, {"fares.csv": fares()})
    write_job(tmp_path, RECIPE, artifacts, manifest)
    assert train_job(tmp_path, "fares") == 0
    raw = (tmp_path / "model/training.json").read_bytes()
    assert type(trained.summary).from_json(raw).weights_sha256 == trained.summary.weights_sha256


@pytest.mark.parametrize("steps", [1, 40])
def test_a_resumed_run_of_a_table_has_the_same_bits(
    trained: Trained, tmp_path: Path, stop_after: Callable[[int], StopFlag], steps: int
) -> None:
    artifacts, manifest, _ = prepare(RECIPE, {"fares.csv": fares()})
    write_job(tmp_path, RECIPE, artifacts, manifest)
    assert train_job(tmp_path, "fares", stop_after(steps)) == 0
    assert not (tmp_path / "model").exists()
    assert train_job(tmp_path, "fares") == 0
    summary = type(trained.summary).from_json((tmp_path / "model/training.json").read_bytes())
    assert summary.weights_sha256 == trained.summary.weights_sha256
    assert [one.validation_rmse for one in summary.epochs] == [
        one.validation_rmse for one in trained.summary.epochs
    ]


def test_a_module_of_ones_own_gets_the_features(tmp_path: Path) -> None:
    recipe = RECIPE.replace("hidden = [16]\ndropout = 0.1", 'name = "custom"\nfactory = "net:build"').replace(
        "epochs = 15", "epochs = 1"
    )
    artifacts, manifest, _ = prepare(recipe, {"fares.csv": fares(300)})
    write_job(tmp_path, recipe, artifacts, manifest)
    (tmp_path / "input/data/code/net.py").write_text(
        "from torch import nn\n\ndef build(input_shape, classes):\n"
        "    assert classes == 1\n    return nn.Linear(input_shape[0], classes)\n"
    )
    assert train_job(tmp_path, "fares") == 0, (tmp_path / "output/failure").read_text()
