"""Two runs side by side: what differs, by how much, and which figure is the better one."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lehr.contracts.evaluation import Decision, RuleResult
from lehr.contracts.recipe import parse_recipe
from lehr.contracts.registry import RunRecord
from lehr_cli.compare import lines
from lehr_cli.compare_page import page_of
from lehr_cli.comparison import Comparison, Facts, Row, compare, number
from tests.unit.functions import test_write_report as reported

RECIPE = (Path(__file__).parents[3] / "examples/mnist/lehr.toml").read_text()


def facts(run: str = "aaa", *, epochs: int = 5, accuracy: float = 0.97, **more: Any) -> Facts:
    record = RunRecord(
        project="mnist",
        run=run,
        status="promoted",
        started_at="2026-01-01T12:00:00.000Z",
        ended_at="2026-01-01T12:01:00.000Z" if run == "aaa" else "2026-01-01T12:01:30.500Z",
        execution_arn="arn",
        code_sha=f"c0de-{run}",
        fingerprint="f",
        dataset_version="d1",
    )
    passed = accuracy >= 0.975
    rule = RuleResult(rule="accuracy", required=">= 0.9750", observed=f"{accuracy:.4f}", passed=passed)
    given: dict[str, Any] = {
        "record": record,
        "recipe": parse_recipe(RECIPE.replace("epochs = 5", f"epochs = {epochs}")),
        "lineage": msgspec.structs.replace(
            reported.lineage(), hyperparameters={"epochs": str(epochs), "seed": "1"}
        ),
        "training": reported.training(),
        "metrics": {"accuracy": accuracy, "log_loss": 1 - accuracy, "rows": 10_000, "confusion": [[1]]},
        "decision": Decision(verdict="promote", reason="", rules=[rule]),
        "usd": 0.25,
    }
    return Facts(**given | more)


def rows(found: Comparison, title: str) -> dict[str, Row]:
    (section,) = [section for section in found.sections if section.title == title]
    return {row.name: row for row in section.rows}


FOUND = compare(facts(), facts("bbb", epochs=7, accuracy=0.98))


def test_figures_have_their_difference_and_the_better_one_is_known() -> None:
    test = rows(FOUND, "Test")
    assert test["accuracy"] == Row(name="accuracy", a="0.97", b="0.98", difference="+0.01", better="b")
    assert test["log_loss"] == Row(name="log_loss", a="0.03", b="0.02", difference="-0.01", better="b")
    assert test["rows"].better == ""
    assert "confusion" not in test


def test_of_a_recipe_only_what_differs_is_told_by_its_key() -> None:
    told = rows(FOUND, "Recipe")
    assert set(told) == {"code", "training.epochs", "trained with epochs"}
    assert (told["training.epochs"].a, told["training.epochs"].b) == ("5", "7")


def test_rules_stand_with_their_numbers_and_verdicts() -> None:
    rule = rows(FOUND, "Gate")["accuracy"]
    assert (rule.a, rule.b) == ("✗ 0.9700, required >= 0.9750", "✓ 0.9800, required >= 0.9750")


def test_time_and_cost_are_compared() -> None:
    told = rows(FOUND, "Run")
    assert (told["took"].b, told["took"].difference) == ("1 min 30.5 s", "+30.5 s")
    assert told["cost"].is_same


def test_the_ends_of_the_curves_are_those_of_the_last_epoch() -> None:
    end = reported.training().epochs[-1]
    told = rows(FOUND, "Training")
    assert told["loss"].a == f"{end.loss:.6g}"
    assert float(told["epochs"].a) == len(reported.training().epochs)
    assert all(row.is_same for row in told.values())


def test_a_run_without_a_model_has_gaps_and_no_differences() -> None:
    bare = Facts(record=msgspec.structs.replace(facts("bbb").record, status="failed"))
    found = compare(facts(), bare)
    assert rows(found, "Test")["accuracy"] == Row(name="accuracy", a="0.97", b="")
    assert rows(found, "Training")["seconds"].difference == ""
    assert compare(bare, bare).sections[0].title == "Run"


@pytest.mark.parametrize(
    ("name", "a", "b", "better"),
    [
        ("accuracy", 0.9, 0.8, "a"),
        ("rmse", 2.0, 1.0, "b"),
        ("accuracy", 0.9, 0.9, ""),
        ("rmse", float("nan"), 1.0, ""),
        ("parameters", 1.0, 2.0, ""),
    ],
)
def test_who_is_better_is_said_only_where_that_can_be_told(
    name: str, a: float, b: float, better: str
) -> None:
    assert number(name, a, b).better == better


def test_on_a_terminal_the_same_is_counted_and_left_out() -> None:
    short, whole = lines(FOUND).plain, lines(FOUND, is_whole=True).plain
    assert "dataset version" not in short
    assert "Data  1 the same" in short
    assert "dataset version  d1" in whole
    assert "accuracy" in short


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)


def test_the_page_needs_nothing_else_and_what_a_user_wrote_is_never_markup() -> None:
    evil = "<script>alert(1)</script>"
    other = facts("bbb")
    other.record = msgspec.structs.replace(other.record, code_sha=evil)
    page = page_of(compare(facts(), other))
    tags = Tags()
    tags.feed(page)
    assert not {"script", "link", "img"} & set(tags.seen)
    assert "&lt;script&gt;" in page
    assert "http" not in page
