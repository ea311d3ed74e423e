"""The report of a run: what it says first, what it leaves out, and that nothing in it can run."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from functions.write_report import app
from functions.write_report.charts import confusion_cells, line_chart, nice_range, worst_confusions
from functions.write_report.report import WriteReport, render
from functions.write_report.sources import Sources
from functions.write_report.timeline import read_execution
from lehr import layout
from lehr.causes.catalogue import look_up
from lehr.causes.rule import Symptoms
from lehr.contracts.dataset import DatasetManifest, ObjectRef, Shard
from lehr.contracts.evaluation import (
    ClassificationMetrics,
    ClassReport,
    Decision,
    EvaluationReport,
    PairedCounts,
    RuleResult,
)
from lehr.contracts.package import Lineage
from lehr.contracts.registry import RunRecord
from lehr.contracts.regression import RegressionMetrics, RegressionReport
from lehr.contracts.training import EpochRecord, Parity, TrainingSummary, Utilisation
from lehr.contracts.workflow import Failure, ReportRequest
from tests.fakes import InMemoryObjectStore, InMemoryRegistry

PROJECT, RUN, CANDIDATE, CHAMPION, DATASET = "mnist", "3f2a90c1d7e4", "c0ffee1234567890", "beef", "dd" * 8
ARN = f"arn:aws:states:eu-central-1:123456789012:execution:lehr-retrain:{PROJECT}-{RUN}"
LABELS = [str(digit) for digit in range(10)]
BEGIN = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


class FakeExecutions:
    """The one call of a Step Functions client that the report makes, in pages of two events."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self.events = events

    def get_execution_history(self, *, nextToken: str = "0", **_: Any) -> dict[str, Any]:
        first = int(nextToken)
        page: dict[str, Any] = {"events": self.events[first : first + 2]}
        if first + 2 < len(self.events):
            page["nextToken"] = str(first + 2)
        return page


class Unreachable:
    def get_execution_history(self, **_: Any) -> dict[str, Any]:
        raise OSError("no route")


def event(kind: str, seconds: float, name: str = "") -> dict[str, Any]:
    details = "stateEnteredEventDetails" if kind.endswith("Entered") else "stateExitedEventDetails"
    return {"type": kind, "timestamp": BEGIN + timedelta(seconds=seconds)} | (
        {details: {"name": name}} if name else {}
    )


def history() -> list[dict[str, Any]]:
    """A promoted run; its training Map has states of its own."""
    events = [event("ExecutionStarted", 0)]
    clock = 0.0
    for name, seconds in (
        ("PrepareShards", 3.2),
        ("SealDataset", 0.4),
        ("TrainTrials", 12.6),
        ("PackageModel", 0.7),
        ("EvaluateShards", 1.8),
        ("JudgeModel", 0.3),
        ("PromoteModel", 0.1),
    ):
        kind = "MapState" if name in {"PrepareShards", "TrainTrials", "EvaluateShards"} else "TaskState"
        events.append(event(f"{kind}Entered", clock, name))
        if name == "TrainTrials":
            events.append(event("TaskStateEntered", clock + 0.1, "Train"))
            events.append(event("TaskStateExited", clock + 12.5, "Train"))
        clock += seconds
        events.append(event(f"{kind}Exited", clock, name))
    return [*events, event("TaskStateEntered", clock, "WriteReport")]


def metrics(accuracy: float) -> ClassificationMetrics:
    confusion = [[0] * 10 for _ in range(10)]
    for i in range(10):
        confusion[i][i] = 978 + i
        confusion[i][(i + 1) % 10] = 14 - i
        confusion[i][(i + 5) % 10] = i
    return ClassificationMetrics(
        rows=10_000,
        accuracy=accuracy,
        macro_f1=accuracy - 0.0003,
        log_loss=0.0712,
        expected_calibration_error=0.0042,
        majority_share=0.1135,
        rows_per_second=81_234.5,
        confusion=confusion,
        classes=[
            ClassReport(
                label=label, precision=0.98, recall=0.97 + i / 500, f1=0.978, support=sum(confusion[i])
            )
            for i, label in enumerate(LABELS)
        ],
    )


