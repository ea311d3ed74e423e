"""Comparisons of two models, for the tests of those who judge by them."""

from __future__ import annotations

from lehr.contracts.comparison import Comparison


def comparison(p_gain: float, p_loss: float | None = None) -> Comparison:
    """One with that one-sided p of the gain; that of the loss is what remains, if it is not said."""
    return Comparison(
        method="bootstrap",
        measure="RMSE",
        rows=1000,
        gain=0.1,
        p_gain=p_gain,
        p_loss=1 - p_gain if p_loss is None else p_loss,
    )


# Of a candidate that is better beyond doubt: what else a gate asks for decides.
CONVINCING = comparison(0.0001)
