"""Feedback: labels that come back are written down once each, and what they cannot be about is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from functions.predict import app
from functions.predict.capture import MAX_LINE_BYTES
from functions.predict.feedback import prediction_ids, write_feedback
from functions.predict.feedback_bodies import MAX_FEEDBACK
from lehr.contracts.feedback import FeedbackLine, LabelledPrediction
from tests.unit.functions.corpus import GOOD
from tests.unit.functions.test_predict import CONTEXT, World, event


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path)
    world.serve()
    monkeypatch.setattr(app, "champions", lambda: world.champions)
    return world


def ask(body: str = GOOD, query: str = "ids=true", request_id: str = "gateway-1") -> tuple[int, Any]:
    asked = event("POST", "/predict/mnist", body, rawQueryString=query)
    asked["requestContext"]["requestId"] = request_id
    answer = app.handler(asked, CONTEXT)
    return answer["statusCode"], json.loads(answer["body"])


def tell(given: object, project: str = "mnist") -> tuple[int, dict[str, Any]]:
    body = given if isinstance(given, str) else json.dumps({"feedback": given})
    answer = app.handler(event("POST", f"/feedback/{project}", body), CONTEXT)
    return answer["statusCode"], json.loads(answer["body"])


def lines(capsys: pytest.CaptureFixture[str]) -> list[FeedbackLine]:
    written = [line for line in capsys.readouterr().out.splitlines() if '"kind":"feedback"' in line]
    return [FeedbackLine.from_json(line) for line in written]


def test_predictions_have_ids_only_for_those_who_ask(served: World) -> None:
    assert "id" not in ask(query="")[1]["predictions"][0]
    assert "id" not in ask(query="ids=false")[1]["predictions"][0]
    assert ask(query="ids=true")[1]["predictions"][0]["id"]
    status, problem = ask(query="ids=1")
    assert (status, problem["field"]) == (422, "ids")


def test_what_is_told_of_a_prediction_is_a_line_with_what_was_answered(
    served: World, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = np.random.default_rng(5).integers(0, 256, (3, 28, 28)).tolist()
    _, answer = ask(json.dumps({"inputs": batch}))
    ids = [one["id"] for one in answer["predictions"]]
    assert len(set(ids)) == 3
    capsys.readouterr()
    status, told = tell([{"id": one, "label": "7"} for one in ids])
    assert (status, told) == (200, {"project": "mnist", "accepted": 3, "duplicates": 0})
    (line,) = lines(capsys)
    assert line.project == "mnist"
    assert [(one.request_id, one.row, one.label) for one in line.labels] == [
        ("gateway-1", row, "7") for row in range(3)
    ]
    assert [one.predicted for one in line.labels] == [one["label"] for one in answer["predictions"]]
    assert {one.model_version for one in line.labels} == {answer["model_version"]}


def test_of_a_prediction_that_comes_twice_the_last_label_counts(
    served: World, capsys: pytest.CaptureFixture[str]
) -> None:
    one = ask()[1]["predictions"][0]["id"]
    status, told = tell([{"id": one, "label": label} for label in ("1", "2", "3")])
    assert (status, told["accepted"], told["duplicates"]) == (200, 1, 2)
    assert [labelled.label for labelled in lines(capsys)[0].labels] == ["3"]


def test_a_label_may_come_after_the_next_promotion(served: World, capsys: pytest.CaptureFixture[str]) -> None:
    _, answer = ask()
    served.serve(seed=1)
    served.now += 60
    assert tell([{"id": answer["predictions"][0]["id"], "label": "1"}])[0] == 200
    assert lines(capsys)[0].labels[0].model_version == answer["model_version"]


def an_id(project: str = "mnist") -> str:
    return prediction_ids(project, "v1", "gateway-1", ["7"])[0]


@pytest.mark.parametrize(
    ("given", "status", "field"),
    [
        ([{"id": an_id(), "label": "eleven"}], 422, "feedback[0].label"),
        ([{"id": an_id(), "label": "1"}, {"id": an_id(), "label": ""}], 422, "feedback[1].label"),
        ([{"id": an_id("fares"), "label": "1"}], 422, "feedback[0].id"),
        ([{"id": an_id()[:-1] + "x", "label": "1"}], 422, "feedback[0].id"),
        ([{"id": "A" + an_id(), "label": "1"}], 422, "feedback[0].id"),
        ([{"id": "gateway-1", "label": "1"}], 422, "feedback[0].id"),
        ([{"id": "", "label": "1"}], 422, "feedback[0].id"),
        ([{"id": "é.é", "label": "1"}], 422, "feedback[0].id"),
        ([{"id": "x" * 5000, "label": "1"}], 422, "feedback[0].id"),
        ([{"id": an_id(), "label": 1}], 422, "feedback[0].label"),
        ([{"id": an_id()}], 422, "feedback[0]"),
        ([{"id": an_id(), "label": "1", "secret": "1"}], 422, "feedback[0]"),
        ([], 422, "feedback"),
        ([{"id": an_id(), "label": "1"}] * (MAX_FEEDBACK + 1), 422, "feedback"),
        ("[]", 422, "feedback"),
        ("{", 400, None),
        ('{"feedback": ' + "[" * 100_000, 422, "feedback[0]"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place_and_nothing_is_written(
    served: World, capsys: pytest.CaptureFixture[str], given: object, status: int, field: str | None
) -> None:
    got, problem = tell(given)
    assert (got, problem.get("field")) == (status, field)
    assert "eleven" not in json.dumps(problem)
    assert "secret" not in json.dumps(problem)
    assert lines(capsys) == []


def test_an_unknown_project_and_one_without_a_champion_are_told_as_everywhere(served: World) -> None:
    served.push("untrained")
    given = [{"id": an_id(), "label": "1"}]
    assert tell(given, "nobody")[0] == 404
    assert tell(given, "untrained")[0] == 503


def test_every_line_fits_into_an_event_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    labelled = [
        LabelledPrediction(
            request_id=str(row), row=row, model_version="v" * 16, predicted="é" * 1500, label="é" * 1500
        )
        for row in range(300)
    ]
    write_feedback("mnist", labelled)
    out = capsys.readouterr().out
    assert all(len(line.encode()) <= MAX_LINE_BYTES for line in out.splitlines())
    written = [FeedbackLine.from_json(line) for line in out.splitlines()]
    assert [one for line in written for one in line.labels] == labelled