def evaluation(champion: bool = True) -> EvaluationReport:
    return EvaluationReport(
        project=PROJECT,
        run=RUN,
        dataset_version=DATASET,
        candidate_version=CANDIDATE,
        champion_version=CHAMPION if champion else None,
        candidate=metrics(0.9794),
        champion=metrics(0.9761) if champion else None,
        paired=PairedCounts(both=9700, only_candidate=94, only_champion=61, neither=145)
        if champion
        else None,
    )


def training() -> TrainingSummary:
    curve = [(0.2951, 0.9142, 0.16, 0.9533), (0.141, 0.958, 0.11, 0.9667), (0.106, 0.968, 0.091, 0.9725)]
    curve += [(0.088, 0.973, 0.083, 0.975), (0.075, 0.9765, 0.078, 0.9775)]
    return TrainingSummary(
        project=PROJECT,
        run=RUN,
        trial="0",
        epochs=[
            EpochRecord(
                epoch=number,
                loss=loss,
                accuracy=accuracy,
                validation_loss=validation_loss,
                validation_accuracy=validation_accuracy,
                samples_per_second=36_500.0,
                seconds=1.6,
            )
            for number, (loss, accuracy, validation_loss, validation_accuracy) in enumerate(curve, 1)
        ],
        parity=Parity(rows=512, max_absolute_difference=3.8e-6, tolerance=1e-4, argmax_disagreements=0),
        parameters=101_770,
        training_rows=58_800,
        seconds=8.4,
        device="cpu",
        threads=2,
        weights_sha256="ab" * 32,
        versions={"torch": "2.13.0", "onnxruntime": "1.32.0"},
    )


def used(gemm_share: float | None) -> Utilisation:
    return Utilisation(
        samples_per_second=36_512.0,
        flops_per_sample=610_000.0 if gemm_share else None,
        gemm_flops_per_second=87.4e9,
        gemm_share=gemm_share,
        data_share=0.0712,
        peak_memory_bytes=512_000_000,
    )


def manifest() -> DatasetManifest:
    counts = {"train": 5880, "validation": 120, "test": 1000}
    return DatasetManifest(
        project=PROJECT,
        format="idx",
        input_shape=[28, 28],
        input_dtype="uint8",
        labels=LABELS,
        shards=[
            Shard(
                split=split,  # type: ignore[arg-type]
                key=f"{split}/shard-00000-of-00001.safetensors",
                rows=10 * each,
                bytes=10 * each * 785,
                sha256="00" * 32,
                class_counts=[each + 37 * (i % 3) - 37 * (i % 2) for i in range(10)],
            )
            for split, each in counts.items()
        ],
        mean=33.3,
        std=78.6,
        raw=[ObjectRef(bucket="data", key="incoming/mnist/train", etag="e", bytes=1)],
        seed=1,
        validation_fraction=0.02,
    )


def lineage() -> Lineage:
    return Lineage(
        project=PROJECT,
        run=RUN,
        trial="0",
        dataset_version=DATASET,
        code_sha="1234567890abcdef",
        training_job=f"lehr-{PROJECT}-{RUN}-0-0",
        image="123456789012.dkr.ecr.eu-central-1.amazonaws.com/lehr-trainer:latest",
        instance_type="ml.g5.xlarge",
        hyperparameters={"optimizer": "adam", "learning_rate": "0.001", "epochs": "5", "seed": "1"},
    )


def decision(
    verdict: str = "promote", reason: str = "accuracy 0.9794, champion 0.9761; all rules passed"
) -> Decision:
    return Decision(
        verdict=verdict,  # type: ignore[arg-type]
        reason=reason,
        rules=[
            RuleResult(rule="test rows", required=">= 10000", observed="10000", passed=True),
            RuleResult(
                rule=f"better than champion {CHAMPION}",
                required="accuracy > 0.9761",
                observed="0.9794 (+0.0033)",
                passed=verdict == "promote",
            ),
        ],
    )


def record(**changes: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "project": PROJECT,
        "run": RUN,
        "status": "promoted",
        "started_at": "2026-01-01T12:00:00.000Z",
        "execution_arn": ARN,
        "code_sha": "1234567890abcdef",
        "fingerprint": "f" * 64,
        "model_version": CANDIDATE,
        "dataset_version": DATASET,
    }
    return RunRecord(**fields | changes)


