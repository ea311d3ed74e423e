"""Another sampling rate, by a polyphase filter: a sinc in a Kaiser window, as scipy.signal.resample_poly has it.

An output sample n lies at n x down / up of the input, whose neighbours are weighted by the filter around it. There are
only `up` different fractions of a place, so that their weights are made once for each pair of rates. The cutoff is the
lower of the two Nyquist frequencies; the filter reaches ten zero crossings either way (Kaiser's beta is 5: 50 dB).

Crochiere, Rabiner: Interpolation and Decimation of Digital Signals, Proc. IEEE 69 (1981).
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, gcd
from typing import Any

import numpy as np

Samples = np.ndarray[Any, Any]
ZERO_CROSSINGS = 10
_BETA = 5.0
# The filter's sum is an integral from here on, to nine digits.
_FINE = 4096
# Weights of several outputs at once: 8 MB of them.
_WEIGHTS_AT_ONCE = 1 << 20


def input_samples(outputs: int, rate: int, wanted: int) -> int:
    """How many samples at `rate` the first `outputs` at the rate `wanted` depend on, at most."""
    if rate == wanted:
        return outputs
    return ceil(outputs * rate / wanted) + _reach(rate, wanted) + 1


def resample(x: Samples, rate: int, wanted: int, outputs: int) -> Samples:
    """The first `outputs` samples of `x`, float64 [n] at `rate`, at the rate `wanted`; beyond its ends is silence."""
    if rate == wanted:
        return x[:outputs]
    divisor = gcd(rate, wanted)
    up, down = wanted // divisor, rate // divisor
    reach = _reach(rate, wanted)
    padded = np.concatenate([np.zeros(reach), x, np.zeros(2 * reach + 2 + ceil(outputs * down / up))])
    y = np.empty(outputs)
    at_once = max(1, _WEIGHTS_AT_ONCE // (2 * reach + 1))
    taps = np.arange(2 * reach + 1)
    for first in range(0, outputs, at_once):
        whole, phase = np.divmod(np.arange(first, min(first + at_once, outputs), dtype=np.int64) * down, up)
        weights = _table(up, down)[phase] if up <= at_once else _weights(phase, up, down)
        y[first : first + at_once] = np.einsum("nk,nk->n", padded[whole[:, None] + taps], weights)
    return y


def _reach(rate: int, wanted: int) -> int:
    """Input samples either way that an output depends on."""
    return ceil(ZERO_CROSSINGS * max(1.0, rate / wanted))


@lru_cache(maxsize=8)
def _table(up: int, down: int) -> Samples:
    return _weights(np.arange(up), up, down)


def _weights(phase: Samples, up: int, down: int) -> Samples:
    """[phases, taps]: of the input samples around a place that lies `phase`/`up` behind the middle one."""
    reach, longest = _reach(down, up), max(up, down)
    away = (phase[:, None] - up * np.arange(-reach, reach + 1)) / longest
    return _filter(away) * (up / (longest * _integral(min(longest, _FINE))))


def _filter(away: Samples) -> Samples:
    """The windowed sinc; `away` counts zero crossings from its middle."""
    inside = np.maximum(0.0, 1 - (away / ZERO_CROSSINGS) ** 2)
    window = np.i0(_BETA * np.sqrt(inside)) / np.i0(_BETA)
    return np.where(np.abs(away) <= ZERO_CROSSINGS, np.sinc(away) * window, 0.0)


@lru_cache(maxsize=64)
def _integral(steps: int) -> float:
    """Of the filter, by `steps` a zero crossing: what a constant would be multiplied by."""
    edge = ZERO_CROSSINGS * steps
    return float(_filter(np.arange(-edge, edge + 1) / steps).sum() / steps)
