"""A training in slices of a function: nothing of it is lost between them, and none goes on for ever."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import msgspec
import pytest
from moto import mock_aws

from lehr.channel_lists import write_channel_list
from lehr.contracts.slices import SliceAnswer, SliceProgress, SliceRequest
from lehr_trainer import function, main, progress
from lehr_trainer.function import Workplace, training_s
from lehr_trainer.stop import StopFlag, TrainingStopped

BUCKET = "artifacts"
MakeJob = Callable[..., Any]
Run = Callable[[Path, StopFlag, Mapping[str, str]], int]
MODEL_KEY = "runs/digits/trials/j/output/model.tar.gz"


@pytest.fixture
def client() -> Iterator[Any]:
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket=BUCKET)
        yield s3


def upload(client: Any, job: Any, **changes: Any) -> SliceRequest:
    """The job's channels in S3, and the request of its first slice."""
    data = job.root / "input/data"
    for path in data.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), BUCKET, f"data/{path.relative_to(data)}")
    for split in ("train", "validation"):
        put_list(client, "data", split, [path.name for path in sorted((data / split).iterdir())])
    config = json.loads((job.root / "input/config/hyperparameters.json").read_text())
    request = SliceRequest(
        project="digits",
        run="r1",
        trial="0",
        job="j",
        code_uri=f"s3://{BUCKET}/data/code/",
        manifest_uri=f"s3://{BUCKET}/data/manifest/manifest.json",
        train_uri=f"s3://{BUCKET}/data/train.json",
        validation_uri=f"s3://{BUCKET}/data/validation.json",
        hyperparameters=config,
        checkpoint_uri=f"s3://{BUCKET}/runs/digits/checkpoints/0/",
        output_uri=f"s3://{BUCKET}/runs/digits/trials/j/output/",
        max_runtime_s=600,
        progress=SliceProgress(),
    )
    return msgspec.structs.replace(request, **changes)


def put_list(client: Any, folder: str, split: str, names: list[str]) -> None:
    body = write_channel_list(f"s3://{BUCKET}/{folder}/{split}/", names)
    client.put_object(Bucket=BUCKET, Key=f"{folder}/{split}.json", Body=body)


def one_slice(place: Workplace, request: SliceRequest, run: Run) -> SliceAnswer:
    now = time.monotonic()
    return place.train(request, run, deadline=now + 600, began=now)


def goes_on(request: SliceRequest, answer: SliceAnswer) -> SliceRequest:
    return msgspec.structs.replace(request, progress=answer.progress)


def stopping(stop_after: Any, steps: int) -> Run:
    """The trainer, asked to stop after so many steps."""

    def run(root: Path, stop: StopFlag, environ: Mapping[str, str]) -> int:
        asks = stop_after(steps)
        asks.stopped = None
        code = main.run(root, asks, environ)
        stop.stopped = asks.stopped
        return code

    return run


def to_the_end(place: Workplace, request: SliceRequest, run: Run) -> list[SliceAnswer]:
    answers = [one_slice(place, request, run)]
    while answers[-1].status == "continues":
        answers.append(one_slice(place, goes_on(request, answers[-1]), run))
    return answers


def weights(client: Any) -> str:
    body = client.get_object(Bucket=BUCKET, Key=MODEL_KEY)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        file = archive.extractfile("training.json")
        assert file is not None
        return str(json.loads(file.read())["weights_sha256"])


@pytest.fixture
def trained(make_job: MakeJob, without_export: None, monkeypatch: pytest.MonkeyPatch, client: Any) -> Any:
    """A job in S3 whose export is left out, and the digest of its weights in one piece."""
    monkeypatch.setattr(function, "TRAINED_FILES", ("training.json",))
    job = make_job()
    assert job.run() == 0
    return upload(client, job), job.summary.weights_sha256


def test_slices_give_the_weights_of_one_piece_in_the_process_before_or_in_another(
    trained: Any, client: Any, tmp_path: Path, stop_after: Any
) -> None:
    request, whole = trained
    answers = to_the_end(Workplace(tmp_path / "warm", client), request, stopping(stop_after, 9))
    assert len(answers) >= 4
    # The third slice ends an epoch of 19, and looks once within its validation.
    assert [answer.progress.update for answer in answers[:3]] == [9, 18, 26]
    assert weights(client) == whole
    for entry in client.list_objects_v2(Bucket=BUCKET, Prefix="runs/")["Contents"]:
        client.delete_object(Bucket=BUCKET, Key=entry["Key"])
    answer = one_slice(Workplace(tmp_path / "cold-0", client), request, stopping(stop_after, 9))
    for number in range(1, 20):
        if answer.status != "continues":
            break
        cold = Workplace(tmp_path / f"cold-{number}", client)
        answer = one_slice(cold, goes_on(request, answer), stopping(stop_after, 9))
    assert answer.status == "Completed"
    assert weights(client) == whole