def complete() -> InMemoryObjectStore:
    """What a promoted run leaves behind."""
    return InMemoryObjectStore(
        objects={
            layout.evaluation_report_key(PROJECT, RUN): evaluation().to_json(),
            layout.decision_key(PROJECT, RUN): decision().to_json(),
            layout.dataset_manifest_key(PROJECT, DATASET): manifest().to_json(),
            layout.model_file_key(PROJECT, CANDIDATE, "training.json"): training().to_json(),
            layout.model_file_key(PROJECT, CANDIDATE, "lineage.json"): lineage().to_json(),
        }
    )


def failure(reason: str = "CUDA out of memory. Tried to allocate 2.0 GiB") -> Failure:
    return Failure(
        project=PROJECT,
        run=RUN,
        state="TrainTrials",
        error="States.TaskFailed",
        reason=reason,
        log_tail=["epoch 1/5 loss=0.2951 accuracy=0.9142", "torch.cuda.OutOfMemoryError"],
        log_url="https://eu-central-1.console.aws.amazon.com/cloudwatch/home#logs",
    )


def write(
    store: InMemoryObjectStore,
    outcome: str = "promoted",
    *,
    run: RunRecord | None = None,
    executions: Any = None,
) -> str:
    registry = InMemoryRegistry()
    registry.add_run(run or record())
    writer = WriteReport(
        artifacts=store, registry=registry, executions=executions or FakeExecutions(history())
    )
    request = ReportRequest(project=PROJECT, run=RUN, execution_arn=ARN, outcome=outcome)  # type: ignore[arg-type]
    return store.objects[writer.write(request)].decode()


