"""WAV files for tests: any format of the decoder, and sweeps that a small model can tell apart."""

from __future__ import annotations

import struct

import numpy as np

SUBTYPE = bytes.fromhex("000000001000800000aa00389b71")


def wav(
    payload: bytes,
    *,
    kind: int = 1,
    channels: int = 1,
    rate: int = 8000,
    bits: int = 16,
    is_extensible: bool = False,
    before: bytes = b"",
) -> bytes:
    """A WAV file with these bytes of samples; `before` are chunks between format and samples."""
    block = channels * bits // 8
    form = struct.pack(
        "<HHIIHH", 0xFFFE if is_extensible else kind, channels, rate, rate * block, block, bits
    )
    if is_extensible:
        form += struct.pack("<HHIH", 22, bits, 0, kind) + SUBTYPE
    body = b"WAVE" + b"fmt " + struct.pack("<I", len(form)) + form + before
    body += b"data" + struct.pack("<I", len(payload)) + payload
    return b"RIFF" + struct.pack("<I", len(body)) + body


def sweep(*, is_rising: bool, seed: int, rate: int = 8000, seconds: float = 0.5) -> bytes:
    """A sine of 16 bits that rises from about 500 Hz to about 1,500, or falls back, with some noise."""
    draw = np.random.default_rng(seed)
    time = np.arange(round(rate * seconds)) / rate
    low, high = 500 + draw.uniform(-100, 100), 1500 + draw.uniform(-100, 100)
    start, end = (low, high) if is_rising else (high, low)
    phase = 2 * np.pi * (start * time + (end - start) * time**2 / (2 * seconds))
    x = draw.uniform(0.1, 0.8) * np.sin(phase + draw.uniform(0, 6)) + draw.normal(0, 0.01, len(time))
    return wav(np.clip(x * 32768, -32768, 32767).astype("<i2").tobytes(), rate=rate)
