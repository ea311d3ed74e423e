"""Columns of personal data: dropped or hashed before anything else, and the same pseudonyms where a model is asked."""

from __future__ import annotations

import hashlib
import hmac
import json

import numpy as np
import pytest

from functions.predict.tables import parse_table, parse_table_csv
from functions.write_report.data_card import write_card
from lehr import layout
from lehr.contracts.package import TableSignature
from lehr.errors import MissingKeyError
from lehr.table_difference import table_difference
from lehr_runtime.shards import read_shard
from lehr_runtime.tables import Table, from_tensors
from tests.sealed import Sealed

KEY = "k" * 32
RECIPE = """
[project]
name = "visits"
task = "tabular_classification"
[data]
format = "csv"
files = ["visits.csv"]
target = "class"
labels = ["cheap", "dear"]
columns = { email = "pii_drop", patient = "pii_hash" }
max_refused_fraction = 0.1
"""


def visits() -> bytes:
    """Each patient comes several times; some rows cannot be read."""
    random = np.random.default_rng(0)
    lines = ["km,email,patient,class\n"]
    for row in range(400):
        person = int(random.integers(40))
        km = "far" if row % 50 == 7 else f"{random.normal():.5f}"
        label = "cheap" if random.random() < 0.6 else "dear"
        lines.append(f"{km},secret-{person}@example.org,Patient Number {person},{label}\n")
    return "".join(lines).encode()


@pytest.fixture(scope="module")
def sealed() -> Sealed:
    found = Sealed(RECIPE, {"visits.csv": visits()}, pii_key=KEY).seal()
    write_card(found.checks, found.artifacts)
    return found


def expected(project: str, value: str) -> str:
    key = hmac.new(KEY.encode(), project.encode(), hashlib.sha256).digest()
    return hmac.new(key, value.encode(), hashlib.sha256).hexdigest()[:32]


def patients(sealed: Sealed) -> set[str]:
    prefix = layout.datasets_prefix(sealed.project)
    found: set[str] = set()
    for shard in sealed.manifest.shards:
        table = from_tensors(read_shard(sealed.document(prefix + shard.key)), place=shard.key)
        assert isinstance(table, Table)
        found |= set(table.categories[:, 0].tolist())
    return found


def signature(sealed: Sealed) -> TableSignature:
    table = sealed.manifest.of_table
    assert table
    return TableSignature(
        columns=table.table.columns, missing=table.table.missing, target=table.table.target, categories=None
    )


def test_no_object_that_is_written_holds_a_personal_value(sealed: Sealed) -> None:
    assert len(sealed.checks.refused) == 1
    assert sealed.document(layout.dataset_card_key("visits", sealed.version))
    for key, raw in sealed.artifacts.objects.items():
        assert b"example.org" not in raw, key
        assert b"Patient" not in raw, key


def test_a_dropped_column_is_no_input_and_a_hashed_one_has_pseudonyms_for_values(sealed: Sealed) -> None:
    assert [one.name for one in signature(sealed).columns] == ["km", "patient"]
    assert patients(sealed) == {expected("visits", f"Patient Number {person}") for person in range(40)}


def test_pseudonyms_stand_in_neither_statistics_nor_samples(sealed: Sealed) -> None:
    (patient,) = sealed.statistics.categories
    assert (patient.distinct, patient.top) == (40, [])
    assert {sample.cells[1] for sample in sealed.samples.samples} == {"(hashed)"}


def test_who_asks_a_model_by_the_value_is_answered_by_its_pseudonym(sealed: Sealed) -> None:
    table = signature(sealed)
    body = json.dumps({"instances": [{"km": 1.0, "patient": " Patient Number 7 "}]}).encode()
    asked = [
        parse_table(body, table, KEY),
        parse_table_csv(b"km,patient\n1.0,Patient Number 7\n", table, KEY),
        parse_table(json.dumps({"instances": [[1.0, "Patient Number 7"]] * 20}).encode(), table, KEY),
    ]
    for inputs in asked:
        assert isinstance(inputs, Table)
        assert set(inputs.categories[:, 0].tolist()) == {expected("visits", "Patient Number 7")}


def test_projects_have_pseudonyms_of_their_own() -> None:
    other = Sealed(RECIPE.replace("visits", "others"), {"others.csv": visits()}, pii_key=KEY).seal()
    assert patients(other) == {expected("others", f"Patient Number {person}") for person in range(40)}


def test_without_a_key_nothing_is_hashed_and_the_run_is_refused_with_the_way_out(sealed: Sealed) -> None:
    with pytest.raises(MissingKeyError, match=r"columns of visits hashes a column.*PiiKey"):
        Sealed(RECIPE, {"visits.csv": visits()})
    with pytest.raises(MissingKeyError):
        parse_table(b'{"instances": [[1.0, "x"]]}', signature(sealed))


def test_a_champion_of_the_plain_values_takes_no_hashed_ones(sealed: Sealed) -> None:
    plain = Sealed(RECIPE.replace("pii_hash", "category"), {"visits.csv": visits()}).seal()
    assert table_difference(signature(plain), signature(sealed)) == "the columns patient"


def test_pseudonyms_are_the_same_in_whatever_format_the_data_comes(sealed: Sealed) -> None:
    names, *rows = (line.split(",") for line in visits().decode().splitlines())
    numbers = [dict(zip(names, row, strict=True)) for row in rows if row[0] != "far"]
    raw = "".join(json.dumps(row | {"km": float(row["km"])}) + "\n" for row in numbers).encode()
    recipe = RECIPE.replace('"csv"', '"jsonl"').replace("visits.csv", "visits.jsonl")
    other = Sealed(recipe, {"visits.jsonl": raw}, pii_key=KEY).seal()
    assert patients(other) == patients(sealed)
    assert other.manifest.rows("test") == sealed.manifest.rows("test")
    assert not any(b"Patient" in raw for raw in other.artifacts.objects.values())