def test_the_champions_weights_are_a_channel_of_every_slice(
    make_job: MakeJob, client: Any, tmp_path: Path
) -> None:
    key = "models/digits/cafe/weights.safetensors"
    client.put_object(Bucket=BUCKET, Key=key, Body=b"weights")
    place, seen = Workplace(tmp_path, client), []

    def run(root: Path, stop: StopFlag, environ: Mapping[str, str]) -> int:
        config = json.loads((root / "input/config/inputdataconfig.json").read_text())
        file = root / "input/data/initial/weights.safetensors"
        seen.append(
            (file.is_file() and file.read_bytes(), environ["LEHR_INITIAL_VERSION"], "initial" in config)
        )
        stop.stopped = TrainingStopped(1, len(seen), began=len(seen) - 1, ended=len(seen))
        return 0

    request = upload(client, make_job(), initial_uri=f"s3://{BUCKET}/{key}", initial_version="cafe")
    answer = one_slice(place, request, run)
    one_slice(place, goes_on(request, answer), run)
    one_slice(place, msgspec.structs.replace(request, initial_uri="", initial_version=""), run)
    assert seen == [(b"weights", "cafe", True), (b"weights", "cafe", True), (False, "", False)]


def test_without_its_random_streams_a_sliced_training_is_another(
    trained: Any, client: Any, tmp_path: Path, stop_after: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, whole = trained
    monkeypatch.setattr(progress, "restore_rng", lambda state: None)
    to_the_end(Workplace(tmp_path / "slices", client), request, stopping(stop_after, 9))
    assert weights(client) != whole


def test_a_slice_that_is_killed_costs_what_came_after_the_last_checkpoint_in_s3(
    trained: Any, client: Any, tmp_path: Path, stop_after: Any
) -> None:
    request, whole = trained
    first = one_slice(Workplace(tmp_path / "one", client), request, stopping(stop_after, 9))

    class Killed(BaseException):
        pass

    def killed(root: Path, stop: StopFlag, environ: Mapping[str, str]) -> int:
        stopping(stop_after, 9)(root, stop, environ)
        for path in (root / "checkpoints").iterdir():
            path.unlink()  # a process that is killed copies nothing more
        raise Killed

    before = sorted(
        entry["Key"] for entry in client.list_objects_v2(Bucket=BUCKET, Prefix="runs/")["Contents"]
    )
    place = Workplace(tmp_path / "two", client)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lehr_trainer.transfer.S3Folder.upload_changed", lambda self: None)
        with pytest.raises(Killed):
            one_slice(place, goes_on(request, first), killed)
    after = sorted(
        entry["Key"] for entry in client.list_objects_v2(Bucket=BUCKET, Prefix="runs/")["Contents"]
    )
    assert before == after
    answers = to_the_end(
        Workplace(tmp_path / "three", client), goes_on(request, first), stopping(stop_after, 9)
    )
    assert answers[0].progress.update == 18
    assert weights(client) == whole


def test_only_the_newest_checkpoints_stay_in_s3_however_many_slices_there_were(
    trained: Any, client: Any, tmp_path: Path, stop_after: Any
) -> None:
    request, _ = trained
    answers = to_the_end(Workplace(tmp_path / "slices", client), request, stopping(stop_after, 5))
    assert len(answers) > 5
    kept = client.list_objects_v2(Bucket=BUCKET, Prefix="runs/digits/checkpoints/")["Contents"]
    assert len(kept) == 2


def test_a_warm_process_keeps_its_data_and_fetches_what_was_changed_under_it(
    trained: Any, client: Any, tmp_path: Path, stop_after: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, _ = trained
    place = Workplace(tmp_path / "warm", client)
    fetched: list[str] = []
    download = client.download_file

    def fetching(bucket: str, key: str, path: str) -> None:
        fetched.append(key)
        download(bucket, key, path)

    monkeypatch.setattr(client, "download_file", fetching)
    answer = one_slice(place, request, stopping(stop_after, 9))
    shards = [key for key in fetched if key.startswith("data/train/")]
    assert len(shards) == 2
    fetched.clear()
    answer = one_slice(place, goes_on(request, answer), stopping(stop_after, 9))
    assert [key for key in fetched if key.startswith("data/")] == []
    (tmp_path / "warm/input/data/train" / Path(shards[0]).name).write_bytes(b"torn")
    fetched.clear()
    answer = one_slice(place, goes_on(request, answer), stopping(stop_after, 9))
    assert [key for key in fetched if key.startswith("data/")] == shards[:1]
    assert answer.status == "continues"


def test_a_process_that_trained_another_dataset_keeps_none_of_its_files(
    trained: Any, client: Any, tmp_path: Path, stop_after: Any
) -> None:
    request, _ = trained
    place = Workplace(tmp_path / "warm", client)
    one_slice(place, request, stopping(stop_after, 9))
    for number in range(2):
        client.put_object(Bucket=BUCKET, Key=f"other/train/shard-{number}", Body=b"x")
    put_list(client, "other", "train", ["shard-0", "shard-1"])
    other = msgspec.structs.replace(request, train_uri=f"s3://{BUCKET}/other/train.json", validation_uri="")
    answer = one_slice(place, other, lambda *_: _fails(tmp_path / "warm", "stop here"))
    assert answer.reason == "stop here"
    assert sorted(path.name for path in (tmp_path / "warm/input/data/train").iterdir()) == [
        "shard-0",
        "shard-1",
    ]
    assert not (tmp_path / "warm/input/data/validation").exists()


def _fails(root: Path, reason: str) -> int:
    (root / "output").mkdir(parents=True)
    (root / "output/failure").write_text(reason)
    return 1


def test_a_training_that_fails_answers_with_the_trainers_reason(
    make_job: MakeJob, client: Any, tmp_path: Path
) -> None:
    code = "def build(input_shape, classes):\n    raise ValueError('no such layer')\n"
    job = make_job(model='name = "custom"\nfactory = "digit_model:build"\n', code=code)
    answer = one_slice(Workplace(tmp_path / "slice", client), upload(client, job), main.run)
    assert answer.status == "Failed"
    assert answer.error == "States.TaskFailed"
    assert answer.reason == "digit_model.py:2 in build: ValueError: no such layer"


def test_two_slices_in_a_row_that_move_nothing_are_the_last(
    client: Any, tmp_path: Path, trained: Any
) -> None:
    request, _ = trained

    def runs_on_the_spot(root: Path, stop: StopFlag, environ: Mapping[str, str]) -> int:
        stop.stopped = TrainingStopped(1, 7, began=0, ended=7)  # its checkpoint is never taken
        return 0

    place = Workplace(tmp_path / "slice", client)
    answers = to_the_end(place, request, runs_on_the_spot)
    assert [answer.status for answer in answers] == ["continues", "continues", "Failed"]
    assert "2 slices in a row have moved nothing" in answers[-1].reason
    assert "began at update 0, and the one before had reached 7" in answers[-1].reason


def test_all_slices_together_take_no_longer_than_the_recipe_says(
    client: Any, tmp_path: Path, trained: Any
) -> None:
    request, _ = trained
    spent = msgspec.structs.replace(request, progress=SliceProgress(slices=3, update=40, seconds=600))
    answer = one_slice(Workplace(tmp_path / "slice", client), spent, main.run)
    assert answer.status == "Failed"
    assert "backend.max_runtime_s = 600 and stands at update 40" in answer.reason
    assert answer.progress.seconds == 600


def test_the_flag_is_set_when_the_rest_of_the_recipes_time_is_over(
    client: Any, tmp_path: Path, trained: Any
) -> None:
    request, _ = trained
    waited: list[float] = []

    def waits(root: Path, stop: StopFlag, environ: Mapping[str, str]) -> int:
        began = time.monotonic()
        while not stop.is_set and time.monotonic() < began + 20:
            time.sleep(0.01)
        waited.append(time.monotonic() - began)
        stop.stopped = TrainingStopped(1, 7, began=0, ended=7)
        return 0

    nearly = msgspec.structs.replace(request, progress=SliceProgress(slices=3, seconds=599))
    answer = one_slice(Workplace(tmp_path / "slice", client), nearly, waits)
    assert waited[0] < 10
    assert answer.progress.slices == 4
    assert answer.progress.seconds >= 600


@pytest.mark.parametrize(("time_left_s", "trains_s"), [(900, 840), (240, 180), (5, 3.75)])
def test_the_end_of_an_invocation_is_for_the_checkpoint(time_left_s: float, trains_s: float) -> None:
    assert training_s(time_left_s) == trains_s


class Context:
    log_group_name, log_stream_name, memory_limit_in_mb = "/aws/lambda/train-slice", "2026/[1]", "3008"

    def get_remaining_time_in_millis(self) -> int:
        return 900_000


def test_the_handler_says_what_it_ran_on_and_where_its_log_is(
    trained: Any, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, _ = trained
    monkeypatch.setenv("LEHR_SLICE_S", "30")
    monkeypatch.setattr(function, "workplace", lambda: Workplace(tmp_path / "slice", client))
    answer = SliceAnswer.from_value(function.handler(request.to_value(), Context()))
    assert (answer.status, answer.instance_type) == ("Completed", "lambda-3008mb")
    assert (answer.log_group, answer.log_stream) == ("/aws/lambda/train-slice", "2026/[1]")
    assert answer.progress.seconds >= 1
