"""What a target of an EventBridge rule receives: the whole event, a part of it, a constant, or a template.

Pure functions. moto has an implementation of its own, which it skips for S3 events, and which gives invalid
JSON for a string without quotes.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from typing import Any

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html. moto keeps the family of the reason
# only: here every object that appears was put, also one that was copied or uploaded in parts.
_S3_REASONS = {"ObjectCreated": "PutObject", "ObjectRemoved": "DeleteObject"}
_PLACEHOLDER = re.compile(r"<([A-Za-z0-9_.-]+)>")
_FIELDS = ("version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail")


def as_on_aws(event: Mapping[str, Any], event_id: str, sequencer: str) -> dict[str, Any]:
    """Correct an event as moto makes it.

    Its time is a float; every S3 event has the same id and the same sequencer, so that whoever drops
    duplicates would drop all but the first; its reasons are not those of S3.
    """
    result = {name: event[name] for name in (*_FIELDS, "replay-name") if name in event}
    if not isinstance(event["time"], str):
        moment = datetime.datetime.fromtimestamp(float(event["time"]), datetime.UTC)
        result["time"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    if event["source"] == "aws.s3":
        detail = dict(event["detail"])
        item = dict(detail["object"], sequencer=sequencer)
        if item.get("version-id") in (None, "null"):
            item.pop("version-id", None)
        detail["object"] = item
        if detail.get("reason") in _S3_REASONS:
            detail["reason"] = _S3_REASONS[detail["reason"]]
        result |= {"id": event_id, "detail": detail}
    return result


def payload_for(target: Mapping[str, Any], event: Mapping[str, Any], rule_arn: str) -> str:
    """The text that `target` receives for `event`. Raises ValueError for an InputPath that matches nothing."""
    if target.get("Input") is not None:
        return str(target["Input"])
    if target.get("InputPath") is not None:
        found = _find(target["InputPath"], event)
        if found is _NOTHING:
            raise ValueError(f"InputPath {target['InputPath']!r} matches nothing in the event")
        return json.dumps(found)
    if target.get("InputTransformer"):
        transformer = target["InputTransformer"]
        values = {
            "aws.events.rule-arn": rule_arn,
            "aws.events.rule-name": rule_arn.rpartition("/")[2],
            "aws.events.event": {name: event[name] for name in event if name != "detail"},
            "aws.events.event.json": dict(event),
            "aws.events.event.ingestion-time": event["time"],
        }
        for name, path in (transformer.get("InputPathsMap") or {}).items():
            values[name] = _find(path, event)
        return _fill(transformer["InputTemplate"], values)
    return json.dumps(event)


_NOTHING = object()


def _find(path: str, event: Mapping[str, Any]) -> Any:
    from jsonpath_ng.ext import parse  # type: ignore[attr-defined]

    # EventBridge lets names with a hyphen stand unquoted ($.detail-type); jsonpath-ng does so too.
    matches = parse(path).find(event)
    return matches[0].value if matches else _NOTHING


def _fill(template: str, values: Mapping[str, Any]) -> str:
    """Put `values` in the places of `template`; inside quotes as text, outside as JSON."""
    parts = []
    is_quoted = False
    position = 0
    for match in _PLACEHOLDER.finditer(template):
        before = template[position : match.start()]
        parts.append(before)
        is_quoted ^= len(re.findall(r'(?<!\\)"', before)) % 2 == 1
        position = match.end()
        value = values.get(match[1], match[0])
        if value is _NOTHING:
            parts.append("" if is_quoted else "null")
        elif is_quoted:
            text = value if isinstance(value, str) else json.dumps(value)
            parts.append(json.dumps(text)[1:-1])
        else:
            parts.append(json.dumps(value))
    return "".join(parts) + template[position:]
