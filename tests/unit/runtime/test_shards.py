"""Shards are safetensors files: the library reads ours, we read the library's, and nothing malformed."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lehr.errors import MalformedDataError
from lehr_runtime.shards import ALIGNMENT, MAX_HEADER_BYTES, open_shard, read_shard, write_shard

DTYPES = ["?", "u1", "i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8"]
arrays = st.sampled_from(DTYPES).flatmap(
    lambda code: hnp.arrays(np.dtype(code), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
)
tensors = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
        lambda name: name != "__metadata__"
    ),
    arrays,
    max_size=4,
)


def equal(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype
        and left[name].shape == right[name].shape
        and left[name].tobytes() == right[name].tobytes()
        for name in left
    )


@settings(deadline=None)
@given(tensors)
def test_the_library_reads_what_we_write_and_we_read_what_it_writes(content: dict[str, np.ndarray]) -> None:
    assert equal(safetensors.numpy.load(write_shard(content, {"rows": "3"})), content)
    assert equal(read_shard(safetensors.numpy.save(content, {"rows": "3"})), content)
    assert equal(read_shard(write_shard(content)), content)


def test_equal_tensors_give_equal_bytes_in_any_order() -> None:
    x, y = np.arange(6, dtype=np.uint8).reshape(2, 3), np.arange(2, dtype=np.int64)
    assert write_shard({"x": x, "y": y}, {"a": "1", "b": "2"}) == write_shard(
        {"y": y, "x": x}, {"b": "2", "a": "1"}
    )


def test_data_starts_aligned_so_that_mapped_views_are() -> None:
    raw = write_shard({"x": np.zeros((3, 5), np.uint8), "w": np.zeros(7, np.float64)})
    assert (8 + struct.unpack("<Q", raw[:8])[0]) % ALIGNMENT == 0


def test_a_mapped_shard_is_read_only_and_aligned(tmp_path: Path) -> None:
    content: dict[str, np.ndarray] = {
        "x": np.arange(15, dtype=np.uint8).reshape(3, 5),
        "w": np.linspace(0, 1, 7),
    }
    (tmp_path / "shard").write_bytes(write_shard(content))
    views = open_shard(tmp_path / "shard")
    assert equal(views, content)
    assert all(view.flags.aligned and not view.flags.writeable for view in views.values())


def test_big_endian_and_strided_arrays_are_written_as_values() -> None:
    strided = np.arange(12, dtype=">i4").reshape(3, 4)[::2, ::-1]
    assert np.array_equal(read_shard(write_shard({"a": strided}))["a"], strided)


@pytest.mark.parametrize("array", [np.zeros(2, complex), np.array(["a"]), np.array([None])])
def test_a_type_that_the_format_lacks_is_refused(array: np.ndarray) -> None:
    with pytest.raises(TypeError, match="'a'"):
        write_shard({"a": array})


def crafted(header: Any, data: bytes = b"", *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype: str, shape: Sequence[float], begin: int, end: int, **more: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end], **more}


MALFORMED = {
    "empty": b"",
    "no header": b"\0" * 7,
    "header longer than the file": crafted({}, length=100),
    "header of exabytes": crafted({}, length=2**63),
    "header over the cap": crafted(b" " * (MAX_HEADER_BYTES + 1)),
    "not JSON": crafted(b"{nope"),
    "not UTF-8": crafted(b'{"\xff": 1}'),
    "deeply nested": crafted(b"[" * 100_000),
    "an array": crafted([]),
    "an entry that is no object": crafted({"a": 3}),
    "metadata of numbers": crafted({"__metadata__": {"rows": 3}}),
    "an unknown dtype": crafted({"a": entry("X9", [1], 0, 1)}, b"1"),
    "bfloat16, which numpy lacks": crafted({"a": entry("BF16", [1], 0, 2)}, b"11"),
    "an unknown key": crafted({"a": entry("U8", [1], 0, 1, path="/etc/passwd")}, b"1"),
    "a negative size": crafted({"a": entry("U8", [-1], 0, 1)}, b"1"),
    "two negative sizes": crafted({"a": entry("U8", [-1, -1], 0, 1)}, b"1"),
    "a fractional size": crafted({"a": entry("U8", [1.5], 0, 1)}, b"1"),
    "a boolean size": crafted({"a": entry("U8", [True], 0, 1)}, b"1"),
    "a size that overflows": crafted({"a": entry("U8", [2**32, 2**32, 2**32], 0, 1)}, b"1"),
    "an impossible empty shape": crafted({"a": entry("U8", [0] + [2**40] * 15, 0, 0)}),
    "too many dimensions": crafted({"a": entry("U8", [1] * 100, 0, 1)}, b"1"),
    "a span of another size": crafted({"a": entry("F32", [2], 0, 4)}, b"1234"),
    "a span beyond the file": crafted({"a": entry("U8", [9], 0, 9)}, b"1234"),
    "a span that ends before it begins": crafted({"a": entry("U8", [1], 1, 0)}, b"1"),
    "three offsets": crafted({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1, 1]}}, b"1"),
    "overlapping tensors": crafted({"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 2, 6)}, b"123456"),
    "the same span twice": crafted({"a": entry("U8", [2], 0, 2), "b": entry("U8", [2], 0, 2)}, b"12"),
    "a gap": crafted({"a": entry("U8", [1], 0, 1), "b": entry("U8", [1], 2, 3)}, b"123"),
    "trailing bytes": crafted({"a": entry("U8", [1], 0, 1)}, b"12"),
    "truncated": write_shard({"x": np.arange(100)})[:-1],
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_shard_is_refused_by_name(raw: bytes, tmp_path: Path) -> None:
    with pytest.raises(MalformedDataError, match="shard-7"):
        read_shard(raw, place="shard-7")
    (tmp_path / "shard-8").write_bytes(raw)
    with pytest.raises(MalformedDataError, match="shard-8"):
        open_shard(tmp_path / "shard-8")


@settings(deadline=None)
@given(st.data())
def test_a_damaged_header_is_either_refused_or_read_within_its_bounds(data: st.DataObject) -> None:
    raw = bytearray(write_shard({"x": np.arange(12, dtype=np.uint8).reshape(3, 4), "y": np.arange(3)}))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        views = read_shard(bytes(raw))
    except MalformedDataError:
        return
    assert sum(view.nbytes for view in views.values()) <= len(raw)
