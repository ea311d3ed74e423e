"""Ways in which a drop comes to harm, by accident or on purpose; each is a function of a drawing alone."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from tests.hostile.seeds import PACKERS

Files = dict[str, bytes]
Bytes = Callable[[bytearray, random.Random], bytes]

# What stands in a cell, a key or a name that was never meant to be there.
TEXTS = [
    "",
    " ",
    "NaN",
    "nan",
    "inf",
    "-Infinity",
    "1e39",
    "1e400",
    "-1e-400",
    "9" * 400,
    "1_000",
    "0x1F",
    "١٢٣",
    "\uff11\uff12",
    "1.2.3",
    "--1",
    '"',
    '""',
    'a"b',
    "a\x00b",
    "a\rb",
    "a\u2028b",
    "a\x85b",
    "\ufeff",
    "\u202egnp.x",
    "e\u0301",
    "é",
    "🦊" * 50,
    "x" * 300,
    "x" * 140_000,
    "../../etc/passwd",
    "/etc/passwd",
    "..\\x",
    "=cmd()",
    "${x}",
    "%s%n",
    "null",
    "true",
    "<b>",
]
VALUES: list[Any] = [
    *TEXTS,
    None,
    True,
    False,
    -1,
    0,
    2**31,
    2**63,
    2**64,
    10**400,
    -0.0,
    1e-300,
    1e39,
    1e308,
    [],
    {},
    [[[[1]]]],
    {"a": {"b": 1}},
    "\ud800",
]
# Names that S3 takes and a file system, a pattern or a URL may not.
NAMES = [
    "{folder}/",
    "{folder}/../{name}",
    "../{name}",
    "{folder}//{name}",
    "/{folder}/{name}",
    "./{folder}/{name}",
    "{folder}/{name}/",
    "{folder}/\n{name}",
    "{folder}/\x7f{name}",
    "{folder}/é{name}",
    "{folder}/e\u0301{name}",
    "{folder}/🦊{name}",
    "{folder}/\u202e{name}",
    "{folder}/[*]?{name}",
    "{folder}/.{name}",
    "{folder}/{name}!{name}",
    "{folder}/a.zip!{name}",
    "{folder}/" + "x" * 900 + "{name}",
    "{folder}\\{name}",
    " {folder} /{name}",
    "{name}",
    "_READY/{name}",
]
_INTEGERS = (
    0,
    1,
    0x7F,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    0x7FFFFFFFFFFFFFFF,
    2**64 - 1,
)


def _place(raw: bytearray, draw: random.Random) -> int:
    """Anywhere, and more often where headers and footers are."""
    near = min(len(raw), 96)
    choice = draw.random()
    if choice < 0.4:
        return draw.randrange(near)
    return len(raw) - 1 - draw.randrange(near) if choice < 0.6 else draw.randrange(len(raw))


def flip_bits(raw: bytearray, draw: random.Random) -> bytes:
    for _ in range(draw.randint(1, 8)):
        raw[_place(raw, draw)] ^= 1 << draw.randrange(8)
    return bytes(raw)


def set_bytes(raw: bytearray, draw: random.Random) -> bytes:
    for _ in range(draw.randint(1, 4)):
        raw[_place(raw, draw)] = draw.randrange(256)
    return bytes(raw)


def truncate(raw: bytearray, draw: random.Random) -> bytes:
    return bytes(raw[: draw.choice((draw.randrange(len(raw)), len(raw) - 1, 0))])


def cut_out(raw: bytearray, draw: random.Random) -> bytes:
    first = _place(raw, draw)
    del raw[first : first + draw.randint(1, 200)]
    return bytes(raw)


def repeat(raw: bytearray, draw: random.Random) -> bytes:
    first, end = sorted((draw.randrange(len(raw)), draw.randrange(len(raw))))
    return bytes(raw[:end] + raw[first:])


def claim(raw: bytearray, draw: random.Random) -> bytes:
    """An absurd integer where a size, a count or an offset may stand."""
    width = draw.choice((1, 2, 4, 8))
    value = draw.choice(_INTEGERS) & (1 << 8 * width) - 1
    first = _place(raw, draw)
    raw[first : first + width] = value.to_bytes(width, draw.choice(("little", "big")))
    return bytes(raw)


def put_in(raw: bytearray, draw: random.Random) -> bytes:
    text = draw.choice(TEXTS).encode()
    first = _place(raw, draw)
    raw[first : first + draw.choice((0, 0, 1, 4))] = text
    return bytes(raw)


def encode_otherwise(raw: bytearray, draw: random.Random) -> bytes:
    text = bytes(raw).decode("utf-8", "replace")
    encoding = draw.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1", "cp1252", "utf-7"))
    return text.encode(encoding, "replace")


def pack_again(raw: bytearray, draw: random.Random) -> bytes:
    packed = gzip.compress(bytes(raw), mtime=0)
    return draw.choice((packed, packed + packed, packed + b"junk", packed[:-4], gzip.compress(packed)))


def in_blocks(raw: bytearray, draw: random.Random) -> bytes:
    """Inside of what is gzipped or in a PNG's chunks, with the checksums put right: so that it reaches the decoder."""
    if raw[:2] == b"\x1f\x8b":
        try:
            inner = bytearray(zlib.decompress(bytes(raw), wbits=31))
        except zlib.error:
            return flip_bits(raw, draw)
        return (
            gzip.compress(draw.choice((flip_bits, claim, truncate, put_in))(inner, draw), mtime=0)
            if inner
            else b""
        )
    if raw[:4] == b"\x89PNG":
        at, found = 8, []
        while at + 12 <= len(raw):
            size = int.from_bytes(raw[at : at + 4])
            found.append((bytes(raw[at + 4 : at + 8]), raw[at + 8 : at + 8 + size]))
            at += 12 + size
        if found:
            number = draw.randrange(len(found))
            name, body = found[number]
            if name == b"IDAT" and draw.random() < 0.7:
                inner = bytearray(zlib.decompress(bytes(body)))
                body = bytearray(zlib.compress(draw.choice((truncate, repeat, flip_bits))(inner, draw)))
            elif body:
                body = bytearray(draw.choice((flip_bits, claim, truncate, repeat))(body, draw))
            found[number] = (name, body)
            if draw.random() < 0.2:
                found.insert(draw.randrange(len(found) + 1), draw.choice(found))
        whole = b"\x89PNG\r\n\x1a\n"
        for name, body in found:
            checksum = zlib.crc32(name + body).to_bytes(4)
            whole += len(body).to_bytes(4) + name + bytes(body) + checksum
        return whole
    return flip_bits(raw, draw)


