"""Request bodies that broke someone's endpoint, each with the status and the field that ours answers with.

A case that this corpus lacks is added here first. `None` as the field: the answer names none.
"""

from __future__ import annotations

import base64
import copy
import gzip
import json
import struct
import zlib
from dataclasses import dataclass
from dataclasses import field as default
from typing import Any

IMAGE = [[(row * 28 + column) % 256 for column in range(28)] for row in range(28)]
DEEP = 100_000
HEADER = "Inference-Header-Content-Length"


@dataclass(frozen=True)
class Case:
    """One request; `body` goes as it is, and as base64 when `is_encoded`."""

    name: str
    body: str | None
    status: int
    field: str | None = None
    headers: dict[str, str] = default(default_factory=dict)
    is_encoded: bool = False


def inputs(value: Any) -> str:
    return json.dumps({"inputs": value}, separators=(",", ":"))


def with_pixel(text: str, *, image: int = 1, row: int = 5, column: int = 7) -> str:
    """Two images, one pixel replaced by `text` exactly as written."""
    batch: Any = [copy.deepcopy(IMAGE), copy.deepcopy(IMAGE)]
    batch[image][row][column] = "PLACEHOLDER"
    return inputs(batch).replace('"PLACEHOLDER"', text)


def with_row(value: Any, row: int = 5) -> str:
    batch: Any = [copy.deepcopy(IMAGE), copy.deepcopy(IMAGE)]
    batch[1][row] = value
    return inputs(batch)


PIXEL = "inputs[1][5][7]"
ROW = "inputs[1][5]"
GOOD = inputs([IMAGE])

ACCEPTED = [
    Case("one image in a batch", GOOD, 200),
    Case("a bare image", inputs(IMAGE), 200),
    Case("white space around", f" \n\t{GOOD}\r\n", 200),
    Case("a name written with escapes", GOOD.replace("inputs", "\\u0069nputs"), 200),
    Case("512 images", inputs([[[0] * 28] * 28] * 512), 200),
    Case("content type with charset", GOOD, 200, headers={"Content-Type": "Application/JSON; charset=UTF-8"}),
    Case("no content type", GOOD, 200, headers={}),
    Case("base64", base64.b64encode(GOOD.encode()).decode(), 200, is_encoded=True),
    Case("minus zero", with_pixel("-0"), 200),
]

