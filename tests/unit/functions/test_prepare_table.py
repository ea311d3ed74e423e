"""Preparation of a table: every row lands in one split or in the quarantine, and the statistics are exact."""

from __future__ import annotations

import gzip
import json
import tracemalloc

import msgspec
import numpy as np
import pytest

from functions.prepare_shard.tables import prepare_table
from functions.start_run.plan import list_raw
from functions.start_run.tables import plan_table, table_files
from lehr import layout
from lehr.contracts.dataset import DatasetManifest
from lehr.contracts.recipe import parse_recipe
from lehr.errors import (
    ContractError,
    InsufficientDataError,
    MalformedDataError,
    MismatchedDataError,
    MissingDataError,
)
from lehr.table_plans import MAX_UNIT_BYTES, share_table, with_table
from lehr_runtime.profiles import count_texts
from lehr_runtime.shards import read_shard
from lehr_runtime.tables import Table, from_tensors
from tests.fakes import InMemoryObjectStore
from tests.tables import RUN, prepare

RECIPE = """
[project]
name = "fares"
task = "tabular_classification"

[data]
format = "csv"
files = ["part-*.csv"]
target = "class"
labels = ["cheap", "dear"]
rows_per_shard = 100
validation_fraction = 0.25
test_fraction = 0.25
"""
HEADER = "km,carrier,class\n"


def lines(first: int, count: int) -> str:
    random = np.random.default_rng(first)
    return "".join(
        f"{first + row},{'ABC'[int(random.integers(3))]},{'cheap' if random.random() < 0.7 else 'dear'}\n"
        for row in range(count)
    )


def rows_of(
    artifacts: InMemoryObjectStore, manifest: DatasetManifest
) -> dict[str, list[tuple[float, str, str]]]:
    """Number, carrier and label of each split's rows, in their order."""
    prefix = layout.datasets_prefix(manifest.project)
    found: dict[str, list[tuple[float, str, str]]] = {"train": [], "validation": [], "test": []}
    for shard in manifest.shards:
        tensors = read_shard(artifacts.objects[prefix + shard.key])
        table = from_tensors(tensors, place=shard.key)
        assert isinstance(table, Table)
        labels = [manifest.labels[label] for label in tensors["y"]]
        found[shard.split] += zip(
            table.numbers[:, 0].tolist(), table.categories[:, 0].tolist(), labels, strict=True
        )
    return found


def test_every_row_is_in_exactly_one_split_as_it_was_in_its_file() -> None:
    files = {"part-1.csv": HEADER + lines(0, 500), "part-2.csv": HEADER + lines(500, 400)}
    artifacts, manifest, _ = prepare(RECIPE, {name: text.encode() for name, text in files.items()})
    found = rows_of(artifacts, manifest)
    together = sorted(row for rows in found.values() for row in rows)
    expected = [line.split(",") for text in files.values() for line in text.splitlines()[1:]]
    assert together == sorted((float(km), carrier, label) for km, carrier, label in expected)
    assert all(0.15 < len(found[split]) / 900 < 0.35 for split in ("validation", "test"))
    assert found["train"] != sorted(found["train"])
    assert max(shard.rows for shard in manifest.shards) == 100


def test_statistics_are_of_the_training_rows_alone() -> None:
    artifacts, manifest, _ = prepare(RECIPE, {"part-1.csv": (HEADER + lines(0, 600)).encode()})
    training = rows_of(artifacts, manifest)["train"]
    numbers = np.array([row[0] for row in training])
    statistics = manifest.of_table
    assert statistics is not None
    (number,), (category,) = statistics.numbers, statistics.categories
    assert number.mean == pytest.approx(numbers.mean(), rel=1e-12)
    assert number.std == pytest.approx(numbers.std(), rel=1e-9)
    assert category.values == ["A", "B", "C"]
    assert manifest.class_counts("train") == [
        sum(row[2] == label for row in training) for label in manifest.labels
    ]


def test_a_row_stays_in_its_split_when_data_is_added_and_equal_rows_are_on_one_side() -> None:
    few, more = HEADER + lines(0, 300) * 2, HEADER + lines(0, 300) * 2 + lines(300, 300)
    before, after = (rows_of(*prepare(RECIPE, {"part-1.csv": text.encode()})[:2]) for text in (few, more))
    for split, rows in before.items():
        assert set(rows) <= set(after[split])
        assert all(rows.count(row) == 2 for row in set(rows))
        assert not set(rows) & {row for other, rest in after.items() if other != split for row in rest}


def test_the_same_table_is_the_same_version_gzipped_or_not() -> None:
    text = (HEADER + lines(0, 300)).encode()
    manifests = [prepare(RECIPE, {"part-1.csv": raw})[1] for raw in (text, text, gzip.compress(text))]
    assert manifests[0].sha256() == manifests[1].sha256()
    assert [shard.sha256 for shard in manifests[0].shards] == [shard.sha256 for shard in manifests[2].shards]


