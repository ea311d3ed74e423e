"""Contenders in the project's own environment: Lehr's loop, DataLoader over tensors, and a dataset of single rows.

python -m benchmarks.rig.torch_training lehr|dataloader|naive|resnet|resnet_plain DATA.npz

The last two train a ResNet-8 on a part of the images, padded to 32x32 and in three channels: `resnet` in Lehr's loop
with bfloat16, its convolutions in the channels-last layout; `resnet_plain` in float32 and torch's own layout.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from benchmarks.rig.training_worker import Clock, serve
from lehr.contracts.recipe_tables import Model, Training
from lehr_trainer.checkpoint import CheckpointFolder
from lehr_trainer.data import Examples
from lehr_trainer.determinism import make_deterministic, seed_everything
from lehr_trainer.learner import Learner, updates_per_epoch
from lehr_trainer.measuring import measure
from lehr_trainer.models import build_model, count_parameters
from lehr_trainer.stop import StopFlag
from lehr_trainer.train import Loop
from lehr_trainer.utilisation import Meter

NOTHING = Examples(torch.empty(0, 28, 28, dtype=torch.uint8), torch.empty(0, dtype=torch.int64))


RESNET = Model(name="resnet", depth=8, width=32)
RESNET_ROWS = 1_536
MEAN, DEVIATION = 0.1307, 0.3081


class Rows(torch.utils.data.Dataset):  # type: ignore[misc]
    """One row at a time through a PIL image, ToTensor and Normalize, as PyTorch's own MNIST example has it.

    https://github.com/pytorch/examples/blob/main/mnist/main.py, with torchvision's steps written out.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Any, int]:
        image = Image.fromarray(self.images[row])
        pixels = torch.from_numpy(np.array(image)).view(28, 28, 1).permute(2, 0, 1).contiguous()
        scaled = pixels.to(torch.float32).div(255)
        mean, deviation = (torch.as_tensor([value], dtype=torch.float32) for value in (MEAN, DEVIATION))
        return scaled.clone().sub_(mean[:, None, None]).div_(deviation[:, None, None]), int(self.labels[row])


class Normalised(torch.nn.Module):  # type: ignore[misc]
    """A model of `Rows`, for pixels that are only scaled."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Any) -> Any:
        return self.model((x - MEAN) / DEVIATION)


class PlainPlanes(torch.nn.Module):  # type: ignore[misc]
    """[batch, height, width, channels] to [batch, channels, height, width], in torch's own layout."""

    def forward(self, x: Any) -> Any:
        return x.permute(0, 3, 1, 2).contiguous()


def mlp(seed: int) -> Any:
    seed_everything(seed)
    return build_model(Model(), input_shape=(28, 28), classes=10, code_folder=Path())


def resnet(seed: int) -> Any:
    seed_everything(seed)
    return build_model(RESNET, input_shape=(32, 32, 3), classes=10, code_folder=Path())


def train_lehr(examples: Examples, model: Any, training: Training) -> dict[str, Any]:
    """The times are from one epoch's line in the log to the next, with the checkpoint between them."""
    clock, times = Clock(), {}

    def log(line: str) -> None:
        nonlocal clock
        if " loss=" in line:
            times.update(clock.read())
            clock = Clock()

    meter = Meter()
    learner = Learner(
        model,
        training,
        class_counts=torch.bincount(examples.labels, minlength=10).tolist(),
        total=training.epochs * updates_per_epoch(len(examples), training),
        device=torch.device("cpu"),
    )
    with tempfile.TemporaryDirectory() as folder:
        loop = Loop(
            learner,
            examples,
            NOTHING,
            training,
            checkpoints=CheckpointFolder(Path(folder), {}, lambda line: None),
            stop=StopFlag(),
            log=log,
            meter=meter,
        )
        records = loop.run()
    seen = meter.report(records[1:])
    return {"model": model, "gemm_share": seen.gemm_share} | times


def train_plainly(model: Any, batches: Iterable[Any], epochs: int) -> dict[str, Any]:
    """The loop of PyTorch's own tutorials."""
    optimizer = torch.optim.Adam(model.parameters())
    times: dict[str, float] = {}
    for _ in range(epochs):
        model.train()
        clock = Clock()
        for images, labels in batches:
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
        times = clock.read()
    return {"model": model} | times


def loader(dataset: Any, batch: int) -> Any:
    return torch.utils.data.DataLoader(dataset, batch_size=batch, shuffle=True)


def colour(examples: Examples, rows: int) -> Examples:
    """The first `rows`, padded to 32x32 and in three equal channels."""
    images = F.pad(examples.images[:rows], (2, 2, 2, 2)).unsqueeze(-1).expand(-1, -1, -1, 3).contiguous()
    return Examples(images, examples.labels[:rows])


def main() -> None:
    name, path = sys.argv[1:]
    data = np.load(path)
    images, labels = torch.from_numpy(data["x"]), torch.from_numpy(data["y"])
    examples = Examples(images, labels)
    test = Examples(torch.from_numpy(data["test_x"]), torch.from_numpy(data["test_y"]))
    coloured = colour(examples, RESNET_ROWS)
    seen = colour(test, 256) if name.startswith("resnet") else test
    torch.set_num_threads(1)
    if name in ("lehr", "resnet"):
        make_deterministic()

    def pixels(rows: Any) -> Any:
        return torch.utils.data.TensorDataset(rows.images.to(torch.float32) / 255.0, rows.labels)

    def answer(seed: int, batch: int, epochs: int) -> dict[str, Any]:
        settings = Training(epochs=epochs, batch_size=batch, seed=seed)
        match name:
            case "lehr":
                found = train_lehr(examples, mlp(seed), settings)
            case "dataloader":
                found = train_plainly(mlp(seed), loader(pixels(examples), batch), epochs)
            case "naive":
                found = train_plainly(mlp(seed), loader(Rows(data["x"], data["y"]), batch), epochs)
                found["model"] = Normalised(found["model"])
            case "resnet":
                settings = msgspec.structs.replace(settings, precision="bfloat16")
                found = train_lehr(coloured, resnet(seed), settings)
            case "resnet_plain":
                plain = resnet(seed).to(memory_format=torch.contiguous_format)
                plain[0] = PlainPlanes()
                found = train_plainly(plain, loader(pixels(coloured), batch), epochs)
            case _:
                raise ValueError(name)
        model = found.pop("model")
        accuracy = measure(model, seen).accuracy
        rows = len(coloured) if name.startswith("resnet") else len(examples)
        return found | {"accuracy": accuracy, "parameters": count_parameters(model), "rows": rows}

    serve(answer)


if __name__ == "__main__":
    main()
