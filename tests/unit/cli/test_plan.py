"""`lehr plan`: the sizes it works with, and what it says where they are not known."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from lehr.contracts.recipe_tables import Model
from lehr.model_size import size_of
from lehr_cli.main import app
from tests import tiny_boxes

EXAMPLE = Path(__file__).parents[3] / "examples" / "mnist"
RECIPE = (EXAMPLE / "lehr.toml").read_text()
runner = CliRunner()


def planned(*arguments: str) -> dict[str, Any]:
    result = runner.invoke(app, ["--json", "plan", *arguments])
    assert result.exit_code == 0, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    return told


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copy(EXAMPLE / "lehr.toml", tmp_path)
    return tmp_path


def own_model(project: Path) -> None:
    text = RECIPE.replace('name = "mlp"', 'name = "custom"\nfactory = "net:build"')
    (project / "lehr.toml").write_text(text)


def test_the_example_is_for_a_function_and_its_recipe_stays_what_it_says() -> None:
    told = planned(str(EXAMPLE))
    assert (told["backend"], told["machine"]) == ("lambda", "lambda-3008mb")
    assert (told["rows"], told["parameters"]) == (60_000, 101_770)
    assert told["recipe"] == ["sagemaker ml.g5.xlarge"]
    assert told["ways"][0]["machine"] == told["machine"]
    assert {way["backend"] for way in told["ways"]} == {"lambda", "sagemaker", "batch"}


def test_a_person_reads_the_reason() -> None:
    result = runner.invoke(app, ["plan", str(EXAMPLE)])
    assert result.exit_code == 0
    assert 'backend.kind = "lambda"' in result.output
    assert "small enough for a function" in result.output
    assert "the recipe says: sagemaker ml.g5.xlarge" in result.output


def test_files_are_counted_and_brought_to_the_size_of_the_recipe(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE.parent / "spoken-language/lehr.toml", tmp_path)
    for number in range(10):
        file = tmp_path / f"data/{('en', 'es')[number % 2]}/{number}.wav"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    told = planned(str(tmp_path))
    assert (told["rows"], told["parameters"]) == (8, 23_813)
    (tmp_path / "data/en/0.wav").rename(tmp_path / "data/en/0.mp3")
    assert planned(str(tmp_path))["rows"] == 7


def test_data_that_is_not_here_may_be_described(project: Path) -> None:
    told = planned(str(project), "--rows", "5000000", "--shape", "64x64x3")
    assert told["rows"] == 5_000_000
    assert told["backend"] != "lambda"
    assert "MB of memory" in told["reason"]


def test_without_data_it_says_how_to_describe_it(project: Path) -> None:
    result = runner.invoke(app, ["plan", str(project)])
    assert result.exit_code != 0
    assert "--data" in result.output
    assert "--rows" in result.output


@pytest.mark.parametrize("shape", ["28by28", "0x3", "28x", ""])
def test_a_shape_that_is_none_is_refused(project: Path, shape: str) -> None:
    result = runner.invoke(app, ["plan", str(project), "--rows", "10", "--shape", shape])
    assert result.exit_code != 0


def test_the_size_of_a_model_of_ones_own_is_asked_for_and_taken(project: Path) -> None:
    own_model(project)
    described = ["--rows", "50000", "--shape", "32x32x3"]
    result = runner.invoke(app, ["plan", str(project), *described])
    assert result.exit_code != 0
    assert "--parameters" in result.output
    told = planned(str(project), *described, "--parameters", "25000000", "--operations", "4000000000")
    assert (told["parameters"], told["multiply_adds"]) == (25_000_000, 4_000_000_000)
    assert told["machine"].endswith(".xlarge")


TABLE = """
[project]
name = "houses"
task = "tabular_regression"

[data]
format = "csv"
files = ["*.csv"]
target = "price"

[model]
name = "mlp"
hidden = [8]

[training]
loss = "mse"
"""


def test_a_table_is_counted_and_a_regression_gives_one_value(tmp_path: Path) -> None:
    (tmp_path / "lehr.toml").write_text(TABLE)
    (tmp_path / "data").mkdir()
    rows = "".join(f"{number},{number * 2},{number * 3}\n" for number in range(100))
    (tmp_path / "data" / "houses.csv").write_text("area,rooms,price\n" + rows)
    told = planned(str(tmp_path))
    assert (told["rows"], told["parameters"]) == (80, 2 * 8 + 8 + 8 + 1)
    assert told["backend"] == "lambda"


def test_tables_in_other_formats_are_counted_too(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    rows = [{"area": number, "rooms": number * 2, "price": number * 3} for number in range(100)]
    (tmp_path / "data" / "houses.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data" / "houses.parquet")
    for kind in ("jsonl", "parquet"):
        (tmp_path / "lehr.toml").write_text(TABLE.replace("csv", kind))
        told = planned(str(tmp_path))
        assert (told["rows"], told["parameters"]) == (80, 2 * 8 + 8 + 8 + 1)


def test_a_table_that_is_not_here_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "lehr.toml").write_text(TABLE)
    result = runner.invoke(app, ["plan", str(tmp_path)])
    assert result.exit_code != 0
    assert "--rows" in result.output
    assert planned(str(tmp_path), "--rows", "100", "--shape", "2")["parameters"] == 33


def test_images_with_boxes_are_counted_in_their_annotations(tmp_path: Path) -> None:
    (tmp_path / "lehr.toml").write_text(tiny_boxes.RECIPE)
    for name, raw in tiny_boxes.files(train=30, test=2).items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(raw)
    told = planned(str(tmp_path))
    size = size_of(Model(name="detector", channels=(8, 16)), input_shape=[32, 32], classes=2)
    assert size is not None
    assert (told["rows"], told["parameters"]) == (30, size.parameters)
    (tmp_path / "data/train/boxes.json").write_text("[]")
    result = runner.invoke(app, ["plan", str(tmp_path)])
    assert result.exit_code != 0
    assert "COCO" in result.output


def test_a_sweep_is_planned_by_its_largest_trial(project: Path) -> None:
    sweep = '[trials]\nsearch = "grid"\n[trials.space]\nepochs = [5, 50]\nmodel.hidden = [[128], [1024]]\n'
    (project / "lehr.toml").write_text(RECIPE + sweep)
    told = planned(str(project), "--rows", "60000", "--shape", "28x28")
    assert told["parameters"] == 784 * 1024 + 1024 + 10 * 1024 + 10
    assert told["trainings"] == 4
    way = next(way for way in told["ways"] if way["machine"] == "ml.g5.xlarge")
    shorter = next(way for way in planned(str(EXAMPLE))["ways"] if way["machine"] == "ml.g5.xlarge")
    assert way["training_s"] > 9 * shorter["training_s"]


def test_images_are_counted_by_the_patterns_of_the_recipe(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE.parent / "digit-segmentation" / "lehr.toml", tmp_path)
    for name in ("train/images/1.png", "train/images/2.png", "train/masks/1.png", "test/images/3.png"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).touch()
    told = planned(str(tmp_path))
    assert told["rows"] == 2
    assert planned(str(tmp_path), "--rows", "2000")["multiply_adds"] == told["multiply_adds"] > 1_000_000
    shutil.rmtree(tmp_path / "data")
    result = runner.invoke(app, ["plan", str(tmp_path)])
    assert result.exit_code == 2
    assert "there is no train/images/*" in result.output
