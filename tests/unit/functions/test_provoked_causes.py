"""Causes that are provoked: the functions fail as they do in a run, and RecordFailure explains what they raised."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import pytest
from botocore.exceptions import EndpointConnectionError
from onnx import TensorProto, helper

from functions.evaluate_shard.evaluate import evaluate
from functions.judge_model.app import Settings
from functions.judge_model.judge import judge
from functions.package_model.publish import package_best_trial
from functions.prepare_shard.prepare import prepare
from functions.promote_model.promote import promote
from functions.seal_dataset.seal import seal
from functions.start_run.start import MAX_ATTEMPTS
from lehr import layout, model_archive
from lehr.causes.catalogue import look_up
from lehr.contracts.workflow import (
    JudgeRequest,
    PromoteRequest,
    SealRequest,
    StartRequest,
    TrialResult,
)
from lehr_runtime.graphs import check_graph
from lehr_runtime.packages import load_package
from lehr_runtime.predictor import Predictor
from lehr_runtime.session import open_session
from tests import tiny_models, tiny_tables
from tests.failures import raised, seen
from tests.fakes import InMemoryObjectStore, InMemoryRegistry, without_more
from tests.sealed import TABLE, Sealed, images, of_images, of_table, table
from tests.sweeps import record_trials
from tests.unit.functions import test_evaluate_shard as evaluating
from tests.unit.functions import test_judge_model as judging
from tests.unit.functions import test_package_model as packaging
from tests.unit.functions import test_personal_columns as personal
from tests.unit.functions import test_prepare_shard as preparing
from tests.unit.functions import test_seal_dataset as sealing
from tests.unit.functions import test_start_run as starting

START = StartRequest(project="mnist", trigger="drop-0001")
SEAL = SealRequest(project="mnist", run="r1")


def without_train_rows() -> None:
    store = sealing.prepared(test_rows=0)
    seal(SEAL, store, InMemoryRegistry())


def without_a_label() -> None:
    seal(SEAL, sealing.prepared(lacking=7), InMemoryRegistry())


def without_a_unit() -> None:
    store = sealing.prepared()
    del store.objects[layout.unit_result_key("mnist", "r1", 1)]
    seal(SEAL, store, InMemoryRegistry())


def with_rows_of_the_test() -> None:
    arrays = images()
    arrays["x"][:5] = arrays["tx"][:5]
    of_images(arrays, '[checks]\noverlap = "reject"\n')


def with_the_tests_rows() -> None:
    arrays = images()
    arrays["x"], arrays["y"] = arrays["tx"], arrays["ty"]
    of_images(arrays)


def with_one_value() -> None:
    recipe = TABLE.replace("tabular_classification", "tabular_regression").replace(
        'labels = ["cheap", "dear"]\n', ""
    )
    train, test = (
        "".join(
            row if not number else row.rsplit(",", 1)[0] + ",7\n"
            for number, row in enumerate(table(200, seed))
        )
        for seed in (1, 2)
    )
    files = {"part-1.csv": train.encode(), "test.csv": test.encode()}
    Sealed(recipe + '[training]\nloss = "mse"\n', files).seal()


def with_unreadable_rows() -> None:
    rows = table(100, 1)
    of_table([rows[0], *(row.rsplit(",", 1)[0] + ",unheard of\n" for row in rows[1:])], table(100, 2))


def with_another_header() -> None:
    files = {
        "part-1.csv": "".join(table(100, 1)).encode(),
        "part-2.csv": "".join(table(100, 2, "miles,seats,carrier,class\n")).encode(),
        "test.csv": "".join(table(100, 3)).encode(),
    }
    Sealed(TABLE, files).seal()


def without_the_pii_key() -> None:
    Sealed(personal.RECIPE, {"visits.csv": personal.visits()})


def overwritten() -> None:
    data, artifacts = preparing.stores(*preparing.raw_data())
    unit = preparing.unit(data)
    data.put(preparing.IMAGES, b"other bytes")
    prepare(unit, data, artifacts)


def deleted() -> None:
    data, artifacts = preparing.stores(*preparing.raw_data())
    unit = preparing.unit(data)
    del data.objects[preparing.LABELS]
    prepare(unit, data, artifacts)


def with_a_damaged_shard() -> None:
    store = InMemoryObjectStore("artifacts")
    shard = msgspec.structs.replace(evaluating.put_shard(store), sha256="0" * 64)
    _evaluate(store, shard, tiny_models.files(1))


def against_other_labels() -> None:
    store = InMemoryObjectStore("artifacts")
    shard = evaluating.put_shard(store)
    other = tiny_models.signature([f"label {digit}" for digit in range(10)])
    champion = tiny_models.files(2) | {"signature.json": other.to_json()}
    _evaluate(store, shard, tiny_models.files(1), champion)


def _evaluate(
    store: InMemoryObjectStore,
    shard: Any,
    candidate: dict[str, bytes],
    champion: dict[str, bytes] | None = None,
) -> None:
    versions = [tiny_models.publish(store, "mnist", files) for files in (candidate, champion) if files]
    with TemporaryDirectory() as folder:
        unit = evaluating.unit(shard, *versions)
        evaluate(
            unit,
            store,
            lambda project, version: load_package(store, project, version, directory=Path(folder), threads=1),
        )


def without_an_evaluation() -> None:
    store, request = judging.world(10, None)
    del store.objects[layout.evaluation_part_key("mnist", "r1", "new", None, 1)]
    judge(request, store)


def with_a_large_model() -> None:
    world = packaging.world(0.9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_archive, "MAX_FILE_BYTES", 3)
        _package(world)


def without_its_graph() -> None:
    store, request = packaging.world(0.9)
    files = packaging.trained()
    del files["model.onnx"]
    store.put("runs/mnist/r1/trials/job-0/output/model.tar.gz", packaging.packed(files))
    _package((store, request))


def with_failed_trials() -> None:
    store, request = packaging.world()
    record_trials(
        store, [TrialResult(id="0", status="Failed", job="j", error="States.TaskFailed", cause="boom")]
    )
    _package((store, request))


def without_the_sweep() -> None:
    store, request = packaging.world(0.9)
    del store.objects[layout.sweep_key("mnist", "r1")]
    _package((store, request))


def over_another_package() -> None:
    store, request = packaging.world(0.9)
    found = package_best_trial(request, store, InMemoryRegistry(), without_more)
    store.put(layout.model_file_key("mnist", found.version, "card.md"), b"another card")
    _package((store, request))


def _package(world: tuple[InMemoryObjectStore, Any]) -> None:
    package_best_trial(world[1], world[0], InMemoryRegistry(), without_more)


def with_a_loop() -> None:
    graph = tiny_models.graph(np.zeros((784, 10)))
    graph.graph.node.insert(0, helper.make_node("Loop", ["x"], ["y"]))
    check_graph(graph.SerializeToString(), place="model.onnx")


def with_weights_elsewhere() -> None:
    graph = tiny_models.graph(np.zeros((784, 10)))
    graph.graph.initializer[0].data_location = TensorProto.EXTERNAL
    check_graph(graph.SerializeToString(), place="model.onnx")


def with_logits() -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(tiny_models.graph(np.ones((784, 10)), softmax=False).SerializeToString())
        predictor = Predictor(open_session(path, threads=1), tiny_models.signature())
        predictor.predict(np.ones((2, 28, 28), np.uint8))


def overtaken() -> None:
    registry = InMemoryRegistry()
    registry.promote("mnist", "old", run="r0", generation=0)
    promote(PromoteRequest(project="mnist", run="r1", version="new", generation=0), registry, lambda *_: None)


def of_another_release() -> None:
    JudgeRequest.from_value(
        {"project": "mnist", "run": "r1", "dataset_version": "d", "candidate": "c", "shadow": 1}
    )


def without_settings() -> None:
    Settings.read({})


def unreachable() -> None:
    """The words are botocore's; a unit test opens no socket."""
    raise EndpointConnectionError(endpoint_url="https://s3.eu-west-1.amazonaws.com/")


