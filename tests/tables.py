"""A table from its file to a judged and loaded model in one process: each function's own operation in turn."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from aws_lambda_powertools import Logger

from functions.evaluate_shard.evaluate import evaluate
from functions.judge_model.judge import judge
from functions.package_model.serving import prepare_serving, read_rows
from functions.prepare_shard.tables import prepare_table
from functions.seal_dataset.seal import seal
from functions.start_run.plan import list_raw
from functions.start_run.tables import plan_table
from lehr import layout
from lehr.contracts.dataset import DatasetManifest
from lehr.contracts.evaluation import EvaluateUnit
from lehr.contracts.package import MODEL_FILE, SIGNATURE_FILE, TRAINING_FILE
from lehr.contracts.recipe import parse_recipe
from lehr.contracts.training import TrainingSummary, to_hyperparameters
from lehr.contracts.workflow import Judgement, JudgeRequest, SealRequest
from lehr_runtime.packages import LoadedModel, load_package
from lehr_trainer import main
from lehr_trainer.stop import StopFlag
from tests import tiny_models
from tests.fakes import InMemoryObjectStore, InMemoryRegistry

RUN = "run-1"


@dataclass(frozen=True)
class Trained:
    """What came of a run, and the store that it lies in."""

    artifacts: InMemoryObjectStore
    manifest: DatasetManifest
    summary: TrainingSummary
    model: LoadedModel
    judgement: Judgement
    report: list[str]


def prepare(
    recipe_text: str, files: Mapping[str, bytes]
) -> tuple[InMemoryObjectStore, DatasetManifest, list[str]]:
    """Plan, prepare and seal."""
    recipe = parse_recipe(recipe_text)
    project = recipe.project.name
    prefix = layout.incoming_prefix(project)
    data = InMemoryObjectStore("data", {prefix + name: raw for name, raw in files.items()})
    artifacts = InMemoryObjectStore("artifacts")
    plan, inferred = plan_table(recipe, list_raw(data, project), data, RUN)
    artifacts.put(layout.plan_key(project, RUN), msgspec.json.encode(plan))
    artifacts.put(layout.recipe_key(project, RUN), recipe.to_json())
    for unit in plan:
        prepare_table(unit, data, artifacts)
    sealed = seal(SealRequest(project=project, run=RUN), artifacts, InMemoryRegistry())
    raw = artifacts.objects[layout.dataset_manifest_key(project, sealed.version)]
    return artifacts, DatasetManifest.from_json(raw), inferred.report


def write_job(
    root: Path, recipe_text: str, artifacts: InMemoryObjectStore, manifest: DatasetManifest
) -> None:
    """The training job's files."""
    recipe = parse_recipe(recipe_text)
    project = recipe.project.name
    for folder in ("input/config", "input/data/code", "input/data/manifest"):
        (root / folder).mkdir(parents=True)
    (root / "input/data/code/lehr.toml").write_text(recipe_text)
    (root / "input/data/manifest/manifest.json").write_bytes(manifest.to_json())
    (root / "input/config/hyperparameters.json").write_text(json.dumps(to_hyperparameters(recipe.training)))
    for shard in manifest.shards:
        path = root / "input/data" / shard.split / Path(shard.key).name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(artifacts.objects[layout.datasets_prefix(project) + shard.key])


def train_job(root: Path, project: str, stop: StopFlag | None = None) -> int:
    return main.run(root, stop, {"LEHR_PROJECT": project, "LEHR_RUN": RUN, "LEHR_TRIAL": "0"})


def train(root: Path, recipe_text: str, files: Mapping[str, bytes]) -> Trained:
    """All of it. The job's failure is the AssertionError's message."""
    artifacts, manifest, report = prepare(recipe_text, files)
    project, version = manifest.project, manifest.sha256()[:16]
    write_job(root, recipe_text, artifacts, manifest)
    code = train_job(root, project)
    failure = root / "output/failure"
    assert code == 0, failure.read_text() if failure.exists() else code
    trained = {
        name: (root / "model" / name).read_bytes() for name in (MODEL_FILE, SIGNATURE_FILE, TRAINING_FILE)
    }
    rows = read_rows(project, version, artifacts)
    candidate = tiny_models.publish(artifacts, project, trained | prepare_serving(trained, rows, Logger()))
    model = load_package(artifacts, project, candidate, directory=root / "models", threads=1)
    units = [
        EvaluateUnit(
            project=project,
            run=RUN,
            index=index,
            of=0,
            shard=msgspec.structs.replace(shard, key=layout.datasets_prefix(project) + shard.key),
            candidate=candidate,
        )
        for index, shard in enumerate(one for one in manifest.shards if one.split == "test")
    ]
    artifacts.put(layout.evaluation_plan_key(project, RUN, candidate, None), msgspec.json.encode(units))
    for unit in units:
        evaluate(unit, artifacts, lambda project, version: model)
    request = JudgeRequest(project=project, run=RUN, dataset_version=version, candidate=candidate)
    return Trained(
        artifacts=artifacts,
        manifest=manifest,
        summary=TrainingSummary.from_json(trained[TRAINING_FILE]),
        model=model,
        judgement=judge(request, artifacts),
        report=report,
    )
