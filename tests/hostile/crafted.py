"""Drops that were thought of, beside those that are drawn: bombs, absurd claims, names that lead out, single rows."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.hostile.seeds import Seed, seeds, tarred, zipped

Drop = tuple[str, str, str, Mapping[str, bytes]]
Named = Iterator[tuple[str, Mapping[str, bytes]]]


def crafted(*, is_heavy: bool, only: str = "") -> Iterator[Drop]:
    """(format, what it is, recipe, files), of one format or of all. The heavy ones take a second or more each."""
    by_name = {seed.name: seed for seed in seeds()}
    light = {
        "idx": _idx,
        "idx.gz": _packed_idx,
        "csv": _csv,
        "jsonl": _jsonl,
        "parquet": _parquet,
        "png": _png,
        "masks": _masks,
        "coco": _coco,
        "zip": _zip,
        "tar": _tar,
    }
    heavy = {
        "idx.gz": _heavy_idx,
        "csv.gz": _heavy_csv,
        "parquet": _heavy_parquet,
        "png": _heavy_png,
        "masks": _heavy_masks,
        "zip": _heavy_zip,
        "tar.gz": _heavy_tar,
    }
    for seed in seeds():
        for what, files in _of_one(seed) if only in ("", seed.name) else ():
            yield seed.name, what, seed.recipe, files
    for group in (light, heavy) if is_heavy else (light,):
        for name, drops in group.items():
            for what, files in drops(by_name[name].files) if only in ("", name) else ():
                yield name, what, by_name[name].recipe, files


def _of_one(seed: Seed) -> Named:
    """Nothing, an empty file, one row, and rows of one label alone."""
    yield "nothing", {}
    yield "empty files", dict.fromkeys(seed.files, b"")
    for name, raw in seed.files.items():
        lines = raw.splitlines(keepends=True)
        if name.startswith("part-") and name.endswith((".csv", ".txt", ".jsonl")):
            header = 0 if name.endswith(".jsonl") else 1
            yield "one row", {name: b"".join(lines[: header + 1])}
            yield "a header alone", {name: b"".join(lines[:header])}
            kept = [line for line in lines[header:] if b"cheap" in line]
            yield "one label", {name: b"".join([*lines[:header], *kept])}
    if len(seed.files) > 4:
        first = next(iter(seed.files))
        yield "one file", {first: seed.files[first]}
        folder = first.rpartition("/")[0]
        yield "one folder", {name: raw for name, raw in seed.files.items() if name.startswith(folder)}
        yield "equal files", dict.fromkeys(seed.files, seed.files[first])
        yield "folders of a console", {**seed.files, f"{folder}/": b"", "other/": b""}


def _header(*shape: int) -> bytes:
    return struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)


def _idx(files: Mapping[str, bytes]) -> Named:
    for shape in (
        (0, 6, 5),
        (120, 0, 5),
        (120, 2**32 - 1, 2**32 - 1),
        (2**32 - 1, 6, 5),
        (1, 6, 5),
        (120, 6, 5, 3),
    ):
        yield f"a shape of {shape}", {**files, "train-images": _header(*shape) + files["train-images"][16:]}
    one = {
        name: raw
        for part in ("train", "test")
        for name, raw in (
            (f"{part}-images", _header(1, 6, 5) + bytes(30)),
            (f"{part}-labels", _header(1) + b"\0"),
        )
    }
    yield "one row", one
    yield "one label", {**files, "train-labels": _header(120) + bytes(120)}
    yield "a label beyond", {**files, "test-labels": _header(10) + bytes(9) + b"\3"}


def _packed_idx(files: Mapping[str, bytes]) -> Named:
    claimed = {
        f"{name}.gz": gzip.compress(raw, mtime=0)
        for part, rows in (("train", 120), ("test", 10))
        for name, raw in (
            (f"{part}-images", _header(rows, 3000, 4000) + bytes(99)),
            (f"{part}-labels", _header(rows) + bytes(rows)),
        )
    }
    yield "1.4 GB that are not there", claimed
    yield "two members", {name: raw + raw for name, raw in files.items()}


def _csv(files: Mapping[str, bytes]) -> Named:
    raw = files["part-1.csv"]
    header, rows = raw.split(b"\n", 1)
    yield (
        "a million columns",
        {"part-1.csv": b",".join(b"%d" % n for n in range(150_000)) + b",class\n" + rows},
    )
    yield "line ends alone", {"part-1.csv": b"\n" * (2 << 20)}
    yield "an open quote", {"part-1.csv": header + b'\n"' + rows * 50}
    yield "quotes alone", {"part-1.csv": header + b"\n" + b'"' * (1 << 20)}
    yield "zeros", {"part-1.csv": bytes(1 << 20)}
    yield "returns alone", {"part-1.csv": raw.replace(b"\n", b"\r")}
    yield "names of one letter's case", {"part-1.csv": raw.replace(b"km,hour", b"km,KM")}
    yield "a name twice", {"part-1.csv": raw.replace(b"km,hour", b"km,km")}
    yield (
        "sums beyond float64",
        {"part-1.csv": header + b"\n" + b"3.4e38,3.4e38,a,cheap,1\n3e38,3e38,a,dear,2\n" * 30},
    )
    yield "another header in a second file", {**files, "part-2.csv": b"a,b\n1,2\n"}


def _jsonl(files: Mapping[str, bytes]) -> Named:
    raw = files["part-1.jsonl"]
    yield (
        "a key of its own in each line",
        {"part-1.jsonl": raw + b"".join(b'{"k%d":1,"price":2}\n' % number for number in range(20_000))},
    )
    yield "lists in lists", {"part-1.jsonl": raw + b"[" * 200_000 + b"\n"}
    yield "objects in objects", {"part-1.jsonl": raw + b'{"km":' * 100_000 + b"\n"}
    yield "a number of many digits", {"part-1.jsonl": raw.replace(b'"hour": ', b'"hour": ' + b"9" * 5000)}
    yield "one list", {"part-1.jsonl": b"[" + raw.strip().replace(b"\n", b",") + b"]"}
    for key in (b'a\\"b', b"a\\\\b", b"a\\u0000b", b"a\\nb", b"\\ud800", b""):
        yield f"a key {key.decode()}", {"part-1.jsonl": raw.replace(b'"zone"', b'"' + key + b'"')}
        yield f"a value {key.decode()}", {"part-1.jsonl": raw.replace(b'"north"', b'"' + key + b'"')}


def _parquet(files: Mapping[str, bytes]) -> Named:
    raw = files["part-1.parquet"]
    size = int.from_bytes(raw[-8:-4], "little")
    yield "a footer of 4 GiB", {"part-1.parquet": raw[:-8] + b"\xff\xff\xff\xffPAR1"}
    yield "a footer of structs in structs", {"part-1.parquet": raw[: -size - 8] + b"\x1c" * size + raw[-8:]}
    yield (
        "a footer of a long list",
        {"part-1.parquet": raw[: -size - 8] + b"\x19\xfc\xff\xff\xff\xff\x0f" + bytes(size - 7) + raw[-8:]},
    )
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([{"km": 1.0, "class": "cheap"}])[:0], stream)
    yield "no rows", {"part-1.parquet": stream.getvalue()}


def _png_of(pixels: Image.Image) -> bytes:
    stream = io.BytesIO()
    pixels.save(stream, "PNG")
    return stream.getvalue()


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _claimed(width: int, height: int, depth: int = 8, colour: int = 2, more: bytes = b"") -> bytes:
    """A PNG that says it is so large, of a few pixels."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    body = _chunk(b"IDAT", zlib.compress(bytes(100))) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + more + body


