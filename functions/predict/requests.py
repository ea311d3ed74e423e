"""From a JSON body to an array, or to a problem that names the first place that does not fit.

The body is parsed by msgspec, strictly: NaN, Infinity, numbers in strings, booleans as numbers and, for pixels,
decimal fractions (also 5.0: a pixel is an integer) are refused. A field given twice is refused too, since parsers
disagree on which one counts.
"""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from functions.predict.bodies import decode_base64
from functions.predict.problems import misfit
from lehr.contracts.package import TensorSpec
from lehr.http.problems import Problem

MAX_BATCH = 512
FIELD = "inputs"
# Files in base64: one, or several.
IMAGE_FIELDS = ("image", "images")
AUDIO_FIELDS = ("audio", "audios")
FILE_FIELDS = {
    **dict.fromkeys(IMAGE_FIELDS, "PNG or JPEG"),
    **dict.fromkeys(AUDIO_FIELDS, "WAV"),
}
FIELDS = (FIELD, *FILE_FIELDS)
FLOAT32_MAX = float(np.finfo(np.float32).max)
# What one number of an input must be, by the dtype of the signature.
NUMBERS = {
    "uint8": "an integer from 0 to 255",
    "int16": "an integer from -32768 to 32767",
    "float32": "a number within float32",
}
_MISFITS = (msgspec.DecodeError, ValueError, RecursionError, OverflowError)
_JSON_FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def parse_inputs(raw: bytes, spec: TensorSpec, sample_rate: int | None = None) -> np.ndarray:
    """The inputs as the signature's dtype, [n, *shape], 1 <= n <= MAX_BATCH.

    A single input of the bare shape is a batch of one. Raises Problem: 400 for what is no JSON, 422 for what
    does not fit `spec`, 415 for an image or a recording where the model takes none.
    """
    # One name and no other string: the one field, given once.
    if raw.count(b'"') == 2:
        batch = _read_fast(raw, spec)
        if batch is not None:
            return batch
    name, value = _only_field(raw)
    if name in IMAGE_FIELDS:
        from functions.predict.media import decode_images  # with the first image

        return decode_images(_files(name, value), spec)
    if name in AUDIO_FIELDS:
        from functions.predict.media import decode_recordings

        return decode_recordings(_files(name, value), spec, sample_rate)
    raise _first_misfit(value, spec)


def image_files(raw: bytes) -> list[tuple[str, bytes]]:
    """The files under "image" or "images", each with its place; none where the body has numbers. Raises Problem."""
    if raw.count(b'"') == 2:
        return []
    name, value = _only_field(raw)
    return _files(name, value) if name in IMAGE_FIELDS else []


def read_numbers(raw: bytes | msgspec.Raw, rank: int, dtype: str) -> np.ndarray | None:
    """Nested lists `rank` deep as an array, or None for what is no rectangle of numbers of `dtype`."""
    try:
        return to_array(_decoder(rank, dtype).decode(raw), rank, dtype)
    except _MISFITS:
        return None


def to_array(value: Any, rank: int, dtype: str) -> np.ndarray:
    """Nested lists of ints or floats as an array. Raises ValueError for a ragged one or a number out of range."""
    if dtype == "int16":
        narrow = np.array(value, dtype=np.int16)  # OverflowError for what is beyond
        if narrow.ndim != rank:
            raise ValueError("ragged")
        return narrow
    if dtype != "uint8":
        wide = np.array(value, dtype=np.float64)
        if wide.ndim != rank or (wide.size and not np.abs(wide).max() <= FLOAT32_MAX):
            raise ValueError("ragged, or out of range")
        return wide.astype(np.float32)
    shape, level = [len(value)], value
    for _ in range(rank - 1):
        sizes = set(map(len, level))
        if len(sizes) != 1:
            raise ValueError("ragged")
        shape.append(sizes.pop())
        inner, level = level, level
        level = list(chain.from_iterable(inner)) if len(shape) < rank else inner
    # bytes() refuses what is not from 0 to 255, and is several times faster than np.array.
    flat = bytes(level) if rank == 1 else b"".join(map(bytes, level))
    return np.frombuffer(flat, dtype=np.uint8).reshape(shape)


