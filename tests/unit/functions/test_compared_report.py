"""The report of candidate and champion: calibration, each label, slices, and what answering costs."""

from __future__ import annotations

import msgspec
import pytest

from functions.write_report.charts import BOTTOM, HEIGHT, TOP
from functions.write_report.comparison import comparison_section, costs, reliability_bars
from functions.write_report.report import render
from functions.write_report.sources import Sources
from lehr.contracts.comparison import ServingFigures, SliceReport
from lehr.contracts.evaluation import EvaluationReport, RankingMetrics, ReliabilityBin
from lehr.contracts.workflow import ReportRequest
from tests.unit.functions.test_write_report import ARN, PROJECT, RUN, evaluation


def serving(median_ms: float) -> ServingFigures:
    return ServingFigures(predictions=200, median_ms=median_ms, p99_ms=9.5, package_bytes=4_200_000)


def cut(value: str, p_loss: float | None) -> SliceReport:
    told = {"accuracy": 0.91, "log loss": 0.2}
    return SliceReport(
        by="<hour>",
        value=value,
        rows=1234,
        measures=["accuracy", "log loss"],
        candidate=told,
        champion=None if p_loss is None else {"accuracy": 0.87, "log loss": 0.3},
        p_loss=p_loss,
    )


def compared() -> EvaluationReport:
    before = evaluation()
    bins = [
        ReliabilityBin(low=0.8, high=0.9, rows=100, confidence=0.85, accuracy=0.5),
        ReliabilityBin(low=0.9, high=1.0, rows=400, confidence=0.97, accuracy=1.0),
    ]
    ranking = RankingMetrics(roc_auc=0.9812, roc_auc_error=0.0002, pr_auc=0.9534, pr_auc_error=0.0004)
    assert before.champion is not None
    return msgspec.structs.replace(
        before,
        candidate=msgspec.structs.replace(
            before.candidate, bins=bins, ranking=ranking, macro_precision=0.9111, macro_recall=0.9222
        ),
        champion=msgspec.structs.replace(before.champion, bins=bins[:1]),
        candidate_serving=serving(1.25),
        champion_serving=serving(1.5),
        slices=[cut("< 6", 0.4), cut(">= 6", 0.001)],
    )


def page(report: EvaluationReport) -> str:
    request = ReportRequest(project=PROJECT, run=RUN, outcome="promoted", execution_arn=ARN)
    return render(request, Sources(evaluation=report), [])


def test_the_page_has_calibration_labels_slices_and_costs_of_both_models() -> None:
    text = page(compared())
    for part in (
        "Reliability",
        "ROC AUC",
        "0.9812",
        "± 0.0002",
        "0.9111",
        "0.9222",
        "1.25 ms",
        "1.5 ms",
        "4.2 MB",
    ):
        assert part in text, part
    assert "100 rows: stated 0.850, right 0.500" in text
    assert text.count('class="bin"') == 2
    assert text.count('class="dot c2"') == 1
    assert '<td class="n">0.9100</td><td class="n dim">0.8700</td>' in text


def test_a_slice_that_is_significantly_worse_stands_out_and_names_are_escaped() -> None:
    text = page(compared())
    assert '<td class="n bad">0.001</td>' in text
    assert '<td class="n">0.4</td>' in text
    assert "<td>&lt; 6</td>" in text
    assert "<th>&lt;hour&gt;</th>" in text


def test_a_first_model_has_no_column_of_a_champion() -> None:
    first = evaluation(champion=False)
    text = page(msgspec.structs.replace(first, candidate_serving=serving(1.25), slices=[cut("< 6", None)]))
    assert "champion's" not in text
    assert "p of a loss" not in text
    assert "1.25 ms" in text


def test_an_evaluation_of_before_has_no_such_sections() -> None:
    text = page(evaluation())
    for part in ("Reliability", "Slices of the test", "What answering costs", "ROC AUC"):
        assert part not in text
    assert comparison_section(None)["slicings"] == []
    assert costs(None, None) == []


def test_bars_are_as_high_as_the_model_is_right() -> None:
    low, high = reliability_bars(compared().candidate)
    assert (high.y, high.height) == (TOP, HEIGHT - TOP - BOTTOM)
    assert low.height == pytest.approx(high.height / 2)
    assert low.stated < low.y  # it states more than it keeps, and y points down
    assert [low.strength, high.strength] == pytest.approx([0.575, 1.0])
