"""A paired bootstrap whose parts add up: what chance does to the mean of a value that each test row has of both models.

A resample of n rows takes each row about Poisson(1) times, independently of the others (Hanley and MacGibbon 2006,
"Creating non-parametric bootstrap samples using Poisson frequencies", https://doi.org/10.1016/j.cmpb.2006.04.006). So a
shard need not know the other shards: how often a resample takes a row is a hash of the row's id and the resample's
number (Chamandy et al. 2012, "Estimating uncertainty for massive data streams", Google), and sums of shards are those
of all rows together, whatever the division. The same rows give the same figures always.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import exp

import numpy as np

from lehr.contracts.comparison import REPLICATES, Comparison, PairedBootstrap

# Of a one-sided bound of 95 %.
_LEVEL = 0.05
_SUM, _WEIGHT = np.dtype("<f8"), np.dtype("<u8")
# Values of rows times resamples that are held at once: 16 MB.
_AT_ONCE = 1 << 21
# Of a measure that is worked out anew, see `compare_anew`.
RESAMPLES = 2000
MOST_VALUES = 2_000_000
# Values times resamples that are held at once there: some 40 MB with all that is made of them.
_HELD = 1 << 20
Figure = Callable[[np.ndarray], np.ndarray]
_GOLDEN = 0x9E3779B97F4A7C15


def _thresholds() -> np.ndarray:
    """Of a uniform 64-bit number: how many it reaches is a draw of Poisson(1). More than 16 are 1 in 10^15."""
    shares, share = [], exp(-1.0)
    for k in range(17):
        shares.append(share)
        share /= k + 1
    return (np.cumsum(shares)[:-1] * 2.0**64).astype(np.uint64)


_THRESHOLDS = _thresholds()


def row_ids(sha256: str, rows: int) -> np.ndarray:
    """uint64 [rows]: ids of the rows of a shard with that digest, in hex; a shard of other content has other ids."""
    return _mixed(np.uint64(int(sha256[:16] or "0", 16)) + np.arange(rows, dtype=np.uint64))


def resample(ids: np.ndarray, candidate: np.ndarray, champion: np.ndarray) -> PairedBootstrap:
    """Sums over rows with `ids` of the value that each model has on it, float64 [rows]; see PairedBootstrap.

    Raises ValueError for other shapes.
    """
    if not len(ids) == len(candidate) == len(champion) or candidate.ndim != 1 or champion.ndim != 1:
        raise ValueError(f"{len(ids)} rows with values {candidate.shape} and {champion.shape}")
    values = np.stack([np.ones(len(ids)), candidate, champion], axis=1).astype(np.float64)
    sums = np.zeros((REPLICATES, 3))
    block = max(1, _AT_ONCE // REPLICATES)
    for first in range(0, len(ids), block):
        rows = slice(first, first + block)
        sums += times(ids[rows], range(REPLICATES)).astype(np.float64) @ values[rows]
    return PairedBootstrap(
        rows=len(ids),
        candidate_sum=float(candidate.sum(dtype=np.float64)),
        champion_sum=float(champion.sum(dtype=np.float64)),
        weights=np.rint(sums[:, 0]).astype(_WEIGHT).tobytes(),
        candidate=sums[:, 1].astype(_SUM).tobytes(),
        champion=sums[:, 2].astype(_SUM).tobytes(),
    )


def merge_bootstraps(parts: Iterable[PairedBootstrap]) -> PairedBootstrap:
    """The sums of all shards together. Raises ValueError for none, or for parts of other lengths."""
    shards = list(parts)
    if not shards:
        raise ValueError("no parts")

    def total(name: str, dtype: np.dtype) -> bytes:
        arrays = [np.frombuffer(getattr(shard, name), dtype=dtype) for shard in shards]
        return bytes(np.sum(arrays, axis=0, dtype=dtype).astype(dtype).tobytes())

    return PairedBootstrap(
        rows=sum(shard.rows for shard in shards),
        candidate_sum=sum(shard.candidate_sum for shard in shards),
        champion_sum=sum(shard.champion_sum for shard in shards),
        weights=total("weights", _WEIGHT),
        candidate=total("candidate", _SUM),
        champion=total("champion", _SUM),
    )


def compare(
    sums: PairedBootstrap,
    measure: str,
    figure: Callable[[np.ndarray], np.ndarray] = np.asarray,
    *,
    is_error: bool = False,
) -> Comparison:
    """What the resamples say of the gain, see `of_gains`.

    `figure` makes the measure of means of the value, as the root does of squared errors; `is_error`: less is better.
    """
    weights = np.frombuffer(sums.weights, dtype=_WEIGHT).astype(np.float64)
    has_rows = weights > 0

    def figures(total: float, raw: bytes) -> tuple[np.ndarray, np.ndarray]:
        resampled = np.frombuffer(raw, dtype=_SUM)[has_rows] / weights[has_rows]
        return figure(np.array([total / max(1, sums.rows)])), figure(resampled)

    own, own_resampled = figures(sums.candidate_sum, sums.candidate)
    other, other_resampled = figures(sums.champion_sum, sums.champion)
    sign = -1.0 if is_error else 1.0
    gain, gains = sign * (own - other), sign * (own_resampled - other_resampled)
    return of_gains(measure, sums.rows, float(gain[0]), gains)


def compare_anew(
    measure: str, ids: np.ndarray, figures: tuple[Figure, Figure], *, values: int, widest: int
) -> Comparison:
    """What resamples say of a measure that is no mean over rows, and so is worked out in each of them anew.

    `figures` are the candidate's and the champion's: of rows with `ids`, uint64 [n], taken so often each, uint8
    [resamples, n], float64 [resamples]. `values` are what they work with, which decides how many resamples there are:
    RESAMPLES up to MOST_VALUES, fewer of more, but REPLICATES at least. Of the `widest` list as many resamples are held
    at once as there is room for.
    """
    resamples = max(REPLICATES, min(RESAMPLES, RESAMPLES * MOST_VALUES // max(1, values)))
    block = max(1, _HELD // max(widest, len(ids), 1))

    def gains(taken: np.ndarray) -> np.ndarray:
        own, other = (figure(taken) for figure in figures)
        return own - other

    found = np.empty(resamples)
    for first in range(0, resamples, block):
        several = range(first, min(first + block, resamples))
        found[several.start : several.stop] = gains(times(ids, several))
    return of_gains(measure, len(ids), float(gains(np.ones((1, len(ids)), dtype=np.uint8))[0]), found)


def of_gains(measure: str, rows: int, gain: float, gains: np.ndarray) -> Comparison:
    """Of the gain on all rows and the `gains` of the resamples: how many of them have none, what all but 5 % have.

    Of one-sided p-values see Efron and Tibshirani 1993, "An Introduction to the Bootstrap", 15.4; one is added to what
    is counted (Davison and Hinkley 1997, section 4.2), so that no p is 0. A tie counts against either.
    """
    # A NaN is no gain, and does not speak against a loss.
    return Comparison(
        method="bootstrap",
        measure=measure,
        rows=rows,
        gain=gain,
        p_gain=float(1 + (~(gains > 0)).sum()) / (1 + len(gains)),
        p_loss=float(1 + (gains >= 0).sum()) / (1 + len(gains)),
        gain_at_least=float(np.quantile(gains, _LEVEL)) if len(gains) else None,
    )


def times(ids: np.ndarray, resamples: range) -> np.ndarray:
    """uint8 [resamples, rows]: how often each of these resamples, which are numbered, takes each row of those `ids`."""
    seeds = _mixed(np.arange(resamples.start + 1, resamples.stop + 1, dtype=np.uint64))
    uniform = _mixed(seeds[:, None] ^ ids[None, :])
    return np.searchsorted(_THRESHOLDS, uniform, side="right").astype(np.uint8)


def _mixed(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64: Steele, Lea and Flood 2014, https://doi.org/10.1145/2660193.2660195."""
    mixed = (values + np.uint64(1)) * np.uint64(_GOLDEN)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed
