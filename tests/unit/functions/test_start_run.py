"""start_run: once for each content, and never for data that cannot be trained on."""

from __future__ import annotations

import dataclasses
import gzip
import json
import struct
from pathlib import Path

import msgspec
import pytest

from functions.start_run.plan import list_raw
from functions.start_run.start import MAX_ATTEMPTS, StartRun
from functions.start_run.tables import plan_table, shards_to_evaluate
from functions.start_run.triggers import read_message
from lehr.contracts.dataset import PrepareUnit
from lehr.contracts.package import Lineage, ModelPackage, PackagedFile, Signature
from lehr.contracts.recipe import parse_recipe
from lehr.contracts.workflow import RunInput, StartRequest
from lehr.errors import ContractError, UserError
from tests import tiny_models, tiny_tables
from tests.fakes import InMemoryObjectStore, InMemoryRegistry

RECIPE = (Path(__file__).parents[3] / "examples/mnist/lehr.toml").read_text()


class InMemoryExecutions:
    """Names can be used once, as Step Functions' can."""

    def __init__(self) -> None:
        self.inputs: dict[str, bytes] = {}
        self.stopped: set[str] = set()

    def start(self, name: str, body: bytes) -> tuple[str, bool]:
        is_new = name not in self.inputs
        self.inputs.setdefault(name, body)
        return f"arn:{name}", is_new

    def arn_of(self, name: str) -> str:
        return f"arn:{name}"

    def input_of(self, arn: str) -> bytes | None:
        return self.inputs.get(arn.removeprefix("arn:"))

    def is_running(self, arn: str) -> bool:
        return arn.removeprefix("arn:") in self.inputs and arn not in self.stopped


def idx(*shape: int, packed: bool = True) -> bytes:
    raw = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + bytes(min(shape[0], 100) * 4)
    return gzip.compress(raw, mtime=0) if packed else raw


class World:
    def __init__(self) -> None:
        self.data = InMemoryObjectStore("data")
        self.artifacts = InMemoryObjectStore("artifacts")
        self.registry = InMemoryRegistry()
        self.executions = InMemoryExecutions()
        self.start_run = StartRun(
            data=self.data, artifacts=self.artifacts, registry=self.registry, executions=self.executions
        )
        self.push(RECIPE, "c0de")
        self.drop("train-images-idx3-ubyte.gz", idx(60_000, 28, 28))
        self.drop("train-labels-idx1-ubyte.gz", idx(60_000))
        self.drop("t10k-images-idx3-ubyte.gz", idx(10_000, 28, 28))
        self.drop("t10k-labels-idx1-ubyte.gz", idx(10_000))

    def push(self, recipe: str, sha: str) -> None:
        self.artifacts.objects["projects/mnist/head.json"] = json.dumps({"code_sha": sha}).encode()
        self.artifacts.objects[f"projects/mnist/{sha}/lehr.toml"] = recipe.encode()

    def drop(self, name: str, body: bytes) -> None:
        self.data.objects[f"incoming/mnist/{name}"] = body


@pytest.fixture
def world() -> World:
    return World()


def test_a_drop_starts_an_execution_with_a_plan_of_all_rows(world: World) -> None:
    answer = world.start_run.start(StartRequest(project="mnist", trigger="drop-0001"))
    assert answer.outcome == "started"
    (name,) = world.executions.inputs
    assert name == f"mnist-{answer.run}"
    body = RunInput.from_json(world.executions.inputs[name])
    plan = msgspec.json.decode(world.artifacts.objects[body.plan.key], type=list[PrepareUnit])
    assert sum(unit.count for unit in plan if unit.source == "train") == 60_000
    assert sum(unit.count for unit in plan if unit.source == "test") == 10_000
    assert {unit.of for unit in plan} == {len(plan)}
    assert [unit.index for unit in plan] == list(range(len(plan)))
    assert "1 trial(s)" in answer.reason


def test_the_one_who_dropped_finds_the_answer_by_the_id_of_the_drop(world: World) -> None:
    world.start_run.start(StartRequest(project="mnist", trigger="drop-0001"))
    record = world.registry.trigger("mnist", "drop-0001")
    assert record is not None
    assert record.outcome == "started"


def test_the_same_content_starts_once_however_often_it_is_announced(world: World) -> None:
    answers = [world.start_run.start(StartRequest(project="mnist")) for _ in range(100)]
    assert [answer.outcome for answer in answers] == ["started"] + ["nothing_new"] * 99
    assert len(world.executions.inputs) == 1
    assert "nothing is new" in answers[-1].reason