def _png(files: Mapping[str, bytes]) -> Named:
    some = {
        "a width of 2^31": _claimed(2**31 - 1, 1),
        "no width": _claimed(0, 5),
        "25 megapixels that are not there": _claimed(5000, 5000),
        "a depth of 3": _claimed(5, 6, 3),
        "a profile that unpacks to 64 MiB": _claimed(
            5, 6, more=_chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(64 << 20)))
        ),
        "a text that unpacks to 64 MiB": _claimed(
            5, 6, more=_chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(64 << 20)))
        ),
        "a GIF": b"GIF89a" + bytes(40),
        "an SVG": b"<svg onload='x'/>",
        "a WebP": b"RIFF\x24\0\0\0WEBPVP8 " + bytes(20),
        "a TIFF": b"II*\0" + bytes(40),
        "one pixel": _png_of(Image.new("L", (1, 1))),
        "16 bits": _png_of(Image.new("I;16", (5, 6), 40_000)),
        "a line of 20,000": _png_of(Image.new("1", (20_000, 1))),
        "transparent": _png_of(Image.new("RGBA", (5, 6), (1, 2, 3, 4))),
    }
    for what, raw in some.items():
        yield what, {**files, "round/0.png": raw}
    scans = io.BytesIO()
    Image.new("RGB", (64, 64), (9, 99, 199)).save(scans, "JPEG", progressive=True)
    start = scans.getvalue()
    at = start.rindex(b"\xff\xda")
    yield "a JPEG of 1,000 scans", {**files, "round/0.png": start[:at] + start[at:-2] * 1000 + start[-2:]}


