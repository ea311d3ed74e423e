"""WAV files become int16 of one rate and one length; what is none is refused with a reason, and nothing else."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy.signal import resample_poly

from lehr.errors import MalformedDataError
from lehr_runtime.audio import MAX_CHUNKS, decode_audio
from lehr_runtime.profiles import pixel_sums, profile_images, waveform
from lehr_runtime.resampling import input_samples, resample
from tests.sounds import sweep, wav

FRAMES = 200
RANDOM = np.random.default_rng(5)
INT16 = RANDOM.integers(-32768, 32768, FRAMES).astype("<i2")


def decoded(raw: bytes, samples: int = FRAMES, rate: int = 8000) -> np.ndarray:
    return decode_audio(raw, sample_rate=rate, samples=samples, place="a.wav")


def in_24_bits(values: np.ndarray) -> bytes:
    return b"".join(int(value).to_bytes(3, "little", signed=True) for value in values)


@pytest.mark.parametrize("is_extensible", [False, True])
@pytest.mark.parametrize(
    ("payload", "kind", "bits"),
    [
        (INT16.tobytes(), 1, 16),
        (in_24_bits(INT16.astype(np.int64) * 256), 1, 24),
        ((INT16.astype("<i4") * 65536).tobytes(), 1, 32),
        ((INT16 / np.float32(32768)).astype("<f4").tobytes(), 3, 32),
        ((INT16 / 32768).astype("<f8").tobytes(), 3, 64),
    ],
)
def test_each_format_that_holds_16_bits_gives_the_same_samples(
    payload: bytes, kind: int, bits: int, is_extensible: bool
) -> None:
    raw = wav(payload, kind=kind, bits=bits, is_extensible=is_extensible)
    np.testing.assert_array_equal(decoded(raw), INT16)


def test_eight_bits_are_without_a_sign() -> None:
    raw = wav(bytes([0, 127, 128, 255]), bits=8)
    assert decoded(raw, 4).tolist() == [-32768, -256, 0, 32512]


def test_the_codes_of_g711_stand_for_what_the_standard_says() -> None:
    # Extremes, the smallest steps and one from the middle, of the tables of ITU-T G.711.
    assert decoded(wav(bytes([0x00, 0x80, 0xFF, 0x7F, 0xF0, 0x8F]), kind=7, bits=8), 6).tolist() == [
        *(-32124, 32124, 0, 0, 120, 16764),
    ]
    assert decoded(wav(bytes([0xD5, 0x55, 0xAA, 0x2A, 0xC5, 0x85]), kind=6, bits=8), 6).tolist() == [
        *(8, -8, 32256, -32256, 264, 4224),
    ]


def test_channels_become_their_mean() -> None:
    both = np.stack([INT16, -(INT16 // 2)], axis=1)
    expected = np.rint(both.astype(np.float64).mean(axis=1))
    np.testing.assert_array_equal(decoded(wav(both.astype("<i2").tobytes(), channels=2)), expected)


def test_a_recording_of_several_blocks_is_the_mean_of_its_channels_throughout() -> None:
    both = RANDOM.integers(-32768, 32768, (150_000, 2))
    given = decoded(wav(both.astype("<i2").tobytes(), channels=2), 150_000)
    np.testing.assert_array_equal(given, np.rint(both.mean(axis=1)))


def test_a_longer_one_is_cut_and_a_shorter_one_filled_up_with_silence() -> None:
    raw = wav(INT16.tobytes())
    np.testing.assert_array_equal(decoded(raw, 50), INT16[:50])
    np.testing.assert_array_equal(decoded(raw, 250), np.concatenate([INT16, np.zeros(50)]))


def test_other_chunks_and_an_unknown_length_are_no_obstacle() -> None:
    raw = wav(INT16.tobytes(), before=b"LIST" + (3).to_bytes(4, "little") + b"abc\0")
    np.testing.assert_array_equal(decoded(raw), INT16)
    streamed = raw.replace(b"data" + (2 * FRAMES).to_bytes(4, "little"), b"data\xff\xff\xff\xff")
    np.testing.assert_array_equal(decoded(streamed), INT16)


@pytest.mark.parametrize(
    ("rate", "wanted"),
    [(48000, 8000), (8000, 16000), (44100, 16000), (22050, 8000), (11025, 44100), (16000, 8001)],
)
def test_resampling_is_that_of_scipy(rate: int, wanted: int) -> None:
    x = RANDOM.normal(size=1500)
    divisor = np.gcd(rate, wanted)
    expected = resample_poly(x, wanted // divisor, rate // divisor)
    np.testing.assert_allclose(resample(x, rate, wanted, len(expected)), expected, atol=1e-6)


@pytest.mark.parametrize(("rate", "wanted"), [(48000, 8000), (8000, 16000), (44100, 16000)])
def test_no_more_of_a_recording_is_looked_at_than_matters(rate: int, wanted: int) -> None:
    x = RANDOM.normal(size=9000)
    needed = input_samples(300, rate, wanted)
    assert needed < 3000
    np.testing.assert_array_equal(resample(x[:needed], rate, wanted, 300), resample(x, rate, wanted, 300))


def test_a_tone_keeps_its_pitch_and_its_loudness_at_another_rate() -> None:
    time = np.arange(44100) / 44100
    x = (20_000 * np.sin(2 * np.pi * 440 * time)).astype("<i2")
    row = decoded(wav(x.tobytes(), rate=44100), 8000, 8000)
    expected = 20_000 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)
    assert np.abs(row - expected)[50:-50].max() < 60


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "is no WAV file"),
        (b"RIFF\0\0\0\0AVI LIST", "is no WAV file"),
        (wav(b"")[:20], "without samples, or a truncated one"),
        (wav(b""), "holds no samples"),
        (wav(b"1234")[:-1], "is truncated: it claims 4 bytes of samples and has 3"),
        (wav(b"1234", rate=0), "has 0 samples a second"),
        (wav(b"1234", rate=4_000_000), "has 4000000 samples a second"),
        (wav(b"1234", channels=0), "has 0 channels"),
        (wav(b"1234" * 40, channels=40), "has 40 channels"),
        (wav(b"1234", kind=85), "is of WAV format 0x0055"),
        (wav(b"1234", bits=12), "has PCM of 12 bits"),
        (wav(np.full(4, np.nan, "<f4").tobytes(), kind=3, bits=32), "a sample that is no number"),
        (wav(b"12", before=b"junk\0\0\0\0" * MAX_CHUNKS), f"more than {MAX_CHUNKS} chunks"),
        (
            wav(b"1234", is_extensible=True).replace(b"\x9b\x71", b"\0\0"),
            "an extensible format that is not known",
        ),
    ],
)
def test_what_is_no_sound_is_refused_with_its_place(raw: bytes, words: str) -> None:
    with pytest.raises(MalformedDataError, match=words) as caught:
        decoded(raw)
    assert caught.value.place == "a.wav"


def test_a_float_beyond_full_scale_is_clipped() -> None:
    raw = wav(np.array([np.inf, -np.inf, 3.0, 1e38], "<f4").tobytes(), kind=3, bits=32)
    assert decoded(raw, 4).tolist() == [32767, -32768, 32767, 32767]


def test_the_profile_of_recordings_is_of_their_loudness_with_a_picture_of_a_few() -> None:
    time = np.arange(8000)
    x = np.stack([(size * np.sin(time)).astype(np.int16) for size in (100, 1000, 10_000, 30_000)])
    profile = profile_images(0, x, np.array([0, 1, 0, 1], np.uint8))
    assert profile.numbers[0].name == "loudness"
    assert profile.determined.keys() == {"loudness"}
    assert [sample.label for sample in profile.samples] == ["0", "0", "1", "1"]
    # A row of full scale is dark from top to bottom, silence is one line in the middle.
    square = np.where(time % 2, 32_767, -32_768).astype(np.int16)
    assert not waveform(square).any()
    assert (waveform(np.zeros(8000, np.int16)) == 0).sum(axis=0).max() <= 2
    assert pixel_sums(x) == (int(x.sum(dtype=np.int64)), sum(int(value) ** 2 for value in x.reshape(-1)))


@pytest.mark.parametrize("files", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_mutated_file_is_decoded_or_refused_within_memory(files: int) -> None:
    draw = np.random.default_rng(11)
    seeds = [
        sweep(is_rising=True, seed=1),
        wav(INT16.tobytes(), channels=2, rate=44100),
        wav(INT16.tobytes(), kind=3, bits=32, is_extensible=True),
        wav(bytes(range(256)), kind=7, bits=8, rate=11025),
    ]
    outcomes = {"decoded": 0, "refused": 0}
    tracemalloc.start()
    try:
        for number in range(files):
            raw = bytearray(seeds[number % len(seeds)])
            for _ in range(draw.integers(1, 5)):
                raw[draw.integers(0, min(len(raw), 72))] = draw.integers(0, 256)
            if number % 5 == 0:
                raw = raw[: draw.integers(0, len(raw))]
            try:
                row = decoded(bytes(raw), 2000, 16000)
                assert row.dtype == np.int16
                assert row.shape == (2000,)
                outcomes["decoded"] += 1
            except MalformedDataError:
                outcomes["refused"] += 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert min(outcomes.values()) > files // 20
    # Tables of several rates are kept.
    assert peak < 200 << 20
