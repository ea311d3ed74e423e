"""A table from a dropped CSV to a prediction over HTTPS: a classification of numbers, a regression of mixed columns."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.small_mnist import INSTANCE_TYPE
from tests.e2e.workplace import Finished, Workplace

EXAMPLE = Path(__file__).parents[2] / "examples/breast_cancer"
TRAINING_JOBS = 2

FARES = f"""
[project]
name = "NAME"
task = "tabular_regression"

[data]
format = "csv"
files = ["fares-*.csv"]
test_files = ["test.csv"]
target = "price"
validation_fraction = 0.1
max_refused_fraction = 0.05

[training]
optimizer = "adamw"
learning_rate = 0.01
loss = "mse"
epochs = 20

[backend]
instance_type = "{INSTANCE_TYPE}"
max_runtime_s = 900

[evaluation.slices]
km = "quartiles"
class = "each"

[gate]
max_rmse = 6.0
max_latency_ms = 5000
slices = {{ class = 8.0 }}
"""


def write_fares(path: Path, rows: int, seed: int) -> None:
    """price = 2 km + what the class costs; one distance in ten is missing, one row in a hundred is broken."""
    draw = random.Random(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["km", "class", "price"])
        for number in range(rows):
            km, kind = draw.uniform(1, 20), draw.choice(["plain", 'the "best"; quoted'])
            price = 2 * km + (30 if kind != "plain" else 0) + draw.gauss(0, 1)
            shown = "NA" if draw.random() < 0.1 else f"{km:.2f}"
            writer.writerow([shown, kind, "free" if number % 100 == 99 else f"{price:.2f}"])


@pytest.fixture(scope="module")
def diagnoses(workplace: Workplace) -> tuple[str, Finished]:
    name = workplace.project("diagnoses")
    folder = workplace.folder / "diagnoses"
    folder.mkdir()
    text = (EXAMPLE / "lehr.toml").read_text().replace('"breast-cancer"', f'"{name}"')
    (folder / "lehr.toml").write_text(text)
    assert workplace.lehr("push", str(folder)).code == 0
    return name, workplace.lehr("train", name, "--data", str(EXAMPLE / "data"))


@pytest.fixture(scope="module")
def fares(workplace: Workplace) -> tuple[str, Finished]:
    name = workplace.project("fares")
    folder, data = workplace.folder / "fares", workplace.folder / "fares-data"
    folder.mkdir()
    data.mkdir()
    (folder / "lehr.toml").write_text(FARES.replace("NAME", name))
    # More units than calls: each call prepares one or two.
    for number in range(1, 10):
        write_fares(data / f"fares-{number}.csv", 220, number)
    write_fares(data / "test.csv", 400, 10)
    pushed = workplace.lehr("push", str(folder))
    assert pushed.code == 0, pushed.stderr
    return name, workplace.lehr("train", name, "--data", str(data))


def ask(workplace: Workplace, name: str, body: dict[str, Any]) -> Finished:
    file = workplace.folder / f"{name}.json"
    file.write_text(json.dumps(body))
    return workplace.lehr("predict", name, "--input", str(file))


def test_a_classification_of_numbers_is_promoted_and_answers_by_column_name(
    workplace: Workplace, diagnoses: tuple[str, Finished]
) -> None:
    name, trained = diagnoses
    assert trained.code == 0, trained.stderr
    assert trained.only("decided")["verdict"] == "promote"
    (run,) = workplace.runs(name)
    assert run["accuracy"] >= 0.93
    answer = workplace.lehr("predict", name, "--row", "0")
    assert answer.code == 0, answer.stderr
    assert answer.only("prediction")["predictions"][0]["label"] == "malignant"


def test_a_regression_of_mixed_columns_is_promoted_and_gives_values(
    workplace: Workplace, fares: tuple[str, Finished]
) -> None:
    name, trained = fares
    assert trained.code == 0, trained.stderr
    assert trained.only("decided")["verdict"] == "promote"
    (run,) = workplace.runs(name)
    assert run["rmse"] < 6
    rows = [{"km": 10, "class": "plain"}, {"km": 10, "class": 'the "best"; quoted'}]
    answer = ask(workplace, name, {"instances": [*rows, {"km": None, "class": "never seen"}]})
    assert answer.code == 0, answer.stderr
    plain, best, unknown = (one["value"] for one in answer.only("prediction")["predictions"])
    assert plain == pytest.approx(20, abs=3)
    assert best == pytest.approx(50, abs=3)
    assert 0 < unknown < 100
    rules = {rule["rule"]: rule for rule in trained.only("decided")["rules"]}
    assert rules["every slice of class"]["required"] == "RMSE <= 8"
    assert rules["latency, 99th percentile"]["observed"].endswith("ms of 200 predictions")
    report = workplace.lehr("report", name).only("report")
    text = (workplace.folder / report["path"]).read_text()
    for part in (
        "Slices of the test",
        "<td>(missing)</td>",
        "<td>the &#34;best&#34;; quoted</td>",
        "&gt;= 1",
    ):
        assert part in text, part


def test_the_units_of_many_files_share_calls(workplace: Workplace, fares: tuple[str, Finished]) -> None:
    name, _ = fares
    s3 = workplace.client("s3")
    ((bucket, key),) = [found for found in workplace.keys(name) if found[1].endswith("/calls.json")]
    calls = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    assert len(calls) == 8
    assert sum(call["count"] for call in calls) == 10


def test_rows_that_cannot_be_read_are_kept_with_their_line_and_reason(
    workplace: Workplace, fares: tuple[str, Finished]
) -> None:
    name, _ = fares
    s3 = workplace.client("s3")
    keys = [
        (bucket, key)
        for bucket, key in workplace.keys(name)
        if key.startswith("quarantine/") and "/unit-" in key
    ]
    assert len(keys) == 10
    bucket, key = sorted(keys)[0]
    first = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read().splitlines()[0])
    assert first == {
        "file": "fares-1.csv",
        "line": 101,
        "reason": "price: 'free' is no number within float32",
    }


def test_a_row_that_lacks_a_column_is_refused_by_its_name(
    workplace: Workplace, fares: tuple[str, Finished]
) -> None:
    refused = ask(workplace, fares[0], {"instances": [{"km": 10}]})
    assert refused.code == 2
    assert "instances[0].class" in refused.stderr


def test_the_report_shows_the_columns_and_the_error(
    workplace: Workplace, fares: tuple[str, Finished]
) -> None:
    report = workplace.lehr("report", fares[0]).only("report")
    text = (workplace.folder / report["path"]).read_text()
    assert "It predicts price with an RMSE of" in text
    assert "<td>class</td><td>category</td>" in text


def test_the_version_is_listed_shown_and_has_a_card_that_the_report_links_to(
    workplace: Workplace, fares: tuple[str, Finished]
) -> None:
    name, _ = fares
    listed = workplace.lehr("data", "ls", name).only("dataset")
    assert listed["champion"] is True
    shown = workplace.lehr("data", "show", name).only("dataset")
    assert {one["name"]: one["missing"] > 50 for one in shown["statistics"]["numbers"]} == {"km": True}
    verdicts = {one["check"]: one["verdict"] for one in shown["checks"]["results"]}
    assert verdicts["leakage"] == verdicts["missing"] == verdicts["size"] == "passed"
    report = Path(workplace.lehr("report", name).only("report")["path"])
    card = report.with_name(f"{name}-{listed['version']}.card.html")
    assert f'href="{card.name}"' in (workplace.folder / report).read_text()
    assert "Histogram of km" in (workplace.folder / card).read_text()
