"""What a run that goes on waits for, and how a decided one is explained."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from lehr.causes.decisions import explain_decision
from lehr.causes.waits import SENTENCES, JobSeen, RunSeen, explain_wait
from lehr.contracts.evaluation import Decision, RuleResult
from lehr.contracts.registry import Alias, RunRecord

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def at(state: str, **more: Any) -> RunSeen:
    since = NOW - timedelta(minutes=7, seconds=5)
    return RunSeen(project="mnist", run="r1", state=state, since=since, now=NOW, **more)


def training(status: str, message: str = "", progress: str = "") -> RunSeen:
    jobs = (JobSeen(name="lehr-mnist-r1-0-a0r0d0", status=status, message=message, progress=progress),)
    return at("TrainTrials", jobs=jobs, of=1)


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("waiting-for-start", at("")),
        ("waiting-for-units", at("PrepareShards", done=3, of=8)),
        ("waiting-for-units", at("EvaluateShards")),
        ("waiting-for-function", at("SealDataset")),
        ("waiting-for-concurrency", at("SealDataset", last_error="Lambda.TooManyRequestsException")),
        ("waiting-for-function", at("SealDataset", last_error="Lambda.ServiceException")),
        ("waiting-for-capacity", at("TrainTrials")),
        ("waiting-for-capacity", training("Starting", "Insufficient capacity error from EC2, retrying")),
        ("waiting-for-capacity", training("RUNNABLE", "waiting for a machine")),
        ("waiting-for-spot", training("Interrupted")),
        ("waiting-for-image-and-data", training("Downloading")),
        ("waiting-for-training", training("Training", progress="epoch 3 of 5, loss 0.1000")),
        ("waiting-for-training", training("RUNNING")),
        ("waiting-for-upload", training("Uploading")),
        ("waiting-for-approval", at("AwaitApproval")),
        ("waiting-for-canary", at("WatchCanary")),
    ],
)
def test_a_wait_is_told_with_since_when_and_what_ends_it(name: str, seen: RunSeen) -> None:
    told = explain_wait(seen)
    assert (told.cause, told.sentence) == (name, SENTENCES[name])
    texts = [one.text for one in told.evidence]
    if seen.state:
        assert texts[0] == f"{seen.state} since 2026-01-31T11:52:55+00:00 (7 min 05 s)"
    for job in seen.jobs:
        assert any(job.status in text and job.message in text for text in texts)
        assert job.progress in [*texts, ""]
    if seen.of:
        assert f"{seen.done} of {seen.of} have ended" in texts
    assert told.next
    assert all("r1" in command or "mnist" in command or command.startswith("aws ") for command in told.next)


def test_of_several_jobs_the_one_that_goes_on_is_told() -> None:
    jobs = (JobSeen(name="a", status="Completed"), JobSeen(name="b", status="Starting"))
    assert explain_wait(at("TrainTrials", jobs=jobs)).cause == "waiting-for-capacity"


def record(status: Any) -> RunRecord:
    return RunRecord(
        project="mnist",
        run="r1",
        status=status,
        started_at="2026-01-31T12:00:00.000Z",
        execution_arn="arn",
        code_sha="c0de",
        fingerprint="f",
        reason="accuracy: 0.9000, required >= 0.9750",
        dataset_version="d1",
        model_version="m1",
    )


RULES = [
    RuleResult(rule="accuracy", required=">= 0.9750", observed="0.9000", passed=False),
    RuleResult(rule="finite metrics", required="all finite", observed="all finite", passed=True),
]


def test_a_refusal_names_the_rules_that_were_not_met_with_their_numbers() -> None:
    told = explain_decision(record("rejected"), Decision(verdict="reject", reason="r", rules=RULES), None)
    assert told.cause == "gate-refused"
    assert told.sentence.endswith("The champion stays: accuracy.")
    assert [one.text for one in told.evidence] == ["accuracy: 0.9000, required >= 0.9750"]
    assert told.kept == ["dataset version d1", "model package m1"]


def test_a_decision_that_has_expired_leaves_the_reason_of_the_record() -> None:
    (one,) = explain_decision(record("rejected"), None, None).evidence
    assert (one.source, one.text) == ("record", "accuracy: 0.9000, required >= 0.9750")


@pytest.mark.parametrize(
    ("end", "name"),
    [
        ("; nobody approved it within 24 hours", "approval-expired"),
        ("; rejected by ada: too slow on phones", "approval-rejected"),
        ("; rejected by ada: too slow; and wrong on sevens", "approval-rejected"),
        ("; taken back as a canary: 3 of 100 answers failed", "canary-rolled-back"),
        ("", "gate-refused"),
    ],
)
def test_who_refused_a_model_that_met_every_rule_is_told_by_the_end_of_the_reason(
    end: str, name: str
) -> None:
    refused = msgspec.structs.replace(record("rejected"), reason=f"accuracy 0.9794; all rules passed{end}")
    told = explain_decision(refused, Decision(verdict="promote", reason="", rules=RULES[1:]), None)
    assert (told.cause, told.evidence[0].text) == (name, refused.reason)
    # A rule that was not met is what counts, whatever the reason says.
    judged = Decision(verdict="reject", reason="", rules=RULES)
    assert explain_decision(refused, judged, None).cause == "gate-refused"


@pytest.mark.parametrize(("champion", "words"), [("m1", "It is the champion."), ("m2", "Another model is")])
def test_a_promotion_says_whether_the_model_still_serves(champion: str, words: str) -> None:
    alias = Alias(project="mnist", champion=champion, generation=1, owner="r1", updated_at="")
    told = explain_decision(record("promoted"), Decision(verdict="promote", reason="", rules=RULES), alias)
    assert words in told.sentence
    assert len(told.evidence) == 2