class Outline(HTMLParser):
    """Tags and addresses of a page, and whether every tag that was opened is closed again."""

    VOID = frozenset({"meta", "br", "circle", "line", "polyline", "img"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        # HTML lets a list item or a paragraph end by itself; this page closes everything.
        assert self.open, tag
        assert self.open.pop() == tag


def test_a_promoted_run_begins_with_its_verdict_and_both_accuracies() -> None:
    page = write(complete())
    assert f"Model {CANDIDATE} is the new champion. It is right on 97.94 % of 10,000 test rows" in page
    assert "the champion before it on 97.61 %" in page
    assert "Not in this report" not in page


def test_the_report_has_every_part_of_a_complete_run() -> None:
    page = write(complete())
    for part in ("Gate", "Training", "Confusion matrix", "Calibration", "Data", "Timeline", "Lineage"):
        assert part in page
    assert "58,800 rows, 101,770 parameters" in page
    assert "12.6 s" in page
    assert "largest difference 3.80e-06 (tolerance 1e-04), 0 of the labels differ" in page
    assert "learning_rate" in page


@pytest.mark.parametrize(
    ("version", "words"), [("fedcba9876543210", "fedcba9876543210"), ("", "there was no champion yet")]
)
def test_the_report_of_a_fine_tuning_names_what_it_started_from(version: str, words: str) -> None:
    assert "started from" not in write(complete())
    store = complete()
    tuned = msgspec.structs.replace(
        lineage(), initial_version=version, hyperparameters={"start_from": "champion"}
    )
    store.objects[layout.model_file_key(PROJECT, CANDIDATE, "lineage.json")] = tuned.to_json()
    page = write(store)
    assert f"<dt>started from</dt><dd>{words}" in page.replace("random weights: ", "")


def test_the_report_draws_the_metrics_of_the_project_and_leaves_a_gap_where_one_had_no_value() -> None:
    values = [0.5, None, 0.6, 0.7, 0.8125]
    summary = training()
    epochs = [
        msgspec.structs.replace(epoch, metrics={"macro_recall": value})
        for epoch, value in zip(summary.epochs, values, strict=True)
    ]
    store = complete()
    store.objects[layout.model_file_key(PROJECT, CANDIDATE, "training.json")] = msgspec.structs.replace(
        summary, epochs=epochs
    ).to_json()
    page = write(store)
    assert "macro_recall" in page
    assert "0.8125" in page
    assert "macro_recall" not in write(complete())


@pytest.mark.parametrize("gemm_share", [0.2548, None])
def test_the_report_says_how_much_of_the_machine_was_used(gemm_share: float | None) -> None:
    store = complete()
    key = layout.model_file_key(PROJECT, CANDIDATE, "training.json")
    summary = msgspec.structs.replace(training(), utilisation=used(gemm_share))
    store.put(key, summary.to_json())
    page = write(store)
    for part in ("36,512", "samples per second", "7.12 %", "512 MB"):
        assert part in page
    assert ("25.48 %" in page and "87 GFLOP/s" in page) == (gemm_share is not None)
    assert not Outline(page).open


def test_the_report_needs_no_script_and_no_network() -> None:
    outline = Outline(write(complete()))
    assert outline.open == []
    assert outline.addresses == []
    assert not {"script", "link", "img", "iframe"} & set(outline.tags)
    assert outline.tags.count("polyline") == 4


def test_what_a_user_wrote_is_never_markup() -> None:
    evil = "<script>alert(1)</script>"
    store = complete()
    store.objects[layout.decision_key(PROJECT, RUN)] = decision(reason=evil).to_json()
    store.objects[layout.failure_key(PROJECT, RUN)] = failure(evil).to_json()
    page = write(store)
    assert evil not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_rejected_run_says_that_the_champion_stays_and_why() -> None:
    store = complete()
    reason = "better than champion beef: 0.9700 (-0.0061), required accuracy > 0.9761"
    store.objects[layout.decision_key(PROJECT, RUN)] = decision("reject", reason).to_json()
    page = write(store, "rejected")
    assert f"Model {CANDIDATE} was rejected: champion {CHAMPION} stays; better than champion beef" in page
    assert "✗ failed" in page


def test_a_failed_run_tells_the_reason_the_log_and_what_is_missing() -> None:
    store = InMemoryObjectStore(objects={layout.failure_key(PROJECT, RUN): failure().to_json()})
    page = write(store, "failed", run=record(status="failed", model_version="", dataset_version=""))
    assert "The run failed in TrainTrials: CUDA out of memory. Tried to allocate 2.0 GiB" in page
    assert "torch.cuda.OutOfMemoryError" in page
    assert "Evaluation: the run ended before it was written." in page
    assert "Training curves and lineage: no model was judged in this run." in page
    assert "Confusion matrix" not in page
    assert Outline(page).open == []


def test_a_failed_run_tells_the_cause_what_shows_it_what_is_kept_and_what_to_type() -> None:
    seen = Symptoms(
        state="TrainTrials",
        error="States.TaskFailed",
        reason="net.py:2 in build: ValueError: <b>no</b>",
        answers={"project": PROJECT, "run": RUN},
    )
    told = msgspec.structs.replace(failure(), explanation=look_up(seen, ["dataset version d1"]))
    store = InMemoryObjectStore(objects={layout.failure_key(PROJECT, RUN): told.to_json()})
    page = write(store, "failed", run=record(status="failed", model_version="", dataset_version=""))
    assert Outline(page).open == []
    assert "code-raised-an-error" in page
    assert "error: net.py, line 2." in page
    assert "<mark>net.py:2 in build: ValueError: &lt;b&gt;no&lt;/b&gt;</mark>" in page
    assert "dataset version d1" in page
    assert "lehr push FOLDER<br>" in page


def test_a_run_without_any_document_still_gets_a_report() -> None:
    page = write(InMemoryObjectStore(), "failed", run=record(reason="the execution was stopped"))
    assert "The run failed: the execution was stopped." in page


def test_a_first_run_is_measured_against_guessing() -> None:
    store = complete()
    store.objects[layout.evaluation_report_key(PROJECT, RUN)] = evaluation(champion=False).to_json()
    page = write(store)
    assert "always guessing the commonest label (no champion yet)" in page
    assert "11.35 %" in page


def test_a_document_of_another_shape_is_left_out_with_a_sentence() -> None:
    store = complete()
    store.objects[layout.decision_key(PROJECT, RUN)] = b'{"verdict": "maybe"}'
    page = write(store)
    assert "Decision of the gate: it cannot be read" in page


def test_a_history_that_cannot_be_read_costs_the_timeline_only() -> None:
    page = write(complete(), executions=Unreachable())
    assert "Timeline: the execution history cannot be read (no route)." in page
    assert "is the new champion" in page


def test_states_within_a_map_belong_to_the_map() -> None:
    spans = read_execution(history())[0].spans
    assert [span.state for span in spans][:3] == ["PrepareShards", "SealDataset", "TrainTrials"]
    assert spans[2].start_s == pytest.approx(3.6)
    assert spans[2].seconds == pytest.approx(12.6)


def test_a_failed_state_ends_where_its_catch_goes_on() -> None:
    events = [
        event("ExecutionStarted", 0),
        event("MapStateEntered", 0, "TrainTrials"),
        event("MapStateFailed", 4),
        event("TaskStateEntered", 4, "RecordFailure"),
        event("TaskStateExited", 5, "RecordFailure"),
    ]
    assert [(span.state, span.seconds) for span in read_execution(events)[0].spans] == [
        ("TrainTrials", 4.0),
        ("RecordFailure", 1.0),
    ]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.07, 0.3, (0.05, 0.3, 0.05)), (0.91, 0.98, (0.9, 0.98, 0.02)), (1, 1, (1, 1.2, 0.2))],
)
def test_axes_have_round_numbers(low: float, high: float, expected: tuple[float, ...]) -> None:
    assert nice_range(low, high) == pytest.approx(expected)