def _read_fast(raw: bytes, spec: TensorSpec) -> np.ndarray | None:
    """What fits, in one pass; None: the slower walk says what is wrong, and where."""
    shape = spec.shape[1:]
    for rank in (len(spec.shape), len(shape)):
        try:
            value = _body_decoder(rank, spec.dtype).decode(raw).inputs
            array = to_array(value, rank, spec.dtype)
        except _MISFITS:
            continue
        batch = array if rank == len(spec.shape) else array[np.newaxis]
        if list(batch.shape[1:]) == shape and 1 <= len(batch) <= MAX_BATCH:
            return batch
    return None


def _files(name: str, value: msgspec.Raw) -> list[tuple[str, bytes]]:
    """The files under "image" or "audio" (one), "images" or "audios" (1 to MAX_BATCH), each with its place."""
    given, kind = _decoded(value), FILE_FIELDS[name]
    texts = {} if name.endswith("s") else {name: given}
    if name.endswith("s"):
        expected = f"1 to {MAX_BATCH} {kind} files in base64"
        if not isinstance(given, list) or not 1 <= len(given) <= MAX_BATCH:
            raise misfit(name, f'"{name}" is not {expected}.', expected=expected, got=_kind(given))
        texts = {f"{name}[{index}]": text for index, text in enumerate(given)}
    files = []
    for place, text in texts.items():
        decoded = decode_base64(text) if isinstance(text, str) else None
        if not decoded:
            expected = f"a {kind} file in base64"
            raise misfit(place, f"{place} is not {expected}.", expected=expected, got=_kind(text))
        files.append((place, decoded))
    return files


@cache
def _decoder(rank: int, dtype: str) -> msgspec.json.Decoder[Any]:
    """Nested lists of numbers, `rank` deep."""
    return msgspec.json.Decoder(_nested(rank, dtype))


@cache
def _body_decoder(rank: int, dtype: str) -> msgspec.json.Decoder[Any]:
    body: Any = msgspec.defstruct("Body", [(FIELD, _nested(rank, dtype))], forbid_unknown_fields=True)
    return msgspec.json.Decoder(body)


def _nested(rank: int, dtype: str) -> Any:
    kind: Any = float if dtype == "float32" else int
    for _ in range(rank):
        kind = list[kind]
    return kind


def _only_field(raw: bytes) -> tuple[str, msgspec.Raw]:
    """The one field there is, with its undecoded value."""
    wanted = f'an object with the field "{FIELD}"'
    try:
        fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError as fault:
        got = _kind(_decoded(msgspec.Raw(raw)))
        raise misfit("", f"The body must be {wanted}.", expected=wanted, got=got) from fault
    except _JSON_FAULTS as fault:
        raise _malformed(fault) from fault
    for name in fields:
        if name not in FIELDS:
            raise _unknown_field(name)
    if len(fields) != 1:
        got = f"{len(fields)} fields" if fields else "an object without it"
        detail = f"Give one of {', '.join(FIELDS)}." if fields else f'The field "{FIELD}" is missing.'
        raise misfit(FIELD, detail, expected=wanted, got=got)
    (name,) = fields
    # Two quotes are the name's, and the value's are its own: any further ones are the same name again.
    if raw.count(b'"') > 2 + bytes(fields[name]).count(b'"'):
        raise misfit(name, f'The field "{name}" is given twice.', expected="one", got="more than one")
    return name, fields[name]


def _unknown_field(name: str) -> Problem:
    """Only a plain name is repeated: it is what a person has mistyped."""
    import difflib  # seldom needed, and not on the way of a cold start

    is_plain = name.isascii() and name.isidentifier() and len(name) <= 40
    shown = f'"{name}"' if is_plain else "with a name that is no identifier"
    near = difflib.get_close_matches(name[:40].lower(), [*FIELDS, "instances", "data"], n=1, cutoff=0.5)
    meant = near[0] if near and near[0] in FIELDS else FIELD
    question = f' Did you mean "{meant}"?' if near else f" The fields are {', '.join(FIELDS)}."
    return misfit(
        name if is_plain else "",
        f"Unknown field {shown}.{question}",
        expected=f'"{FIELD}"',
        got="an unknown field",
    )