def _masks(files: Mapping[str, bytes]) -> Named:
    some = {
        "colours": _png_of(Image.new("RGB", (5, 6))),
        "a value beyond": _png_of(Image.new("L", (5, 6), 2)),
        "16 bits": _png_of(Image.new("I;16", (5, 6), 40_000)),
        "one bit": _png_of(Image.new("1", (5, 6), 1)),
        "nothing but ignored": _png_of(Image.new("L", (5, 6), 255)),
        "of another size": _png_of(Image.new("L", (6, 5))),
    }
    for what, raw in some.items():
        yield what, {**files, "masks/0.png": raw}
    ignored = _png_of(Image.new("L", (5, 6), 255))
    yield (
        "all masks ignored",
        {name: ignored if name.startswith("masks") else raw for name, raw in files.items()},
    )


def _coco(files: Mapping[str, bytes]) -> Named:
    told = json.loads(files["boxes/all.json"])
    box = told["annotations"][0]
    for what, bbox in {
        "a box of NaN": "[NaN,1,2,2]",
        "a box of 1e400": "[0,0,1e400,1]",
        "a box of nothing": "[1,1,0,0]",
        "a box below 0": "[-3,-3,2,2]",
        "a box beyond": "[0,0,1e9,1e9]",
        "a box of texts": '["0","0","1","1"]',
        "a box of five": "[0,0,1,1,1]",
    }.items():
        changed = json.dumps(told).replace(json.dumps(box["bbox"]), bbox, 1)
        yield what, {**files, "boxes/all.json": changed.encode()}
    for what, image in {
        "an image elsewhere": {"file_name": "../boxes/0.png"},
        "an image of a root": {"file_name": "/boxes/0.png"},
        "an image of 2^40 pixels": {"width": 2**40, "height": 2**40},
        "an image of another size": {"width": 50},
    }.items():
        images = [told["images"][0] | image, *told["images"][1:]]
        yield what, {**files, "boxes/all.json": json.dumps(told | {"images": images}).encode()}
    many = [box | {"id": number} for number in range(20_000)]
    yield "20,000 boxes", {**files, "boxes/all.json": json.dumps(told | {"annotations": many}).encode()}
    yield "lists in lists", {**files, "boxes/all.json": b'{"images":' + b"[" * 100_000}


def _zip_of(name: str, body: bytes = b"x", **changes: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(name)
        for key, value in changes.items():
            setattr(entry, key, value)
        archive.writestr(entry, body)
    return stream.getvalue()


def _zip(files: Mapping[str, bytes]) -> Named:
    (raw,) = files.values()
    yield "a file without a name", {"all.zip": _zip_of("x").replace(b"x", b"\0")}
    for name in ("../x.png", "/etc/x.png", "round/../../x.png", "round\\x.png", "round/\u202ex.png"):
        yield f"a file {name!r}", {"all.zip": _zip_of(name)}
    yield "a link", {"all.zip": _zip_of("round/x.png", b"/etc/passwd", external_attr=0o120777 << 16)}
    yield "a zip in a zip", {"all.zip": zipped({"round/x.png": raw})}
    yield "a tar in a zip", {"all.zip": zipped({"round/x.tar": tarred({"a": b"1"})})}
    yield "nothing", {"all.zip": zipped({})}
    yield "a comment", {"all.zip": raw[:-2] + b"\x05\0hello"}
    yield "something before it", {"all.zip": b"#!/bin/sh\n" * 100 + raw}
    central = raw.index(b"PK\x01\x02")
    size = raw[central + 24 : central + 28]
    yield "sizes of 4 GiB", {"all.zip": raw.replace(size, b"\xfe\xff\xff\xff")}
    yield "every entry the same bytes", {"all.zip": _overlapping(200)}


def _overlapping(entries: int) -> bytes:
    """One member of 1 MiB that many entries of the directory mean: little packed, much unpacked."""
    one = _zip_of("round/00000.png", bytes(1 << 20))
    central = one.index(b"PK\x01\x02")
    end = one.index(b"PK\x05\x06")
    directory = b"".join(one[central:end].replace(b"00000", b"%05d" % number) for number in range(entries))
    tail = struct.pack(
        "<IHHHHIIH", 0x06054B50, 0, 0, entries & 0xFFFF, entries & 0xFFFF, len(directory), central, 0
    )
    return one[:central] + directory + tail


def _tar_of(name: str, body: bytes = b"x", **changes: object) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(body)
        for key, value in changes.items():
            setattr(entry, key, value)
        archive.addfile(entry, io.BytesIO(body))
    return stream.getvalue()


def _tar(files: Mapping[str, bytes]) -> Named:
    (raw,) = files.values()
    for name in ("../x.png", "/etc/x.png", "round/../../x.png", "round\\x.png", "round/\u202ex.png"):
        yield f"a file {name!r}", {"all.tar": _tar_of(name)}
    for what, kind in {
        "a link": tarfile.SYMTYPE,
        "a hard link": tarfile.LNKTYPE,
        "a pipe": tarfile.FIFOTYPE,
    }.items():
        yield what, {"all.tar": _tar_of("round/x.png", b"", type=kind, linkname="/etc/passwd")}
    yield "a sparse file", {"all.tar": _tar_of("round/x.png", b"", type=tarfile.GNUTYPE_SPARSE)}
    yield "a tar in a tar", {"all.tar": tarred({"round/x": raw})}
    yield "a tar after a tar", {"all.tar": raw + raw}
    yield "a file of 8 EiB", {"all.tar": raw[:124] + b"\x80" + b"\x7f" * 11 + raw[136:]}
    yield "a name of 200,000", {"all.tar": _tar_of("round/" + "x" * 200_000)}
    yield (
        "a header of many",
        {"all.tar": _tar_of("round/x", pax_headers={str(n): "x" * 50 for n in range(5_000)})},
    )
    yield "nothing", {"all.tar": tarred({})}


def _gzipped(start: bytes, part: bytes, times: int) -> bytes:
    """The start, and a part so many times: without ever having them all in memory."""
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1, mtime=0) as file:
        file.write(start)
        for _ in range(times):
            file.write(part)
    return stream.getvalue()


