"""The states of a rollout as they stand in the state machine, run by the interpreter; functions answer by a script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.local_cloud.orchestration_cloud import Orchestration, orchestration, unique

__all__ = ["orchestration"]

ROOT = Path(__file__).parents[3]
STATES = ("PromoteModel", "IsPromoted", "JudgeAgain", "Bake", "WatchCanary", "IsBaked")
ENDS = ("RecordPromotion", "RecordRejection", "RecordFailure", "PackageModel")
ROLLOUT = {"strategy": "canary", "share_percent": 10.0}
BAKES = {"champion": "v0", "previous": None, "generation": 4, "is_baking": True}
PROMOTED = {"champion": "v1", "previous": "v0", "generation": 5, "is_baking": False}
WITHDRAWN = {"champion": "v0", "previous": None, "generation": 5, "is_baking": False}
CHANGED = {"errorType": "ChampionChangedError", "errorMessage": "moved"}


class Rollout:
    """One run of the states, with what the two functions answer and were asked."""

    def __init__(self, cloud: Orchestration, promote: list[Any], watch: list[Any]) -> None:
        self.cloud = cloud
        names = {"PromoteModel": unique("scripted-promote"), "WatchCanary": unique("scripted-watch")}
        for state, answers in (("PromoteModel", promote), ("WatchCanary", watch)):
            self._call("script", {"name": names[state], "answers": answers})
        text = (ROOT / "statemachine/retrain.asl.yaml").read_text()
        for state, name in names.items():
            text = text.replace(f"${{{state}Function}}", name)
        # A minute is what a metric takes; here nothing is measured.
        assert "watchS: 60" in text
        states = {
            name: state
            for name, state in yaml.safe_load(text.replace("watchS: 60", "watchS: 0"))["States"].items()
            if name in STATES
        }
        given = {
            "project": "mnist",
            "run": "r1",
            "candidate": {"version": "v1", "generation": 3},
            "reason": "accuracy 0.98",
            "rollout": ROLLOUT,
            "step": "begin",
            "rejudgements": 0,
        }
        output = {"reason": "{% $reason %}", "step": "{% $step %}", "rejudgements": "{% $rejudgements %}"}
        ends = {name: {"Type": "Pass", "Output": output | {"end": name}, "End": True} for name in ENDS}
        first = {"Given": {"Type": "Pass", "Assign": given, "Next": "PromoteModel"}}
        self.output = cloud.output(first | states | ends)
        self.promoted, self.watched = (self._call("calls", {"name": name}) for name in names.values())

    def _call(self, name: str, event: Any) -> Any:
        answer = self.cloud.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event).encode())
        return json.loads(answer["Payload"].read())

    @property
    def steps(self) -> list[tuple[str, int]]:
        return [(call["step"], call["generation"]) for call in self.promoted]


def looks(*verdicts: str) -> list[Any]:
    return [{"verdict": verdict, "reason": f"{verdict} it", "wait_s": 0} for verdict in verdicts]


def test_a_model_that_is_promoted_at_once_is_not_watched(orchestration: Orchestration) -> None:
    rollout = Rollout(orchestration, [PROMOTED], [])
    assert (rollout.output["end"], rollout.output["reason"]) == ("RecordPromotion", "accuracy 0.98")
    assert rollout.steps == [("begin", 3)]
    assert rollout.promoted[0]["rollout"] == ROLLOUT


def test_a_canary_is_watched_until_it_is_completed_at_its_own_generation(
    orchestration: Orchestration,
) -> None:
    rollout = Rollout(orchestration, [BAKES, PROMOTED], looks("bake", "bake", "complete"))
    assert rollout.output["end"] == "RecordPromotion"
    assert rollout.output["reason"] == "accuracy 0.98; complete it"
    assert rollout.steps == [("begin", 3), ("complete", 4)]
    assert len({call["began_at"] for call in rollout.watched}) == 1
    assert [call["generation"] for call in rollout.watched] == [4, 4, 4]


def test_a_canary_that_does_badly_is_withdrawn_and_the_run_rejected_with_the_reason(
    orchestration: Orchestration,
) -> None:
    rollout = Rollout(orchestration, [BAKES, WITHDRAWN], looks("withdraw"))
    assert rollout.output["end"] == "RecordRejection"
    assert rollout.output["reason"] == "accuracy 0.98; withdraw it"
    assert rollout.steps == [("begin", 3), ("withdraw", 4)]
    assert rollout.promoted[1]["reason"] == "accuracy 0.98; withdraw it"


@pytest.mark.parametrize(
    ("promote", "watch"),
    [([CHANGED], []), ([BAKES], [CHANGED]), ([BAKES, CHANGED], looks("complete"))],
    ids=["at the beginning", "while it bakes", "at the end"],
)
def test_a_champion_that_changes_has_the_candidate_judged_again_from_the_beginning(
    orchestration: Orchestration, promote: list[Any], watch: list[Any]
) -> None:
    rollout = Rollout(orchestration, promote, watch)
    assert (rollout.output["end"], rollout.output["step"]) == ("PackageModel", "begin")
    assert rollout.output["rejudgements"] == 1
