"""A run from dropped files to a decision in one process: the rules and the trainer as they are, and stores in memory.

It takes the seconds that the work takes, without a local cloud; tests/e2e shows that the state machine does the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from functions.evaluate_shard.evaluate import evaluate
from functions.judge_model.judge import judge
from functions.prepare_shard.units import prepare_unit, read_unit
from functions.seal_dataset.seal import seal
from functions.start_run.start import StartRun
from lehr import layout
from lehr.contracts.dataset import DatasetManifest
from lehr.contracts.evaluation import EvaluateUnit
from lehr.contracts.package import SIGNATURE_FILE, ModelPackage, Signature
from lehr.contracts.recipe import RECIPE_FILE, Recipe, parse_recipe
from lehr.contracts.training import TrainingSummary, to_hyperparameters
from lehr.contracts.workflow import Judgement, JudgeRequest, RunInput, SealRequest, StartRequest
from lehr_runtime.packages import LoadedModel
from lehr_runtime.predictor import Predictor
from lehr_runtime.session import open_session
from lehr_trainer import main
from tests.fakes import InMemoryObjectStore, InMemoryRegistry

CANDIDATE = "candidate"


class OneExecution:
    """Keeps what the execution was started with."""

    def __init__(self) -> None:
        self.body = b""

    def start(self, name: str, body: bytes) -> tuple[str, bool]:
        self.body = body
        return f"arn:{name}", True

    def arn_of(self, name: str) -> str:
        return f"arn:{name}"

    def input_of(self, arn: str) -> bytes | None:
        return self.body

    def is_running(self, arn: str) -> bool:
        return True


@dataclass
class WholeRun:
    """One project with the files of its folder, `recipe` being the text of its lehr.toml; it trains in `root`."""

    recipe: str
    files: dict[str, bytes]
    root: Path
    code: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.data, self.artifacts = InMemoryObjectStore("data"), InMemoryObjectStore("artifacts")
        self.project = ""

    def decide(self) -> Judgement:
        """Start, prepare, seal, train, evaluate and judge. Raises AssertionError with the reason of a refusal."""
        run = self._start()
        manifest, version = self._prepare(run)
        self._train(run, manifest, version)
        return self._judge(run, manifest, version)

    @property
    def summary(self) -> TrainingSummary:
        return TrainingSummary.from_json((self.root / "model/training.json").read_bytes())

    @property
    def model(self) -> LoadedModel:
        signature = Signature.from_json((self.root / "model" / SIGNATURE_FILE).read_bytes())
        session = open_session(self.root / "model" / signature.graph, threads=1)
        return LoadedModel(
            version=CANDIDATE,
            package=ModelPackage(project=self.project, files={}),
            signature=signature,
            predictor=Predictor(session, signature),
        )

    def _start(self) -> str:
        self.project = parse_recipe(self.recipe).project.name
        for name, raw in self.files.items():
            self.data.put(layout.incoming_prefix(self.project) + name, raw)
        prefix = layout.project_prefix(self.project, "c0de")
        for name, raw in {RECIPE_FILE: self.recipe.encode(), **self.code}.items():
            self.artifacts.put(prefix + name, raw)
        self.artifacts.put(layout.project_head_key(self.project), json.dumps({"code_sha": "c0de"}).encode())
        executions = OneExecution()
        registry = InMemoryRegistry()
        started = StartRun(
            data=self.data, artifacts=self.artifacts, registry=registry, executions=executions
        ).start(StartRequest(project=self.project))
        assert started.outcome == "started", started.reason
        return RunInput.from_json(executions.body).run

    def _prepare(self, run: str) -> tuple[DatasetManifest, str]:
        plan: list[dict[str, Any]] = msgspec.json.decode(
            self.artifacts.objects[layout.plan_key(self.project, run)]
        )
        for unit in plan:
            prepare_unit(read_unit(unit), self.data, self.artifacts)
        sealed = seal(SealRequest(project=self.project, run=run), self.artifacts, InMemoryRegistry())
        raw = self.artifacts.objects[layout.dataset_manifest_key(self.project, sealed.version)]
        return DatasetManifest.from_json(raw), sealed.version

    def _train(self, run: str, manifest: DatasetManifest, version: str) -> None:
        """Lay the job out as SageMaker does, and run it."""
        recipe = Recipe.from_json(self.artifacts.objects[layout.recipe_key(self.project, run)])
        channels = self.root / "input/data"
        held_out = any(shard.split == "validation" for shard in manifest.shards)
        names = ["code", "manifest", "train", *(["validation"] if held_out else [])]
        for name in names:
            (channels / name).mkdir(parents=True)
        (self.root / "input/config").mkdir()
        (self.root / "input/config/hyperparameters.json").write_text(
            json.dumps(to_hyperparameters(recipe.trial_settings()[0]))
        )
        (self.root / "input/config/inputdataconfig.json").write_text(json.dumps({name: {} for name in names}))
        (channels / "manifest/manifest.json").write_bytes(manifest.to_json())
        for name, raw in {RECIPE_FILE: self.recipe.encode(), **self.code}.items():
            (channels / "code" / name).write_bytes(raw)
        prefix = layout.datasets_prefix(self.project)
        for shard in manifest.shards:
            if shard.split != "test":
                (channels / shard.split / Path(shard.key).name).write_bytes(
                    self.artifacts.objects[prefix + shard.key]
                )
        # With the threads that are fastest at the moment, a second training might have other bits.
        environ = {"LEHR_PROJECT": self.project, "LEHR_RUN": run, "LEHR_TRIAL": "0", "LEHR_THREADS": "1"}
        code = main.run(self.root, environ=environ)
        assert code == 0, (self.root / "output/failure").read_text()

    def _judge(self, run: str, manifest: DatasetManifest, version: str) -> Judgement:
        prefix = layout.datasets_prefix(self.project)
        test = [
            msgspec.structs.replace(shard, key=prefix + shard.key)
            for shard in manifest.shards
            if shard.split == "test"
        ]
        units = [
            EvaluateUnit(
                project=self.project, run=run, index=index, of=len(test), shard=shard, candidate=CANDIDATE
            )
            for index, shard in enumerate(test)
        ]
        self.artifacts.put(
            layout.evaluation_plan_key(self.project, run, CANDIDATE, None), msgspec.json.encode(units)
        )
        model = self.model
        for unit in units:
            evaluate(unit, self.artifacts, lambda project, version: model)
        return judge(
            JudgeRequest(project=self.project, run=run, dataset_version=version, candidate=CANDIDATE),
            self.artifacts,
        )