REFUSED = [
    Case("no body", None, 400),
    Case("empty body", "", 400),
    Case("white space", " \n ", 400),
    Case("not JSON", "inputs=1", 400),
    Case("cut short", GOOD[:-3], 400),
    Case("trailing junk", GOOD + "x", 400),
    Case("two documents", GOOD + GOOD, 400),
    Case("trailing comma", GOOD[:-1] + ",}", 400),
    Case("single quotes", GOOD.replace('"', "'"), 400),
    Case("a comment", "/* */" + GOOD, 400),
    Case("byte order mark", "\ufeff" + GOOD, 400),
    Case("a NUL byte", GOOD + "\0", 400),
    Case("a lone surrogate", '{"inputs": "\ud800"}', 400),
    Case("an escaped lone surrogate", '{"inputs": "\\ud800"}', 400, None),
    Case("NaN", with_pixel("NaN"), 400),
    Case("Infinity", with_pixel("Infinity"), 400),
    Case("minus Infinity", with_pixel("-Infinity"), 400),
    Case("a leading zero", with_pixel("007"), 400),
    Case("hexadecimal", with_pixel("0xff"), 400),
    Case("a plus sign", with_pixel("+1"), 400),
    Case("Python's True", with_pixel("True"), 400),
    Case("deep arrays", "[" * DEEP, 400),
    Case("deep closed arrays", "[" * DEEP + "]" * DEEP, 400),
    Case("deep objects", '{"a":' * DEEP, 400),
    Case("deep inputs", '{"inputs":' + "[" * DEEP + "]" * DEEP + "}", 400),
    Case("deep under an unknown field", '{"x":' + "[" * DEEP + "]" * DEEP + "}", 400),
    Case("base64 of bad UTF-8", base64.b64encode(b'{"inputs": "\xff\xfe"}').decode(), 400, is_encoded=True),
    Case("base64 that is none", "%%%%", 400, is_encoded=True),
    Case("base64 with bad padding", base64.b64encode(GOOD.encode()).decode()[:-1], 400, is_encoded=True),
    Case("base64 that is not ASCII", "é" * 8, 400, is_encoded=True),
    Case("base64 of nothing", "", 400, is_encoded=True),
    Case("base64 of gzip", base64.b64encode(gzip.compress(GOOD.encode())).decode(), 400, is_encoded=True),
    Case("base64 unannounced", base64.b64encode(GOOD.encode()).decode(), 400),
    Case("over 1 MB", inputs([[[200] * 28] * 28] * 512), 413),
    Case("over 1 MB of white space", " " * (2 << 20), 413),
    Case("over 1 MB in few characters", '"' + "\U0001f600" * (300 << 10) + '"', 413),
    Case("over 1 MB as base64", base64.b64encode(b" " * (1 << 21)).decode(), 413, is_encoded=True),
    Case("just over 1 MB as base64", base64.b64encode(b" " * ((1 << 20) + 1)).decode(), 413, is_encoded=True),
    Case("a form", "inputs=1", 415, headers={"content-type": "application/x-www-form-urlencoded"}),
    Case("plain text", GOOD, 415, headers={"content-type": "text/plain"}),
    Case("almost JSON", GOOD, 415, headers={"content-type": "application/jsonx"}),
    Case("two content types", GOOD, 415, headers={"content-type": "application/json,text/html"}),
    Case("an empty content type", GOOD, 415, headers={"content-type": ""}),
    Case("another charset", GOOD, 415, headers={"content-type": 'application/json; charset="iso-8859-1"'}),
    Case("gzip announced", GOOD, 415, headers={"content-encoding": "gzip"}),
    Case("null", "null", 422, ""),
    Case("a number", "3", 422, ""),
    Case("a number out of range", "1e999", 422, "inputs"),
    Case("a string", '"inputs"', 422, ""),
    Case("an array", "[]", 422, ""),
    Case("an empty object", "{}", 422, "inputs"),
    Case("inputs null", inputs(None), 422, "inputs"),
    Case("inputs a string", inputs("abc"), 422, "inputs"),
    Case("inputs an object", inputs({}), 422, "inputs"),
    Case("inputs true", inputs(True), 422, "inputs"),
    Case("inputs a number", inputs(7), 422, "inputs"),
    Case("inputs empty", inputs([]), 422, "inputs"),
    Case("one empty image", inputs([[]]), 422, "inputs"),
    Case("one image of an empty row", inputs([[[]]]), 422, "inputs[0]"),
    Case("a flat image", inputs([0] * 784), 422, "inputs"),
    Case("a batch of flat images", inputs([[0] * 784]), 422, "inputs"),
    Case("one level too deep", inputs([[IMAGE]]), 422, "inputs"),
    Case("many levels too deep", '{"inputs":' + "[" * 90 + "]" * 90 + "}", 422, "inputs"),
    Case("channels last", inputs([[[[0]] * 28] * 28]), 422, "inputs"),
    Case("27 rows", inputs([IMAGE[:27]]), 422, "inputs[0]"),
    Case("29 rows", inputs([[*IMAGE, IMAGE[0]]]), 422, "inputs[0]"),
    Case("a bare image of 27 rows", inputs(IMAGE[:27]), 422, "inputs"),
    Case("a bare image with a short row", inputs([*IMAGE[:27], [0]]), 422, "inputs[27]"),
    Case("a short row", with_row([0] * 27), 422, ROW),
    Case("a long row", with_row([0] * 29), 422, ROW),
    Case("an empty row", with_row([]), 422, ROW),
    Case("a row null", with_row(None), 422, ROW),
    Case("a row a string", with_row("0" * 28), 422, ROW),
    Case("a row an object", with_row({str(n): n for n in range(28)}), 422, ROW),
    Case("a row a number", with_row(3), 422, ROW),
    Case("an image null", inputs([IMAGE, None]), 422, "inputs[1]"),
    Case("an image a number", inputs([IMAGE, 5]), 422, "inputs[1]"),
    Case("numbers, then an image", inputs([5, IMAGE]), 422, "inputs"),
    Case("a pixel a string", with_pixel('"12"'), 422, PIXEL),
    Case("a pixel true", with_pixel("true"), 422, PIXEL),
    Case("a pixel null", with_pixel("null"), 422, PIXEL),
    Case("a pixel an array", with_pixel("[1]"), 422, PIXEL),
    Case("a pixel an object", with_pixel("{}"), 422, PIXEL),
    Case("a pixel a fraction", with_pixel("0.5"), 422, PIXEL),
    Case("a pixel 5.0", with_pixel("5.0"), 422, PIXEL),
    Case("a pixel 1e2", with_pixel("1e2"), 422, PIXEL),
    Case("a pixel below 0", with_pixel("-1"), 422, PIXEL),
    Case("a pixel above 255", with_pixel("256"), 422, PIXEL),
    Case("a pixel of 2^64", with_pixel(str(2**64)), 422, PIXEL),
    Case("a pixel of 400 digits", with_pixel("9" * 400), 422, PIXEL),
    Case("a pixel of 5,000 digits", with_pixel("9" * 5000), 422, "inputs"),
    Case("a pixel 1e39", with_pixel("1e39"), 422, PIXEL),
    Case("a pixel 1e999", with_pixel("1e999"), 422, "inputs"),
    Case("a pixel -1e999", with_pixel("-1e999"), 422, "inputs"),
    Case("513 images", inputs([[[0] * 28] * 28] * 513), 422, "inputs"),
    Case("1,000,000 would-be images", inputs([0] * 300_000), 422, "inputs"),
    Case("a mistyped field", GOOD.replace("inputs", "imputs"), 422, "imputs"),
    Case("another system's field", GOOD.replace("inputs", "instances"), 422, "instances"),
    Case("an upper-case field", GOOD.replace("inputs", "Inputs"), 422, "Inputs"),
    Case("an empty field name", GOOD.replace("inputs", ""), 422, ""),
    Case("a field name of control characters", '{"\\u0000\\u001b[31m\\r\\nSet-Cookie: a=b": 1}', 422, ""),
    Case("a field name of markup", '{"<script>alert(1)</script>": 1}', 422, ""),
    Case("a long field name", '{"' + "a" * 100_000 + '": 1}', 422, ""),
    Case("a further field", GOOD[:-1] + ', "debug": true}', 422, "debug"),
    Case("a prototype", GOOD[:-1] + ', "__proto__": {}}', 422, "__proto__"),
    Case("the field twice", GOOD[:-1] + ', "inputs": ' + json.dumps([IMAGE]) + "}", 422, "inputs"),
    Case(
        "the field twice, once escaped",
        '{"\\u0069nputs": [], ' + GOOD[1:],
        422,
        "inputs",
    ),
]


