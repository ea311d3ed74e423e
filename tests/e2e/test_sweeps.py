"""Sweeps from a drop to a champion: TPE in rounds, and successive halving, where trials go on from checkpoints."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.small_mnist import write_data, write_project
from tests.e2e.workplace import Finished, Workplace

TRAINING_JOBS = 4 + 3 + 7 + 3
ROWS = 1000
SPACE = """[trials.space]
learning_rate = { low = 1e-4, high = 3e-2, log = true }
batch_size = [32, 128]
model.hidden = [[32], [128]]

[backend]"""


def sweep(place: Workplace, name: str, trials: str, epochs: int = 2) -> tuple[Finished, str, dict[str, Any]]:
    """Run a sweep; its record and its sweep.json."""
    project = place.project(name)
    changes = {"epochs = 5": f"epochs = {epochs}", "[backend]": f"[trials]\n{trials}\n{SPACE}"}
    folder = write_project(place.folder / project, project, **changes)
    assert place.lehr("push", str(folder)).code == 0
    trained = place.lehr("train", project, "--data", str(write_data(place.folder / f"data-{ROWS}", ROWS)))
    (run,) = place.runs(project)
    return trained, project, read(place, project, f"runs/{project}/{run['run']}/sweep/sweep.json")


def read(place: Workplace, project: str, key: str) -> dict[str, Any]:
    bucket = place.outputs()["ArtifactBucket"]
    body = place.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    document: dict[str, Any] = json.loads(body)
    return document


def promoted(
    place: Workplace, project: str, trained: Finished, told: dict[str, Any], *, trials: int = 4
) -> dict[str, Any]:
    """The record of a run that ended well, and with the model of the sweep's best trial."""
    assert trained.code == 0, trained.stderr
    assert trained.only("decided")["verdict"] == "promote"
    (run,) = place.runs(project)
    lineage = read(place, project, f"models/{project}/{run['model_version']}/lineage.json")
    best = next(trial for trial in told["trials"] if trial["name"] == told["best"])
    assert lineage["hyperparameters"] == best["hyperparameters"]
    assert (run["trial"], run["trials"]) == (lineage["trial"], lineage["trials"]) == (best["id"], trials)
    return run


@pytest.mark.slow
def test_tpe_asks_twice_and_the_best_of_all_trials_serves(workplace: Workplace) -> None:
    trained, project, told = sweep(
        workplace, "tpe", 'search = "tpe"\ncount = 4\nconcurrency = 2\nobjective = "validation_loss"'
    )
    run = promoted(workplace, project, trained, told)
    trials = told["trials"]
    assert [(trial["id"], trial["round"]) for trial in trials] == [("0", 0), ("1", 0), ("2", 1), ("3", 1)]
    assert len({json.dumps(trial["point"]) for trial in trials}) == 4
    assert told["best"] == min(trials, key=lambda trial: float(trial["objective"]))["name"]
    report = workplace.lehr("report", run["run"]).only("report")
    assert "4 trials" in (workplace.folder / report["path"]).read_text()
    assert workplace.lehr("predict", project, "--row", "0").code == 0


@pytest.mark.parametrize(
    ("count", "rungs"),
    [
        pytest.param(2, [1, 2], id="two then one"),
        pytest.param(4, [1, 2, 4], id="four, two, one", marks=pytest.mark.slow),
    ],
)
def test_halving_trains_fewer_and_fewer_and_goes_on_from_checkpoints(
    workplace: Workplace, count: int, rungs: list[int]
) -> None:
    trained, project, told = sweep(
        workplace,
        f"halving-{count}",
        f'search = "successive_halving"\ncount = {count}\neta = 2\nconcurrency = 2',
        epochs=rungs[-1],
    )
    promoted(workplace, project, trained, told, trials=count)
    assert told["rungs"] == rungs
    by_rung: dict[int, list[dict[str, Any]]] = {}
    for trial in told["trials"]:
        by_rung.setdefault(trial["rung"], []).append(trial)
    assert [len(by_rung[rung]) for rung in sorted(by_rung)] == [count // epochs for epochs in rungs]
    for rung, epochs in enumerate(told["rungs"]):
        assert {len(trial["curve"]) for trial in by_rung[rung]} == {epochs}
    (last,) = by_rung[len(rungs) - 1]
    earlier = next(trial for trial in by_rung[len(rungs) - 2] if trial["id"] == last["id"])
    # Not trained anew: what was measured then is what its checkpoint tells.
    assert last["curve"][: rungs[-2]] == earlier["curve"]
    epochs_run = [event for event in trained.events if event["event"] == "epoch"]
    more = [after - before for before, after in zip([0, *rungs], rungs, strict=False)]
    assert len(epochs_run) == sum(count // rung * epochs for rung, epochs in zip(rungs, more, strict=True))


@pytest.mark.slow
def test_a_sweep_whose_trials_all_fail_fails_with_the_reason_of_one(workplace: Workplace) -> None:
    project = workplace.project("diverging")
    trials = "[trials]\noverrides = [{ learning_rate = 1e30 }, { learning_rate = 2e30 }, {}]\n\n[backend]"
    folder = write_project(workplace.folder / project, project, **{"[backend]": trials})
    assert workplace.lehr("push", str(folder)).code == 0
    data = write_data(workplace.folder / f"data-{ROWS}", ROWS)
    failed = workplace.lehr("train", project, "--data", str(data))
    assert failed.code == 1
    (run,) = workplace.runs(project)
    assert run["status"] == "failed"
    assert "no longer finite" in run["reason"]
