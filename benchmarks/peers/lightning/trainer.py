"""Peer: Lightning's Trainer over a DataLoader of tensors, without logger, checkpoints and progress bar."""

import logging
import sys
import warnings

import lightning
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.rig.training_worker import Clock, serve

data = np.load(sys.argv[1])
torch.set_num_threads(1)
warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
images, labels = torch.from_numpy(data["x"]).to(torch.float32) / 255.0, torch.from_numpy(data["y"])


class Classifier(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(
            nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10)
        )

    def training_step(self, batch, number):
        return F.cross_entropy(self.model(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())


class Times(lightning.Callback):
    def on_train_epoch_start(self, trainer, module):
        self.clock = Clock()

    def on_train_epoch_end(self, trainer, module):
        self.found = self.clock.read()


def train(seed, batch, epochs):
    torch.manual_seed(seed)
    module, times = Classifier(), Times()
    dataset = torch.utils.data.TensorDataset(images, labels)
    loader = torch.utils.data.DataLoader(dataset, batch_size=batch, shuffle=True)
    lightning.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[times],
    ).fit(module, loader)
    model = module.model.eval()
    with torch.inference_mode():
        guesses = model(torch.from_numpy(data["test_x"]).to(torch.float32) / 255.0).argmax(1).numpy()
    return times.found | {
        "accuracy": float((guesses == data["test_y"]).mean()),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


serve(train)
