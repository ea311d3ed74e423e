"""Sound: the spectrogram is the one of the formula, and a run of sweeps ends in a graph that tells them apart."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.signal.windows import hann

from functions.predict import app
from functions.predict.catalogue import Catalogue
from functions.predict.media import decode_recordings
from functions.predict.requests import parse_inputs
from lehr.contracts.package import TRAINED_FILES
from lehr.contracts.recipe_tables import Augment, Model
from lehr.contracts.training import TrainingSummary
from lehr.http.problems import Problem
from lehr.model_size import size_of
from lehr_trainer import main
from lehr_trainer.augment import Augmentation
from lehr_trainer.errors import JobInputError
from lehr_trainer.models import build_model, count_parameters, scale_pixels
from lehr_trainer.models.audio_cnn import FLOOR, LogMel, mel_bank
from lehr_trainer.stop import StopFlag
from lehr_trainer.streaming import StreamedExamples
from tests import tiny_models
from tests.sounds import sweep
from tests.unit.functions.test_predict import World, call
from tests.whole_run import WholeRun

RECIPE = """
[project]
name = "sweeps"
task = "audio_classification"
[data]
format = "folders"
files = ["*.wav"]
sample_rate = 8000
seconds = 0.5
labels = ["up", "down"]
validation_fraction = 0.1
rows_per_shard = 100
[model]
name = "audio_cnn"
channels = [8, 16]
mels = 16
[augment]
time_shift = 0.05
gain_db = 3.0
[training]
optimizer = "adamw"
learning_rate = 0.01
epochs = 4
batch_size = 16
[gate]
min_accuracy = 0.9
min_test_rows = 20
"""
RATE, WINDOW, HOP = 8000, 200, 80


def mel(frequency: float) -> float:
    return 2595 * float(np.log10(1 + frequency / 700))


def test_a_band_is_a_triangle_between_three_points_of_equal_distance_on_the_mel_scale() -> None:
    bank = mel_bank(RATE, WINDOW, 40)
    width = mel(RATE / 2) / 41
    for band in range(40):
        lower, middle, upper = (700 * (10 ** (width * (band + step) / 2595) - 1) for step in range(3))
        for place in range(WINDOW // 2 + 1):
            at = place * RATE / WINDOW
            if lower <= at <= middle:
                expected = (at - lower) / (middle - lower)
            elif middle < at <= upper:
                expected = (upper - at) / (upper - middle)
            else:
                expected = 0.0
            assert bank[band, place] == pytest.approx(expected, abs=1e-9)


def test_the_spectrogram_is_that_of_a_fast_transform_of_each_frame() -> None:
    x = np.random.default_rng(3).uniform(-1, 1, (2, 4000))
    frames = np.stack([x[:, start : start + WINDOW] for start in range(0, 4000 - WINDOW + 1, HOP)], axis=1)
    spectrum = np.fft.rfft(frames * hann(WINDOW, sym=False))
    expected = np.log(np.abs(spectrum) ** 2 @ mel_bank(RATE, WINDOW, 40).T + FLOOR).transpose(0, 2, 1)
    module = LogMel(sample_rate=RATE, window=WINDOW, hop=HOP, bands=40)
    given = module(torch.from_numpy(x.astype(np.float32))).numpy()
    assert given.shape == expected.shape
    np.testing.assert_allclose(given, expected, atol=1e-4)
    assert not module.state_dict()


def test_silence_is_the_logarithm_of_the_floor() -> None:
    module = LogMel(sample_rate=RATE, window=WINDOW, hop=HOP, bands=8)
    assert torch.equal(module(torch.zeros(1, 400)), torch.full((1, 8, 3), float(np.log(FLOOR))))


def test_the_size_in_closed_form_is_that_of_the_module() -> None:
    model = Model(name="audio_cnn", channels=(8, 16))
    built = build_model(model, input_shape=(8000,), classes=3, code_folder=Path(), sample_rate=RATE)
    size = size_of(model, input_shape=(8000,), classes=3, sample_rate=RATE)
    assert size is not None
    assert size.parameters == count_parameters(built)


@pytest.mark.parametrize(
    ("changes", "samples", "words"),
    [
        ({}, 1000, "blocks halve 40 bands of 11 frames to nothing"),
        ({"mels": 200}, 8000, "200 bands are more than a window of 200 samples tells apart"),
    ],
)
def test_a_spectrogram_that_cannot_be_is_refused(changes: dict[str, int], samples: int, words: str) -> None:
    model = Model(name="audio_cnn", channels=(8, 8, 8, 8), **changes)  # type: ignore[arg-type]
    with pytest.raises(JobInputError, match=words):
        build_model(model, input_shape=(samples,), classes=2, code_folder=Path(), sample_rate=RATE)


def test_sixteen_bits_are_brought_between_minus_one_and_one() -> None:
    x = torch.tensor([[-32768, 0, 16384, 32767]], dtype=torch.int16)
    assert scale_pixels(x).tolist() == [[-1.0, 0.0, 0.5, 32767 / 32768]]


def test_samples_that_are_streamed_are_those_of_the_shards() -> None:
    x = np.random.default_rng(1).integers(-32768, 32768, (20, 50)).astype(np.int16)
    streamed = StreamedExamples([x[:12], x[12:]], torch.arange(20))
    rows = torch.tensor([13, 2, 19, 0])
    samples, labels = streamed.batch(rows)
    assert samples.dtype is torch.int16
    np.testing.assert_array_equal(samples.numpy(), x[rows.numpy()])
    assert labels.tolist() == rows.tolist()


def test_a_shift_moves_whole_samples_and_leaves_silence() -> None:
    x = torch.arange(1, 11, dtype=torch.int16).repeat(3, 1)
    moved = Augmentation(Augment(time_shift=0.5)).pixels(x, torch.tensor([[0.5], [0.7], [0.1]]).repeat(1, 4))
    rows = (moved * 32768).round().int().tolist()
    assert rows[0] == list(range(1, 11))
    assert rows[1] == [0, 0, *range(1, 9)]
    assert rows[2] == [*range(5, 11), 0, 0, 0, 0]


def test_a_gain_is_in_decibels_and_clips() -> None:
    x = torch.tensor([[1000, -30000]], dtype=torch.int16)
    draws = torch.tensor([[0.5, 1.0, 0.5, 0.5]])
    given = Augmentation(Augment(gain_db=20.0)).pixels(x, draws)
    torch.testing.assert_close(given, torch.tensor([[10000 / 32768, -1.0]]))


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> WholeRun:
    files = {
        f"{('up', 'down')[number % 2]}/{number}.wav": sweep(is_rising=number % 2 == 0, seed=number)
        for number in range(240)
    }
    run = WholeRun(RECIPE, files, tmp_path_factory.mktemp("run"))
    judgement = run.decide()
    assert judgement.verdict == "promote", judgement.reason
    return run


def test_a_run_of_sweeps_is_promoted_and_its_graph_is_the_module(sweeps: WholeRun) -> None:
    parity = sweeps.summary.parity
    assert parity.max_absolute_difference <= parity.tolerance == 1e-4
    assert sweeps.summary.int8 is not None
    assert "stays float32" in sweeps.summary.int8.reason
    signature = sweeps.model.signature
    assert (signature.input.dtype, signature.input.shape) == ("int16", [-1, 4000])
    assert signature.of_sound == RATE


def test_a_recording_that_is_sent_is_answered_as_the_same_samples_are(sweeps: WholeRun) -> None:
    model = sweeps.model
    spec = model.signature.input
    raws = [sweep(is_rising=is_rising, seed=1000, rate=16000) for is_rising in (True, False)]
    batch = decode_recordings([("audio", raw) for raw in raws], spec, model.signature.of_sound)
    probabilities = model.predictor.predict(batch)
    assert probabilities.argmax(axis=1).tolist() == [0, 1]
    numbers = parse_inputs(json.dumps({"inputs": batch.tolist()}).encode(), spec)
    np.testing.assert_array_equal(numbers, batch)
    assert numbers.dtype == np.int16


def test_the_endpoint_takes_a_recording_as_a_file_as_base64_and_as_samples(
    sweeps: WholeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    monkeypatch.setattr(app, "champions", lambda: world.champions)
    monkeypatch.setattr(app, "catalogue", lambda: Catalogue(world.store, world.registry))
    world.push("sweeps")
    files = {name: (sweeps.root / "model" / name).read_bytes() for name in TRAINED_FILES}
    world.promote("sweeps", tiny_models.publish(world.store, "sweeps", files))
    raw = sweep(is_rising=False, seed=2000, rate=16000)
    text = base64.b64encode(raw).decode()
    row = decode_recordings([("audio", raw)], sweeps.model.signature.input, RATE)[0].tolist()
    sent = [
        call("POST", "/predict/sweeps", text, isBase64Encoded=True, headers={"content-type": kind})
        for kind in ("audio/wav", "audio/x-wav")
    ]
    sent += [
        call("POST", "/predict/sweeps", json.dumps(body))
        for body in ({"audio": text}, {"audios": [text]}, {"inputs": row}, {"inputs": [row]})
    ]
    assert [status for status, _ in sent] == [200] * 6
    assert len({json.dumps(answer["predictions"]) for _, answer in sent}) == 1
    assert sent[0][1]["predictions"][0]["label"] == "down"
    status, described = call("GET", "/models/sweeps")
    assert (status, described["sample_rate"]) == (200, RATE)

    status, refused = call(
        "POST", "/predict/sweeps", json.dumps({"audio": base64.b64encode(b"RIFF").decode()})
    )
    assert (status, refused["field"], refused["got"]) == (422, "audio", "is no WAV file")
    status, _ = call("POST", "/predict/sweeps", json.dumps({"image": text}))
    assert status == 415
    world.serve("mnist")
    status, _ = call(
        "POST", "/predict/mnist", text, isBase64Encoded=True, headers={"content-type": "audio/wav"}
    )
    assert status == 415


@pytest.mark.parametrize("value", [32768, -32769, 1.5, True])
def test_a_number_that_is_no_sample_is_refused_with_its_place(sweeps: WholeRun, value: object) -> None:
    row: list[object] = [0] * 4000
    row[7] = value
    with pytest.raises(Problem) as caught:
        parse_inputs(json.dumps({"inputs": row}).encode(), sweeps.model.signature.input)
    assert caught.value.status == 422
    assert "inputs[7]" in caught.value.document["detail"]


def test_a_run_that_was_stopped_within_an_epoch_ends_with_the_same_bits(
    sweeps: WholeRun, tmp_path: Path, stop_after: type[StopFlag]
) -> None:
    shutil.copytree(sweeps.root / "input", tmp_path / "input")
    environ = {
        "LEHR_PROJECT": "sweeps",
        "LEHR_RUN": sweeps.summary.run,
        "LEHR_TRIAL": "0",
        "LEHR_THREADS": "1",
    }
    assert main.run(tmp_path, stop_after(15), environ) == 0  # type: ignore[call-arg]
    assert not (tmp_path / "model").exists()
    assert main.run(tmp_path, environ=environ) == 0
    resumed = TrainingSummary.from_json((tmp_path / "model/training.json").read_bytes())
    assert resumed.weights_sha256 == sweeps.summary.weights_sha256
    assert [record.loss for record in resumed.epochs] == [record.loss for record in sweeps.summary.epochs]
