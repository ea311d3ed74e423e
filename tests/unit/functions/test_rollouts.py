"""Two models at once: who answers, what is measured of each, and that a bad candidate costs nobody an answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from functions.predict import app, rollout
from functions.predict.embedded_metrics import write_scored
from functions.predict.rollout import CandidateError, Scored, compared, shadowed, watched
from lehr.contracts.package import Signature, TensorSpec
from lehr.errors import ModelPackageError
from lehr_runtime.packages import LoadedModel
from tests.unit.functions.corpus import GOOD, inference, inputs
from tests.unit.functions.test_predict import CONTEXT, World, call, event

NOTHING: Any = None
POSTED = {"requestId": "request-1", "http": {"method": "POST"}}
ONE = np.array([[0.9, 0.1]], dtype=np.float32)
OTHER = np.array([[0.2, 0.8]], dtype=np.float32)
SIGNATURE = Signature(
    task="image_classification",
    input=TensorSpec(name="x", dtype="uint8", shape=[-1, 28, 28, 1]),
    output=TensorSpec(name="y", dtype="float32", shape=[-1, 2]),
    labels=["cat", "dog"],
)


class Fixed:
    """A predictor that gives or raises what it was made with."""

    def __init__(self, output: np.ndarray | Exception) -> None:
        self.output, self.asked = output, 0

    def predict(self, x: Any) -> np.ndarray:
        self.asked += 1
        if isinstance(self.output, Exception):
            raise self.output
        return self.output


def model(version: str, output: np.ndarray | Exception, signature: Signature = SIGNATURE) -> LoadedModel:
    fixed: Any = Fixed(output)
    return LoadedModel(version=version, package=NOTHING, signature=signature, predictor=fixed)


def asked(model: LoadedModel) -> int:
    fixed: Any = model.predictor
    count: int = fixed.asked
    return count


def test_an_answer_is_reported_with_its_time_and_one_of_its_numbers() -> None:
    scored: list[Scored] = []
    assert watched(model("v1", ONE), scored.append).predictor.predict(NOTHING) is ONE
    (one,) = scored
    assert (one.version, one.has_failed, one.disagrees) == ("v1", False, None)
    assert one.answer == pytest.approx(0.9)
    assert one.latency_ms > 0


def test_a_failure_is_reported_and_of_a_canary_becomes_an_error_of_its_own() -> None:
    scored: list[Scored] = []
    broken = model("v1", ModelPackageError("NaN"))
    with pytest.raises(ModelPackageError):
        watched(broken, scored.append).predictor.predict(NOTHING)
    with pytest.raises(CandidateError):
        watched(broken, scored.append, is_candidate=True).predictor.predict(NOTHING)
    assert scored == [Scored("v1", has_failed=True)] * 2


def test_inputs_that_do_not_fit_are_no_failure_of_a_model() -> None:
    scored: list[Scored] = []
    with pytest.raises(ValueError, match="shape"):
        watched(model("v1", ValueError("shape")), scored.append, is_candidate=True).predictor.predict(NOTHING)
    assert scored == []


@pytest.mark.parametrize(
    ("shadow", "has_failed", "disagrees"),
    [
        (ONE, False, False),
        (OTHER, False, True),
        (ValueError("shape"), True, None),
        (OSError("x"), True, None),
    ],
)
def test_a_shadow_is_scored_and_the_champion_answers(
    shadow: np.ndarray | Exception, has_failed: bool, disagrees: bool | None
) -> None:
    scored: list[Scored] = []
    both = shadowed(model("v0", ONE), model("v1", shadow), scored.append)
    assert both.version == "v0"
    assert both.predictor.predict(NOTHING) is ONE
    assert [one.version for one in scored] == ["v0", "v1"]
    assert (scored[1].has_failed, scored[1].disagrees) == (has_failed, disagrees)


def test_a_shadow_takes_a_tenth_of_the_time_at_most() -> None:
    now, scored = [100.0], list[Scored]()

    class Slow(Fixed):
        def predict(self, x: Any) -> np.ndarray:
            now[0] += 0.5
            return super().predict(x)

    slow: Any = Slow(ONE)
    shadow = structs.replace(model("v1", ONE), predictor=slow)
    both = shadowed(model("v0", ONE), shadow, scored.append, lambda: now[0])
    asked = []
    for wait_s in (0.0, 0.0, 4.4, 0.2):
        now[0] += wait_s
        both.predictor.predict(NOTHING)
        asked.append(slow.asked)
    assert asked == [1, 1, 1, 2]
    assert [one.latency_ms for one in scored if one.version == "v1"] == [500.0, 500.0]


def test_values_and_pixels_have_no_label_to_disagree_about() -> None:
    scored: list[Scored] = []
    value = np.array([[3.5]], dtype=np.float32)
    shadowed(model("v0", value), model("v1", value + 1), scored.append).predictor.predict(NOTHING)
    assert scored[1].disagrees is None
    assert scored[1].answer == pytest.approx(4.5)


@pytest.mark.parametrize(
    ("champion", "disagrees"),
    [
        (ONE, False),
        (OTHER, True),
        (ONE[:, :1], None),
        # What the champion cannot do says nothing about the canary, which has answered.
        (ValueError("shape"), None),
        (ModelPackageError("NaN"), None),
    ],
)
def test_a_canary_that_is_compared_answers_whatever_the_champion_says_or_raises(
    champion: np.ndarray | Exception, disagrees: bool | None
) -> None:
    scored: list[Scored] = []
    before = model("v0", champion)
    canary = compared(model("v1", ONE), before, scored.append)
    assert canary.version == "v1"
    for _ in range(3):
        assert canary.predictor.predict(NOTHING) is ONE
    assert [(one.version, one.has_failed, one.disagrees) for one in scored] == [("v1", False, disagrees)] * 3
    assert asked(before) == 3


def test_the_time_of_a_comparison_is_not_the_canarys(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(rollout, "perf_counter", lambda: now[0])

    class Taking(Fixed):
        def __init__(self, seconds: float) -> None:
            super().__init__(ONE)
            self.seconds = seconds

        def predict(self, x: Any) -> np.ndarray:
            now[0] += self.seconds
            return super().predict(x)

    scored: list[Scored] = []
    quick, slow = (structs.replace(model("v", ONE), predictor=Taking(s)) for s in (0.25, 8.0))
    compared(quick, slow, scored.append).predictor.predict(NOTHING)
    assert [(one.latency_ms, one.disagrees) for one in scored] == [(250.0, False)]


def test_a_canary_that_fails_is_compared_with_nothing() -> None:
    scored: list[Scored] = []
    before = model("v0", ONE)
    with pytest.raises(CandidateError):
        compared(model("v1", OSError("x")), before, scored.append).predictor.predict(NOTHING)
    assert (scored, asked(before)) == ([Scored("v1", has_failed=True)], 0)


@pytest.mark.parametrize(
    ("output", "change"),
    [
        # A label has another place, or an input another shape: what came out would be no disagreement.
        (ONE, {"labels": ["dog", "cat"]}),
        (ONE, {"input": TensorSpec(name="x", dtype="uint8", shape=[-1, 32, 32, 1])}),
        (np.array([[3.5]], dtype=np.float32), {}),
        (np.zeros((1, 2, 4, 4), dtype=np.float32), {}),
    ],
)
def test_a_champion_is_not_asked_for_what_cannot_be_compared(
    output: np.ndarray, change: dict[str, Any]
) -> None:
    scored: list[Scored] = []
    before = model("v0", output, structs.replace(SIGNATURE, **change))
    assert compared(model("v1", output), before, scored.append).predictor.predict(NOTHING) is output
    assert ([one.disagrees for one in scored], asked(before)) == ([None], 0)


def test_a_line_of_metrics_names_project_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    write_scored("mnist", Scored("v1", latency_ms=1.5, answer=0.25, disagrees=True))
    write_scored("mnist", Scored("v1", has_failed=True))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    directives = [line["_aws"]["CloudWatchMetrics"][0] for line in lines]
    assert [one["Dimensions"] for one in directives] == [[["project", "model_version"]]] * 2
    for line, directive in zip(lines, directives, strict=True):
        assert {metric["Name"] for metric in directive["Metrics"]} == line.keys() - {
            *("_aws", "project", "model_version")
        }
    assert lines[0]["ScoringLatency"] == 1.5
    assert (lines[0]["ScoredAnswer"], lines[0]["Disagreements"]) == (0.25, 1)
    assert (lines[1]["ScoringErrors"], "ScoringLatency" in lines[1]) == (1, False)


# --- through the handler


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path)
    world.champions._on_scored = write_scored
    monkeypatch.setattr(app, "champions", lambda: world.champions)
    return world


def bake(world: World, **more: Any) -> tuple[str, str]:
    """A champion with a canary beside it that gets every request."""
    canary = world.serve(seed=1)
    champion = world.serve(seed=0)
    alias = world.registry.aliases["mnist"]
    world.registry.aliases["mnist"] = structs.replace(alias, canary=canary, weight=1.0, **more)
    return champion, canary


def ask(request_id: str = "request-1") -> tuple[int, dict[str, Any]]:
    context = {"requestId": request_id, "http": {"method": "POST"}}
    return call("POST", "/predict/mnist", GOOD, requestContext=context)


def test_a_canary_of_a_recipe_with_a_limit_is_compared_in_each_of_its_requests(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    champion, canary = bake(world, is_compared=True)
    images = np.random.default_rng(0).integers(0, 256, (16, 1, 28, 28))
    said: dict[str, list[str]] = {champion: [], canary: []}
    for version, weight in ((champion, 1e-12), (canary, 1.0)):
        world.registry.aliases["mnist"] = structs.replace(world.registry.aliases["mnist"], weight=weight)
        world.champions.refresh_all(within_s=5)
        capsys.readouterr()
        for image in images:
            answer = call("POST", "/predict/mnist", inputs(image.tolist()), requestContext=POSTED)[1]
            assert answer["model_version"] == version
            said[version].append(answer["predictions"][0]["label"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "ScoredRequests" in line]
    assert [(line["model_version"], line["ComparedRequests"]) for line in lines] == [(canary, 1)] * 16
    differ = [int(one != other) for one, other in zip(said[champion], said[canary], strict=True)]
    assert 0 < sum(differ) < 16
    assert [line["Disagreements"] for line in lines] == differ


def test_a_canary_without_a_limit_costs_no_second_scoring(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    bake(world)
    assert ask()[0] == 200
    assert "ComparedRequests" not in capsys.readouterr().out


def scored_in(text: str) -> list[tuple[str, int]]:
    lines = [json.loads(line) for line in text.splitlines() if "ScoredRequests" in line]
    return [(line["model_version"], line["ScoringErrors"]) for line in lines]


def test_a_canary_answers_and_its_version_stands_in_the_answer(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    _, canary = bake(world)
    status, answer = ask()
    assert (status, answer["model_version"]) == (200, canary)
    assert scored_in(capsys.readouterr().out) == [(canary, 0)]


def test_who_asks_for_the_champions_version_by_its_name_gets_it(world: World) -> None:
    champion, canary = bake(world)
    body = inference().decode()
    for path, status, answers in (
        ("/v2/models/mnist/infer", 200, canary),
        (f"/v2/models/mnist/versions/{champion}/infer", 200, champion),
        (f"/v2/models/mnist/versions/{canary}/infer", 404, None),
    ):
        context = {"requestId": "request-1", "http": {"method": "POST"}}
        answer = app.handler(event("POST", path, body, requestContext=context), CONTEXT)
        found = json.loads(answer["body"])
        assert (answer["statusCode"], found.get("model_version")) == (status, answers)


def test_what_a_canary_cannot_answer_the_champion_does(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    champion, canary = bake(world)
    load = world.champions._load

    def broken(project: str, version: str) -> LoadedModel:
        loaded = load(project, version)
        raises: Any = Fixed(ModelPackageError("the graph gave NaN or infinity"))
        return structs.replace(loaded, predictor=raises) if version == canary else loaded

    monkeypatch.setattr(world.champions, "_load", broken)
    for number in range(5):
        status, answer = ask(f"request-{number}")
        assert (status, answer["model_version"]) == (200, champion)
    assert scored_in(capsys.readouterr().out) == [(canary, 1)] * 5


def test_a_shadow_is_measured_and_never_answers(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    champion, shadow = bake(world, is_shadow=True)
    assert ask()[1]["model_version"] == champion
    assert scored_in(capsys.readouterr().out) == [(champion, 0), (shadow, 0)]


def test_nothing_is_measured_by_version_without_a_candidate(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.serve()
    assert ask()[0] == 200
    assert scored_in(capsys.readouterr().out) == []


def test_requests_that_are_not_the_canarys_are_measured_of_the_champion(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    champion, canary = bake(world)
    alias = world.registry.aliases["mnist"]
    world.registry.aliases["mnist"] = structs.replace(alias, weight=0.3)
    answered = [ask(f"request-{number}")[1]["model_version"] for number in range(60)]
    assert scored_in(capsys.readouterr().out) == [(version, 0) for version in answered]
    assert 5 < answered.count(canary) < 35
    assert answered.count(champion) == 60 - answered.count(canary)
