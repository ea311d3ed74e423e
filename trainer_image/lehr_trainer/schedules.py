"""The learning rate of an update, a pure function of its number and of how many the recipe plans.

Nothing is kept between updates, so that a resumed run needs the number alone; and since the rate is a Python
float, setting it waits for no device. Parts of a training are fractions of its updates: a trial
with other epochs keeps the shape.

    constant    the recipe's rate
    step        times `decay_factor` from each of `milestones` on
    cosine      half a cosine from the rate down to `final_fraction` of it (Loshchilov and Hutter 2017,
                https://arxiv.org/abs/1608.03983, equation 5, one cycle)
    one_cycle   up from a 25th of the rate for `warmup_fraction` of the training, then down to a 10,000th of where
                it began, both on half a cosine (Smith and Topin 2018, https://arxiv.org/abs/1708.07120; the numbers
                are those of torch.optim.lr_scheduler.OneCycleLR). The momentum is not cycled.

The first three may begin with a linear warm-up of `warmup_fraction`: update s of w has (s + 1) / w of the rate
(Goyal et al. 2017, https://arxiv.org/abs/1706.02677, section 2.2).
"""

from __future__ import annotations

import math

from lehr.contracts.recipe_tables import Training

ONE_CYCLE_WARMUP = 0.3
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = ONE_CYCLE_START / 1e4
STEP_DECAY = 0.1


def learning_rate(training: Training, update: int, total: int) -> float:
    """The rate of `update`, counted from 0, of `total`."""
    return training.learning_rate * _share(training, update, total)


def _share(training: Training, update: int, total: int) -> float:
    if training.schedule == "one_cycle":
        warmup = ONE_CYCLE_WARMUP if training.warmup_fraction is None else training.warmup_fraction
        return _one_cycle(update, total, warmup)
    warmup_updates = round((training.warmup_fraction or 0.0) * total)
    rising = min(1.0, (update + 1) / warmup_updates) if warmup_updates else 1.0
    match training.schedule:
        case "constant":
            return rising
        case "step":
            passed = sum(update >= round(milestone * total) for milestone in training.milestones)
            return rising * (training.decay_factor or STEP_DECAY) ** passed
        case "cosine":
            if update < warmup_updates:
                return rising
            # Fewer than one update is left when everything is warm-up.
            part = (update - warmup_updates) / max(1, total - warmup_updates)
            return _half_cosine(1.0, training.final_fraction or 0.0, part)


def _one_cycle(update: int, total: int, warmup: float) -> float:
    peak = warmup * total - 1
    if update <= peak and peak > 0:
        return _half_cosine(ONE_CYCLE_START, 1.0, update / peak)
    peak = max(0.0, peak)
    return _half_cosine(1.0, ONE_CYCLE_END, (update - peak) / max(1.0, total - 1 - peak))


def _half_cosine(start: float, end: float, part: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2
