"""Contenders in the project's own environment: Lehr's loop, DataLoader over tensors, and a dataset of single rows.

python -m benchmarks.rig.torch_training lehr|dataloader|naive DATA.npz
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from benchmarks.rig.training_worker import Clock, serve
from lehr.contracts.recipe import Model, Training
from lehr_trainer.checkpoint import CheckpointFolder
from lehr_trainer.data import Examples
from lehr_trainer.determinism import make_deterministic, seed_everything
from lehr_trainer.learner import Learner, updates_per_epoch
from lehr_trainer.models import build_model, count_parameters
from lehr_trainer.stop import StopFlag
from lehr_trainer.train import evaluate, train
from lehr_trainer.utilisation import Meter

NOTHING = Examples(torch.empty(0, 28, 28, dtype=torch.uint8), torch.empty(0, dtype=torch.int64))


class Rows(torch.utils.data.Dataset):  # type: ignore[misc]
    """One row at a time through a PIL image, as torchvision's MNIST with ToTensor does it."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Any, int]:
        image = Image.fromarray(self.images[row])
        pixels = torch.from_numpy(np.array(image)).view(28, 28, 1).permute(2, 0, 1).contiguous()
        return pixels.to(torch.float32).div(255), int(self.labels[row])


def mlp(seed: int) -> Any:
    seed_everything(seed)
    return build_model(Model(), input_shape=(28, 28), classes=10, code_folder=Path())


def train_lehr(examples: Examples, seed: int, batch: int, epochs: int) -> dict[str, Any]:
    """The times are from one epoch's line in the log to the next, with the checkpoint between them."""
    clock, times = Clock(), {}

    def log(line: str) -> None:
        nonlocal clock
        if " loss=" in line:
            times.update(clock.read())
            clock = Clock()

    model, meter = mlp(seed), Meter()
    training = Training(epochs=epochs, batch_size=batch, seed=seed)
    learner = Learner(
        model,
        training,
        class_counts=torch.bincount(examples.labels, minlength=10).tolist(),
        total=epochs * updates_per_epoch(len(examples), training),
        device=torch.device("cpu"),
    )
    with tempfile.TemporaryDirectory() as folder:
        records = train(
            learner,
            examples,
            NOTHING,
            training,
            checkpoints=CheckpointFolder(Path(folder), {}, lambda line: None),
            stop=StopFlag(),
            log=log,
            meter=meter,
        )
    seen = meter.report(records[1:], len(examples))
    return {"model": model, "gemm_share": seen.gemm_share} | times


def train_by_loader(dataset: Any, seed: int, batch: int, epochs: int) -> dict[str, Any]:
    """The loop of PyTorch's own tutorials."""
    model = mlp(seed)
    optimizer = torch.optim.Adam(model.parameters())
    loader = torch.utils.data.DataLoader(dataset, batch_size=batch, shuffle=True)
    times: dict[str, float] = {}
    for _ in range(epochs):
        model.train()
        clock = Clock()
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
        times = clock.read()
    return {"model": model} | times


def main() -> None:
    name, path = sys.argv[1:]
    data = np.load(path)
    images, labels = torch.from_numpy(data["x"]), torch.from_numpy(data["y"])
    examples = Examples(images, labels)
    test = Examples(torch.from_numpy(data["test_x"]), torch.from_numpy(data["test_y"]))
    torch.set_num_threads(1)
    if name == "lehr":
        make_deterministic()

    def answer(seed: int, batch: int, epochs: int) -> dict[str, Any]:
        if name == "lehr":
            found = train_lehr(examples, seed, batch, epochs)
        elif name == "dataloader":
            pixels = images.to(torch.float32) / 255.0
            found = train_by_loader(torch.utils.data.TensorDataset(pixels, labels), seed, batch, epochs)
        else:
            found = train_by_loader(Rows(data["x"], data["y"]), seed, batch, epochs)
        model = found.pop("model")
        _, accuracy = evaluate(model, test)
        return found | {"accuracy": accuracy, "parameters": count_parameters(model)}

    serve(answer)


if __name__ == "__main__":
    main()