def test_rows_that_cannot_be_read_are_set_aside_with_line_and_reason() -> None:
    broken = "far,A,cheap\n1,A,free\n2,A\n"
    recipe = RECIPE + "max_refused_fraction = 0.1\n"
    artifacts, manifest, _ = prepare(recipe, {"part-1.csv": (HEADER + broken + lines(0, 300)).encode()})
    raw = artifacts.objects[layout.quarantine_key("fares", RUN, 0)]
    assert [json.loads(line) for line in raw.splitlines()] == [
        {"file": "part-1.csv", "line": 2, "reason": "km: 'far' is no number within float32"},
        {"file": "part-1.csv", "line": 3, "reason": "class: 'free' is none of data.labels"},
        {"file": "part-1.csv", "line": 4, "reason": "2 cells where the header has 3"},
    ]
    assert manifest.of_table
    assert manifest.of_table.refused == 3
    assert sum(manifest.rows(split) for split in ("train", "validation", "test")) == 300


def test_too_many_such_rows_fail_the_run_with_examples() -> None:
    raw = (HEADER + "1,A,free\n" * 5 + lines(0, 200)).encode()
    with pytest.raises(MalformedDataError, match=r"5 of 205 rows are refused: line 2: class: 'free' is none"):
        prepare(RECIPE, {"part-1.csv": raw})


def test_test_files_are_tested_on_and_nothing_else() -> None:
    recipe = RECIPE.replace("test_fraction = 0.25", 'test_files = ["last.csv"]')
    files = {"part-1.csv": HEADER + lines(0, 300), "last.csv": HEADER + lines(900, 120)}
    artifacts, manifest, _ = prepare(recipe, {name: text.encode() for name, text in files.items()})
    assert {row[0] for row in rows_of(artifacts, manifest)["test"]} == set(range(900, 1020))


def test_columns_may_stand_in_another_order_in_another_file() -> None:
    turned = "class,carrier,more,km\n" + "".join(
        ",".join([label, carrier, "x", km]) + "\n"
        for km, carrier, label in (line.split(",") for line in lines(500, 100).split())
    )
    artifacts, manifest, _ = prepare(
        RECIPE, {"part-1.csv": (HEADER + lines(0, 300)).encode(), "part-2.csv": turned.encode()}
    )
    found = [row for rows in rows_of(artifacts, manifest).values() for row in rows]
    assert sorted(row[0] for row in found) == [*range(300), *range(500, 600)]


def test_a_file_without_a_column_is_refused_by_its_name() -> None:
    files = {"part-1.csv": HEADER + lines(0, 300), "part-2.csv": "km,class\n1,dear\n"}
    with pytest.raises(MismatchedDataError, match=r"part-2.csv: has no column carrier"):
        prepare(RECIPE, {name: text.encode() for name, text in files.items()})


def test_a_label_without_a_training_row_is_refused() -> None:
    raw = (HEADER + lines(0, 300).replace("dear", "cheap")).encode()
    with pytest.raises(InsufficientDataError, match="no training example of dear"):
        prepare(RECIPE, {"part-1.csv": raw})


def test_values_that_one_row_has_are_learnt_as_all_else() -> None:
    text = HEADER + lines(0, 300) + "".join(f"{row},only-{row},cheap\n" for row in range(300, 400))
    _, manifest, _ = prepare(RECIPE, {"part-1.csv": text.encode()})
    assert manifest.of_table
    assert manifest.of_table.categories[0].values == ["A", "B", "C"]


def test_a_pattern_that_nothing_fits_is_refused_and_files_are_found_by_it() -> None:
    recipe = parse_recipe(RECIPE)
    data = InMemoryObjectStore("data", {"incoming/fares/other.csv": b"x"})
    with pytest.raises(MissingDataError, match=r"part-\*.csv not found"):
        plan_table(recipe, list_raw(data, "fares"), data, RUN)
    assert table_files(recipe.data, ["part-2.csv", "part-1.csv", "x.csv"]) == ["part-1.csv", "part-2.csv"]


def test_a_file_may_not_be_learnt_from_and_tested_on() -> None:
    recipe = parse_recipe(RECIPE.replace("test_fraction = 0.25", 'test_files = ["part-2.csv"]'))
    data = InMemoryObjectStore("data", {f"incoming/fares/part-{n}.csv": HEADER.encode() for n in (1, 2)})
    with pytest.raises(MissingDataError, match=r"part-2.csv is named by data.files and by data.test_files"):
        plan_table(recipe, list_raw(data, "fares"), data, RUN)


