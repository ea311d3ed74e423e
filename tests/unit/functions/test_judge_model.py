"""judge_model: adds up what the shards' evaluations wrote, and decides once all of it is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from functions.judge_model import parts
from functions.judge_model.judge import judge
from lehr import layout
from lehr.contracts.dataset import Shard
from lehr.contracts.evaluation import Decision, EvaluateUnit, EvaluationReport, ShardEvaluation
from lehr.contracts.gate_tables import Gate
from lehr.contracts.recipe import parse_recipe
from lehr.contracts.workflow import JudgeRequest
from lehr.errors import MismatchedDataError, MissingDataError
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
        digest = f"{index:064}"
        shard = Shard(split="test", key="k", rows=ROWS, bytes=1, sha256=digest, class_counts=[20] * 10)
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
            shard_sha256=digest,
            candidate_version="new",
            champion_version=champion,
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


# --- what was evaluated is what was planned


def part_key(index: int, candidate: str = "new", champion: str | None = "old") -> str:
    return layout.evaluation_part_key("mnist", "r1", candidate, champion, index)


Swap = Callable[[InMemoryObjectStore], None]


def _of_another_shard(store: InMemoryObjectStore) -> None:
    store.objects[part_key(1)] = store.objects[part_key(0)]


def _of_two_shards_exchanged(store: InMemoryObjectStore) -> None:
    first, second = part_key(0), part_key(1)
    store.objects[first], store.objects[second] = store.objects[second], store.objects[first]


def _changed(**fields: Any) -> Swap:
    def change(store: InMemoryObjectStore) -> None:
        part = ShardEvaluation.from_json(store.objects[part_key(1)])
        store.objects[part_key(1)] = msgspec.structs.replace(part, **fields).to_json()

    return change


def _of_another_pairing(store: InMemoryObjectStore) -> None:
    """Of a candidate that was far better, against a champion that was far worse."""
    other, _ = world(0, 100)
    for index in range(SHARDS):
        part = ShardEvaluation.from_json(other.objects[part_key(index)])
        told = msgspec.structs.replace(part, candidate_version="newer", champion_version="older")
        store.objects[part_key(index)] = told.to_json()


SWAPS: dict[str, tuple[Swap, str]] = {
    "another shard": (_of_another_shard, "another shard and of another set of rows"),
    "two shards exchanged": (_of_two_shards_exchanged, "another shard and of another set of rows"),
    "the same shard of other data": (_changed(shard_sha256="f" * 64), "another set of rows"),
    "another candidate": (_changed(candidate_version="newer"), "another candidate"),
    "another champion": (_changed(champion_version="older"), "another champion"),
    "no champion": (_changed(champion_version=None), "another champion"),
    "another pairing": (_of_another_pairing, "another candidate and of another champion"),
    "of before it was told": (
        _changed(shard_sha256="", candidate_version="", champion_version=None),
        "another set of rows and of another candidate and of another champion",
    ),
}


@pytest.mark.parametrize(("swap", "says"), SWAPS.values(), ids=SWAPS)
def test_a_part_of_other_rows_or_other_models_stops_the_judgement(swap: Swap, says: str) -> None:
    store, request = world(20, 10)
    swap(store)
    with pytest.raises(MismatchedDataError, match=f"is the evaluation of {says} than shard"):
        judge(request, store)
    assert layout.decision_key("mnist", "r1") not in store.objects


def test_a_plan_of_other_models_than_are_judged_stops_the_judgement() -> None:
    store, request = world(10, 20)
    for index in range(SHARDS):
        store.copy(part_key(index), part_key(index, "newer"))
    store.copy(
        layout.evaluation_plan_key("mnist", "r1", "new", "old"),
        layout.evaluation_plan_key("mnist", "r1", "newer", "old"),
    )
    with pytest.raises(MismatchedDataError, match="another candidate"):
        judge(msgspec.structs.replace(request, candidate="newer"), store)


def test_without_the_comparison_a_worse_candidate_is_promoted_by_parts_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control."""
    store, request = world(20, 10)
    assert judge(request, store).verdict == "reject"
    _of_another_pairing(store)
    monkeypatch.setattr(parts, "_refuse_another", lambda *given, **named: None)
    assert judge(request, store).verdict == "promote"


def test_the_champion_is_judged_by_this_run_and_not_by_what_it_once_reached() -> None:
    """Its own run said 60 of 100, and a pairing with another champion in this run said nothing good of either."""
    store, request = world(20, 10)
    earlier, other = world(80, None)
    judge(other, earlier)
    report = earlier.objects[layout.evaluation_report_key("mnist", "r1")]
    store.put(layout.evaluation_report_key("mnist", "r0"), report)
    store.put(layout.evaluation_report_key("mnist", "r1"), report)
    for index in range(SHARDS):
        store.put(part_key(index, "new", "older"), earlier.objects[part_key(index, "new", None)])
    store.reads.clear()
    judgement = judge(request, store)
    assert judgement.verdict == "reject"
    assert judgement.champion_accuracy == pytest.approx(0.95)
    assert set(store.reads) == {
        layout.recipe_key("mnist", "r1"),
        layout.evaluation_plan_key("mnist", "r1", "new", "old"),
        *(part_key(index) for index in range(SHARDS)),
    }
