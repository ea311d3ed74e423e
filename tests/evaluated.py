"""Two models that answer as they are told, on test shards of any task, judged as in a run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from functions.evaluate_shard.evaluate import evaluate
from functions.judge_model.judge import judge
from lehr import layout
from lehr.contracts.comparison import Slicing
from lehr.contracts.dataset import Shard
from lehr.contracts.evaluation import Decision, EvaluateUnit
from lehr.contracts.package import ModelPackage, PackagedFile, Signature
from lehr.contracts.recipe import parse_recipe
from lehr.contracts.workflow import JudgeRequest
from lehr.slicing import plan_slices
from lehr_runtime.packages import LoadedModel
from lehr_runtime.predictor import Predictor
from lehr_runtime.shards import write_shard
from lehr_runtime.tables import Inputs, to_tensors
from tests.fakes import InMemoryObjectStore

Answer = Callable[[dict[str, np.ndarray]], np.ndarray]


class Session:
    """What a predictor asks; `answer` is given the inputs by name."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def run(self, output_names: list[str], input_feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [self._answer(input_feed)]


def model(version: str, signature: Signature, answer: Answer) -> LoadedModel:
    """Of a package of 3 MB."""
    files = {"model.onnx": PackagedFile(sha256="0" * 64, bytes=3_000_000)}
    return LoadedModel(
        version=version,
        package=ModelPackage(project="p", files=files),
        signature=signature,
        predictor=Predictor(Session(answer), signature),
    )


class Evaluated:
    """`candidate` and `champion` on rows `x` with targets `y`, of a shard each that ends at one of `ends`."""

    def __init__(
        self,
        recipe: str,
        candidate: LoadedModel,
        champion: LoadedModel | None,
        x: Inputs,
        y: np.ndarray,
        ends: Sequence[int],
    ) -> None:
        parsed = parse_recipe(recipe)
        self.project, self.store = parsed.project.name, InMemoryObjectStore("artifacts")
        self.models = {one.version: one for one in (candidate, champion) if one}
        self.slicings: list[Slicing] = plan_slices(parsed, None)
        self.version = champion.version if champion else None
        units = []
        for index, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            raw = write_shard(to_tensors(x[start:end]) | {"y": y[start:end]})
            key, digest = f"test/{index}", hashlib.sha256(raw).hexdigest()
            self.store.put(key, raw)
            shard = Shard(
                split="test", key=key, rows=end - start, bytes=len(raw), sha256=digest, class_counts=[]
            )
            units.append(
                EvaluateUnit(
                    project=self.project,
                    run="r1",
                    index=index,
                    of=len(ends),
                    shard=shard,
                    candidate=candidate.version,
                    champion=self.version,
                    slices=self.slicings,
                )
            )
        self.parts = [
            evaluate(unit, self.store, lambda project, wanted: self.models[wanted]) for unit in units
        ]
        key = layout.evaluation_plan_key(self.project, "r1", candidate.version, self.version)
        self.store.put(key, msgspec.json.encode(units))
        self.store.put(layout.recipe_key(self.project, "r1"), parsed.to_json())
        self.judgement = judge(
            JudgeRequest(
                project=self.project,
                run="r1",
                dataset_version="d",
                candidate=candidate.version,
                champion=self.version,
            ),
            self.store,
        )

    def report(self, kind: type[Any]) -> Any:
        return kind.from_json(self.store.get(layout.evaluation_report_key(self.project, "r1")))

    def decision(self) -> Decision:
        return Decision.from_json(self.store.get(layout.decision_key(self.project, "r1")))