# --- the Open Inference Protocol


@dataclass(frozen=True)
class ProtocolCase:
    """One body for …/infer, the status that it gets and a part of what is said."""

    name: str
    body: bytes
    says: str
    status: int = 422
    header_length: int | None = None


def inference(**changes: Any) -> bytes:
    """A request for one blank image; `changes` go into its input (None: left out) or, in capitals, into the request."""
    tensor = {"name": "x", "shape": [1, 28, 28], "datatype": "UINT8", "data": [0] * 784}
    tensor |= {name: value for name, value in changes.items() if name.islower()}
    request = {"inputs": [{name: value for name, value in tensor.items() if value is not None}]}
    request |= {name.lower(): value for name, value in changes.items() if name.isupper()}
    return json.dumps(request, separators=(",", ":")).encode()


def _pixel(text: str) -> bytes:
    return inference(data=["PLACEHOLDER", *[0] * 783]).replace(b'"PLACEHOLDER"', text.encode())


_SIZED = inference(data=None, parameters={"binary_data_size": 784})

PROTOCOL_REFUSED = [
    ProtocolCase("OIP: no body", b"", "empty", 400),
    ProtocolCase("OIP: no JSON", b"x", "not JSON", 400),
    ProtocolCase("OIP: cut short", inference()[:-2], "not JSON", 400),
    ProtocolCase("OIP: bad UTF-8", inference(ID="é").replace(b"\\u00e9", b"\xff"), "not JSON", 400),
    ProtocolCase("OIP: deep", b"[" * DEEP, "", 422),
    ProtocolCase("OIP: an array", b"[]", "protocol"),
    ProtocolCase("OIP: nothing in it", b"{}", "inputs"),
    ProtocolCase("OIP: inputs null", b'{"inputs":null}', "inputs"),
    ProtocolCase("OIP: no input", b'{"inputs":[]}', "one input"),
    ProtocolCase(
        "OIP: two inputs", inference(INPUTS=[json.loads(inference())["inputs"][0]] * 2), "one input"
    ),
    ProtocolCase("OIP: an input a number", b'{"inputs":[1]}', "inputs"),
    ProtocolCase("OIP: another input", inference(name="y"), "inputs[0].name"),
    ProtocolCase("OIP: no name", inference(name=None), "name"),
    ProtocolCase("OIP: another datatype", inference(datatype="FP32"), "Expected UINT8"),
    ProtocolCase("OIP: no datatype", inference(datatype=None), "datatype"),
    ProtocolCase("OIP: no shape", inference(shape=None), "shape"),
    ProtocolCase("OIP: no batch in the shape", inference(shape=[28, 28]), "inputs[0].shape"),
    ProtocolCase("OIP: an empty shape", inference(shape=[]), "inputs[0].shape"),
    ProtocolCase("OIP: a negative batch", inference(shape=[-1, 28, 28]), "inputs[0].shape"),
    ProtocolCase("OIP: a batch of none", inference(shape=[0, 28, 28], data=[]), "inputs[0].shape"),
    ProtocolCase("OIP: a batch of too many", inference(shape=[513, 28, 28]), "inputs[0].shape"),
    ProtocolCase("OIP: a huge shape", inference(shape=[10**30, 28, 28]), "shape"),
    ProtocolCase("OIP: a shape of fractions", inference(shape=[1.5, 28, 28]), "shape"),
    ProtocolCase("OIP: a transposed shape", inference(shape=[1, 784]), "inputs[0].shape"),
    ProtocolCase("OIP: no data", inference(data=None), "neither"),
    ProtocolCase(
        "OIP: data null",
        b'{"inputs":[{"name":"x","shape":[1,28,28],"datatype":"UINT8","data":null}]}',
        "data",
    ),
    ProtocolCase("OIP: data too short", inference(data=[0] * 783), "784"),
    ProtocolCase("OIP: data too long", inference(data=[0] * 785), "784"),
    ProtocolCase("OIP: ragged data", inference(data=[[[0] * 28] * 27 + [[0]]]), "inputs[0].data"),
    ProtocolCase("OIP: nested otherwise", inference(data=[[0] * 784]), "inputs[0].data"),
    ProtocolCase("OIP: a pixel of 256", _pixel("256"), "inputs[0].data"),
    ProtocolCase("OIP: a pixel below 0", _pixel("-1"), "inputs[0].data"),
    ProtocolCase("OIP: a pixel a fraction", _pixel("0.5"), "inputs[0].data"),
    ProtocolCase("OIP: a pixel a string", _pixel('"1"'), "inputs[0].data"),
    ProtocolCase("OIP: a pixel true", _pixel("true"), "inputs[0].data"),
    ProtocolCase("OIP: a pixel 1e999", _pixel("1e999"), "inputs[0].data"),
    ProtocolCase("OIP: a pixel NaN", _pixel("NaN"), "not JSON", 400),
    ProtocolCase("OIP: another output", inference(OUTPUTS=[{"name": "logits"}]), "outputs[0].name"),
    ProtocolCase("OIP: an output twice", inference(OUTPUTS=[{"name": "probabilities"}] * 2), "outputs[1]"),
    ProtocolCase(
        "OIP: classification",
        inference(OUTPUTS=[{"name": "probabilities", "parameters": {"classification": 3}}]),
        "classification",
    ),
    ProtocolCase(
        "OIP: shared memory", inference(parameters={"shared_memory_region": "a"}), "shared_memory_region"
    ),
    ProtocolCase("OIP: an id of a number", inference(ID=7), "id"),
    ProtocolCase("OIP: parameters a list", inference(PARAMETERS=[]), "parameters"),
    ProtocolCase("OIP: bytes too few", _SIZED + bytes(783), "784 bytes", header_length=len(_SIZED)),
    ProtocolCase("OIP: bytes too many", _SIZED + bytes(785), "784 bytes", header_length=len(_SIZED)),
    ProtocolCase("OIP: no bytes", _SIZED, "784 bytes", header_length=len(_SIZED)),
    ProtocolCase("OIP: bytes without the header", _SIZED + bytes(784), HEADER, 400),
    ProtocolCase(
        "OIP: another size",
        inference(data=None, parameters={"binary_data_size": 783}) + bytes(783),
        "784 bytes",
        header_length=len(_SIZED),
    ),
    ProtocolCase(
        "OIP: a size that is true", inference(data=None, parameters={"binary_data_size": True}), "784 bytes"
    ),
    ProtocolCase("OIP: data and bytes", inference(parameters={"binary_data_size": 784}), "either"),
    ProtocolCase(
        "OIP: data, and bytes after it", inference() + b"x", "either", header_length=len(inference())
    ),
    ProtocolCase("OIP: a header beyond the body", inference(), HEADER, 400, header_length=10**6),
    ProtocolCase("OIP: a header below 0", inference(), HEADER, 400, header_length=-1),
    ProtocolCase("OIP: a header of 0", inference(), "not JSON", 400, header_length=0),
    ProtocolCase("OIP: a header too short", inference(), "not JSON", 400, header_length=5),
    ProtocolCase("OIP: over 4 MB", bytes((4 << 20) + 1), "4194304", 413),
    ProtocolCase("OIP: over 1 MB of JSON", b" " * ((1 << 20) + 1), "1048576", 413),
]


