"""Request bodies that broke someone's endpoint, each with the status and the field that ours answers with.

A case that this corpus lacks is added here first. `None` as the field: the answer names none.
"""

from __future__ import annotations

import base64
import copy
import gzip
import json
from dataclasses import dataclass
from dataclasses import field as default
from typing import Any

IMAGE = [[(row * 28 + column) % 256 for column in range(28)] for row in range(28)]
DEEP = 100_000


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
