"""`Events` over EventBridge: the default bus, under the source `lehr`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lehr.errors import EventError

SOURCE = "lehr"


class EventBridgeEvents:
    """Puts one event at a time."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def put(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        """Raises EventError for an event that the bus did not take."""
        answer = self._client.put_events(
            Entries=[{"Source": SOURCE, "DetailType": detail_type, "Detail": json.dumps(detail)}]
        )
        if answer.get("FailedEntryCount"):
            refused = answer["Entries"][0]
            raise EventError(f"{detail_type}: {refused.get('ErrorCode')}: {refused.get('ErrorMessage')}")