# --- images and CSV


@dataclass(frozen=True)
class MediaCase:
    """One body that is no JSON, the status that it gets and the field that is named."""

    name: str
    body: bytes
    kind: str
    status: int = 422
    field: str | None = None
    query: str = ""


def png(width: int = 28, height: int = 28) -> bytes:
    """IMAGE as a PNG; the header may claim another size than the pixels have."""
    rows = b"".join(b"\0" + bytes(row) for row in IMAGE)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def _csv(text: bytes, column: int = 0) -> bytes:
    values = [b"0"] * 784
    values[column] = text
    return b",".join(values) + b"\n"


CSV_ROW = b",".join(str(pixel).encode() for row in IMAGE for pixel in row) + b"\n"

MEDIA_REFUSED = [
    MediaCase("PNG: nothing", b"", "image/png", 400),
    MediaCase("PNG: text", b"hello", "image/png", 422, "image"),
    MediaCase("PNG: GIF", b"GIF89a" + bytes(40), "image/png", 422, "image"),
    MediaCase("PNG: SVG", b"<svg onload='alert(1)'/>", "image/png", 422, "image"),
    MediaCase("PNG: the start only", png()[:8], "image/png", 422, "image"),
    MediaCase("PNG: a header only", png()[:33], "image/png", 422, "image"),
    MediaCase("PNG: cut in the pixels", png()[:60], "image/png", 422, "image"),
    MediaCase("PNG: a bad checksum", png()[:45] + b"\xff" + png()[46:], "image/png", 422, "image"),
    MediaCase("PNG: no width", png(width=0), "image/png", 422, "image"),
    MediaCase("PNG: a bomb", png(100_000, 100_000), "image/png", 422, "image"),
    MediaCase("PNG: a bomb of 2^31", png(2**31 - 1, 2**31 - 1), "image/png", 422, "image"),
    MediaCase("PNG: over 4 MB", bytes((4 << 20) + 1), "image/png", 413),
    MediaCase("JPEG: text", b"hello", "image/jpeg", 422, "image"),
    MediaCase("JPEG: the start only", b"\xff\xd8\xff", "image/jpeg", 422, "image"),
    MediaCase("JPEG: junk", b"\xff\xd8\xff\xe0" + bytes(range(256)), "image/jpeg", 422, "image"),
    MediaCase("GIF announced", b"GIF89a", "image/gif", 415),
    MediaCase("any image announced", png(), "image/*", 415),
    MediaCase("SVG announced", b"<svg/>", "image/svg+xml", 415),
    MediaCase("a form with a file", png(), "multipart/form-data; boundary=x", 415),
    MediaCase("bytes of no type", png(), "application/octet-stream", 415),
    MediaCase("CSV: nothing", b"", "text/csv", 400),
    MediaCase("CSV: a line end", b"\n", "text/csv", 422, "rows[0]"),
    MediaCase("CSV: bytes of Latin-1", _csv(b"0"), "text/csv; charset=latin-1", 415),
    MediaCase("CSV: a row too short", _csv(b"0")[:-3], "text/csv", 422, "rows[0]"),
    MediaCase("CSV: a row too long", b"0," + _csv(b"0"), "text/csv", 422, "rows[0]"),
    MediaCase("CSV: a second row too short", _csv(b"0") + b"0\n", "text/csv", 422, "rows[1]"),
    MediaCase("CSV: an empty line", _csv(b"0") + b"\n\n", "text/csv", 422, "rows[1]"),
    MediaCase("CSV: a header", _csv(b"pixel"), "text/csv", 422, "rows[0][0]"),
    MediaCase("CSV: an empty value", _csv(b"", 9), "text/csv", 422, "rows[0][9]"),
    MediaCase("CSV: a value of 256", _csv(b"256", 3), "text/csv", 422, "rows[0][3]"),
    MediaCase("CSV: a value below 0", _csv(b"-1", 783), "text/csv", 422, "rows[0][783]"),
    MediaCase("CSV: a fraction", _csv(b"1.0"), "text/csv", 422, "rows[0][0]"),
    MediaCase("CSV: NaN", _csv(b"NaN"), "text/csv", 422, "rows[0][0]"),
    MediaCase("CSV: 1e999", _csv(b"1e999"), "text/csv", 422, "rows[0][0]"),
    MediaCase("CSV: quotes", _csv(b'"1"'), "text/csv", 422, "rows[0][0]"),
    MediaCase("CSV: a formula", _csv(b"=1+1"), "text/csv", 422, "rows[0][0]"),
    MediaCase("CSV: 5,000 digits", _csv(b"9" * 5000), "text/csv", 422, "rows[0][0]"),
    MediaCase("CSV: semicolons", _csv(b"0").replace(b",", b";"), "text/csv", 422, "rows[0]"),
    MediaCase("CSV: 513 rows", _csv(b"0") * 513, "text/csv", 422, "rows"),
    MediaCase("CSV: over 1 MB", b"0" * ((1 << 20) + 1), "text/csv", 413),
    MediaCase("top k of 0", CSV_ROW, "text/csv", 422, "top_k", "top_k=0"),
    MediaCase("top k of 11", CSV_ROW, "text/csv", 422, "top_k", "top_k=11"),
    MediaCase("top k of -1", CSV_ROW, "text/csv", 422, "top_k", "top_k=-1"),
    MediaCase("top k of text", CSV_ROW, "text/csv", 422, "top_k", "top_k=all"),
    MediaCase("top k of nothing", CSV_ROW, "text/csv", 422, "top_k", "top_k="),
]


