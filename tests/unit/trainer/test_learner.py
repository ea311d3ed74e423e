"""An update: accumulated, averaged, in bfloat16; and which epoch's weights are exported."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from lehr.contracts.recipe_tables import Training
from lehr.contracts.training import EpochRecord
from lehr_trainer.data import Examples
from lehr_trainer.determinism import weights_sha256
from lehr_trainer.early_stopping import EarlyStopping
from lehr_trainer.ema import AveragedWeights
from lehr_trainer.learner import Learner, Sums, updates_per_epoch
from lehr_trainer.precision import choose_precision

MakeJob = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("without_export")
CPU = torch.device("cpu")


@pytest.fixture
def examples() -> Examples:
    generator = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (30, 6, 6), generator=generator, dtype=torch.uint8)
    return Examples(images, torch.randint(0, 3, (30,), generator=generator))


def _model() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Tanh(), nn.Linear(8, 3))


def _train(model: Any, examples: Examples, **settings: Any) -> Sums:
    training = Training(**settings)
    counts = torch.bincount(examples.labels).tolist()
    learner = Learner(model, training, class_counts=counts, total=20, device=CPU)
    sums = Sums.zero(CPU)
    rows = training.batch_size * training.accumulate_steps
    for number, part in enumerate(torch.arange(len(examples)).split(rows)):
        learner.begin_epoch()
        learner.update(examples, part, number, sums)
    return sums


@pytest.mark.parametrize("settings", [{}, {"class_weights": "balanced"}, {"loss": "focal"}])
def test_accumulated_parts_are_the_large_batch(examples: Examples, settings: dict[str, Any]) -> None:
    # 30 rows: a whole update of 12, another, and one of 6 whose last part is 2 rows.
    whole, parts, other = _model(), _model(), _model()
    common = {"optimizer": "sgd", "learning_rate": 0.5, **settings}
    sums = _train(whole, examples, batch_size=12, **common)
    parted = _train(parts, examples, batch_size=4, accumulate_steps=3, **common)
    _train(other, examples, batch_size=4, **common)
    for one, same, different in zip(whole.parameters(), parts.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, same, rtol=1e-5, atol=1e-6)
        assert not torch.allclose(one, different, rtol=1e-3, atol=1e-3)
    assert float(parted.loss) == pytest.approx(float(sums.loss), rel=1e-6)
    assert int(parted.correct) == int(sums.correct)


@pytest.mark.parametrize("loss", ["cross_entropy", "focal"])
def test_an_update_never_waits_for_the_device(loss: Any) -> None:
    # Tensors of the meta device have no values: whatever asks for one raises.
    meta = torch.device("meta")
    with meta:
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
        examples = Examples(torch.empty(30, 6, 6, dtype=torch.uint8), torch.empty(30, dtype=torch.int64))
        rows, sums = torch.empty(10, dtype=torch.int64), Sums.zero(meta)
    training = Training(
        optimizer="rmsprop",
        momentum=0.9,
        weight_decay=0.1,
        schedule="one_cycle",
        loss=loss,
        class_weights=(1.0, 2.0, 3.0),
        clip_norm=1.0,
        accumulate_steps=2,
        batch_size=4,
        ema_decay=0.9,
    )
    learner = Learner(model, training, class_counts=[], total=9, device=meta)
    for number in range(2):
        learner.update(examples, rows, number, sums)
    with pytest.raises(RuntimeError, match="meta"):
        float(sums.loss)


def test_an_epoch_has_as_many_updates_as_accumulated_batches() -> None:
    assert updates_per_epoch(30, Training(batch_size=4)) == 8
    assert updates_per_epoch(30, Training(batch_size=4, accumulate_steps=3)) == 3


def test_the_average_of_weights_is_the_formula() -> None:
    model = nn.BatchNorm1d(2)
    average = AveragedWeights(model, 0.5)
    expected = model.weight.detach().clone()
    for update, value in enumerate((3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0, 17.0, 19.0)):
        with torch.no_grad():
            model.weight.fill_(value)
        average.update()
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * value
    before = weights_sha256(model)
    with average.applied():
        torch.testing.assert_close(model.weight.detach(), expected)
        assert weights_sha256(model) != before
    assert weights_sha256(model) == before


def test_the_statistics_of_norms_are_averaged_and_their_counter_is_not() -> None:
    model = nn.BatchNorm1d(2)
    average = AveragedWeights(model, 0.5)
    with torch.no_grad():
        model.running_mean.fill_(10.0)
        model.num_batches_tracked.fill_(7)
    average.update()
    average.apply()
    assert model.running_mean.tolist() == pytest.approx([9.0, 9.0])
    assert model.num_batches_tracked.item() == 7


def test_the_average_is_what_is_validated_and_exported(make_job: MakeJob) -> None:
    plain, averaged = make_job(), make_job(ema_decay=0.99)
    assert [plain.run(), averaged.run()] == [0, 0]
    assert [one.loss for one in plain.summary.epochs] == [one.loss for one in averaged.summary.epochs]
    assert plain.summary.weights_sha256 != averaged.summary.weights_sha256
    assert plain.summary.epochs[0].validation_loss != averaged.summary.epochs[0].validation_loss
    raw = averaged.checkpoints[-1].read_bytes()[32:]
    state = torch.load(io.BytesIO(raw), weights_only=True)["state"]["learner"]
    model = nn.Module()
    model.state_dict = lambda: state["average"]["average"]
    assert weights_sha256(model) == averaged.summary.weights_sha256


def _record(epoch: int, loss: float, accuracy: float) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        loss=loss,
        accuracy=accuracy,
        validation_loss=loss,
        validation_accuracy=accuracy,
        samples_per_second=1.0,
        seconds=1.0,
    )


@pytest.mark.parametrize(
    ("settings", "best", "end"),
    [
        ({"patience": 2}, 3, 5),
        ({"patience": 1}, 1, 2),
        ({"patience": 2, "min_delta": 0.2}, 1, 3),
        ({"patience": 2, "monitor": "validation_accuracy"}, 2, 4),
        ({"patience": 9}, 3, None),
    ],
)
def test_the_best_epoch_is_kept_and_waited_on(settings: dict[str, Any], best: int, end: int | None) -> None:
    stopping = EarlyStopping(Training(**settings))
    model = nn.Linear(1, 1)
    ended = None
    for record in (
        _record(1, 0.5, 0.7),
        _record(2, 0.6, 0.9),
        _record(3, 0.4, 0.9),
        _record(4, 0.4, 0.8),
        _record(5, 0.45, 0.8),
        _record(6, 0.45, 0.8),
    ):
        with torch.no_grad():
            model.weight.fill_(record.epoch)
        stopping.watch(record, model)
        if stopping.is_over(record.epoch):
            ended = record.epoch
            break
    assert (stopping.best_epoch, ended) == (best, end)
    stopping.apply(model)
    assert model.weight.item() == best


def test_a_run_that_stops_early_exports_its_best_epoch(
    make_job: MakeJob, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"rows": 100, "epochs": 40, "optimizer": "sgd", "learning_rate": 1.0, "batch_size": 10}
    job = make_job(patience=3, monitor="validation_accuracy", **settings)
    assert job.run() == 0
    summary = job.summary
    best, last = summary.best_epoch, summary.epochs[-1].epoch
    assert best is not None
    assert last == best + 3 < 40
    accuracies = [record.validation_accuracy for record in summary.epochs]
    assert summary.figures().accuracy == max(accuracies) == accuracies[best - 1]
    assert summary.figures().epoch == best
    assert f"ended early, 3 epochs after the last that was better: the weights are those of epoch {best}" in (
        capsys.readouterr().out
    )
    # The same training ended at the best epoch has the same weights; its schedule is constant.
    short = make_job(**settings | {"epochs": best})
    assert short.run() == 0
    assert short.summary.weights_sha256 == summary.weights_sha256
    assert short.summary.best_epoch is None


def test_the_records_say_the_rate_of_their_last_update(make_job: MakeJob) -> None:
    job = make_job(epochs=3, schedule="step", milestones=(0.5,), learning_rate=0.01)
    assert job.run() == 0
    rates = [record.learning_rate for record in job.summary.epochs]
    assert rates == pytest.approx([0.01, 0.001, 0.001])


def test_bfloat16_is_close_to_float32_and_not_the_same(make_job: MakeJob) -> None:
    jobs = {name: make_job(precision=name) for name in ("auto", "float32", "bfloat16")}
    assert [job.run() for job in jobs.values()] == [0, 0, 0]
    summaries = {name: job.summary for name, job in jobs.items()}
    assert {name: summary.precision for name, summary in summaries.items()} == {
        "auto": "float32",
        "float32": "float32",
        "bfloat16": "bfloat16",
    }
    assert summaries["auto"].weights_sha256 == summaries["float32"].weights_sha256
    assert summaries["bfloat16"].weights_sha256 != summaries["float32"].weights_sha256
    losses = [summaries[name].epochs[-1].loss for name in ("float32", "bfloat16")]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_the_weights_stay_float32_under_bfloat16(examples: Examples) -> None:
    model = _model()
    before = copy.deepcopy(model.state_dict())
    sums = _train(model, examples, precision="bfloat16", batch_size=10)
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    assert not torch.equal(before["1.weight"], model.state_dict()["1.weight"])
    assert torch.isfinite(sums.loss)


def test_precision_is_chosen_by_device() -> None:
    assert choose_precision(Training(), CPU) == "float32"
    assert choose_precision(Training(precision="bfloat16"), CPU) == "bfloat16"
