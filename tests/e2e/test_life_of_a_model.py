"""From a drop to a prediction over HTTPS, again and again: the first model, no news, a worse one, a better one."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.small_mnist import write_data, write_project
from tests.e2e.workplace import Finished, Workplace

TRAINING_JOBS = 4

STATES = [
    *("PrepareShards", "SealDataset", "TrainTrials", "PackageModel", "EvaluateShards", "JudgeModel"),
    *("PromoteModel", "RecordPromotion", "WriteReport"),
]


@dataclass(frozen=True)
class Digits:
    """The project whose life this is."""

    place: Workplace
    name: str

    def push(self, folder: Path) -> Finished:
        return self.place.lehr("push", str(folder))

    def train(self, rows: int) -> Finished:
        data = write_data(self.place.folder / f"data-{rows}", rows)
        return self.place.lehr("train", self.name, "--data", str(data))

    def runs(self) -> list[dict[str, Any]]:
        return self.place.runs(self.name)

    def predict(self) -> Finished:
        return self.place.lehr("predict", self.name, "--row", "0")

    def version_that_answers(self) -> str:
        return str(self.predict().only("prediction")["model_version"])


@pytest.fixture(scope="module")
def project(workplace: Workplace) -> Digits:
    digits = Digits(workplace, workplace.project("digits"))
    pushed = digits.push(write_project(workplace.folder / "digits", digits.name))
    assert pushed.code == 0, pushed.stderr
    return digits


@pytest.fixture(scope="module")
def first(project: Digits) -> Finished:
    return project.train(3000)


@pytest.fixture(scope="module")
def champion(project: Digits, first: Finished) -> str:
    (run,) = project.runs()
    return str(run["model_version"])


def test_a_drop_is_prepared_trained_judged_and_promoted(first: Finished) -> None:
    assert first.code == 0, first.stderr
    passed = [event["state"] for event in first.events if event["event"] == "state_exited"]
    assert [state for state in passed if state in STATES] == STATES
    assert first.only("decided")["verdict"] == "promote"


def test_every_epoch_is_shown_with_loss_accuracy_and_speed(first: Finished) -> None:
    epochs = [event for event in first.events if event["event"] == "epoch"]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3, 4, 5]
    assert epochs[-1]["loss"] < epochs[0]["loss"]
    assert all(epoch["samples_per_second"] > 0 for epoch in epochs)


def test_the_champion_answers_over_https(project: Digits, champion: str) -> None:
    answer = project.predict()
    assert answer.code == 0, answer.stderr
    prediction = answer.only("prediction")
    assert prediction["model_version"] == champion
    assert prediction["predictions"][0]["label"] == "7"


def test_the_report_is_one_file_that_loads_nothing(project: Digits, first: Finished) -> None:
    report = project.place.lehr("report", project.name).only("report")
    text = (project.place.folder / report["path"]).read_text()
    assert "is the new champion" in text
    assert "http" not in text.replace("http://www.w3.org/", "")


def test_the_same_data_again_trains_nothing(project: Digits, first: Finished) -> None:
    before = project.place.training_jobs(project.name)
    again = project.train(3000)
    assert again.code == 0
    assert again.only("answer")["outcome"] == "nothing_new"
    assert project.place.training_jobs(project.name) == before


def test_worse_data_is_trained_and_rejected_with_the_reason(project: Digits, champion: str) -> None:
    worse = project.train(400)
    assert worse.code == 0, worse.stderr
    decision = worse.only("decided")
    assert decision["verdict"] == "reject"
    assert f"better than champion {champion}" in decision["reason"]
    assert project.version_that_answers() == champion


def test_better_data_replaces_the_champion_and_answers_name_the_new_one(
    project: Digits, champion: str
) -> None:
    better = project.train(9000)
    assert better.code == 0, better.stderr
    assert better.only("decided")["verdict"] == "promote"
    records = project.runs()
    assert [record["status"] for record in records] == ["promoted", "rejected", "promoted"]
    assert records[0]["champion_accuracy"] == records[2]["accuracy"]
    promoted = records[0]["model_version"]
    assert promoted != champion
    # A warm endpoint looks at the champion pointer every 30 seconds.
    deadline = time.monotonic() + 15 + project.place.target.soon_s
    while (answered := project.version_that_answers()) != promoted:
        assert answered == champion, "an answer names a model that never was champion"
        assert time.monotonic() < deadline
        time.sleep(1)


def test_a_failing_trainer_fails_the_run_with_its_last_lines_and_the_champion_stays(
    project: Digits,
) -> None:
    folder = write_project(
        project.place.folder / "broken",
        project.name,
        **{'name = "mlp"': 'name = "custom"\nfactory = "net:build"'},
    )
    (folder / "net.py").write_text("def build(**shape):\n    raise ValueError('no such layer: convolver')\n")
    assert project.push(folder).code == 0
    before = project.runs()[0]["model_version"]
    failed = project.train(3000)
    assert failed.code == 1
    record = project.runs()[0]
    assert record["status"] == "failed"
    assert "no such layer: convolver" in record["reason"]
    assert "raise ValueError('no such layer: convolver')" in failed.stderr
    assert project.version_that_answers() == before
    report = project.place.lehr("report", record["run"]).only("report")
    assert "no such layer: convolver" in (project.place.folder / report["path"]).read_text()
    # The way back: the working recipe again, and the data that failed is tried anew under it.
    assert project.push(project.place.folder / "digits").code == 0


def test_a_file_that_breaks_off_fails_the_run_with_its_place(project: Digits) -> None:
    folder = write_data(project.place.folder / "truncated", 3000)
    images = folder / "train-images-idx3-ubyte.gz"
    images.write_bytes(images.read_bytes()[:-5000])
    failed = project.place.lehr("train", project.name, "--data", str(folder))
    assert failed.code == 1
    reason = project.runs()[0]["reason"]
    assert reason.startswith("PrepareShards: ")
    assert "train-images-idx3-ubyte.gz" in reason


def test_data_for_a_project_that_nobody_pushed_is_refused_with_the_way_out(workplace: Workplace) -> None:
    folder = write_data(workplace.folder / "data-400", 400)
    refused = workplace.lehr("train", workplace.project("cifar"), "--data", str(folder))
    assert refused.code == 2
    assert "lehr push" in refused.stderr


def test_a_bare_ready_object_for_an_unknown_project_is_answered_in_the_registry(workplace: Workplace) -> None:
    """Whoever drops without the command finds the reason where the triggers are kept."""
    drop, project = "0123456789abcdef", workplace.project("unheard-of")
    bucket = workplace.outputs()["DataBucket"]
    workplace.client("s3").put_object(Bucket=bucket, Key=f"incoming/{project}/_READY", Body=drop.encode())
    key = {"pk": {"S": f"project#{project}"}, "sk": {"S": f"trigger#{drop}"}}
    table, dynamodb = workplace.outputs()["RegistryTable"], workplace.client("dynamodb")
    deadline = time.monotonic() + workplace.target.soon_s
    while "Item" not in (answer := dynamodb.get_item(TableName=table, Key=key)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert answer["Item"]["outcome"]["S"] == "refused"
    assert "lehr push" in answer["Item"]["reason"]["S"]


def test_a_recipe_with_an_unknown_key_is_not_pushed(workplace: Workplace) -> None:
    folder = write_project(workplace.folder / "misspelt", "digits", **{"epochs = 5": "epoch = 5"})
    refused = workplace.lehr("push", str(folder))
    assert refused.code == 2
    assert "did you mean 'epochs'?" in refused.stderr


def test_every_document_in_the_bucket_is_json_without_nan(project: Digits, first: Finished) -> None:
    s3 = project.place.client("s3")
    keys = [(bucket, key) for bucket, key in project.place.keys(project.name) if key.endswith(".json")]
    assert len(keys) > 10
    for bucket, key in keys:
        json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read(), parse_constant=_refuse)


def _refuse(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")