def _field(value: Any) -> str:
    return json.dumps(value)


REFUSED += [
    Case("image a number", _field({"image": 1}), 422, "image"),
    Case("image null", _field({"image": None}), 422, "image"),
    Case("image empty", _field({"image": ""}), 422, "image"),
    Case("image no base64", _field({"image": "%%%"}), 422, "image"),
    Case("image base64 of text", _field({"image": "aGVsbG8="}), 422, "image"),
    Case("image a data URL", _field({"image": "data:image/png;base64,AAAA"}), 422, "image"),
    Case("image with line breaks", _field({"image": "aGVs\nbG8="}), 422, "image"),
    Case("image a list", _field({"image": ["aGVsbG8="]}), 422, "image"),
    Case("images a string", _field({"images": "aGVsbG8="}), 422, "images"),
    Case("images empty", _field({"images": []}), 422, "images"),
    Case("513 images in base64", _field({"images": ["AAAA"] * 513}), 422, "images"),
    Case(
        "the second of the images null",
        _field({"images": [base64.b64encode(png()).decode(), None]}),
        422,
        "images[1]",
    ),
    Case(
        "images one of them junk",
        _field({"images": [base64.b64encode(png()).decode(), "AAAA"]}),
        422,
        "images[1]",
    ),
    Case("image and inputs", _field({"image": "AAAA", "inputs": []}), 422, "inputs"),
    Case("image twice", '{"image":"AAAA","image":"AAAA"}', 422, "image"),
]
