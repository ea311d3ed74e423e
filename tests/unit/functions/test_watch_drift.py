"""watch_drift: what it reads, what it writes, and that nobody is told of one drift again and again."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from functions.watch_drift import app
from functions.watch_drift.watch import DRIFT_FOUND, WatchDrift
from lehr import layout
from lehr.aws.events import EventBridgeEvents
from lehr.contracts.drift import DriftReport
from lehr.contracts.evaluation import ClassificationMetrics, ClassReport, EvaluationReport
from lehr.contracts.package import LINEAGE_FILE, REFERENCE_FILE, Lineage
from lehr.contracts.reference import ModelReference
from lehr.drift import PREDICTIONS
from lehr.errors import EventError, WatchError
from lehr.ports import ReadLines
from tests.fakes import InMemoryObjectStore, InMemoryRegistry
from tests.unit.core.test_drift import captured, moved, reference_for, usual
from tests.unit.core.test_live_accuracy import line

RECIPE = """
[project]
name = "fares"
task = "tabular_classification"

[data]
format = "csv"
files = ["rides.csv"]
target = "class"
labels = ["cheap", "dear"]

[retrain]
cooldown_h = 12
"""
CONTEXT = SimpleNamespace(
    function_name="watch_drift",
    memory_limit_in_mb=512,
    invoked_function_arn="arn:aws:lambda:us-east-1:1:function:watch_drift",
    aws_request_id="1",
)
CHAMPION = "0123456789abcdef"
NOON = "2026-01-31T12:00:00.000Z"


class Lines:
    """The endpoint's log as a list; `asked` are the windows that were read."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.asked: list[tuple[str, str, int, int]] = []
        self.is_sampled = False

    def read(self, kind: str, project: str, since_ms: int, until_ms: int) -> ReadLines:
        self.asked.append((kind, project, since_ms, until_ms))
        found = [line for line in self.lines if f'"kind":"{kind}"'.encode() in line or b"kind" not in line]
        return ReadLines(lines=found, is_sampled=self.is_sampled)


class Bus:
    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, Any]]] = []

    def put(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        self.events.append((detail_type, detail))


class World:
    """A project with a champion, and a log with what it was asked."""

    def __init__(self) -> None:
        self.artifacts, self.registry = InMemoryObjectStore("artifacts"), InMemoryRegistry()
        self.lines, self.bus, self.now = Lines(), Bus(), NOON
        self.rng = np.random.default_rng(4)
        self.reference = reference_for(usual(self.rng, 4000))
        self.push("fares")
        self.registry.promote("fares", CHAMPION, run="r1", generation=0)
        self.put(REFERENCE_FILE, self.reference)
        self.watch = WatchDrift(
            artifacts=self.artifacts,
            registry=self.registry,
            lines=self.lines,
            events=self.bus,
            logger=logging.getLogger("watch"),
            clock=lambda: self.now,
        )

    def push(self, project: str) -> None:
        self.artifacts.put(layout.project_head_key(project), b'{"code_sha": "c0de"}')
        recipe = RECIPE.replace('"fares"', f'"{project}"')
        self.artifacts.put(f"{layout.project_prefix(project, 'c0de')}lehr.toml", recipe.encode())

    def put(self, name: str, document: ModelReference | Lineage) -> None:
        self.artifacts.put(layout.model_file_key("fares", CHAMPION, name), document.to_json())

    def ask(self, *, by: float = 0.0, rows: int = 1000, version: str = CHAMPION, label: str = "dear") -> None:
        """Requests of a thousand rows together, of which one column has moved."""
        lines = captured(self.reference, moved(0, by)(self.rng, rows), [label] * rows)
        self.lines.lines += [msgspec.structs.replace(one, model_version=version).to_json() for one in lines]

    def report(self) -> DriftReport:
        return DriftReport.from_json(self.artifacts.get(layout.drift_report_key("fares")))

    def keys(self) -> list[str]:
        return [key for key in self.artifacts.objects if key.startswith("drift/")]


@pytest.fixture
def world() -> World:
    return World()


def test_a_look_reads_the_window_of_the_recipe_and_writes_what_it_found(world: World) -> None:
    world.ask()
    look = world.watch.look()
    assert look.told == look.failed == []
    report = world.report()
    assert (report.status, report.rows, report.requests, report.model_version) == (
        "stable",
        1000,
        50,
        CHAMPION,
    )
    assert report.since == "2026-01-30T12:00:00.000Z"
    asked = [(kind, project, until_ms - since_ms) for kind, project, since_ms, until_ms in world.lines.asked]
    assert asked == [("prediction", "fares", 24 * 3_600_000), ("feedback", "fares", 24 * 3_600_000)]
    assert {one.name for one in report.columns} == {"x0", "x1", "x2", "x3", "carrier"}
    assert world.keys() == ["drift/fares/latest.json"]


def test_a_drift_is_told_with_its_numbers_and_thresholds(world: World) -> None:
    world.ask(by=0.6)
    assert world.watch.look().told == ["fares"]
    ((detail_type, detail),) = world.bus.events
    assert (detail_type, detail["project"], detail["bucket"]) == (DRIFT_FOUND, "fares", "artifacts")
    assert detail["columns"][0]["name"] == "x0"
    assert detail["columns"][0]["distance"] > detail["thresholds"]["max_distance"]
    assert detail["report"] == "s3://artifacts/drift/fares/2026-01-31T120000000Z.json"
    assert sorted(world.keys()) == ["drift/fares/2026-01-31T120000000Z.json", "drift/fares/latest.json"]


def test_the_same_drift_is_told_once_in_a_cooldown(world: World) -> None:
    world.ask(by=0.6)
    told = []
    for hour in range(24):
        world.now = f"2026-02-01T{hour:02}:00:00.000Z"
        told.append(bool(world.watch.look().told))
    assert [hour for hour, was in enumerate(told) if was] == [0, 12]
    assert len(world.bus.events) == 2


def test_an_event_that_was_not_taken_is_sent_at_the_next_look(world: World) -> None:
    class Client:
        def put_events(self, **_: Any) -> dict[str, Any]:
            return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "Throttled", "ErrorMessage": "later"}]}

    world.ask(by=0.6)
    with pytest.raises(EventError, match="later"):
        EventBridgeEvents(Client()).put("X", {})
    world.watch.__dict__["events"] = EventBridgeEvents(Client())
    assert world.watch.look().failed == ["fares"]
    world.watch.__dict__["events"] = world.bus
    assert world.watch.look().told == ["fares"]


