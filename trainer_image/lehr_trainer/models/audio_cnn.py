"""The audio_cnn: a log-mel spectrogram inside the module, and so inside the graph, then blocks as the cnn's.

    samples -> frames x Hann window x DFT -> power -> mel bands -> log -> batch normalisation of each band
            -> 3x3 convolution, batch normalisation, ReLU, 2x2 max-pooling, for each of `channels`
            -> mean over time and bands -> dropout -> dense

* The transform is one convolution by the windowed cosines and sines of the DFT, since exporters have no short-time
  Fourier transform that every runtime computes alike. Frames begin at the first sample; there is no padding.
* Bands are triangles on the mel scale of the HTK book, mel(f) = 2595 log10(1 + f / 700), of height 1, from 0 Hz to
  the Nyquist frequency, over the bins of the DFT (Young et al., The HTK Book, 5.6; librosa's `htk=True, norm=None`).
* The logarithm is natural, of the power and a floor: a sine 94 dB below full scale has as much in 200 samples.
* What normalises is fixed once trained: mean and variance of each band over the training rows, by batch normalisation.

The spectrogram is computed in float32 whatever the precision of the training.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from lehr.contracts.recipe_tables import Model
from lehr.model_size import window_and_hop
from lehr_trainer.errors import JobInputError
from lehr_trainer.models.mlp import dense

Tensor = Any
Module = Any
FLOOR = 1e-6


class LogMel(nn.Module):  # type: ignore[misc]
    """[batch, samples] in [-1, 1) to [batch, bands, frames]. It learns nothing; its constants are in no checkpoint."""

    def __init__(self, *, sample_rate: int, window: int, hop: int, bands: int) -> None:
        super().__init__()
        self._hop, self._bins = hop, window // 2 + 1
        basis, bank = fourier_basis(window), mel_bank(sample_rate, window, bands)
        self.register_buffer("basis", torch.from_numpy(basis.astype(np.float32))[:, None], persistent=False)
        self.register_buffer("bank", torch.from_numpy(bank.astype(np.float32)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):
                return self._spectrum(x.float())
        return self._spectrum(x)

    def _spectrum(self, x: Tensor) -> Tensor:
        parts = F.conv1d(x.unsqueeze(1), self.basis, stride=self._hop)
        real, imaginary = parts[:, : self._bins], parts[:, self._bins :]
        return torch.log(torch.matmul(self.bank, real * real + imaginary * imaginary) + FLOOR)


def fourier_basis(window: int) -> np.ndarray[Any, Any]:
    """Cosines, then sines, of the DFT in a periodic Hann window of `window` samples: [2 * bins, window]."""
    time = np.arange(window)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * time / window)
    angle = 2 * np.pi * np.outer(np.arange(window // 2 + 1), time) / window
    return np.concatenate([np.cos(angle), -np.sin(angle)]) * hann


def mel_bank(sample_rate: int, window: int, bands: int) -> np.ndarray[Any, Any]:
    """The share of each bin of the DFT in each band: [bands, window // 2 + 1]."""
    top = 2595 * np.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 2) / 2595) - 1)
    bins = np.arange(window // 2 + 1) * sample_rate / window
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0.0, np.minimum(rising, falling))


class _Normalised(nn.Module):  # type: ignore[misc]
    """Each band normalised, as a plane of one channel."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(bands)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x).unsqueeze(1)


def build_audio_cnn(
    model: Model, *, input_shape: tuple[int, ...], classes: int, sample_rate: int | None
) -> Module:
    """Raises JobInputError for rows that are no sound, and for a spectrogram that they are too short for."""
    if sample_rate is None or len(input_shape) != 1:
        raise JobInputError(
            f"audio_cnn takes sound, the rows of the dataset are {list(input_shape)}", place="model.name"
        )
    window, hop = window_and_hop(model, sample_rate)
    frames, halved = (input_shape[0] - window) // hop + 1, 2 ** len(model.channels)
    if min(model.mels, frames) < halved:
        raise JobInputError(
            f"{len(model.channels)} blocks halve {model.mels} bands of {max(0, frames)} frames to nothing",
            place="model.channels",
            hint="give fewer, more mels, a shorter hop_ms, or data of more seconds",
        )
    if not mel_bank(sample_rate, window, model.mels).any(axis=1).all():
        raise JobInputError(
            f"{model.mels} bands are more than a window of {window} samples tells apart",
            place="model.mels",
            hint="give fewer, or a longer window_ms",
        )
    layers: list[Module] = [
        LogMel(sample_rate=sample_rate, window=window, hop=hop, bands=model.mels),
        _Normalised(model.mels),
    ]
    planes = 1
    for channels in model.channels:
        convolution = nn.Conv2d(planes, channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        layers += [convolution, nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(2)]
        planes = channels
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(model.dropout), dense(planes, classes)]
    return nn.Sequential(*layers, *head)
