"""A person is asked, answers once and in time, and the execution hears of it; a link is looked at without effect."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from functions.answer_approval.answer import answer
from functions.answer_approval.routes import Services, respond
from functions.await_approval.ask import ask
from lehr.contracts.approval import Approval, ApprovalAnswer, ApprovalRequest, AwaitRequest
from lehr.errors import ContractError, OverwriteError
from lehr.http.gateway import Answer, Request
from tests.fakes import InMemoryApprovals, KeptNotices, Tokens

AT = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
URL = "https://api.example"


class World:
    """A run that has asked, at noon, for an hour."""

    def __init__(self, *, url: str = "") -> None:
        self.approvals, self.notices = InMemoryApprovals(), KeptNotices()
        self.tokens, self.now = Tokens("token-1", "token-2"), AT
        self.ask(url=url)

    def ask(self, *, token: str = "token-1", generation: int = 3, url: str = "") -> str:
        request = AwaitRequest(
            project="mnist",
            run="r7",
            version="v7",
            generation=generation,
            figures="accuracy 0.98 <b>",
            task_token=token,
            expires_after_s=3600,
        )
        return ask(request, self.approvals, self.notices, url=url, at=AT)[1]

    def answer(self, verdict: str = "approve", **more: Any) -> ApprovalAnswer:
        said = {"project": "mnist", "run": "r7", "verdict": verdict, "by": "ada"} | more
        return answer(ApprovalRequest.from_value(said), self.approvals, self.tokens, at=self.now)

    def refusal(self, verdict: str = "approve", **more: Any) -> str:
        kept, told = dict(self.approvals.kept), dict(self.tokens.told)
        answered = self.answer(verdict, **more)
        assert answered.outcome == "refused"
        assert (self.approvals.kept, self.tokens.told) == (kept, told)
        return answered.reason

    @property
    def approval(self) -> Approval:
        found = self.approvals.of_run("mnist", "r7")
        assert found
        return found

    def told(self, token: str = "token-1") -> Any:
        output = self.tokens.told[token]
        return None if output is None else json.loads(output)

    @property
    def link(self) -> str:
        return next(line for line in self.notices.told[-1][1].splitlines() if line.startswith(URL))

    def visit(self, method: str = "GET", path: str = "", body: str = "", **event: Any) -> Answer:
        http = {"method": method, "sourceIp": "192.0.2.1"}
        asked = {
            "rawPath": path or self.link.removeprefix(URL),
            "requestContext": {"http": http},
            "headers": {"content-type": "application/x-www-form-urlencoded"},
            "body": body,
        }
        return respond(Request(asked | event), Services(self.approvals, self.tokens, lambda: self.now))

    def send(self, **form: str) -> Answer:
        return self.visit("POST", body=urlencode(form))


def test_a_question_says_what_waits_for_how_long_and_how_to_answer() -> None:
    world = World()
    ((subject, message),) = world.notices.told
    assert subject == "Lehr: mnist waits for approval"
    assert "lehr --aws approve r7" in message
    assert "lehr --aws reject r7 --reason" in message
    assert "https:" not in message
    assert world.approval.status == "PendingManualApproval"
    # A minute is left for an answer to reach the execution.
    assert world.approval.expires_at == "2026-01-31T12:59:00.000Z"
    ((kind, detail),) = world.notices.announced
    assert (kind, detail["run"], detail["version"]) == ("ApprovalRequested", "r7", "v7")


def test_a_question_that_nobody_can_be_told_is_asked_all_the_same() -> None:
    world = World()
    world.notices = KeptNotices(is_away=True)
    assert world.ask(generation=4) == "ConnectionError: nobody listens"
    assert world.approval.generation == 4


def test_a_state_that_is_retried_asks_with_its_new_token() -> None:
    world = World()
    world.ask(token="token-2")
    assert world.answer().outcome == "approved"
    assert world.told("token-1") is None
    assert world.told("token-2")["verdict"] == "approve"
    with pytest.raises(OverwriteError, match="answered already"):
        world.ask(token="token-3")


def test_an_approval_is_kept_with_who_gave_it_and_lets_the_run_go_on() -> None:
    world = World()
    given = world.answer(comment=" looked at it ")
    assert (given.outcome, given.version) == ("approved", "v7")
    kept = world.approval
    assert (kept.status, kept.by, kept.via, kept.comment) == ("Approved", "ada", "command", "looked at it")
    assert kept.answered_at == "2026-01-31T12:00:00.000Z"
    assert world.told() == {"verdict": "approve", "reason": "approved by ada: looked at it"}


def test_a_rejection_is_kept_with_its_reason() -> None:
    world = World()
    assert world.answer("reject", comment="worse on sevens").outcome == "rejected"
    assert world.approval.status == "Rejected"
    assert world.told() == {"verdict": "reject", "reason": "rejected by ada: worse on sevens"}


@pytest.mark.parametrize("comment", ["", "  "])
def test_a_rejection_without_a_reason_is_refused(comment: str) -> None:
    assert World().refusal("reject", comment=comment) == "a rejection says why"


@pytest.mark.parametrize(
    ("project", "run"), [("mnist", "r8"), ("other", "r7"), ("../x", "r7"), ("mnist", "#")]
)
def test_what_has_not_asked_is_refused(project: str, run: str) -> None:
    World().refusal(project=project, run=run)


@pytest.mark.parametrize("verdict", ["approve", "reject"])
def test_a_second_answer_is_refused_with_the_first(verdict: str) -> None:
    world = World()
    world.answer(comment="fine")
    reason = world.refusal(verdict, by="eve", comment="no")
    assert reason == "run r7 of mnist was approved on 2026-01-31T12:00:00.000Z by ada: fine"


def test_a_late_answer_is_refused() -> None:
    world = World()
    world.now = AT + timedelta(minutes=58, seconds=59)
    early = World()
    early.now = world.now
    assert early.answer().outcome == "approved"
    world.now += timedelta(seconds=1)
    assert "took answers until 2026-01-31T12:59:00.000Z" in world.refusal()


def test_an_answer_that_was_written_and_not_passed_on_is_passed_on_when_it_is_given_again() -> None:
    world = World()
    world.answer()
    world.tokens.told["token-1"] = None
    assert world.answer().outcome == "approved"
    assert world.told()["verdict"] == "approve"
    assert "was approved" in world.refusal()


def test_an_answer_to_a_run_that_was_stopped_is_refused_and_the_question_closed() -> None:
    world = World()
    del world.tokens.told["token-1"]
    answered = world.answer()
    assert (answered.outcome, "waits no more" in answered.reason) == ("refused", True)
    assert (world.approval.status, world.approval.via) == ("Rejected", "nobody")


def test_of_two_answers_at_once_one_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    seen = world.approval
    world.answer("reject", comment="no", by="eve")
    found = iter([seen, world.approval])
    monkeypatch.setattr(world.approvals, "of_run", lambda project, run: next(found))
    answered = world.answer()
    assert (answered.outcome, "was rejected" in answered.reason) == ("refused", True)
    assert world.told()["verdict"] == "reject"


def test_a_run_that_was_judged_again_asks_again_and_is_answered_for_that() -> None:
    world = World()
    world.answer()
    world.ask(token="token-2", generation=4)
    assert world.approval.status == "PendingManualApproval"
    world.answer("reject", comment="not against that one")
    assert (world.told("token-1")["verdict"], world.told("token-2")["verdict"]) == ("approve", "reject")


def test_what_is_no_answer_is_a_contract_error() -> None:
    with pytest.raises(ContractError, match="verdict"):
        World().answer("perhaps")


# --- the link ---------------------------------------------------------------------------------------------------


def test_the_link_has_a_secret_of_which_only_the_hash_is_kept() -> None:
    world = World(url=URL)
    secret = world.link.rpartition("/")[2]
    assert len(secret) == 43
    assert secret not in repr(world.approval)
    assert World(url=URL).link != world.link


def test_looking_at_the_link_changes_nothing_however_often() -> None:
    world = World(url=URL)
    before = world.approval
    for _ in range(3):
        page = world.visit()
        assert page["statusCode"] == 200
        assert '<form method="post">' in page["body"]
        assert "accuracy 0.98 &lt;b&gt;" in page["body"]
    assert (world.approval, world.told()) == (before, None)


def test_the_page_runs_nothing_loads_nothing_and_gives_its_address_to_nobody() -> None:
    headers = World(url=URL).visit()["headers"]
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert "script" not in headers["Content-Security-Policy"]
    assert (headers["Referrer-Policy"], headers["Cache-Control"]) == ("no-referrer", "no-store")


@pytest.mark.parametrize(
    ("verdict", "status"), [("approve", "Approved"), ("reject", "Rejected")], ids=["approve", "reject"]
)
def test_the_form_answers_once_and_says_by_whom(verdict: str, status: str) -> None:
    world = World(url=URL)
    page = world.send(verdict=verdict, name="Ada <x>", comment="seen")
    assert page["statusCode"] == 200
    assert f"was {status.lower()}" in page["body"]
    kept = world.approval
    assert (kept.status, kept.via) == (status, "link")
    assert kept.by == "Ada <x> (with the link, from 192.0.2.1)"
    for again in (world.send(verdict="approve"), world.visit()):
        assert again["statusCode"] == 410
        assert "<x>" not in again["body"]
    assert world.approval == kept


def test_a_form_in_base64_is_read_as_well() -> None:
    world = World(url=URL)
    body = base64.b64encode(b"verdict=approve").decode()
    assert world.visit("POST", body=body, isBase64Encoded=True)["statusCode"] == 200
    assert world.approval.by.startswith("somebody (with the link")


@pytest.mark.parametrize("form", [{}, {"verdict": "perhaps"}, {"verdict": "reject", "comment": " "}])
def test_a_form_that_says_nothing_is_asked_again(form: dict[str, str]) -> None:
    world = World(url=URL)
    page = world.send(**form)
    assert (page["statusCode"], 'class="fault"' in page["body"]) == (422, True)
    assert world.told() is None


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("change", ["secret", "run", "project", "none"])
def test_another_link_is_not_found_whatever_is_wrong_with_it(method: str, change: str) -> None:
    world = World(url="" if change == "none" else URL)
    path = "/approvals/mnist/r7/" + "A" * 43 if change == "none" else world.link.removeprefix(URL)
    path = {
        "secret": path[:-1] + ("A" if path[-1] != "A" else "B"),
        "run": path.replace("/r7/", "/r8/"),
        "project": path.replace("/mnist/", "/%2E%2E/"),
    }.get(change, path)
    page = world.visit(method, path, body="verdict=approve")
    assert page["statusCode"] == 404
    assert "accuracy" not in page["body"]
    assert world.told() is None


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_expired_link_is_gone(method: str) -> None:
    world = World(url=URL)
    world.now = AT + timedelta(hours=1)
    assert world.visit(method, body="verdict=approve")["statusCode"] == 410
    assert world.told() is None


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ({"body": "x" * 8193}, 413),
        ({"headers": {"content-type": "application/json"}}, 415),
        ({"headers": {}}, 415),
        ({"body": "%", "isBase64Encoded": True}, 400),
        ({"body": "&".join(["a=1"] * 11)}, 400),
    ],
)
def test_a_body_that_is_no_form_is_refused(event: dict[str, Any], status: int) -> None:
    world = World(url=URL)
    assert world.visit("POST", **event)["statusCode"] == status
    assert world.told() is None


def test_other_paths_and_methods_are_problem_documents() -> None:
    world = World(url=URL)
    assert world.visit("DELETE")["statusCode"] == 405
    assert world.visit("GET", "/approvals/mnist")["statusCode"] == 404
