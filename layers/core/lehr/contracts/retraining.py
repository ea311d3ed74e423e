"""Whether a training would be worth its money: what start_run answers to its own triggers, and `lehr worth` shows."""

from __future__ import annotations

from typing import Literal

from lehr.contracts.document import Document


class RetrainPlan(Document, frozen=True, kw_only=True):
    """A verdict with its numbers; a point is a hundredth of accuracy, of mean IoU, or of mAP at 0.5. None: not known.

    `growth` is how many times as much raw data there is as the champion was trained on, `exponent` the learning
    curve's, fitted to `fitted_runs` runs or assumed where that is 0. `growth_points` are what the curve promises,
    `live_points` what the champion has lost since its test by the labels that came back.
    """

    schema: Literal[1] = 1
    project: str
    is_worth: bool
    reason: str
    growth: float | None = None
    exponent: float | None = None
    fitted_runs: int = 0
    growth_points: float | None = None
    live_points: float | None = None
    usd: float | None = None
    usd_per_point: float | None = None
