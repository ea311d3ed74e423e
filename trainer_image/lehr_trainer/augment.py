"""Augmentation on the device: every image of an epoch has draws of its own, made before the epoch.

The draws are a pure function of (seed, epoch), as the order is: a resumed run has the same ones without anything being
saved, and a GPU the same ones as a CPU. Crop and flip move whole pixels, and are one gather of uint8; rotation
and shift interpolate between pixels (bilinear, black outside), and are left out unless asked for. Brightness and
contrast change all pixels of an image alike, and cost as much as scaling them does.

A target that lies in the image moves with it, by the same draws: boxes, and masks, which take the nearest pixel; what
comes from outside of the image is IGNORED. Sound is moved in time by whole samples, with silence where it came from,
and made louder or softer.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from lehr.contracts.file_units import IGNORED
from lehr.contracts.recipe_tables import Augment
from lehr_trainer.boxes import flipped
from lehr_trainer.models import scale_pixels
from lehr_trainer.targets import kind_of

Tensor = Any
_EPOCHS_PER_SEED = 1_000_003
_STREAM = 0x61756721  # apart from the stream that orders the epoch
_DRAWS = 4
# Two more where light is asked for, so that the others stay what they are without.
_DRAWS_WITH_LIGHT = 6


class Augmentation:
    """What [augment] asks for; with nothing asked, `pixels` only scales."""

    def __init__(self, augment: Augment) -> None:
        self._crop, self._flip = augment.crop_padding, augment.horizontal_flip
        self._angle, self._shift = math.radians(augment.rotation_degrees), augment.shift
        self._time_shift, self._gain_db = augment.time_shift, augment.gain_db
        self._brightness, self._contrast = augment.brightness, augment.contrast

    def draws(self, rows: int, *, seed: int, epoch: int, device: Any) -> Tensor:
        """Uniform float32 in [0, 1) on `device`, [rows, 4], with light [rows, 6], [rows, 0] for nothing."""
        has_light = bool(self._brightness or self._contrast)
        asked = (self._crop, self._flip, self._angle, self._shift, self._time_shift, self._gain_db, has_light)
        if not any(asked):
            return torch.empty(rows, 0, device=device)
        draws = _DRAWS_WITH_LIGHT if has_light else _DRAWS
        generator = torch.Generator().manual_seed((seed * _EPOCHS_PER_SEED + epoch + _STREAM) % 2**63)
        return torch.rand(rows, draws, generator=generator).to(device)

    def pixels(self, images: Tensor, draws: Tensor) -> Tensor:
        """uint8 [batch, height, width] or [batch, height, width, channels] to float32 of the same shape in [0, 1];
        or int16 [batch, samples] to [-1, 1]."""
        if self._time_shift or self._gain_db:
            return self._sound(images, draws)
        if self._crop or self._flip:
            images = self._window(images, draws)
        x = scale_pixels(images)
        x = self._warp(x, draws) if self._angle or self._shift else x
        return self._lit(x, draws) if self._brightness or self._contrast else x

    def targets(self, targets: Tensor, draws: Tensor) -> Tensor:
        """The targets of the images that `pixels` is given, boxes moved as the images are; others as they are."""
        kind = kind_of(targets)
        if kind == "masks":
            return self.masks(targets, draws)
        if not self._flip or kind != "boxes":
            return targets
        return flipped(targets, draws[:, 2] >= 0.5)

    def _lit(self, x: Tensor, draws: Tensor) -> Tensor:
        """Spread about the image's mean, and lighter or darker; within black and white."""
        share = (draws[:, _DRAWS:] * 2 - 1).view(len(x), 2, *[1] * (x.dim() - 1))
        mean = x.flatten(1).mean(1).view(len(x), *[1] * (x.dim() - 1))
        lit = mean + (x - mean) * (1 + share[:, 0] * self._contrast) + share[:, 1] * self._brightness
        return lit.clamp(0.0, 1.0)

    def _sound(self, x: Tensor, draws: Tensor) -> Tensor:
        """int16 [batch, samples] to float32 of the same shape in [-1, 1]: what gets louder than that is clipped."""
        length, either_way = x.shape[1], draws * 2 - 1
        moved = (either_way[:, :1] * (self._time_shift * length)).round().long()
        source = torch.arange(length, device=x.device) - moved
        heard = x.gather(1, source.clamp(0, length - 1)) * ((source >= 0) & (source < length))
        gain = 10 ** (either_way[:, 1:2] * (self._gain_db / 20))
        return (scale_pixels(heard) * gain).clamp(-1.0, 1.0)

    def masks(self, labels: Tensor, draws: Tensor) -> Tensor:
        """int64 [batch, height, width], moved as `pixels` moves the images of these rows."""
        if self._crop or self._flip:
            labels = self._window(labels, draws, outside=IGNORED)
        if not (self._angle or self._shift):
            return labels
        # Zeros come from outside, so IGNORED is the zero for as long as that takes.
        moved = self._warp((labels - IGNORED).to(torch.float32), draws, mode="nearest")
        return moved.long() + IGNORED

    def _window(self, images: Tensor, draws: Tensor, *, outside: int = 0) -> Tensor:
        """A window of the padded image, mirrored for half of the draws."""
        padding, (height, width) = self._crop, images.shape[1:3]
        top, left = ((draws[:, axis] * (2 * padding + 1)).long() for axis in (0, 1))
        rows = top[:, None] + torch.arange(height, device=images.device)
        columns = torch.arange(width, device=images.device).expand(len(images), -1)
        if self._flip:
            columns = torch.where(draws[:, 2:3] < 0.5, columns, width - 1 - columns)
        columns = columns + left[:, None]
        sides: tuple[int, ...] = (padding,) * 4
        sides = sides if images.dim() == 3 else (0, 0, *sides)
        padded = F.pad(images, sides, value=outside) if padding else images
        each = torch.arange(len(images), device=images.device)[:, None, None]
        return padded[each, rows[:, :, None], columns[:, None, :]]

    def _warp(self, x: Tensor, draws: Tensor, *, mode: str = "bilinear") -> Tensor:
        """Turned about the middle and moved; grid coordinates go from -1 to 1 along either side."""
        height, width = x.shape[1:3]
        planes = x.unsqueeze(1) if x.dim() == 3 else x.permute(0, 3, 1, 2)
        either_way = draws * 2 - 1
        angle = either_way[:, 3] * self._angle
        cosine, sine = torch.cos(angle), torch.sin(angle)
        down, right = (either_way[:, axis] * (2 * self._shift) for axis in (0, 1))
        theta = torch.stack(
            [
                torch.stack([cosine, -sine * (height / width), right], 1),
                torch.stack([sine * (width / height), cosine, down], 1),
            ],
            1,
        )
        grid = F.affine_grid(theta, list(planes.shape), align_corners=False)
        warped = F.grid_sample(planes, grid, mode=mode, padding_mode="zeros", align_corners=False)
        return warped.squeeze(1) if x.dim() == 3 else warped.permute(0, 2, 3, 1)