@pytest.mark.parametrize("change", ["data", "recipe"])
def test_changed_content_starts_another_run(world: World, change: str) -> None:
    first = world.start_run.start(StartRequest(project="mnist"))
    if change == "data":
        world.drop("train-labels-idx1-ubyte.gz", idx(60_000, packed=True) + b"\0")
    else:
        world.push(RECIPE.replace("epochs = 5", "epochs = 6"), "c0de2")
    world.registry.end_run("mnist", first.run, status="rejected")
    second = world.start_run.start(StartRequest(project="mnist"))
    assert second.outcome == "started"
    assert second.run != first.run


def test_a_file_that_the_recipe_does_not_name_changes_nothing(world: World) -> None:
    world.start_run.start(StartRequest(project="mnist"))
    world.drop("README.txt", b"hello")
    assert world.start_run.start(StartRequest(project="mnist")).outcome == "nothing_new"


def test_the_same_bytes_uploaded_again_are_nothing_new(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 gives them another version, and the same ETag."""
    first = world.start_run.start(StartRequest(project="mnist"))
    listed = [
        dataclasses.replace(entry, version=f"{number}-again")
        for number, entry in enumerate(world.data.list_versions("incoming/mnist/"))
    ]
    assert all(entry.version for entry in listed)
    monkeypatch.setattr(world.data, "list_versions", lambda prefix: iter(listed))
    again = world.start_run.start(StartRequest(project="mnist", trigger="drop-0002"))
    assert (again.outcome, again.run) == ("nothing_new", first.run)
    assert f"run {first.run} with the same data" in again.reason
    record = world.registry.trigger("mnist", "drop-0002")
    assert record is not None
    assert (record.outcome, record.run) == ("nothing_new", first.run)
    # Negative control: one that is another file has another ETag.
    listed[0] = dataclasses.replace(listed[0], etag="another")
    assert world.start_run.start(StartRequest(project="mnist", trigger="drop-0003")).outcome == "queued"


def test_a_failed_run_may_be_tried_again_under_a_new_name(world: World) -> None:
    first = world.start_run.start(StartRequest(project="mnist"))
    world.registry.end_run("mnist", first.run, status="failed", reason="out of memory")
    second = world.start_run.start(StartRequest(project="mnist"))
    assert (second.outcome, second.run) == ("started", f"{first.run}-2")


def test_what_was_erased_may_be_trained_on_again(world: World) -> None:
    first = world.start_run.start(StartRequest(project="mnist"))
    world.registry.end_run("mnist", first.run, status="promoted")
    assert world.start_run.start(StartRequest(project="mnist")).outcome == "nothing_new"
    world.registry.set_run_erased("mnist", first.run)
    second = world.start_run.start(StartRequest(project="mnist"))
    assert (second.outcome, second.run) == ("started", f"{first.run}-2")


def test_a_run_that_was_stopped_from_outside_may_be_tried_again(world: World) -> None:
    first = world.start_run.start(StartRequest(project="mnist"))
    world.executions.stopped.add(first.execution_arn)
    assert world.start_run.start(StartRequest(project="mnist")).run == f"{first.run}-2"
    stopped = world.registry.run("mnist", first.run)
    assert stopped is not None
    assert stopped.status == "failed"


def test_a_rejected_run_is_not_repeated(world: World) -> None:
    first = world.start_run.start(StartRequest(project="mnist"))
    world.registry.end_run("mnist", first.run, status="rejected", reason="accuracy")
    assert world.start_run.start(StartRequest(project="mnist")).outcome == "nothing_new"


def test_attempts_are_bounded(world: World) -> None:
    for _ in range(MAX_ATTEMPTS):
        answer = world.start_run.start(StartRequest(project="mnist"))
        world.registry.end_run("mnist", answer.run, status="failed", reason="again")
    answer = world.start_run.start(StartRequest(project="mnist"))
    assert answer.outcome == "refused"
    assert len(world.executions.inputs) == MAX_ATTEMPTS


def test_a_start_that_died_before_its_record_is_completed_by_the_next(world: World) -> None:
    first = world.start_run.start(StartRequest(project="mnist"))
    world.registry.run_records.clear()
    second = world.start_run.start(StartRequest(project="mnist"))
    assert (second.outcome, second.run) == ("nothing_new", first.run)
    assert world.registry.run("mnist", first.run) is not None


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        (
            "train-labels-idx1-ubyte.gz",
            None,
            ["train-labels-idx1-ubyte.gz not found", "s3://data/incoming/mnist/"],
        ),
        ("train-labels-idx1-ubyte.gz", idx(59_999), ["60000 images but 59999 labels"]),
        ("t10k-images-idx3-ubyte.gz", b"", ["t10k-images-idx3-ubyte.gz", "ends after 0 bytes"]),
        ("t10k-images-idx3-ubyte.gz", b"<html>404</html>", ["t10k-images-idx3-ubyte.gz", "no IDX header"]),
        ("t10k-images-idx3-ubyte.gz", idx(10_000), ["has 1 dimensions; images have 3"]),
        ("t10k-labels-idx1-ubyte.gz", idx(10_000, 28, 28), ["has 3 dimensions; labels have 1"]),
        ("t10k-images-idx3-ubyte.gz", idx(10_000, 32, 32), ["differ in size"]),
        (
            "t10k-images-idx3-ubyte.gz",
            idx(10_000, 28, 28, packed=False),
            ["its header promises 7840016", "truncated"],
        ),
        (
            "t10k-images-idx3-ubyte.gz",
            idx(10_000, 400, 400),
            ["1600000000 bytes of pixels, more than 1073741824", "files in folders"],
        ),
    ],
)
def test_data_that_cannot_be_trained_on_is_refused_with_its_place(
    world: World, name: str, body: bytes | None, words: list[str]
) -> None:
    world.data.objects.pop(f"incoming/mnist/{name}")
    if body is not None:
        world.drop(name, body)
    answer = world.start_run.start(StartRequest(project="mnist", trigger="drop-0002"))
    assert answer.outcome == "refused"
    for word in words:
        assert word in answer.reason
    assert not world.executions.inputs
    record = world.registry.trigger("mnist", "drop-0002")
    assert record is not None
    assert record.reason == answer.reason


def test_a_project_that_nobody_pushed_is_refused_with_the_way_out(world: World) -> None:
    answer = world.start_run.start(StartRequest(project="cifar"))
    assert answer.outcome == "refused"
    assert "lehr push" in answer.reason


def test_a_recipe_of_another_project_is_refused(world: World) -> None:
    world.push(RECIPE.replace('name = "mnist"', 'name = "other"'), "c0de3")
    assert "'other'" in world.start_run.start(StartRequest(project="mnist")).reason


def test_an_event_of_a_ready_object_names_project_and_drop(world: World) -> None:
    world.data.objects["incoming/mnist/_READY"] = b"0123456789abcdef\n"
    event = {"id": "event-id-1234", "detail": {"object": {"key": "incoming/mnist/_READY"}}}
    assert read_message(json.dumps(event), world.data) == StartRequest(
        project="mnist", trigger="0123456789abcdef"
    )


def test_an_empty_ready_object_is_as_good(world: World) -> None:
    world.data.objects["incoming/mnist/_READY"] = b""
    event = {"id": "event-id-1234", "detail": {"object": {"key": "incoming/mnist/_READY"}}}
    assert read_message(json.dumps(event), world.data).trigger == "event-id-1234"


@pytest.mark.parametrize("body", ["", "null", "[]", "{}", '{"id": "x", "detail": {"object": {}}}'])
def test_a_message_that_is_no_event_is_a_contract_error(world: World, body: str) -> None:
    with pytest.raises(ContractError):
        read_message(body, world.data)


def test_an_event_from_outside_of_incoming_is_refused(world: World) -> None:
    event = {"id": "event-id-1234", "detail": {"object": {"key": "models/mnist/_READY"}}}
    with pytest.raises(UserError):
        read_message(json.dumps(event), world.data)


def crown(
    world: World, run: str, *, version: str = "cafe", initial_version: str = "", has_weights: bool = True
) -> None:
    """Make `version` champion, as the end of `run` does."""
    digest = PackagedFile(sha256="0" * 64, bytes=1)
    names = ["model.onnx", *(["weights.safetensors"] if has_weights else [])]
    package = ModelPackage(project="mnist", files=dict.fromkeys(names, digest))
    lineage = Lineage(
        project="mnist",
        run=run,
        trial="0",
        dataset_version="d1",
        code_sha="c0de",
        training_job="job",
        image="image",
        initial_version=initial_version,
        instance_type="ml.g5.xlarge",
        hyperparameters={},
    )
    world.artifacts.objects[f"models/mnist/{version}/package.json"] = package.to_json()
    world.artifacts.objects[f"models/mnist/{version}/lineage.json"] = lineage.to_json()
    alias = world.registry.alias("mnist")
    generation = alias.generation if alias else 0
    world.registry.promote("mnist", version, run=run, generation=generation)
    world.registry.end_run("mnist", run, status="promoted")


FINE_TUNING = RECIPE.replace("epochs = 5", 'epochs = 5\nstart_from = "champion"')


def input_of(world: World, run: str) -> RunInput:
    return RunInput.from_json(world.executions.inputs[f"mnist-{run}"])


def test_without_a_champion_a_fine_tuning_starts_from_nothing(world: World) -> None:
    world.push(FINE_TUNING, "c0de2")
    answer = world.start_run.start(StartRequest(project="mnist"))
    body = input_of(world, answer.run)
    assert (answer.outcome, body.initial_version, body.initial_uri) == ("started", "", "")


def test_a_fine_tuning_is_given_the_weights_of_the_champion_of_its_start(world: World) -> None:
    first = world.start_run.start(StartRequest(project="mnist"))
    crown(world, first.run)
    world.push(FINE_TUNING, "c0de2")
    answer = world.start_run.start(StartRequest(project="mnist"))
    body = input_of(world, answer.run)
    assert body.initial_version == "cafe"
    assert body.initial_uri == "s3://artifacts/models/mnist/cafe/weights.safetensors"


def test_a_sweep_whose_space_asks_for_it_is_given_the_weights_too(world: World) -> None:
    first = world.start_run.start(StartRequest(project="mnist"))
    crown(world, first.run)
    space = '[trials]\nsearch = "grid"\n[trials.space]\nstart_from = ["champion"]\nseed = [1, 2]\n'
    world.push(RECIPE + space, "c0de2")
    answer = world.start_run.start(StartRequest(project="mnist"))
    assert input_of(world, answer.run).initial_version == "cafe"


def test_a_recipe_that_does_not_ask_for_it_never_looks_at_the_champion(world: World) -> None:
    crown(world, "gone")
    world.artifacts.objects.pop("models/mnist/cafe/package.json")
    answer = world.start_run.start(StartRequest(project="mnist"))
    assert (answer.outcome, input_of(world, answer.run).initial_version) == ("started", "")


def test_the_same_content_is_not_trained_on_again_from_the_champion_made_of_it(world: World) -> None:
    world.push(FINE_TUNING, "c0de2")
    first = world.start_run.start(StartRequest(project="mnist"))
    world.registry.end_run("mnist", first.run, status="promoted", reason="first")
    crown(world, first.run)
    again = world.start_run.start(StartRequest(project="mnist"))
    assert (again.outcome, again.run) == ("nothing_new", first.run)

    world.drop("train-labels-idx1-ubyte.gz", idx(60_000) + b"\0")
    second = world.start_run.start(StartRequest(project="mnist"))
    assert second.outcome == "started"
    world.registry.end_run("mnist", second.run, status="promoted", reason="better")
    crown(world, second.run, version="beef", initial_version="cafe")
    again = world.start_run.start(StartRequest(project="mnist"))
    assert (again.outcome, again.run) == ("nothing_new", second.run)


def test_a_sweep_is_not_made_again_because_its_best_trial_started_from_random_weights(world: World) -> None:
    first = world.start_run.start(StartRequest(project="mnist"))
    crown(world, first.run)
    world.push(RECIPE + '[trials]\noverrides = [{ start_from = "champion" }, { seed = 2 }]\n', "c0de2")
    second = world.start_run.start(StartRequest(project="mnist"))
    assert input_of(world, second.run).initial_version == "cafe"
    world.registry.end_run("mnist", second.run, status="promoted", reason="better")
    crown(world, second.run, version="beef", initial_version="")
    again = world.start_run.start(StartRequest(project="mnist"))
    assert (again.outcome, again.run) == ("nothing_new", second.run)


def test_a_new_champion_makes_a_new_run_of_the_same_content(world: World) -> None:
    crown(world, "other")
    world.push(FINE_TUNING, "c0de2")
    first = world.start_run.start(StartRequest(project="mnist"))
    world.registry.end_run("mnist", first.run, status="rejected", reason="worse")
    assert world.start_run.start(StartRequest(project="mnist")).outcome == "nothing_new"
    crown(world, "another", version="beef")
    second = world.start_run.start(StartRequest(project="mnist"))
    assert (second.outcome, input_of(world, second.run).initial_version) == ("started", "beef")


def test_a_champion_of_an_older_trainer_is_refused_with_the_way_out(world: World) -> None:
    crown(world, "other", has_weights=False)
    world.push(FINE_TUNING, "c0de2")
    answer = world.start_run.start(StartRequest(project="mnist"))
    assert answer.outcome == "refused"
    assert "champion cafe has no weights.safetensors" in answer.reason
    assert "train once without start_from" in answer.reason


FUNCTION_RECIPE = RECIPE.replace('kind = "sagemaker"\ninstance_type = "ml.g5.xlarge"', 'kind = "lambda"')


def test_a_run_in_a_function_is_planned_and_estimated_with_the_stacks_memory(world: World) -> None:
    assert FUNCTION_RECIPE != RECIPE
    world.push(FUNCTION_RECIPE, "f00d")
    with_function = dataclasses.replace(world.start_run, function_memory_mb=2048)
    answer = with_function.start(StartRequest(project="mnist"))
    assert answer.outcome == "started"
    (body,) = world.executions.inputs.values()
    planned = RunInput.from_json(body)
    assert [attempt.instance_types for attempt in planned.attempts] == [["lambda-2048mb"]]
    assert planned.resources.instance_type == "lambda-2048mb"


def test_a_run_in_a_function_that_the_stack_has_not_is_refused_and_leaves_nothing(world: World) -> None:
    world.push(FUNCTION_RECIPE, "f00d")
    answer = world.start_run.start(StartRequest(project="mnist"))
    assert (answer.outcome, world.executions.inputs) == ("refused", {})
    assert "TrainerFunctionImageUri" in answer.reason
    assert list(world.artifacts.list("runs/")) == []


TABLE = """
[project]
name = "mnist"
task = "tabular_regression"

[data]
format = "csv"
files = ["*.csv"]
target = "price"

[training]
loss = "mse"
"""
ROWS = b"km,class,hour,price\n1,best,2,3\n2,plain,3,4\n"


@pytest.mark.parametrize(
    ("champion", "said"),
    [
        (tiny_tables.signature([], has_categories=True), ""),
        (tiny_tables.signature([], has_categories=False), "the columns class"),
        (tiny_tables.signature(["a", "b"], has_categories=True), "their labels"),
        (tiny_models.signature(), "what they take"),
        (None, ""),
    ],
    ids=["same", "fewer columns", "labels", "images", "not to be read"],
)
def test_a_table_that_the_champion_cannot_be_judged_on_is_refused_before_it_is_trained_on(
    champion: Signature | None, said: str, world: World
) -> None:
    world.push(TABLE.replace('target = "price"', 'target = "price"\nmissing = ["", "NA"]'), "c0de2")
    world.drop("rows.csv", ROWS)
    crown(world, "r1")
    if champion:
        world.artifacts.objects["models/mnist/cafe/signature.json"] = champion.to_json()
    answer = world.start_run.start(StartRequest(project="mnist"))
    assert (answer.outcome == "started") == (not said)
    assert len(world.executions.inputs) == (not said)
    assert said in answer.reason
    if said:
        assert "another project.name" in answer.reason


@pytest.mark.parametrize("packed", [False, True])
def test_the_worst_case_of_a_table_counts_a_call_for_each_shard_of_the_test(
    packed: bool, world: World
) -> None:
    """One file is one unit of preparation, and 200 shards of the test."""
    text = "km,price\n" + "".join(f"{row},{row % 7}\n" for row in range(100_000))
    raw = gzip.compress(text.encode(), mtime=0) if packed else text.encode()
    recipe = TABLE.replace("target", "rows_per_shard = 250\ntest_fraction = 0.5\ntarget")
    world.push(recipe + "\n[budget]\nmax_usd_per_run = 0.01\n", "c0de2")
    world.drop("rows.csv", raw)
    plan, inferred = plan_table(parse_recipe(recipe), list_raw(world.data, "mnist"), world.data, "r1")
    assert len(plan) == 1
    assert shards_to_evaluate(plan, inferred) == pytest.approx(200, rel=0.2)
    answer = world.start_run.start(StartRequest(project="mnist"))
    recipe = recipe.replace("rows_per_shard = 250", "rows_per_shard = 1000000")
    world.push(recipe + "\n[budget]\nmax_usd_per_run = 0.01\n", "c0de3")
    fewer = world.start_run.start(StartRequest(project="mnist"))
    worst = [float(one.reason.partition("could cost ")[2].partition(" USD")[0]) for one in (answer, fewer)]
    assert worst[0] > 2 * worst[1]


@pytest.mark.parametrize("name", ["package.json", "lineage.json"])
def test_a_champion_whose_package_is_not_whole_is_an_answer_that_names_the_file(
    world: World, name: str
) -> None:
    first = world.start_run.start(StartRequest(project="mnist"))
    crown(world, first.run)
    world.artifacts.objects.pop(f"models/mnist/cafe/{name}")
    world.push(FINE_TUNING, "c0de2")
    answer = world.start_run.start(StartRequest(project="mnist"))
    assert answer.outcome == "refused"
    assert f"champion cafe has no {name}" in answer.reason
    assert "without start_from" in answer.reason
