"""Boxes on the device: what a detector's maps mean, which cell answers for which box, and the loss.

A detector gives maps, float32 [rows, 4 + classes, grid height, grid width]. Of every cell the first four say how far
the middle of its box is from its own, in cells, and the logarithms of the box's sides, in cells; the others are a logit
for each class. Coordinates are shares of the image throughout, so nothing here depends on its size, and IoU does not
change with it.

* **Assignment** as in FCOS, Tian et al. 2019, https://arxiv.org/abs/1904.01355, section 3.1, with its centre sampling:
  a cell answers for a box if its middle lies in the box and within 1.5 cells of the box's middle, and the cell of the
  middle itself always does, so that the smallest box has one. Where boxes compete, the smaller one has the cell.
* **Classes**: the quality focal loss of Li et al. 2020, https://arxiv.org/abs/2006.04388, equation 3. The target of a
  cell's class is the IoU that its box has with the true one, so the score says how good the box is, and no branch
  for centre-ness is needed.
* **Boxes**: 1 - GIoU, Rezatofighi et al. 2019, https://arxiv.org/abs/1902.09630.

Both are divided by the number of cells that answer for a box, of each row by its own: the loss is a mean over rows,
so that parts of a batch, and processes, add up to the whole. Everything is one tensor of all rows, cells and boxes, and
nothing waits for the device.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from lehr_runtime.detection import CORNERS

Tensor = Any

CENTRE_CELLS = 1.5
QUALITY_POWER = 2.0
BOX_WEIGHT = 2.0
# Sides are from e^-4 to e^6 cells: no gradient makes a box infinite.
SMALLEST_LOG, LARGEST_LOG = -4.0, 6.0


def decode_maps(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Corners [rows, cells, 4], left, top, right and bottom in shares of the image, and logits [rows, cells, classes].

    Cells are in the order of rows of the grid. A box may reach over the edge.
    """
    height, width = maps.shape[2], maps.shape[3]
    flat = maps.flatten(2).transpose(1, 2)
    sides = flat[..., 2:4].clamp(SMALLEST_LOG, LARGEST_LOG).exp()
    away = torch.stack([flat[..., 0] / width, flat[..., 1] / height], -1)
    half = torch.stack([sides[..., 0] / (2 * width), sides[..., 1] / (2 * height)], -1)
    centres = cell_centres(height, width, device=flat.device) + away
    return torch.cat([centres - half, centres + half], -1), flat[..., CORNERS:]


def cell_centres(height: int, width: int, *, device: Any) -> Tensor:
    """float32 [cells, 2], x and y in shares of the image."""
    y = (torch.arange(height, dtype=torch.float32, device=device) + 0.5) / height
    x = (torch.arange(width, dtype=torch.float32, device=device) + 0.5) / width
    return torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)], -1).reshape(-1, 2)


def assign(targets: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Which of a row's boxes each cell of the grid answers for, int64 [rows, cells], and whether for any, bool.

    `targets` are float32 [rows, boxes, 5]: class, left, top, width and height; class -1 where there is no box.
    """
    cells = cell_centres(height, width, device=targets.device)[None, :, None]
    starts, sides = targets[:, None, :, 1:3], targets[:, None, :, 3:5]
    offset = (cells - (starts + sides / 2)).abs()
    away = torch.maximum(offset[..., 0] * width, offset[..., 1] * height)
    is_inside = ((cells > starts) & (cells < starts + sides)).all(-1)
    answers = (is_inside & (away < CENTRE_CELLS)) | (away <= 0.5)
    answers = answers & (targets[:, None, :, 0] >= 0)
    areas = torch.where(answers, sides[..., 0] * sides[..., 1], torch.inf)
    smallest, which = areas.min(-1)
    return which, smallest.isfinite()


def detection(maps: Tensor, targets: Tensor) -> Tensor:
    """The loss of maps for targets [rows, boxes, 5], as described above; the mean over rows, a scalar."""
    corners, logits = decode_maps(maps)
    which, is_positive = assign(targets, maps.shape[2], maps.shape[3])
    own = targets.gather(1, which[..., None].expand(-1, -1, targets.shape[2]))
    truth = torch.cat([own[..., 1:3], own[..., 1:3] + own[..., 3:5]], -1)
    iou, giou = overlaps(corners, truth)
    positive = is_positive.to(logits.dtype)
    classes = torch.arange(logits.shape[2], device=logits.device)
    quality = (own[..., 0:1] == classes) * (positive * iou.detach())[..., None]
    entropy = F.binary_cross_entropy_with_logits(logits, quality, reduction="none")
    focal = (quality - logits.sigmoid()).abs().pow(QUALITY_POWER) * entropy
    rows = focal.sum((1, 2)) + BOX_WEIGHT * ((1 - giou) * positive).sum(1)
    return (rows / positive.sum(1).clamp_min(1.0)).mean()


def overlaps(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU of corners [..., 4] with those at the same places."""
    tiny = torch.finfo(one.dtype).tiny
    starts, ends = (one[..., :2], other[..., :2]), (one[..., 2:], other[..., 2:])
    shared = _product(torch.minimum(*ends) - torch.maximum(*starts))
    around = _product(torch.maximum(*ends) - torch.minimum(*starts)).clamp_min(tiny)
    union = _product(ends[0] - starts[0]) + _product(ends[1] - starts[1]) - shared
    iou = shared / union.clamp_min(tiny)
    return iou, iou - (around - union) / around


def _product(sides: Tensor) -> Tensor:
    """Of [..., 2]; 0 where a side is negative. Not `prod`, whose gradient is slow."""
    sides = sides.clamp_min(0)
    return sides[..., 0] * sides[..., 1]


def answers_of(maps: Tensor) -> Tensor:
    """What the exported graph gives, [rows, cells, 4 + classes]: corners within the image, and scores."""
    corners, logits = decode_maps(maps)
    return torch.cat([corners.clamp(0.0, 1.0), torch.sigmoid(logits)], -1)


def flipped(targets: Tensor, is_flipped: Tensor) -> Tensor:
    """Targets [rows, boxes, 5], mirrored in the rows that `is_flipped`, bool [rows], says."""
    left = torch.where(is_flipped[:, None], 1 - targets[..., 1] - targets[..., 3], targets[..., 1])
    return torch.cat([targets[..., 0:1], left[..., None], targets[..., 2:]], -1)
