"""`lehr data`: finding a version by what a person types, and what is said of it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lehr import layout
from lehr.contracts.data_checks import CheckResult, DataChecks
from lehr.contracts.package import LINEAGE_FILE, Lineage
from lehr.contracts.profile import CategoryStatistics, DatasetStatistics, NumberStatistics, ValueCount
from lehr.contracts.registry import Alias, DatasetRecord
from lehr.errors import UnknownProjectError, UserError
from lehr_cli import datasets
from lehr_cli.datasets import find_version
from lehr_cli.invocation import Invocation
from lehr_cli.stack import Stack
from tests.fakes import NOW, InMemoryObjectStore, InMemoryRegistry

VERSIONS = ("aaaa111122223333", "aabb111122223333", "cccc111122223333")


def statistics(version: int, dear: int) -> DatasetStatistics:
    km = NumberStatistics(
        name="km",
        rows=90,
        missing=10,
        mean=5.0 + version,
        std=2.0,
        min=0.0,
        max=10.0,
        quantiles=[place * 10 / 64 for place in range(65)],
        histogram=[4] * 24,
    )
    carrier = CategoryStatistics(
        name="carrier", rows=100, missing=0, distinct=1 + version, top=[ValueCount(value="A", rows=100)]
    )
    return DatasetStatistics(
        project="fares",
        format="csv",
        input_shape=[2],
        labels=["cheap", "dear"],
        rows={"train": 100, "validation": 5, "test": 20 + version},
        class_counts={"train": [100 - dear, dear]},
        numbers=[km],
        categories=[carrier],
        determined={},
    )


@pytest.fixture
def stack() -> Stack:
    """Three versions, the first one's model serving."""
    registry, artifacts = InMemoryRegistry(), InMemoryObjectStore("artifacts")
    artifacts.put(layout.project_head_key("fares"), b"{}")
    for number, version in enumerate(VERSIONS):
        registry.add_dataset(
            DatasetRecord(
                project="fares",
                version=version,
                run=f"run-{number}",
                created_at=f"2026-01-0{number + 1}T12:00:00.000Z",
                rows={"train": 100, "validation": 5, "test": 20},
            )
        )
        document = statistics(number, 10 + 20 * number)
        artifacts.put(layout.dataset_statistics_key("fares", version), document.to_json())
    registry.aliases["fares"] = Alias(
        project="fares", champion="m1", generation=1, owner="run-0", updated_at=NOW
    )
    lineage = Lineage(
        project="fares",
        run="run-0",
        trial="0",
        dataset_version=VERSIONS[0],
        code_sha="c",
        training_job="j",
        image="i",
        instance_type="t",
        hyperparameters={},
    )
    artifacts.put(layout.model_file_key("fares", "m1", LINEAGE_FILE), lineage.to_json())
    found = CheckResult(
        check="overlap",
        verdict="quarantined",
        required="none",
        observed="2 rows of train",
        details=["x 1: the same"],
    )
    checks = DataChecks(project="fares", run="run-2", version=VERSIONS[2], results=[found], set_aside=2)
    artifacts.put(layout.data_checks_key("fares", "run-2"), checks.to_json())
    return cast(
        Stack, SimpleNamespace(registry=registry, artifacts=artifacts, projects=lambda: ["fares", "mnist"])
    )


def said(stack: Stack, command: Any, *arguments: object, as_json: bool, capsys: Any) -> str:
    invocation = Invocation(is_json=as_json)
    invocation.__dict__["stack"] = stack
    command.__wrapped__(invocation, *arguments)
    return str(capsys.readouterr().out)


def test_a_version_is_found_by_its_start_by_the_champion_or_as_the_latest(stack: Stack) -> None:
    assert find_version(stack, "fares", "aabb").version == VERSIONS[1]
    assert find_version(stack, "fares", "champion").version == VERSIONS[0]
    assert find_version(stack, "fares", None).version == VERSIONS[2]


def test_an_unknown_version_is_answered_with_the_near_ones_and_a_short_one_with_all_that_it_may_mean(
    stack: Stack,
) -> None:
    with pytest.raises(UserError, match=r"no dataset version 'aabb111122224444'.*there are aabb111122223333"):
        find_version(stack, "fares", "aabb111122224444")
    with pytest.raises(UserError, match="may mean aabb111122223333, aaaa111122223333"):
        find_version(stack, "fares", "aa")
    with pytest.raises(UnknownProjectError, match="known: fares, mnist"):
        find_version(stack, "fairs", None)


def test_versions_are_listed_newest_first_and_the_champions_is_marked(stack: Stack, capsys: Any) -> None:
    text = said(stack, datasets.list_versions, "fares", as_json=False, capsys=capsys)
    assert [line.split()[0] for line in text.splitlines()[1:]] == [VERSIONS[2], VERSIONS[1], "●"]
    assert "run run-0  champion's" in text
    lines = said(stack, datasets.list_versions, "fares", as_json=True, capsys=capsys).splitlines()
    assert [json.loads(line)["champion"] for line in lines] == [False, False, True]


def test_a_version_is_shown_with_its_columns_labels_and_checks(stack: Stack, capsys: Any) -> None:
    text = said(stack, datasets.show, "fares", as_json=False, capsys=capsys)
    for part in (
        "100 train, 5 validation, 22 test",
        "dear         50",
        "7 ± 2",
        "0 to 10  10 missing",
        "A (100)",
    ):
        assert part in text
    assert "! overlap       quarantined  2 rows of train" in text
    document = json.loads(said(stack, datasets.show, "fares", as_json=True, capsys=capsys))
    assert document["statistics"]["numbers"][0]["name"] == "km"
    assert document["checks"]["set_aside"] == 2


def test_a_difference_tells_rows_labels_and_columns_with_both_states(stack: Stack, capsys: Any) -> None:
    text = said(stack, datasets.diff, "fares", "champion", "cccc", as_json=False, capsys=capsys)
    for part in (
        "test  20 → 22  +2",
        "dear   10.00% → 50.00%  +40.00 points",
        "1 values, 0 missing → 3 values",
    ):
        assert part in text
    document = json.loads(
        said(stack, datasets.diff, "fares", "champion", "cccc", as_json=True, capsys=capsys)
    )
    assert document["label_drift"] == pytest.approx(0.4)
    assert {change["kind"] for change in document["changes"]} == {"rows", "labels", "numbers", "categories"}
    same = said(stack, datasets.diff, "fares", "cccc", "cccc", as_json=False, capsys=capsys)
    assert "nothing that the statistics would show" in same


def test_a_card_is_saved_where_reports_link_to_it_or_said_to_be_missing(
    stack: Stack, capsys: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="has no data card"):
        said(stack, datasets.card, "fares", "aaaa", as_json=False, capsys=capsys)
    stack.artifacts.put(layout.dataset_card_key("fares", VERSIONS[0]), b"<html>")
    path = said(stack, datasets.card, "fares", "aaaa", as_json=False, capsys=capsys).strip()
    assert path == f".lehr/reports/fares-{VERSIONS[0]}.card.html"
    assert (tmp_path / path).read_bytes() == b"<html>"
