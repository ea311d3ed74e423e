"""The project's own loss, metrics, augmentation and optimiser: used, resumable, and explained when they are wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from lehr.contracts.recipe_tables import Training
from lehr.contracts.training import EpochRecord
from lehr_trainer.early_stopping import EarlyStopping
from lehr_trainer.hooks import update_seed

MakeJob = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("without_export")

MLP = 'name = "mlp"\nhidden = [16]\n'
CODE = """
import torch
import torch.nn.functional as F


def poly(logits, labels):
    entropy = F.cross_entropy(logits, labels, reduction="none")
    return (entropy + 1 - torch.exp(-entropy)).mean()


def plain(logits, labels):
    return F.cross_entropy(logits, labels)


def macro_recall(logits, labels):
    right = logits.argmax(1) == labels
    return torch.stack([right[labels == one].float().mean() for one in labels.unique()]).mean()


def rows(logits, labels):
    return len(labels)


def top_two(logits, labels):
    return float((logits.topk(2).indices == labels[:, None]).any(1).float().mean())


def never(logits, labels):
    return float("nan")


def noise(pixels, generator):
    return pixels + 0.1 * torch.randn(pixels.shape, generator=generator, device=pixels.device)


def same(pixels, generator):
    return pixels


def layered(model, learning_rate):
    head, rest = list(model[-1].parameters()), list(model[:-1].parameters())
    return torch.optim.NAdam([{"params": rest, "lr": learning_rate / 2}, {"params": head}], lr=learning_rate)


def adam(model, learning_rate):
    return torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)


def frozen_rates(model, learning_rate):
    return torch.optim.SGD([{"params": list(model.parameters()), "lr": 0.0}], lr=learning_rate)
