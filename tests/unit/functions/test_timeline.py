"""The timeline of a run that was resumed: all its executions in order, out of histories that were recorded."""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from functions.write_report.report import WriteReport
from functions.write_report.timeline import read_execution
from lehr import layout
from lehr.contracts.registry import RunRecord
from lehr.contracts.workflow import ReportRequest
from lehr.resuming import execution_name, executions_of
from tests.fakes import InMemoryObjectStore, InMemoryRegistry
from tests.unit.cli.test_history import history

MACHINE = "arn:aws:states:eu-central-1:123456789012:execution:lehr-retrain"
FIRST, SECOND, THIRD = (f"{MACHINE}:{execution_name('mnist', 'r1', number)}" for number in range(3))


def resumed() -> dict[str, list[dict[str, Any]]]:
    """A run that failed, was resumed and stopped, and was resumed once more two hours later and promoted."""
    last = [one | {"timestamp": one["timestamp"] + timedelta(hours=2)} for one in history("promoted")]
    return {FIRST: history("failed"), SECOND: history("aborted"), THIRD: last[:-8]}


class Executions:
    def __init__(self, histories: dict[str, list[dict[str, Any]]]) -> None:
        self.histories = histories

    def get_execution_history(self, *, executionArn: str, **_: Any) -> dict[str, Any]:
        return {"events": self.histories[executionArn]}


def page(histories: dict[str, list[dict[str, Any]]], resumes: int = 2) -> str:
    store, registry = InMemoryObjectStore("artifacts"), InMemoryRegistry()
    arn = (FIRST, SECOND, THIRD)[resumes]
    registry.run_records["mnist", "r1"] = RunRecord(
        project="mnist",
        run="r1",
        status="running",
        started_at="2026-11-23T15:56:11+00:00",
        execution_arn=arn,
        code_sha="c",
        fingerprint="f",
        resumes=resumes,
    )
    request = ReportRequest(project="mnist", run="r1", outcome="promoted", execution_arn=arn)
    key = WriteReport(artifacts=store, registry=registry, executions=Executions(histories)).write(request)
    assert key == layout.report_key("mnist", "r1")
    return store.get(key).decode()


def section(text: str) -> str:
    found = re.search(r"<h2>Timeline.*?<h2>Lineage", text, re.DOTALL)
    assert found
    return " ".join(re.sub(r"<[^>]+>", " ", found[0]).split())


def test_all_executions_are_told_in_order_with_the_resumes_and_their_seconds() -> None:
    text = section(page(resumed()))
    assert text.startswith("Timeline 1 min 44.8 s in 3 executions until this report")
    marks = [
        "first execution from 2026-11-23 15:56:11 UTC, 12.7 s, then failed",
        "↻ resumed 54.2 s later from 2026-11-23 15:57:17 UTC, 25.3 s, then stopped",
        "↻ resumed (2) 1 h 54 min later from 2026-11-23 17:52:21 UTC, 1 min 06.8 s until this report",
    ]
    text = text.replace("&#8635;", "↻")
    assert [text.find(mark) >= 0 for mark in marks] == [True] * 3, text
    assert sorted(marks, key=text.index) == marks
    parts = [text[text.index(one) : text.index(other)] for one, other in pairwise(marks)]
    assert "TrainTrials failed" in parts[0]
    assert "Failed 0.0 s" in parts[0]
    assert "TrainTrials stopped" in parts[1]
    assert all(part.count("PrepareShards") == 1 for part in parts)
    last = text[text.index(marks[2]) :]
    assert "failed" not in last
    assert "PromoteModel" in last
    assert text.count("SealDataset") == 3


def test_the_bars_of_all_executions_have_one_scale() -> None:
    text = page(resumed())
    widths = [float(one) for one in re.findall(r"width:([\d.]+)%\"></i>", text)]
    first, second, third = (read_execution(events)[0] for events in resumed().values())
    spans = [*first.spans, *second.spans, *third.spans]
    assert len(widths) == len(spans)
    for width, span in zip(widths, spans, strict=True):
        assert width == pytest.approx(100 * span.seconds / third.seconds, abs=0.006)
    assert max(one.start_s + one.seconds for one in third.spans) <= third.seconds


def test_a_history_that_is_gone_is_said_to_be_and_the_others_are_told() -> None:
    histories = resumed()
    del histories[SECOND]
    text = page(histories)
    assert "Timeline: execution 2 of 3: its history cannot be read" in text
    told = section(text).replace("&#8635;", "↻")
    assert "in 2 executions" in told
    assert "first execution" in told
    assert "↻ resumed (2) from 2026-11-23 17:52:21 UTC" in told


def test_a_run_that_was_never_resumed_has_no_marks() -> None:
    text = section(page({FIRST: history("promoted")}, resumes=0))
    assert "resumed" not in text
    assert "first execution" not in text
    assert text.startswith("Timeline 1 min 07.0 s until this report")


def test_executions_are_named_as_they_are_started() -> None:
    long = "p" * 70
    arn = f"{MACHINE}:{execution_name(long, 'r1', 2)}"
    assert executions_of("mnist", "r1", 2, THIRD) == [FIRST, SECOND, THIRD]
    assert executions_of(long, "r1", 2, arn) == [
        f"{MACHINE}:{long}-r1",
        f"{MACHINE}:{'p' * 60}-r1-m1",
        arn,
    ]
    assert executions_of("mnist", "r1", 0, FIRST) == [FIRST]