RAISED: list[tuple[str, str, Callable[[], None]]] = [
    ("data-changed", "PrepareShards", overwritten),
    ("data-missing", "PrepareShards", deleted),
    ("rows-refused", "PrepareShards", with_unreadable_rows),
    ("data-mismatched", "PrepareShards", with_another_header),
    ("hash-key-missing", "PrepareShards", without_the_pii_key),
    ("split-empty", "SealDataset", without_train_rows),
    ("class-without-examples", "SealDataset", without_a_label),
    ("unit-left-no-result", "SealDataset", without_a_unit),
    ("data-rejected", "SealDataset", with_rows_of_the_test),
    ("data-rejected", "SealDataset", with_the_tests_rows),
    ("data-insufficient", "SealDataset", with_one_value),
    ("shard-changed", "EvaluateShards", with_a_damaged_shard),
    ("labels-differ-from-champion", "EvaluateShards", against_other_labels),
    ("evaluation-part-missing", "JudgeModel", without_an_evaluation),
    ("package-incomplete", "PackageModel", without_its_graph),
    ("no-trial-completed", "PackageModel", with_failed_trials),
    ("object-missing", "PackageModel", without_the_sweep),
    ("package-overwritten", "PackageModel", over_another_package),
    ("operator-not-allowed", "PackageModel", with_a_loop),
    ("champion-changed-too-often", "PromoteModel", overtaken),
    ("versions-do-not-fit", "JudgeModel", of_another_release),
    ("configuration-incomplete", "JudgeModel", without_settings),
    ("package-too-large", "PackageModel", with_a_large_model),
    ("package-refused", "PackageModel", with_weights_elsewhere),
    ("answers-are-not-probabilities", "PackageModel", with_logits),
    ("network-unreachable", "SealDataset", unreachable),
]


