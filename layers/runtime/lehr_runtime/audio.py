"""WAV files to arrays of int16, as the signature's rate and length say: one implementation for preparation and serving.

* RIFF WAVE with PCM of 8, 16, 24 or 32 bits, IEEE floats of 32 or 64, or G.711 (mu-law, A-law), also as extensible
  format; the layout is that of Microsoft's "Multiple Channel Audio Data and WAVE Files" and RFC 2361.
* Several channels become one: their mean. Another rate is resampled (`resampling`). What already has the rate, one
  channel and 16 bits passes as it is.
* What is longer than the model takes is cut at its end; what is shorter is filled up with silence there.

Nothing of what the header claims is allocated: it is held against the bytes that are there, and no more frames are
looked at than the model takes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import Any

import numpy as np

from lehr.errors import MalformedDataError
from lehr_runtime.resampling import input_samples, resample

MIN_RATE, MAX_RATE = 1_000, 192_000
MAX_CHANNELS = 32
# Of metadata there are a few; each costs a turn of a loop.
MAX_CHUNKS = 256
FULL_SCALE = 32_768
# Of all channels, as float64.
_FRAMES_AT_ONCE = 1 << 16
# As programs write it that do not know the length when they begin.
_OPEN_END = 0xFFFFFFFF
_PCM, _FLOAT, _A_LAW, _MU_LAW, _EXTENSIBLE = 0x0001, 0x0003, 0x0006, 0x0007, 0xFFFE
# The rest of a format's number in the extensible form: KSDATAFORMAT_SUBTYPE_… without its first two bytes.
_SUBTYPE = bytes.fromhex("000000001000800000aa00389b71")
_BITS = {_PCM: (8, 16, 24, 32), _FLOAT: (32, 64), _A_LAW: (8,), _MU_LAW: (8,)}
_NAMES = {_PCM: "PCM", _FLOAT: "floats", _A_LAW: "A-law", _MU_LAW: "mu-law"}
_WAY_OUT = "convert it, for example: ffmpeg -i FILE -c:a pcm_s16le FILE.wav"

Samples = np.ndarray[Any, Any]


@dataclass(frozen=True)
class WavHeader:
    """What a WAV file says of itself; `first` and `bytes` are of its samples."""

    kind: int
    channels: int
    sample_rate: int
    bits: int
    first: int
    bytes: int

    @property
    def frame_bytes(self) -> int:
        return self.channels * self.bits // 8

    @property
    def frames(self) -> int:
        return self.bytes // self.frame_bytes


def decode_audio(raw: bytes, *, sample_rate: int, samples: int, place: str) -> Samples:
    """A WAV file as int16 [samples] at `sample_rate`. Raises MalformedDataError as `read_header` does, and for NaN."""
    header = read_header(raw, place=place)
    frames = min(header.frames, input_samples(samples, header.sample_rate, sample_rate))
    flat = np.frombuffer(raw, np.uint8, frames * header.frame_bytes, header.first)
    row = np.zeros(samples, np.int16)
    if (header.kind, header.bits, header.channels, header.sample_rate) == (_PCM, 16, 1, sample_rate):
        row[: min(frames, samples)] = flat.view("<i2")[:samples]
        return row
    values = np.empty(frames)
    for first in range(0, frames, _FRAMES_AT_ONCE):
        part = flat[first * header.frame_bytes : (first + _FRAMES_AT_ONCE) * header.frame_bytes]
        values[first : first + _FRAMES_AT_ONCE] = (
            _values(part, header).reshape(-1, header.channels).mean(axis=1)
        )
    if np.isnan(values).any():
        raise MalformedDataError("has a sample that is no number", place=place)
    length = min(samples, ceil(header.frames * sample_rate / header.sample_rate))
    heard = resample(values, header.sample_rate, sample_rate, length)
    row[:length] = np.clip(np.rint(heard), -FULL_SCALE, FULL_SCALE - 1)
    return row


def read_header(raw: bytes, *, place: str) -> WavHeader:
    """Raises MalformedDataError naming `place` for what is no WAV file, is truncated, or is of another format."""
    if raw[:4] != b"RIFF" or raw[8:12] != b"WAVE":
        raise MalformedDataError("is no WAV file", place=place, hint=_WAY_OUT)
    form, at = b"", 12
    for _ in range(MAX_CHUNKS):
        if at + 8 > len(raw):
            raise MalformedDataError("is a WAV file without samples, or a truncated one", place=place)
        name, size = raw[at : at + 4], int.from_bytes(raw[at + 4 : at + 8], "little")
        at += 8
        if name == b"data":
            if size == _OPEN_END:
                size = len(raw) - at
            return _checked(form, at, size, len(raw), place)
        if name == b"fmt ":
            form = raw[at : at + min(size, 40)]
        at += size + size % 2
    raise MalformedDataError(f"has more than {MAX_CHUNKS} chunks before its samples", place=place)


def _checked(form: bytes, first: int, size: int, length: int, place: str) -> WavHeader:
    """The header from its chunk `fmt `, and the place of its samples."""
    if len(form) < 16:
        raise MalformedDataError("is a WAV file that does not say its format", place=place)
    kind, channels, rate, _, block, bits = struct.unpack("<HHIIHH", form[:16])
    if kind == _EXTENSIBLE:
        if len(form) < 40 or form[26:40] != _SUBTYPE:
            raise MalformedDataError(
                "is of an extensible format that is not known", place=place, hint=_WAY_OUT
            )
        kind = int.from_bytes(form[24:26], "little")
    if kind not in _BITS:
        raise MalformedDataError(f"is of WAV format 0x{kind:04x}", place=place, hint=_WAY_OUT)
    if bits not in _BITS[kind]:
        raise MalformedDataError(f"has {_NAMES[kind]} of {bits} bits", place=place, hint=_WAY_OUT)
    if not 1 <= channels <= MAX_CHANNELS:
        raise MalformedDataError(f"has {channels} channels, not 1 to {MAX_CHANNELS}", place=place)
    if not MIN_RATE <= rate <= MAX_RATE:
        raise MalformedDataError(f"has {rate} samples a second, not {MIN_RATE} to {MAX_RATE}", place=place)
    if block != channels * bits // 8:
        raise MalformedDataError(f"claims frames of {block} bytes, which its format contradicts", place=place)
    if first + size > length:
        raise MalformedDataError(
            f"is truncated: it claims {size} bytes of samples and has {length - first}",
            place=place,
            hint="copy the file again",
        )
    header = WavHeader(kind, channels, rate, bits, first, size)
    if not header.frames:
        raise MalformedDataError("holds no samples", place=place)
    return header


def _values(flat: Samples, header: WavHeader) -> Samples:
    """The samples in units of 16 bits, float64."""
    if header.kind == _MU_LAW:
        return _mu_law()[flat]
    if header.kind == _A_LAW:
        return _a_law()[flat]
    if header.kind == _FLOAT:
        with np.errstate(invalid="ignore"):  # of a NaN, which is refused later
            loud = np.clip(flat.view(f"<f{header.bits // 8}").astype(np.float64), -1.0, 1.0)
        return loud * FULL_SCALE
    if header.bits == 8:  # without a sign, alone among them
        return (flat.astype(np.float64) - 128) * 256
    if header.bits == 24:
        wide = np.zeros((len(flat) // 3, 4), np.uint8)
        wide[:, 1:] = flat.reshape(-1, 3)
        return wide.reshape(-1).view("<i4").astype(np.float64) / 65_536
    return flat.view(f"<i{header.bits // 8}").astype(np.float64) / float(1 << (header.bits - 16))


@cache
def _mu_law() -> Samples:
    """ITU-T G.711, mu-law: what each byte stands for, in units of 16 bits."""
    code = ~np.arange(256) & 0xFF
    size = (((code & 0x0F) << 3) + 0x84 << ((code & 0x70) >> 4)) - 0x84
    return np.where(code & 0x80, -size, size).astype(np.float64)


@cache
def _a_law() -> Samples:
    """ITU-T G.711, A-law."""
    code = np.arange(256) ^ 0x55
    segment, size = (code & 0x70) >> 4, ((code & 0x0F) << 4) + 8
    size = np.where(segment > 0, size + 0x100 << np.maximum(segment - 1, 0), size)
    return np.where(code & 0x80, size, -size).astype(np.float64)
