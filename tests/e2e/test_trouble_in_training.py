"""What goes wrong in a training, seen from outside: a lack of memory is survived, a hang is ended and explained."""

from __future__ import annotations

import json

from tests.e2e.small_mnist import write_data, write_project
from tests.e2e.workplace import Finished, Workplace

TRAINING_JOBS = 2
CUSTOM = {'name = "mlp"': 'name = "custom"\nfactory = "net:build"'}
NET = """
import time

import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, classes))

    def forward(self, x):
        if self.training:
            TROUBLE
        return self.layers(x)

def build(input_shape, classes):
    return Net(classes)
"""
TOO_MUCH = """if len(x) > 16:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")"""


def _train(workplace: Workplace, project: str, trouble: str, **replacements: str) -> Finished:
    folder = write_project(workplace.folder / project, project, **CUSTOM, **replacements)
    (folder / "net.py").write_text(NET.replace("TROUBLE", trouble))
    pushed = workplace.lehr("push", str(folder))
    assert pushed.code == 0, pushed.stderr
    data = write_data(workplace.folder / f"data-{project}", 2000)
    return workplace.lehr("train", project, "--data", str(data))


def test_a_run_without_memory_for_a_batch_is_promoted_all_the_same_and_int8_is_measured(
    workplace: Workplace,
) -> None:
    project = workplace.project("memory")
    trained = _train(workplace, project, TOO_MUCH, **{"[gate]": '[serving]\nprecision = "int8"\n\n[gate]'})
    assert trained.code == 0, trained.stderr
    (run,) = workplace.runs(project)
    s3 = workplace.client("s3")
    files = {
        key.rpartition("/")[2]: (bucket, key)
        for bucket, key in workplace.keys(project)
        if key.startswith(f"models/{project}/{run['model_version']}/")
    }

    def read(name: str) -> dict[str, object]:
        bucket, key = files[name]
        document: dict[str, object] = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        return document

    training = read("training.json")
    assert training["micro_batch_rows"] == 16
    int8 = training["int8"]
    assert isinstance(int8, dict)
    assert int8["rows"] >= 1000
    # Whether it is faster is up to the machine: what is served follows from what was measured.
    graph = "model.int8.onnx" if int8["is_published"] else "model.onnx"
    assert ("model.int8.onnx" in files) is int8["is_published"]
    assert read("signature.json").get("graph", "model.onnx") == graph
    assert bool(int8.get("reason")) is not int8["is_published"]
    answer = workplace.lehr("predict", project, "--row", "0").only("prediction")
    assert answer["model_version"] == run["model_version"]


def test_a_training_that_hangs_fails_the_run_with_the_line_that_it_stands_in(workplace: Workplace) -> None:
    project = workplace.project("hang")
    trained = _train(
        workplace,
        project,
        "time.sleep(3600)",
        **{"max_runtime_s = 900": "max_runtime_s = 900\nhang_after_s = 2"},
    )
    assert trained.code == 1
    (run,) = workplace.runs(project)
    assert run["status"] == "failed"
    line = 1 + NET.replace("TROUBLE", "time.sleep(3600)").splitlines().index("            time.sleep(3600)")
    assert (
        f"net.py:{line} in forward: HangError: no sign of life for 2 s after epoch 1 step 0" in run["reason"]
    )