ON_BYTES: tuple[Bytes, ...] = (
    flip_bits,
    set_bytes,
    truncate,
    cut_out,
    repeat,
    claim,
    claim,
    put_in,
    encode_otherwise,
    pack_again,
    in_blocks,
    in_blocks,
)


def in_text(raw: bytes, draw: random.Random) -> bytes:
    """A value of a JSON document, of a line of JSON, or a cell of delimited text, exchanged for another."""
    text = raw.decode("utf-8", "replace")
    if text.startswith("{") and "\n" not in text.strip():
        return _dumped(_changed(json.loads(text), draw))
    lines = text.split("\n")
    number = draw.randrange(max(1, len(lines) - 1))
    line = lines[number]
    if line.startswith("{"):
        lines[number] = _dumped(_changed(json.loads(line), draw)).decode("utf-8", "surrogatepass")
    else:
        delimiter = max(",;\t|", key=line.count)
        cells = line.split(delimiter)
        place = draw.randrange(len(cells))
        change = draw.random()
        if change < 0.7:
            cells[place] = draw.choice(TEXTS)
        elif change < 0.85:
            cells.insert(place, draw.choice(TEXTS))
        else:
            del cells[place]
        lines[number] = delimiter.join(cells)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def _changed(value: Any, draw: random.Random) -> Any:
    """With one of its leaves, or a key, another."""
    if isinstance(value, dict) and value and draw.random() < 0.95:
        key = draw.choice(list(value))
        change = draw.random()
        if change < 0.1:
            del value[key]
        elif change < 0.2:
            value[str(draw.choice(TEXTS))] = value.pop(key)
        else:
            value[key] = _changed(value[key], draw)
        return value
    if isinstance(value, list) and value and draw.random() < 0.95:
        place = draw.randrange(len(value))
        change = draw.random()
        if change < 0.05:
            del value[place]
        elif change < 0.1:
            value.insert(place, draw.choice(value))
        else:
            value[place] = _changed(value[place], draw)
        return value
    return draw.choice(VALUES)


