"""Sound from dropped WAV files to a prediction over HTTPS: two kinds of sweeps, asked with a WAV file."""

from __future__ import annotations

import pytest

from tests.e2e.small_mnist import INSTANCE_TYPE
from tests.e2e.workplace import Workplace
from tests.sounds import sweep

TRAINING_JOBS = 1
# Of the kinds of data in files, masks are in the quick form.
pytestmark = pytest.mark.slow
RECIPE = f"""
[project]
name = "NAME"
task = "audio_classification"

[data]
format = "manifest"
manifest = "labels.csv"
sample_rate = 8000
seconds = 0.5
labels = ["up", "down"]
validation_fraction = 0.1

[model]
name = "audio_cnn"
channels = [8, 16]
mels = 16

[training]
optimizer = "adamw"
learning_rate = 0.01
epochs = 4
batch_size = 16

[backend]
instance_type = "{INSTANCE_TYPE}"
max_runtime_s = 900

[gate]
min_accuracy = 0.8
min_test_rows = 20
"""


def test_dropped_recordings_become_a_model_that_is_asked_with_a_recording(workplace: Workplace) -> None:
    name = workplace.project("sweeps")
    folder, data = workplace.folder / "sweeps", workplace.folder / "sweeps-data"
    folder.mkdir()
    (data / "wav").mkdir(parents=True)
    (folder / "lehr.toml").write_text(RECIPE.replace("NAME", name))
    lines = ["file,label"]
    for number in range(240):
        (data / f"wav/{number}.wav").write_bytes(sweep(is_rising=number % 2 == 0, seed=number))
        lines.append(f"wav/{number}.wav,{('up', 'down')[number % 2]}")
    (data / "labels.csv").write_text("\n".join(lines))
    pushed = workplace.lehr("push", str(folder))
    assert pushed.code == 0, pushed.stderr
    trained = workplace.lehr("train", name, "--data", str(data))
    assert trained.code == 0, trained.stderr
    assert trained.only("decided")["verdict"] == "promote"
    asked = workplace.folder / "asked.wav"
    for is_rising, label in ((True, "up"), (False, "down")):
        asked.write_bytes(sweep(is_rising=is_rising, seed=5000, rate=16000))
        answer = workplace.lehr("predict", name, "--audio", str(asked))
        assert answer.code == 0, answer.stderr
        assert answer.only("prediction")["predictions"][0]["label"] == label