def test_the_schema_of_a_wide_table_stands_in_s3_once() -> None:
    names = [f"column-{number}" for number in range(4000)]
    row = "1," * len(names)
    text = (
        ",".join([*names, "class"])
        + "\n"
        + "".join(f"{row}{'cheap' if n % 2 else 'dear'}\n" for n in range(40))
    )
    data = InMemoryObjectStore("data", {"incoming/fares/part-1.csv": text.encode()})
    plan, inferred = plan_table(parse_recipe(RECIPE), list_raw(data, "fares"), data, RUN)
    (unit,), documents = share_table(plan)
    assert len(unit.to_json()) < 2000 < MAX_UNIT_BYTES < len(plan[0].to_json())
    artifacts = InMemoryObjectStore()
    with pytest.raises(ContractError, match="is not there"):
        with_table(unit, artifacts)
    for key, document in documents.items():
        artifacts.put(key, document.to_json())
    assert with_table(unit, artifacts).table == inferred.schema
    result = prepare_table(unit, data, artifacts)
    assert len(result.numbers) == 4000


def test_a_plan_is_read_as_it_was_written() -> None:
    recipe = parse_recipe(RECIPE)
    raw = (HEADER + lines(0, 10)).encode()
    data = InMemoryObjectStore("data", {"incoming/fares/part-1.csv": raw})
    plan, _ = plan_table(recipe, list_raw(data, "fares"), data, RUN)
    assert msgspec.json.decode(msgspec.json.encode(plan), type=list[type(plan[0])]) == plan  # type: ignore[misc]


def test_a_column_of_one_value_has_no_spread_whatever_rounding_leaves() -> None:
    text = "km,tax,class\n" + "".join(f"{row},0.1,{'cheap' if row % 2 else 'dear'}\n" for row in range(999))
    _, manifest, _ = prepare(RECIPE, {"part-1.csv": text.encode()})
    assert manifest.of_table
    assert [column.std == 0 for column in manifest.of_table.numbers] == [False, True]


def test_a_target_of_one_value_is_refused() -> None:
    recipe = RECIPE.replace("tabular_classification", "tabular_regression").replace('"class"', '"fare"')
    recipe = recipe.replace('labels = ["cheap", "dear"]\n', "") + '[training]\nloss = "mse"\n'
    text = "km,fare\n" + "".join(f"{row},0.1\n" for row in range(999))
    with pytest.raises(InsufficientDataError, match="fare has one value"):
        prepare(recipe, {"part-1.csv": text.encode()})


def test_of_many_refused_rows_the_first_are_kept_and_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.prepare_shard.tables.MAX_QUARANTINED", 2)
    recipe = RECIPE + "max_refused_fraction = 0.5\n"
    raw = (HEADER + "1,A,free\n" * 50 + lines(0, 300)).encode()
    artifacts, manifest, _ = prepare(recipe, {"part-1.csv": raw})
    assert len(artifacts.objects[layout.quarantine_key("fares", RUN, 0)].splitlines()) == 2
    assert manifest.of_table
    assert manifest.of_table.refused == 50
    with pytest.raises(MalformedDataError, match="50 of 350 rows are refused"):
        prepare(RECIPE, {"part-1.csv": raw})


def test_more_rows_than_memory_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.prepare_shard.table_blocks.MAX_ARRAY_BYTES", 200 * (8 + 16 + 64))
    prepare(RECIPE, {"part-1.csv": (HEADER + lines(0, 200)).encode()})
    with pytest.raises(MalformedDataError, match=r"more than 200 rows.*several files"):
        prepare(RECIPE, {"part-1.csv": (HEADER + lines(0, 201)).encode()})


def test_a_column_of_ever_new_texts_is_refused_before_it_is_counted_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("functions.prepare_shard.tables.MAX_DISTINCT", 100)
    text = HEADER + "".join(f"{row},id-{row},{'cheap' if row % 2 else 'dear'}\n" for row in range(999))
    with pytest.raises(
        InsufficientDataError, match=r"part-1.csv: the column carrier has 999 different.*ignore"
    ):
        prepare(RECIPE, {"part-1.csv": text.encode()})


def test_one_long_text_does_not_make_every_row_as_long() -> None:
    column = np.full(100_000, "A", dtype=object)
    column[0] = "x" * 256
    tracemalloc.start()
    assert count_texts(column) == {"A": 99_999, "x" * 256: 1}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20


def test_text_with_a_nul_byte_is_set_aside() -> None:
    recipe = RECIPE + "max_refused_fraction = 0.1\n"
    artifacts, _, _ = prepare(recipe, {"part-1.csv": (HEADER + "1,A\0,cheap\n" + lines(0, 300)).encode()})
    raw = artifacts.objects[layout.quarantine_key("fares", RUN, 0)]
    assert json.loads(raw)["reason"] == "carrier: text with a NUL byte"