def of_names(files: Mapping[str, bytes], draw: random.Random) -> Files:
    """The files, of which one has another name, is away, is there twice, or is another's; or nearly all are away."""
    changed = dict(files)
    name = draw.choice(list(changed))
    change = draw.random()
    if change < 0.5:
        folder, _, last = name.rpartition("/")
        other = draw.choice(NAMES).replace("{folder}", folder).replace("{name}", last)
        body = changed[name] if draw.random() < 0.5 else changed.pop(name)
        changed[other] = b"" if other.endswith("/") else body
    elif change < 0.65:
        del changed[name]
    elif change < 0.8:
        changed[name] = changed[draw.choice(list(changed))]
    elif change < 0.9:
        kept = draw.sample(list(changed), min(len(changed), draw.randint(1, 3)))
        changed = {one: changed[one] for one in kept}
    else:
        folder = name.rpartition("/")[0]
        changed = {
            one: raw for one, raw in changed.items() if one.rpartition("/")[0] != folder or one == name
        }
    return changed


def mutate(files: Mapping[str, bytes], foreign: bytes, draw: random.Random) -> Files:
    """A drop after one to three mishaps; `foreign` is a file of another format."""
    changed = dict(files)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        if not changed:
            break
        if draw.random() < 0.15:
            changed = of_names(changed, draw)
            continue
        name = _worth_changing(list(changed), draw)
        raw = changed[name]
        choice = draw.random()
        if choice < 0.04:
            changed[name] = foreign
        elif choice < 0.08:
            cut, other = draw.randrange(len(raw) + 1), draw.randrange(len(foreign) + 1)
            changed[name] = raw[:cut] + foreign[other:]
        elif raw and name.endswith((".csv", ".txt", ".jsonl", ".json")) and choice < 0.6:
            try:
                changed[name] = in_text(raw, draw)
            except (ValueError, RecursionError):  # it is no such text any more
                changed[name] = flip_bits(bytearray(raw), draw)
        elif name.endswith(tuple(UNPACKERS)) and choice < 0.7:
            changed[name] = _in_archive(name, raw, foreign, draw)
        elif raw:
            changed[name] = _on_bytes(raw, draw)
    return changed


def _in_archive(name: str, raw: bytes, foreign: bytes, draw: random.Random) -> bytes:
    """Of what is in it one file is another."""
    kind = next(kind for kind in UNPACKERS if name.endswith(kind))
    try:
        files = UNPACKERS[kind](raw)
        return PACKERS[kind](mutate(files, foreign, draw)) if files else raw
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        EOFError,
        LookupError,
        OSError,
        ValueError,
        RuntimeError,
    ):
        return _on_bytes(raw, draw) if raw else foreign  # it has come to harm before


def _unzipped(raw: bytes) -> Files:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _untarred(raw: bytes) -> Files:
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        files = ((entry.name, archive.extractfile(entry)) for entry in archive)
        return {name: file.read() for name, file in files if file}


UNPACKERS: dict[str, Callable[[bytes], Files]] = {"zip": _unzipped, "tar": _untarred, "tar.gz": _untarred}


def _worth_changing(names: list[str], draw: random.Random) -> str:
    """Any file, and the lists and annotations that stand beside many of them as often as these together."""
    lists = [name for name in names if name.endswith((".csv", ".json", ".jsonl"))]
    return draw.choice(lists if lists and draw.random() < 0.5 else names)


def _on_bytes(raw: bytes, draw: random.Random) -> bytes:
    try:
        return draw.choice(ON_BYTES)(bytearray(raw), draw)
    except (ValueError, zlib.error):  # nothing of the kind is left in it
        return flip_bits(bytearray(raw), draw)
