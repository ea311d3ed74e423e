"""judge_model: adds up what the shards' evaluations wrote, and decides once all of it is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from functions.judge_model.judge import judge
from lehr import layout
from lehr.contracts.dataset import Shard
from lehr.contracts.evaluation import Decision, EvaluateUnit, EvaluationReport, ShardEvaluation
from lehr.contracts.gate_tables import Gate
from lehr.contracts.recipe import parse_recipe
from lehr.contracts.workflow import JudgeRequest
from lehr.errors import MissingDataError
from lehr_runtime.metrics import count_classification, paired
from tests.fakes import InMemoryObjectStore

RECIPE = parse_recipe((Path(__file__).parents[3] / "examples/mnist/lehr.toml").read_text())
ROWS, SHARDS = 200, 3


def probabilities(y: np.ndarray, mistakes: int) -> np.ndarray:
    """Confident answers, wrong on the first `mistakes` rows."""
    answers = np.full((len(y), 10), 0.01, dtype=np.float32)
    told = y.copy()
    told[:mistakes] = (told[:mistakes] + 1) % 10
    answers[np.arange(len(y)), told] = 0.91
    return answers


def world(
    candidate_mistakes: int, champion_mistakes: int | None, **gate: Any
) -> tuple[InMemoryObjectStore, JudgeRequest]:
    store = InMemoryObjectStore("artifacts")
    champion = None if champion_mistakes is None else "old"
    recipe = msgspec.structs.replace(RECIPE, gate=Gate(min_test_rows=ROWS * SHARDS, **gate))
    store.put(layout.recipe_key("mnist", "r1"), recipe.to_json())
    units = []
    for index in range(SHARDS):
        y = np.random.default_rng(index).integers(0, 10, ROWS)
        shard = Shard(split="test", key="k", rows=ROWS, bytes=1, sha256="0" * 64, class_counts=[20] * 10)
        units.append(
            EvaluateUnit(
                project="mnist",
                run="r1",
                index=index,
                of=SHARDS,
                shard=shard,
                candidate="new",
                champion=champion,
            )
        )
        new = probabilities(y, candidate_mistakes)
        old = None if champion_mistakes is None else probabilities(y, champion_mistakes)
        part = ShardEvaluation(
            index=index,
            candidate=count_classification(new, y, 10, 0.1),
            champion=None if old is None else count_classification(old, y, 10, 0.1),
            paired=None if old is None else paired(new, old, y),
        )
        store.put(layout.evaluation_part_key("mnist", "r1", "new", champion, index), part.to_json())
    store.put(layout.evaluation_plan_key("mnist", "r1", "new", champion), msgspec.json.encode(units))
    return store, JudgeRequest(
        project="mnist", run="r1", dataset_version="d1", candidate="new", champion=champion
    )


def test_parts_add_up_and_both_documents_are_written() -> None:
    store, request = world(10, 20)
    judgement = judge(request, store)
    report = EvaluationReport.from_json(store.objects[layout.evaluation_report_key("mnist", "r1")])
    decision = Decision.from_json(store.objects[layout.decision_key("mnist", "r1")])
    assert report.candidate.rows == 600
    assert report.candidate.accuracy == pytest.approx(0.95)
    assert judgement.verdict == "promote"
    assert judgement.champion_accuracy == pytest.approx(0.90)
    assert decision.verdict == "promote"
    assert report.paired is not None
    assert (report.paired.only_candidate, report.paired.only_champion) == (30, 0)


def test_a_worse_candidate_is_rejected_with_the_numbers() -> None:
    store, request = world(20, 10)
    judgement = judge(request, store)
    assert judgement.verdict == "reject"
    assert "0.9000" in judgement.reason


def test_the_first_model_is_judged_alone() -> None:
    store, request = world(10, None)
    assert judge(request, store).champion_accuracy is None


def test_a_part_that_was_never_written_stops_the_judgement() -> None:
    store, request = world(10, 20)
    del store.objects[layout.evaluation_part_key("mnist", "r1", "new", "old", 1)]
    with pytest.raises(MissingDataError, match="shard 2 of 3"):
        judge(request, store)