def test_a_new_champion_begins_anew(world: World) -> None:
    world.ask(by=0.6)
    world.watch.look()
    world.registry.promote("fares", "f" * 16, run="r2", generation=1)
    world.artifacts.put(layout.model_file_key("fares", "f" * 16, REFERENCE_FILE), world.reference.to_json())
    world.watch.look()
    assert (world.report().status, world.report().event_at) == ("not_enough", "")
    world.ask(by=0.6, version="f" * 16)
    assert world.watch.look().told == ["fares"]


def test_what_another_version_answered_and_what_is_no_line_is_not_counted(world: World) -> None:
    world.ask(by=5.0, version="e" * 16)
    world.lines.lines += [b'{"kind":"prediction"}', b"not json"]
    world.ask()
    world.lines.lines += world.lines.lines[-5:]  # delivered twice
    world.watch.look()
    assert (world.report().status, world.report().rows) == ("stable", 1000)


@pytest.mark.parametrize("rows", [0, 400])
def test_thin_traffic_is_not_enough_and_tells_nobody(world: World, rows: int) -> None:
    if rows:
        world.ask(by=9.0, rows=rows)
    world.watch.look()
    assert world.report().status == "not_enough"
    assert "a judgement takes 500" in world.report().reason
    assert world.bus.events == []


def test_a_champion_from_before_there_was_a_reference_is_not_compared(world: World) -> None:
    del world.artifacts.objects[layout.model_file_key("fares", CHAMPION, REFERENCE_FILE)]
    world.ask(by=9.0)
    world.watch.look()
    assert world.report().status == "not_compared"
    assert "train again" in world.report().reason


def test_predicted_labels_are_compared_with_what_the_champion_predicted_for_the_test(world: World) -> None:
    lineage = Lineage(
        project="fares",
        run="r1",
        trial="0",
        dataset_version="d",
        code_sha="c",
        training_job="j",
        image="i",
        instance_type="t",
        hyperparameters={},
    )
    world.put(LINEAGE_FILE, lineage)
    metrics = ClassificationMetrics(
        rows=1000,
        accuracy=0.9,
        macro_f1=0.9,
        log_loss=0.1,
        expected_calibration_error=0.0,
        majority_share=0.7,
        rows_per_second=1.0,
        confusion=[[650, 50], [50, 250]],
        classes=[
            ClassReport(label=label, precision=1.0, recall=1.0, f1=1.0, support=1)
            for label in ("cheap", "dear")
        ],
    )
    evaluation = EvaluationReport(
        project="fares", run="r1", dataset_version="d", candidate_version=CHAMPION, candidate=metrics
    )
    world.artifacts.put(layout.evaluation_report_key("fares", "r1"), evaluation.to_json())
    world.ask(label="dear")
    world.watch.look()
    moved_most = world.report().columns[0]
    assert (moved_most.name, moved_most.has_drifted) == (PREDICTIONS, True)
    assert moved_most.distance == pytest.approx(0.7)


def test_a_project_that_fails_does_not_hold_up_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.push("broken")
    world.registry.promote("broken", CHAMPION, run="r1", generation=0)
    world.artifacts.put(f"{layout.project_prefix('broken', 'c0de')}lehr.toml", b"[project")
    world.push("untrained")
    world.ask()
    look = world.watch.look()
    assert (look.failed, list(look.reports)) == (["broken"], ["fares"])
    monkeypatch.setattr(app, "watcher", lambda: world.watch)

    with pytest.raises(WatchError, match="broken"):
        app.handler({}, CONTEXT)
    answer = app.handler({"project": "fares"}, CONTEXT)
    assert json.loads(json.dumps(answer))["projects"]["fares"]["status"] == "stable"


def test_labels_that_came_back_are_in_the_report_and_among_the_metrics(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = RECIPE + "[watch]\nmin_live_accuracy = 0.95\n"
    world.artifacts.put(f"{layout.project_prefix('fares', 'c0de')}lehr.toml", recipe.encode())
    labels = [(str(row), 0, "dear", "dear" if row < 80 else "cheap") for row in range(100)]
    told = line("2026-01-31", *labels, version=CHAMPION).to_json()
    world.lines.lines += [told, told, b'{"kind":"feedback"}']
    monkeypatch.setattr(app, "watcher", lambda: world.watch)
    app.handler({}, CONTEXT)
    (live,) = world.report().live
    assert (world.report().status, live.rows, live.right, live.is_low) == ("not_enough", 100, 80, True)
    written = [json.loads(one) for one in capsys.readouterr().out.splitlines() if '"_aws"' in one]
    values = {
        name: one[name] for one in written for name in ("LiveAccuracy", "LiveAccuracyLow") if name in one
    }
    assert values == {"LiveAccuracy": [80.0], "LiveAccuracyLow": [1.0]}
    assert next(one for one in written if "LiveAccuracy" in one)["project"] == "fares"
