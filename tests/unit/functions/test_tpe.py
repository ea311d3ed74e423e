"""TPE: the study that is rebuilt in every round asks what Optuna's own, which was never taken apart, would ask."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from functions.propose_trials.tpe import ask, distribution, make_sampler
from lehr.contracts.recipe import RECIPE_FILE, Recipe, parse_recipe
from lehr.contracts.search_space import MAX_DRAWS, Point, read_space
from lehr.contracts.sweep import TrialRecord
from lehr.contracts.workflow import TrialResult
from lehr.sweeps import trial
from tests.unit.core.test_sweep_rules import BASE

SPACE = """
[trials.space]
learning_rate = { low = 1e-5, high = 1.0, log = true }
weight_decay = { low = 0.0, high = 0.1 }
batch_size = { low = 16, high = 128, step = 16 }
epochs = { low = 1, high = 20, log = true }
optimizer = ["adam", "adamw", "rmsprop"]
model.hidden = [[32], [64, 32], [128]]
"""


def recipe(count: int = 24, more: str = "", space: str = SPACE) -> Recipe:
    head = f'search = "tpe"\ncount = {count}\nconcurrency = 4\nobjective = "validation_loss"'
    return parse_recipe(f"{BASE}\n[trials]\n{head}\n{more}\n{space}")


def loss(point: Point) -> float:
    """Least at a learning rate of 0.01, with the widest model."""
    return (math.log10(point.get("learning_rate", 1.0)) + 2) ** 2 + (
        0.0 if point.get("model.hidden") == [128] else 0.5
    )


def record(planned: Recipe, number: int, point: Point, objective: float | None) -> TrialRecord:
    proposed = trial(planned, number, point)
    status: Any = "failed" if objective is None else "completed"
    return TrialRecord(
        id=proposed.id,
        name=proposed.name,
        round=0,
        point=point,
        hyperparameters=proposed.hyperparameters,
        status=status,
        objective=objective,
        result=TrialResult(id=proposed.id, status="Completed", job="j"),
    )


def swept(planned: Recipe, failing: frozenset[int] = frozenset()) -> list[TrialRecord]:
    records: list[TrialRecord] = []
    count = planned.trials.count or 0
    while len(records) < count:
        for point in ask(planned, records, min(4, count - len(records))):
            number = len(records)
            records.append(record(planned, number, point, None if number in failing else loss(point)))
    return records


def test_a_rebuilt_study_asks_what_optunas_own_would_ask() -> None:
    planned, failing = recipe(), frozenset({3, 9})
    ours = [one.point for one in swept(planned, failing)]
    space = read_space(planned, place=RECIPE_FILE)
    distributions = {key: distribution(dimension) for key, dimension in space.items()}
    study = optuna.create_study(direction="minimize")
    theirs: list[Point] = []
    while len(theirs) < 24:
        study.sampler = make_sampler(planned, len(theirs))
        round_ = [study.ask(dict(distributions)) for _ in range(4)]
        for one in round_:
            hidden = next(
                v for v in space["model.hidden"].grid() or () if str(v) == one.params["model.hidden"]
            )
            theirs.append(dict(one.params) | {"model.hidden": hidden})
        for number, one in enumerate(round_, len(theirs) - 4):
            if number in failing:
                study.tell(one, state=TrialState.FAIL)
            else:
                study.tell(one, loss(theirs[number]))
    assert ours == theirs


def test_it_learns_what_a_random_search_does_not() -> None:
    """The later half lies nearer to the best learning rate than the earlier, which knew little."""
    rates = [abs(math.log10(one.point["learning_rate"]) + 2) for one in swept(recipe(40))]
    assert sum(rates[20:]) < 0.7 * sum(rates[:20])


def test_another_direction_leads_elsewhere() -> None:
    """Negative control: the same numbers as an accuracy drive it away from where they are low."""
    upwards = recipe(40)
    downwards = parse_recipe(upwards_text().replace("validation_loss", "validation_accuracy"))
    best_low = min(loss(one.point) for one in swept(upwards)[20:])
    mean_low = sum(loss(one.point) for one in swept(upwards)[20:])
    mean_high = sum(loss(one.point) for one in swept(downwards)[20:])
    assert best_low < 0.3
    assert mean_low < mean_high


def upwards_text() -> str:
    head = 'search = "tpe"\ncount = 40\nconcurrency = 4\nobjective = "validation_loss"'
    return f"{BASE}\n[trials]\n{head}\n{SPACE}"


def test_the_trials_of_a_round_differ_and_none_comes_twice() -> None:
    space = "[trials.space]\nbatch_size = [16, 32, 64]\nlearning_rate = [0.1, 0.01]"
    planned = recipe(6, space=space)
    points = [tuple(one.point.values()) for one in swept(planned)]
    assert len(set(points)) == 6


def test_what_the_rules_refuse_is_asked_for_again() -> None:
    space = '[trials.space]\noptimizer = ["adam", "sgd"]\nmomentum = { low = 0.1, high = 0.9 }'
    assert {one.point["optimizer"] for one in swept(recipe(8, space=space))} == {"sgd"}


def test_a_sampler_that_gives_nothing_new_is_helped_by_a_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def stubborn(self: optuna.Study, distributions: Any) -> optuna.Trial:
        asked.append(self)
        self.enqueue_trial({"batch_size": 16})
        return ask_of_optuna(self, distributions)

    ask_of_optuna = optuna.Study.ask
    monkeypatch.setattr(optuna.Study, "ask", stubborn)
    planned = recipe(2, space="[trials.space]\nbatch_size = [16, 32]")
    points = ask(planned, [record(planned, 0, {"batch_size": 16}, 0.5)], 1)
    assert points == [{"batch_size": 32}]
    assert len(asked) == MAX_DRAWS + 1