"""
EVERY = """
loss = "digit_model:poly"
metrics = ["digit_model:macro_recall"]
augment = "digit_model:noise"
optimizer = "digit_model:layered"
"""


def hooked(make_job: MakeJob, hooks: str, code: str = CODE, **settings: Any) -> Any:
    return make_job(model=f"{MLP}[hooks]\n{hooks}", code=code, **settings)


@pytest.mark.parametrize(
    "hooks",
    ['loss = "digit_model:plain"', 'augment = "digit_model:same"', 'optimizer = "digit_model:adam"'],
)
def test_a_hook_that_does_what_the_trainer_does_changes_no_bit(make_job: MakeJob, hooks: str) -> None:
    own, theirs = make_job(model=MLP), hooked(make_job, hooks)
    assert [own.run(), theirs.run()] == [0, 0]
    assert theirs.summary.weights_sha256 == own.summary.weights_sha256


@pytest.mark.parametrize("hooks", EVERY.strip().splitlines())
def test_every_hook_that_decides_the_weights_is_used(make_job: MakeJob, hooks: str) -> None:
    own, theirs = make_job(model=MLP), hooked(make_job, hooks)
    assert [own.run(), theirs.run()] == [0, 0]
    is_metric = hooks.startswith("metrics")
    assert (theirs.summary.weights_sha256 == own.summary.weights_sha256) is is_metric
    assert bool(theirs.summary.epochs[0].metrics) is is_metric


@pytest.mark.parametrize("steps", [5, 23])
@pytest.mark.parametrize("settings", [{}, {"accumulate_steps": 2, "schedule": "one_cycle"}])
def test_a_resumed_run_has_the_same_bits_with_every_hook(
    make_job: MakeJob, stop_after: Any, settings: dict[str, Any], steps: int
) -> None:
    stopped, whole = (hooked(make_job, EVERY, epochs=3, **settings) for _ in range(2))
    assert stopped.run(stop_after(steps)) == 0
    assert not (stopped.root / "model").exists()
    assert [stopped.run(), whole.run()] == [0, 0]
    assert stopped.summary.weights_sha256 == whole.summary.weights_sha256
    for record, expected in zip(stopped.summary.epochs, whole.summary.epochs, strict=True):
        assert (record.loss, record.metrics) == (expected.loss, expected.metrics)


def test_metrics_see_all_held_out_rows_at_once_and_are_logged(
    make_job: MakeJob, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lehr_trainer.measuring.EVALUATION_ROWS", 30)
    names = '["digit_model:rows", "digit_model:top_two", "digit_model:never"]'
    job = hooked(make_job, f"metrics = {names}", held_out=100)
    assert job.run() == 0
    first = job.summary.epochs[0]
    assert first.metrics["rows"] == 100
    assert first.metrics["never"] is None
    assert first.validation_accuracy is not None
    assert first.validation_accuracy < first.metrics["top_two"] <= 1
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch 1/2"))
    assert "validation_rows=100.0000" in line
    assert "never" not in line


def test_a_metric_can_be_monitored_and_more_is_better(make_job: MakeJob) -> None:
    job = hooked(
        make_job,
        'metrics = ["digit_model:macro_recall"]',
        epochs=6,
        patience=2,
        learning_rate=0.05,
        monitor="validation_macro_recall",
    )
    assert job.run() == 0
    values = [record.metrics["macro_recall"] for record in job.summary.epochs]
    assert job.summary.best_epoch == 1 + values.index(max(values))


def test_an_epoch_whose_monitored_metric_is_not_finite_is_no_better() -> None:
    watch = EarlyStopping(Training(patience=3, monitor="validation_f1"))
    for epoch, value in enumerate([None, 0.5, None, 0.4], start=1):
        rate = {"samples_per_second": 1.0, "seconds": 1.0}
        watch.watch(
            EpochRecord(epoch=epoch, loss=1.0, accuracy=0.0, metrics={"f1": value}, **rate),
            torch.nn.Linear(1, 1),
        )
    assert watch.best_epoch == 2


def test_the_schedule_moves_the_groups_of_an_own_optimiser_together(make_job: MakeJob) -> None:
    job = hooked(make_job, 'optimizer = "digit_model:frozen_rates"', schedule="cosine")
    assert job.run() == 0
    epochs = job.summary.epochs
    assert epochs[0].validation_loss == epochs[1].validation_loss, "a group with rate 0 was moved"


def test_updates_and_seeds_have_generators_of_their_own() -> None:
    seeds = {update_seed(seed, number) for seed in range(20) for number in range(200)}
    assert len(seeds) == 4000


BAD = "import torch\nimport torch.nn.functional as F\n\n\n"


@pytest.mark.parametrize(
    ("hooks", "code", "reason"),
    [
        (
            'loss = "digit_model:loss"',
            "def other(): ...",
            "hooks.loss: digit_model.py has no function 'loss'",
        ),
        (
            'loss = "nowhere:loss"',
            "",
            "hooks.loss: there is no module 'nowhere' (the project has digit_model.py)",
        ),
        (
            'loss = "digit_model:loss"',
            "def loss(logits):\n    return logits.mean()",
            "hooks.loss, digit_model.py:5 in loss: TypeError: loss() takes 1 positional argument but 2 were given, "
            "given float32 [20, 10] and int64 [20] (it is loss(logits, labels), and returns their mean loss",
        ),
        (
            'loss = "digit_model:loss"',
            "def loss(logits, labels):\n    return F.cross_entropy(logits, labels[:3])",
            "hooks.loss, digit_model.py:6 in loss: ValueError: Expected input batch_size (20) to match",
        ),
        (
            'loss = "digit_model:loss"',
            'def loss(logits, labels):\n    return F.cross_entropy(logits, labels, reduction="none")',
            "hooks.loss, digit_model.py:5 in loss: gives float32 [20] (it is loss(logits, labels)",
        ),
        (
            'loss = "digit_model:loss"',
            "def loss(logits, labels):\n    return F.cross_entropy(logits, labels).item()",
            "digit_model.py:5 in loss: gives 2.",
        ),
        (
            'loss = "digit_model:loss"',
            "def loss(logits, labels):\n    return F.cross_entropy(logits, labels).detach()",
            "gives a loss that has no gradient",
        ),
        (
            'loss = "digit_model:loss"',
            'def loss(logits, labels):\n    return F.cross_entropy(logits, labels, reduction="sum")',
            "digit_model.py:5 in loss: gives the sum over the rows",
        ),
        (
            'metrics = ["digit_model:f1"]',
            "def f1(logits, labels):\n    return logits.argmax(1) == labels",
            "digit_model.py:5 in f1: gives bool [20] (it is metric(logits, labels), and returns a number)",
        ),
        (
            'metrics = ["digit_model:f1"]',
            "def f1(logits, labels):\n    return None",
            "hooks.metrics, digit_model.py:5 in f1: gives None",
        ),
        (
            'augment = "digit_model:crop"',
            "def crop(pixels, generator):\n    return pixels[:, 1:]",
            "hooks.augment, digit_model.py:5 in crop: gives float32 [32, 27, 28] for float32 [32, 28, 28]",
        ),
        (
            'augment = "digit_model:crop"',
            "def crop(pixels, generator):\n    raise KeyError('seed')",
            "hooks.augment, digit_model.py:6 in crop: KeyError: 'seed', given float32 [32, 28, 28] and Generator",
        ),
        (
            'optimizer = "digit_model:make"',
            "def make(model, learning_rate):\n    return [model]",
            "hooks.optimizer, digit_model.py:5 in make: gives list (it is optimizer(model, learning_rate)",
        ),
        (
            'optimizer = "digit_model:make"',
            "def make(model, learning_rate):\n    return torch.optim.LBFGS(model.parameters())",
            "gives LBFGS, which needs a closure",
        ),
        (
            'optimizer = "digit_model:make"',
            "def make(model, learning_rate):\n    return torch.optim.SGD([torch.zeros(1)], lr=0.1)",
            "gives an optimiser of none of the model's trainable parameters",
        ),
    ],
)
def test_a_wrong_hook_is_explained_by_its_line_and_without_a_traceback(
    make_job: MakeJob, capsys: pytest.CaptureFixture[str], hooks: str, code: str, reason: str
) -> None:
    job = hooked(make_job, hooks, BAD + code + "\n")
    assert job.run() == 1
    assert reason in job.failure
    output = capsys.readouterr().out
    assert "Traceback" not in output
    assert output.splitlines()[-1] == f"FAILED: {job.failure}"


def test_the_log_of_an_error_within_a_hook_ends_with_the_projects_line(
    make_job: MakeJob, capsys: pytest.CaptureFixture[str]
) -> None:
    code = BAD + "def loss(logits, labels):\n    return undefined\n"
    assert hooked(make_job, 'loss = "digit_model:loss"', code).run() == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3:-1] == ["the project's line: digit_model.py:6 in loss", "    return undefined"]


@pytest.mark.parametrize(
    "fault",
    ["torch.OutOfMemoryError('no memory')", 'RuntimeError("DefaultCPUAllocator: can\'t allocate memory")'],
    ids=["cuda", "cpu"],
)
def test_a_want_of_memory_within_a_hook_stays_what_it_is(make_job: MakeJob, fault: str) -> None:
    code = BAD + f"def loss(logits, labels):\n    raise {fault}\n"
    job = hooked(make_job, 'loss = "digit_model:loss"', code)
    assert job.run() == 1
    assert "hooks.loss" not in job.failure


def test_a_hook_that_hangs_is_ended_as_a_hang_and_not_blamed_for_what_it_gives(make_job: MakeJob) -> None:
    code = (
        BAD
        + "def f1(logits, labels):\n    import time\n    time.sleep(60 * (len(labels) == 100))\n    return 1.0\n"
    )
    hooks = 'metrics = ["digit_model:f1"]\n[backend]\nhang_after_s = 2'
    job = hooked(make_job, hooks, code)
    assert job.run() == 1
    assert job.failure.startswith("digit_model.py:7 in f1: HangError: no sign of life for 2 s after epoch 1")
