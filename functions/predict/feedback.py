"""Feedback: what a prediction should have been, told by whoever found out, as a line of the log that watch_drift reads.

A prediction's id says all that is needed to count it: request, row, version and the label that was answered. So labels
may come days later, of predictions that nobody captured, and nothing is looked up. The id's digest tells a mistyped or
foreign id; it is no signature, since whoever may send feedback may be wrong about the label as well.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Sequence
from http import HTTPStatus

import msgspec

from functions.predict.capture import MAX_LINE_BYTES
from functions.predict.feedback_bodies import MAX_FEEDBACK, MAX_ID_CHARACTERS, Feedback
from functions.predict.problems import misfit
from lehr.clock import now
from lehr.contracts.feedback import FeedbackLine, LabelledPrediction
from lehr.http.problems import Problem

_DIGEST_CHARACTERS = 16


def prediction_ids(project: str, version: str, request_id: str, labels: Sequence[str]) -> list[str]:
    """The ids of a request's rows, of which `labels` are the answers."""
    return [_encode(project, [request_id, row, version, label]) for row, label in enumerate(labels)]


def read_feedback(raw: bytes, project: str, labels: Sequence[str]) -> tuple[list[LabelledPrediction], int]:
    """The labelled predictions of a body, each once and with its last label, and how many came again.

    Raises Problem: 400 for what is no JSON, 422 with the place for what does not fit.
    """
    try:
        given = msgspec.json.decode(raw, type=Feedback).feedback
    except msgspec.ValidationError as fault:
        # The message may repeat what was sent; where it was does not.
        place = str(fault).rpartition(" - at ")[2].strip("`$.") if " - at " in str(fault) else ""
        expected = f"1 to {MAX_FEEDBACK} objects of id and label"
        detail = f"{place or 'The body'} does not fit."
        raise misfit(place or "feedback", detail, expected=expected, got="something else") from fault
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise Problem(HTTPStatus.BAD_REQUEST, "json", "The body is not JSON.") from fault
    known = frozenset(labels)
    found: dict[tuple[str, int], LabelledPrediction] = {}
    for index, one in enumerate(given):
        if one.label not in known:
            place = f"feedback[{index}].label"
            expected = f"one of {', '.join(labels[:10])}{', …' if len(labels) > 10 else ''}"
            raise misfit(place, f"{place} is no label of {project}.", expected=expected, got="another text")
        prediction = _decode(one.id, project)
        if prediction is None:
            place = f"feedback[{index}].id"
            raise misfit(
                place,
                f"{place} is the id of no prediction of {project}.",
                expected="an id as POST /predict/{project}?ids=true gives it",
                got="something else",
            )
        request_id, row, version, predicted = prediction
        found[request_id, row] = LabelledPrediction(
            request_id=request_id, row=row, model_version=version, predicted=predicted, label=one.label
        )
    return list(found.values()), len(given) - len(found)


def write_feedback(project: str, labelled: Sequence[LabelledPrediction]) -> None:
    """As many lines as the events of a log take; what does not fit into one is a half of it each."""
    line = FeedbackLine(project=project, time=now(), labels=list(labelled)).to_json()
    if len(line) > MAX_LINE_BYTES and len(labelled) > 1:
        half = len(labelled) // 2
        write_feedback(project, labelled[:half])
        write_feedback(project, labelled[half:])
        return
    sys.stdout.write(line.decode() + "\n")


def _encode(project: str, prediction: list[str | int]) -> str:
    payload = msgspec.json.encode(prediction)
    return f"{base64.urlsafe_b64encode(payload).decode().rstrip('=')}.{_digest(project, payload)}"


def _decode(text: str, project: str) -> tuple[str, int, str, str] | None:
    body, _, digest = text.partition(".")
    if len(text) > MAX_ID_CHARACTERS or not text.isascii():
        return None
    try:
        payload = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
        if _digest(project, payload) != digest:
            return None
        return msgspec.json.decode(payload, type=tuple[str, int, str, str])
    except ValueError:  # also msgspec's
        return None


def _digest(project: str, payload: bytes) -> str:
    return hashlib.sha256(f"feedback/{project}/".encode() + payload).hexdigest()[:_DIGEST_CHARACTERS]
