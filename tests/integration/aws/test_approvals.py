"""The approvals of runs in the registry table, against moto: asked anew, answered once."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from lehr.aws.approvals import DynamoApprovals
from lehr.contracts.approval import Approval


@pytest.fixture
def approvals(table: Any) -> DynamoApprovals:
    return DynamoApprovals(table)


def question(run: str = "r1", generation: int = 0, token: str = "t1") -> Approval:
    return Approval(
        project="mnist",
        run=run,
        version="v1",
        generation=generation,
        status="PendingManualApproval",
        figures="accuracy 0.98",
        asked_at="2026-01-31T12:00:00.000Z",
        expires_at="2026-01-31T13:00:00.000Z",
        task_token=token,
    )


def approved(asked: Approval, by: str = "ada") -> Approval:
    return structs.replace(asked, status="Approved", by=by, via="command")


def test_what_was_asked_is_found_by_its_run(approvals: DynamoApprovals) -> None:
    assert approvals.of_run("mnist", "r1") is None
    for asked in (question(), question("r10"), question("r1", 12), question("r1", 9)):
        assert approvals.ask(asked)
    assert approvals.of_run("mnist", "r1") == question("r1", 12)
    assert approvals.of_run("mnist", "r10") == question("r10")
    assert approvals.of_run("other", "r1") is None
    assert len(approvals.of_project("mnist")) == 4


def test_an_answer_is_written_once(approvals: DynamoApprovals) -> None:
    approvals.ask(question())
    assert approvals.answer(approved(question()))
    assert not approvals.answer(approved(question(), "eve"))
    assert not approvals.ask(question(token="t2"))
    found = approvals.of_run("mnist", "r1")
    assert found
    assert (found.status, found.by) == ("Approved", "ada")


def test_an_answer_to_a_question_that_was_asked_anew_is_refused(approvals: DynamoApprovals) -> None:
    approvals.ask(question())
    assert approvals.ask(question(token="t2"))
    assert not approvals.answer(approved(question()))
    assert approvals.answer(approved(question(token="t2")))


def test_an_answer_that_came_to_nothing_is_closed(approvals: DynamoApprovals) -> None:
    approvals.ask(question())
    approvals.answer(approved(question()))
    closed = structs.replace(question(), status="Rejected", via="nobody")
    assert not approvals.answer(closed)
    assert approvals.answer(closed, was="Approved")
    assert approvals.of_run("mnist", "r1") == closed


def test_there_is_nothing_to_answer_where_nothing_was_asked(approvals: DynamoApprovals) -> None:
    assert not approvals.answer(approved(question()))
    assert approvals.of_project("mnist") == []
