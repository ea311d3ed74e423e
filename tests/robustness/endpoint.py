"""The endpoint from outside: two known models in a local store, and processes of the predict function to ask.

A process is the function of this checkout under AWS's Runtime Interface Emulator. Everything is on the loopback
interface, and what a test starts ends with it.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rig import models
from benchmarks.rig.contenders import Running, predict_contender
from benchmarks.rig.environments import source_tree
from benchmarks.rig.events import Answer, json_request, probabilities_of
from benchmarks.rig.models import ExportedModel
from benchmarks.rig.store import LocalStore
from lehr.contracts.package import MODEL_FILE, SIGNATURE_FILE, TRAINING_FILE
from lehr.contracts.training import Parity
from tests import tiny_models

PROJECT = "mnist"
HANDLERS = Path(__file__).parent / "handlers"
TOLERANCE = 1e-5


class Endpoint:
    """A store with two published versions of one project, whose answers to `row` are known."""

    def __init__(self, store: LocalStore, folder: Path) -> None:
        self.store = store
        self.row = np.random.default_rng(7).integers(0, 256, (1, 28, 28), dtype=np.uint8)
        self.known: dict[str, np.ndarray] = {}
        self._promotions = 0
        for seed in (1, 2):
            model = self._tiny(seed, folder)
            self.known[models.publish(model, store, project=PROJECT, run=f"run-{seed}")] = model.expected
        first, second = self.known.values()
        assert np.abs(first - second).max() > 100 * TOLERANCE, "the two models must be told apart"
        self.promote(self.versions[0])

    @property
    def versions(self) -> list[str]:
        return list(self.known)

    def promote(self, version: str) -> None:
        """Make `version` the champion, by the same conditional write as promote_model's."""
        self._promotions += 1
        models.promote(self.store, PROJECT, version, f"promotion-{self._promotions}")

    def champion(self) -> str:
        alias = self.store.registry.alias(PROJECT)
        assert alias
        return alias.champion

    def request(self) -> dict[str, Any]:
        """The event of a prediction for `row`."""
        return json_request(PROJECT, self.row)

    def fault_of(self, answer: Answer) -> str | None:
        """What is wrong with an answer to `request`: None if it has the probabilities of the version it names."""
        if answer.status != 200:
            return f"{answer.status}: {answer.body[:300]!r}"
        version = version_of(answer)
        if version not in self.known:
            return f"an unknown version {version!r}"
        found = probabilities_of(answer, self.known[version].shape)
        apart = float(np.abs(found - self.known[version]).max())
        return f"{version}: probabilities {apart:.3g} apart" if not apart <= TOLERANCE else None

    @contextmanager
    def running(
        self,
        handler: str = "",
        *,
        count: int = 1,
        environment: Mapping[str, str] | None = None,
        endpoint_url: str = "",
    ) -> Iterator[list[Running]]:
        """`count` processes of the function, each asked once; `handler` may be one of HANDLERS."""
        contender = predict_contender(
            source_tree(), Path(sys.executable), handler=handler, code=HANDLERS if handler else None
        )
        contender = dataclasses.replace(
            contender, environment={**contender.environment, **(environment or {})}
        )
        processes: list[Running] = []
        try:
            for _ in range(count):
                processes.append(Running(contender, self.store, PROJECT, endpoint_url=endpoint_url))
                assert processes[-1].ask(self.request()).status == 200
            yield processes
        finally:
            for process in processes:
                process.close()

    def _tiny(self, seed: int, folder: Path) -> ExportedModel:
        graph, signature = tiny_models.graph(tiny_models.weights(seed)), tiny_models.signature()
        path = folder / f"{seed}.onnx"
        path.write_bytes(graph.SerializeToString())
        parity = Parity(rows=1, max_absolute_difference=0.0, tolerance=1e-4, argmax_disagreements=0)
        return ExportedModel(
            name=PROJECT,
            files={
                MODEL_FILE: path.read_bytes(),
                SIGNATURE_FILE: signature.to_json(),
                TRAINING_FILE: models.untrained_summary(PROJECT, parity, {}),
            },
            state=b"",
            signature=signature,
            row=self.row,
            expected=models.bare_answer(path, self.row),
        )


def version_of(answer: Answer) -> str:
    """The model version that an answer names."""
    return str(json.loads(answer.body)["model_version"])