@pytest.mark.parametrize(("name", "state", "provoke"), RAISED)
def test_what_a_function_raises_is_explained(name: str, state: str, provoke: Callable[[], None]) -> None:
    with pytest.raises(Exception) as caught:
        provoke()
    told = raised(state, caught.value)
    assert told.cause == name, str(caught.value)
    assert told.kept == ["the champion, if there is one, serves as before"]


def push(more: str = "", *, instead: tuple[str, str] = ("", "")) -> Callable[[starting.World], None]:
    return lambda world: world.push(starting.RECIPE.replace(*instead) + more, "c0de2")


def drop(name: str, *shape: int, packed: bool = True, extra: bytes = b"") -> Callable[[starting.World], None]:
    return lambda world: world.drop(name, starting.idx(*shape, packed=packed) + extra)


def fail_often(world: starting.World) -> None:
    for _ in range(MAX_ATTEMPTS):
        answer = world.start_run.start(START)
        world.registry.end_run("mnist", answer.run, status="failed", reason="out of memory")


def with_fewer_columns(world: starting.World) -> None:
    world.push(starting.TABLE, "c0de2")
    world.drop("rows.csv", starting.ROWS)
    starting.crown(world, "r0")
    champion = tiny_tables.signature([], has_categories=False)
    world.artifacts.objects["models/mnist/cafe/signature.json"] = champion.to_json()


def without_the_champions_weights(world: starting.World) -> None:
    starting.crown(world, "r0", has_weights=False)
    world.push(starting.FINE_TUNING, "c0de2")


REFUSED: list[tuple[str, Callable[[starting.World], object]]] = [
    ("project-unknown", lambda world: world.artifacts.objects.clear()),
    ("recipe-missing", lambda world: world.artifacts.objects.pop("projects/mnist/c0de/lehr.toml")),
    ("recipe-key-unknown", push("\n[budgett]\n")),
    ("recipe-refused", push(instead=("epochs = 5", "epochs = -5"))),
    ("backend-not-deployed", push(instead=("[backend]", '[backend]\nfallback = "batch"'))),
    ("worst-case-too-dear", push("\n[budget]\nmax_usd_per_run = 0.001\n")),
    ("budget-of-month-exceeded", push("\n[budget]\nmax_usd_per_month = 0.001\n")),
    ("price-unknown", push("\n[budget]\nmax_usd_per_run = 5\n", instead=("ml.g5.xlarge", "ml.x99.large"))),
    ("data-missing", lambda world: world.data.objects.pop("incoming/mnist/t10k-labels-idx1-ubyte.gz")),
    ("data-malformed", lambda world: world.drop("t10k-labels-idx1-ubyte.gz", b"\x89PNG\r\n" * 10)),
    ("file-truncated", drop("t10k-images-idx3-ubyte.gz", 10_000, 28, 28, packed=False)),
    ("pairs-disagree", drop("t10k-labels-idx1-ubyte.gz", 9_999)),
    ("image-sizes-differ", drop("t10k-images-idx3-ubyte.gz", 10_000, 32, 32)),
    ("failed-too-often", fail_often),
    ("schema-differs-from-champion", with_fewer_columns),
    ("weights-do-not-fit", without_the_champions_weights),
]
PROVOKED = {name for name, *_ in (*RAISED, *REFUSED)}


@pytest.mark.parametrize(("name", "spoil"), REFUSED)
def test_a_refusal_of_start_run_is_explained(name: str, spoil: Callable[[starting.World], object]) -> None:
    world = starting.World()
    spoil(world)
    answer = world.start_run.start(START)
    assert answer.outcome == "refused"
    assert look_up(seen("start_run", answer.error, answer.reason)).cause == name, answer.reason
