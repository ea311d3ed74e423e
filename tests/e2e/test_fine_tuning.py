"""A model of Keras with hooks of its own, and a second recipe that starts from the champion of the first."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.small_mnist import EXAMPLE, write_data, write_project
from tests.e2e.workplace import Finished, Workplace

TRAINING_JOBS = 2
KERAS = EXAMPLE.parent / "mnist-keras"
HOOKS = """
import torch.nn.functional as F


def smooth(logits, labels):
    return F.cross_entropy(logits, labels, label_smoothing=0.05)


def top_two(logits, labels):
    return float((logits.topk(2).indices == labels[:, None]).any(1).float().mean())
"""
CHANGES = {
    'name = "mlp"\nhidden = [128]\ndropout = 0.2\n': (
        'name = "custom"\nfactory = "digits:build_model"\n\n'
        '[hooks]\nloss = "hooks:smooth"\nmetrics = ["hooks:top_two"]\n'
    ),
    'loss = "cross_entropy"\n': "",
}


@dataclass(frozen=True)
class Tuning:
    place: Workplace
    name: str

    def push(self, **changes: str) -> None:
        folder = write_project(self.place.folder / "tuning", self.name, **CHANGES | changes)
        shutil.copy(KERAS / "digits.py", folder)
        (folder / "hooks.py").write_text(HOOKS)
        pushed = self.place.lehr("push", str(folder))
        assert pushed.code == 0, pushed.stderr

    def train(self, rows: int) -> Finished:
        data = write_data(self.place.folder / f"tuning-{rows}", rows)
        return self.place.lehr("train", self.name, "--data", str(data))

    def document(self, version: str, name: str) -> dict[str, Any]:
        bucket = self.place.outputs()["ArtifactBucket"]
        key = f"models/{self.name}/{version}/{name}"
        body = self.place.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        found: dict[str, Any] = json.loads(body)
        return found


@pytest.fixture(scope="module")
def tuning(workplace: Workplace) -> Tuning:
    found = Tuning(workplace, workplace.project("tuning"))
    found.push()
    return found


@pytest.fixture(scope="module")
def champion(tuning: Tuning) -> str:
    first = tuning.train(2000)
    assert first.code == 0, first.stderr
    (run,) = tuning.place.runs(tuning.name)
    assert run["status"] == "promoted"
    return str(run["model_version"])


@pytest.fixture(scope="module")
def tuned(tuning: Tuning, champion: str) -> str:
    tuning.push(**{"epochs = 5": 'epochs = 2\nstart_from = "champion"'})
    second = tuning.train(3000)
    assert second.code == 0, second.stderr
    return str(tuning.place.runs(tuning.name)[0]["model_version"])


def test_a_model_of_keras_is_trained_with_the_projects_hooks(tuning: Tuning, champion: str) -> None:
    training = tuning.document(champion, "training.json")
    assert training["versions"]["keras"]
    first, last = training["epochs"][0], training["epochs"][-1]
    assert last["validation_accuracy"] < last["metrics"]["top_two"] <= 1
    assert first["metrics"]["top_two"] < last["metrics"]["top_two"]


def test_a_fine_tuning_begins_far_better_and_its_lineage_names_the_champion(
    tuning: Tuning, champion: str, tuned: str
) -> None:
    assert tuned != champion
    first, second = (tuning.document(version, "training.json") for version in (champion, tuned))
    assert second["epochs"][0]["validation_loss"] < first["epochs"][0]["validation_loss"] * 0.7
    assert second["initial_version"] == champion
    assert tuning.document(tuned, "lineage.json")["initial_version"] == champion
    assert tuning.document(champion, "lineage.json")["initial_version"] == ""


def test_the_report_names_what_it_started_from(tuning: Tuning, champion: str, tuned: str) -> None:
    report = tuning.place.lehr("report", tuning.name).only("report")
    text = Path(tuning.place.folder / report["path"]).read_text()
    assert f"<dt>started from</dt><dd>{champion}" in text
    assert "top_two" in text


def test_the_same_again_trains_nothing_though_the_champion_is_new(tuning: Tuning, tuned: str) -> None:
    again = tuning.train(3000)
    assert again.code == 0, again.stderr
    assert again.only("answer")["outcome"] == "nothing_new"


def test_the_weights_are_packaged_and_never_asked_for_by_the_endpoint(tuning: Tuning, champion: str) -> None:
    package = tuning.document(champion, "package.json")
    assert package["files"]["weights.safetensors"]["bytes"] > 100_000 * 4
    assert tuning.place.lehr("predict", tuning.name, "--row", "0").code == 0