def _malformed(fault: Exception) -> Problem:
    """msgspec's messages hold byte positions, never the bytes."""
    if isinstance(fault, RecursionError):
        detail = "The body is nested too deeply."
    elif isinstance(fault, UnicodeDecodeError):
        detail = "The body is not UTF-8."
    else:
        detail = f"The body is not JSON: {str(fault).removeprefix('JSON is malformed: ')}."
    return Problem(HTTPStatus.BAD_REQUEST, "json", detail)


def _decoded(value: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(value)
    except msgspec.ValidationError as fault:  # JSON allows 1e999, no number type does
        raise misfit(
            FIELD, "A number is out of range.", expected="numbers that fit", got="a number beyond 64 bits"
        ) from fault
    except _JSON_FAULTS as fault:
        raise _malformed(fault) from fault


def _first_misfit(raw: msgspec.Raw, spec: TensorSpec) -> Problem:
    """Walk the value beside the shape, in reading order, to the first place that does not fit."""
    value, shape = _decoded(raw), spec.shape[1:]
    expected = f"{MAX_BATCH} arrays of shape {shape} at most, or one"
    found = _shape(value, len(shape) + 3)
    if isinstance(value, list) and not value:
        return misfit(FIELD, "There is nothing to predict.", expected=expected, got="an empty array")
    if len(found) == len(shape):
        return walk(value, shape, FIELD, spec.dtype) or _unforeseen()
    if len(found) != len(shape) + 1:
        got = f"an array of shape {found}" if found else _kind(value)
        return misfit(FIELD, f'"{FIELD}" has the wrong shape.', expected=expected, got=got)
    if len(value) > MAX_BATCH:
        return misfit(FIELD, "The batch is too large.", expected=expected, got=f"{len(value)} of them")
    return walk(value, [len(value), *shape], FIELD, spec.dtype) or _unforeseen()


def walk(value: Any, shape: list[int], place: str, dtype: str) -> Problem | None:
    """The first place that does not fit; recurses as deep as `shape`, however deep the value is."""
    if not shape:
        if _is_number(value, dtype):
            return None
        return misfit(place, f"{place} is not {NUMBERS[dtype]}.", expected=NUMBERS[dtype], got=_kind(value))
    expected = f"an array of {shape[0]}"
    if not isinstance(value, list) or len(value) != shape[0]:
        return misfit(place, f"{place} is not {expected}.", expected=expected, got=_kind(value))
    for index, inner in enumerate(value):
        if problem := walk(inner, shape[1:], f"{place}[{index}]", dtype):
            return problem
    return None


def _is_number(value: Any, dtype: str) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    if dtype == "uint8":
        return isinstance(value, int) and 0 <= value <= 255
    if dtype == "int16":
        return isinstance(value, int) and -32_768 <= value <= 32_767
    return abs(value) <= FLOAT32_MAX


def _unforeseen() -> Problem:
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, "input", f'"{FIELD}" does not fit the model.', field=FIELD
    )


def _shape(value: Any, limit: int) -> list[int]:
    """Lengths along the first elements, `limit` of them at most."""
    lengths: list[int] = []
    while isinstance(value, list) and len(lengths) < limit:
        lengths.append(len(value))
        value = value[0] if value else None
    return lengths


def _kind(value: Any) -> str:
    """What a JSON value is, without saying which."""
    if isinstance(value, list):
        return f"an array of {len(value)}"
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            return "an integer below 0"
        return "an integer above 255" if value > 255 else "an integer"
    names = {
        bool: "a boolean",
        float: "a number with a decimal point or exponent",
        str: "a string",
        dict: "an object",
    }
    return names.get(type(value), "null")
