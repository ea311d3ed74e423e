"""How far apart two distributions are, and how likely that is chance: from counts alone, without numpy or scipy.

The tests compare each with scipy's. Two measures say how far, one test says whether it may be chance; a decision
should want both, since with many rows every difference is significant, and with few none is small.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf, lgamma, log, pi, sqrt

# Added to each count before shares are compared by their logarithms, which a share of 0 has none of.
PSEUDO_COUNT = 0.5
# What Pearson's approximation wants of each expected count. Cochran, Biometrics 10 (1954).
MIN_EXPECTED = 5.0


def population_stability(expected: Sequence[float], observed: Sequence[float]) -> float:
    """The population stability index of two lists of counts: the sum of (q - p) ln(q / p) over their shares p and q.

    It is Jeffreys' divergence. By custom below 0.1 nothing has changed, and from 0.2 on something has.
    """
    p, q = _smoothed(expected), _smoothed(observed)
    return sum((b - a) * log(b / a) for a, b in zip(p, q, strict=True))


def total_variation(expected: Sequence[float], observed: Sequence[float]) -> float:
    """Half the sum of the differences of the shares: 0 for equal ones, 1 for others altogether."""
    p, q = _shares(expected), _shares(observed)
    return sum(abs(a - b) for a, b in zip(p, q, strict=True)) / 2


def kolmogorov_survival(distance: float, rows: int, other_rows: int) -> float:
    """The chance that two samples of one distribution are `distance` apart or more (Kolmogorov-Smirnov, two-sided).

    That of the limiting distribution; where values repeat it is an upper bound. Smirnov, Ann. Math. Stat. 19 (1948).
    """
    x = distance * sqrt(rows * other_rows / (rows + other_rows)) if rows and other_rows else 0.0
    if x < 0.2:  # 1 to within 1e-12
        return 1.0
    if x < 1.0:  # the other series hardly converges here
        terms = (exp(-((2 * k - 1) ** 2) * pi**2 / (8 * x * x)) for k in range(1, 6))
        return min(1.0, 1.0 - sqrt(2 * pi) / x * sum(terms))
    return min(1.0, 2 * sum((1 if k % 2 else -1) * exp(-2 * (k * x) ** 2) for k in range(1, 11)))


def chi_squared(one: Sequence[int], other: Sequence[int]) -> tuple[float, int]:
    """Pearson's statistic of two lists of counts, and its degrees of freedom: do they have the same shares?

    Whatever is expected fewer than MIN_EXPECTED times in either is counted together.
    """
    total = sum(one), sum(other)
    if not all(total):
        return 0.0, 0
    smaller = min(total) / sum(total)
    kept: list[tuple[int, int]] = []
    rest = [0, 0]
    for a, b in zip(one, other, strict=True):
        if (a + b) * smaller >= MIN_EXPECTED:
            kept.append((a, b))
        else:
            rest[0] += a
            rest[1] += b
    if sum(rest):
        kept.append((rest[0], rest[1]))
    statistic = 0.0
    for pair in kept:
        for count, of in zip(pair, total, strict=True):
            expected = sum(pair) * of / sum(total)
            statistic += (count - expected) ** 2 / expected
    return statistic, len(kept) - 1


def chi_squared_survival(statistic: float, freedom: int) -> float:
    """The chance of `statistic` or more: the upper incomplete gamma function Q(freedom / 2, statistic / 2).

    By its series below the mean and its continued fraction above (Abramowitz and Stegun 6.5.29 and 6.5.31).
    """
    a, x = freedom / 2, statistic / 2
    if freedom < 1 or x <= 0:
        return 1.0
    scale = exp(a * log(x) - x - lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        for n in range(1, 10_000):
            term *= x / (a + n)
            total += term
            if term < total * 1e-15:
                break
        return max(0.0, 1.0 - scale * total)
    # Lentz's way through the continued fraction.
    b = x + 1 - a
    c, d = inf, 1 / b
    fraction = d
    for n in range(1, 10_000):
        step = n * (a - n)
        b += 2
        d = 1 / (step * d + b)
        c = b + step / c
        change = c * d
        fraction *= change
        if abs(change - 1) < 1e-15:
            break
    return min(1.0, scale * fraction)


def _shares(counts: Sequence[float]) -> list[float]:
    total = sum(counts) or 1.0
    return [count / total for count in counts]


def _smoothed(counts: Sequence[float]) -> list[float]:
    return _shares([count + PSEUDO_COUNT for count in counts])
