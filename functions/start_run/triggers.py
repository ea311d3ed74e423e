"""What a trigger says: which project, and by which id its sender will look for the answer.

The end of an execution is a trigger too: somebody may have waited for it. So is drift, which start_run may refuse.
"""

from __future__ import annotations

import json
import re

from lehr.contracts.workflow import StartRequest
from lehr.errors import ContractError
from lehr.layout import checked_name, project_of_incoming
from lehr.ports import ObjectStore

_TRIGGER_ID = re.compile(r"[a-z0-9-]{8,64}")


def read_message(body: str, data: ObjectStore) -> StartRequest:
    """Read a queue message: an EventBridge event of a `_READY` object, of an execution that has ended, or of drift.

    Raises ContractError for anything else.
    """
    try:
        event = json.loads(body)
        if event.get("source") == "aws.states":
            run = json.loads(event["detail"]["input"])
            return StartRequest(project=str(run["project"]), trigger=event["id"], is_end_of_run=True)
        if event.get("source") == "lehr":
            return StartRequest(
                project=checked_name(event["detail"]["project"]), trigger=event["id"], cause="drift"
            )
        key, event_id = event["detail"]["object"]["key"], event["id"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
        raise ContractError(
            f"no event from EventBridge of S3, Step Functions or our own: {fault!r}"
        ) from fault
    return StartRequest(project=project_of_incoming(key), trigger=_drop_id(key, data) or event_id)


def _drop_id(key: str, data: ObjectStore) -> str:
    """The id that the sender wrote into `_READY`, if any: an empty `_READY` is as good."""
    try:
        text = data.get_start(key, 64).decode("ascii", "replace").strip()
    except KeyError:
        return ""
    return text if _TRIGGER_ID.fullmatch(text) else ""