def test_a_curve_leaves_out_what_is_not_finite() -> None:
    chart = line_chart("Loss", "nats", {"training": [1.0, float("nan"), 0.5]})
    assert len(chart.lines[0].points) == 2


def test_a_curve_of_one_epoch_can_be_drawn() -> None:
    assert len(line_chart("Loss", "nats", {"training": [0.0]}).lines[0].points) == 1


def test_the_worst_mistake_has_the_deepest_colour() -> None:
    cells = confusion_cells([[90, 1], [4, 96]])
    assert cells[1][0].strength == 1.0
    assert cells[0][1].strength == 0.5
    assert cells[0][0].strength == pytest.approx(0.989)


def test_mistakes_are_listed_from_the_commonest() -> None:
    assert worst_confusions([[9, 1], [4, 6]], ["cat", "dog"]) == [("dog", "cat", 4), ("cat", "dog", 1)]


def test_the_handler_answers_with_the_key_of_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    store = complete()
    registry = InMemoryRegistry()
    writer = WriteReport(artifacts=store, registry=registry, executions=FakeExecutions(history()))
    monkeypatch.setattr(app, "writer", lambda: writer)
    context = SimpleNamespace(
        function_name="write_report",
        memory_limit_in_mb=512,
        invoked_function_arn="arn:aws:lambda:eu-central-1:123456789012:function:write_report",
        aws_request_id="1",
    )
    request = ReportRequest(project=PROJECT, run=RUN, execution_arn=ARN, outcome="promoted")
    answer = app.handler(json.loads(request.to_json()), context)
    assert answer == {"report": "runs/mnist/3f2a90c1d7e4/report.html"}
    assert answer["report"] in store.objects


def test_the_report_of_a_regression_has_errors_and_no_labels() -> None:
    error = RegressionMetrics(rows=200, rmse=12.5, mae=8.25, r2=0.8, target_std=28.0, rows_per_second=1000.0)
    epochs = [
        msgspec.structs.replace(epoch, accuracy=None, validation_accuracy=None, validation_rmse=9.0)
        for epoch in training().epochs
    ]
    sources = Sources(
        record=record(rmse=12.5),
        regression=RegressionReport(
            project=PROJECT,
            run=RUN,
            dataset_version=DATASET,
            candidate_version=CANDIDATE,
            target="price",
            candidate=error,
        ),
        training=msgspec.structs.replace(training(), epochs=epochs),
    )
    request = ReportRequest(project=PROJECT, run=RUN, execution_arn=ARN, outcome="promoted")
    page = render(request, sources, [])
    assert "It predicts price with an RMSE of 12.5 on 200 test rows." in page
    assert "Validation error" in page
    assert "largest difference" in page
    for word in ("labels differ", "nats", "Confusion"):
        assert word not in page
