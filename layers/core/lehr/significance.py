"""How likely chance alone explains a difference between two models that saw the same rows. Pure, without arrays.

McNemar 1947, "Note on the sampling error of the difference between correlated proportions or percentages",
https://doi.org/10.1007/BF02295996: only rows on which one model is right and the other is not tell them apart, and
between equals each of these falls to either side like a fair coin. The exact form sums the binomial distribution, and
so holds for few such rows too.
"""

from __future__ import annotations

from math import ceil, exp, lgamma, log, sqrt
from statistics import NormalDist

from lehr.contracts.comparison import Comparison
from lehr.contracts.evaluation import PairedCounts

# What `rows_to_tell` promises: significant at this level, so often, if the gain is real.
_LEVEL, _POWER = 0.05, 0.8
# Terms below this share of the sum change no digit of it.
_NEGLIGIBLE = 1e-18


def heads_at_least(heads: int, tosses: int) -> float:
    """Probability of `heads` or more in `tosses` of a fair coin. Raises ValueError for more heads than tosses."""
    if not 0 <= heads <= tosses:
        raise ValueError(f"{heads} heads in {tosses} tosses")
    if 2 * heads <= tosses:
        # The far side has the falling terms; 0 heads are certain.
        return 1.0 - heads_at_least(tosses - heads + 1, tosses) if heads else 1.0
    term = exp(lgamma(tosses + 1) - lgamma(heads + 1) - lgamma(tosses - heads + 1) - tosses * log(2))
    total = 0.0
    for k in range(heads, tosses + 1):
        total += term
        term *= (tosses - k) / (k + 1)
        if term < total * _NEGLIGIBLE:
            break
    return min(1.0, total)


def two_sided(one: int, other: int) -> float:
    """Probability that a fair coin divides so many tosses at least so unevenly; 1 for none."""
    return min(1.0, 2 * heads_at_least(max(one, other), one + other)) if one + other else 1.0


def mcnemar(paired: PairedCounts) -> Comparison:
    """The exact test, one-sided either way, of who is right on which rows."""
    gained, lost = paired.only_candidate, paired.only_champion
    rows = paired.both + gained + lost + paired.neither
    return Comparison(
        method="mcnemar",
        measure="accuracy",
        rows=rows,
        gain=(gained - lost) / rows if rows else 0.0,
        p_gain=heads_at_least(gained, gained + lost),
        p_loss=heads_at_least(lost, gained + lost),
        only_candidate=gained,
        only_champion=lost,
        rows_to_tell=_rows_to_tell(gained, lost, rows),
    )


def _rows_to_tell(gained: int, lost: int, rows: int) -> int | None:
    """Test rows for a gain of this size to be significant, None of no gain.

    Connor 1987, "Sample size for testing differences in proportions for the paired-sample design",
    https://doi.org/10.2307/2531961: so many rows on which they differ, and these are the same share of all rows.
    """
    if gained <= lost:
        return None
    normal = NormalDist()
    share = (gained - lost) / (gained + lost)
    deviations = normal.inv_cdf(1 - _LEVEL) + normal.inv_cdf(_POWER) * sqrt(1 - share**2)
    return ceil(rows * (deviations / share) ** 2 / (gained + lost))