def _heavy_idx(files: Mapping[str, bytes]) -> Named:
    packed = _gzipped(_header(300, 2000, 2000), bytes(2000 * 2000), 300)
    labels = gzip.compress(_header(300) + bytes(range(3)) * 100, mtime=0)
    yield (
        "1.2 GB of zeros",
        {
            "train-images.gz": packed,
            "train-labels.gz": labels,
            "test-images.gz": _gzipped(_header(3, 2000, 2000), bytes(2000 * 2000), 3),
            "test-labels.gz": gzip.compress(_header(3) + bytes(range(3)), mtime=0),
        },
    )


def _heavy_csv(files: Mapping[str, bytes]) -> Named:
    header = gzip.decompress(files["part-1.csv.gz"]).split(b"\n", 1)[0] + b"\n"
    for what, line in {"zeros": bytes(1000), "short rows": b"1\t2\ta\tcheap\t3\n"}.items():
        body = _gzipped(header, line * 1000, 300_000 // len(line))
        yield f"300 MB of {what}", {"part-1.csv.gz": body}
    body = _gzipped(header, b"1\t2\ta\tcheap\t3\n1\t2\tb\tdear\t3\n" * 1000, 8_000)
    yield "16 million rows", {"part-1.csv.gz": body}


def _heavy_parquet(files: Mapping[str, bytes]) -> Named:
    rows = 30_000_000
    table = pa.table(
        {
            "km": pa.array(np.zeros(rows)),
            "class": pa.DictionaryArray.from_arrays(np.zeros(rows, np.int8), ["cheap"]),
            "price": pa.array(np.zeros(rows)),
        }
    )
    stream = io.BytesIO()
    pq.write_table(table, stream, row_group_size=rows)
    yield "30 million equal rows in a group", {"part-1.parquet": stream.getvalue()}


def _heavy_png(files: Mapping[str, bytes]) -> Named:
    bomb = _png_of(Image.new("RGBA", (5000, 5000), (1, 2, 3, 4)))
    yield "24 images of 25 megapixels", dict.fromkeys(files, bomb)


def _heavy_masks(files: Mapping[str, bytes]) -> Named:
    image = _png_of(Image.new("L", (5000, 5000)))
    mask = _png_of(Image.new("L", (5000, 5000), 77))
    yield "24 masks of 25 megapixels", {name: mask if name.startswith("masks") else image for name in files}


def _heavy_zip(files: Mapping[str, bytes]) -> Named:
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("round/x.png", "w") as file,
    ):
        for _ in range(600):
            file.write(bytes(1_000_000))
    yield "a bomb of 600 MB", {"all.zip": stream.getvalue()}
    yield "60,000 files", {"all.zip": zipped({f"round/{number}": b"" for number in range(60_000)})}
    nothing = bytes(1_000_000)
    yield "600 files of 1 MB", {"all.zip": zipped({f"round/{number}": nothing for number in range(600)})}
    yield "400,000 files", {"all.zip": _overlapping(400_000)}


def _heavy_tar(files: Mapping[str, bytes]) -> Named:
    entry = tarfile.TarInfo("round/x")
    entry.size = 1 << 30
    yield "a bomb of 1 GiB", {"all.tar.gz": _gzipped(entry.tobuf(), bytes(1 << 20), 1025)}
    long = tarfile.TarInfo("././@LongLink")
    long.type, long.size = tarfile.GNUTYPE_LONGNAME, 300 << 20
    yield "a name of 300 MiB", {"all.tar.gz": _gzipped(long.tobuf(tarfile.GNU_FORMAT), b"x" * (1 << 20), 301)}
