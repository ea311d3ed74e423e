"""`Notices` over an SNS topic and the default event bus, as the state machine tells how a run ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

SOURCE = "lehr"
_MAX_SUBJECT = 99


class AwsNotices:
    """Tells the subscribers of one topic, and sends events of our own."""

    def __init__(self, topic_arn: str, sns: Any, events: Any) -> None:
        self._topic_arn, self._sns, self._events = topic_arn, sns, events

    def tell(self, subject: str, message: str) -> None:
        """A message to the topic; SNS takes a subject of less than 100 characters."""
        self._sns.publish(TopicArn=self._topic_arn, Subject=subject[:_MAX_SUBJECT], Message=message)

    def announce(self, detail_type: str, detail: Mapping[str, str]) -> None:
        """An event of the source `lehr`. Raises RuntimeError if the bus took none."""
        entry = {"Source": SOURCE, "DetailType": detail_type, "Detail": json.dumps(dict(detail))}
        answer = self._events.put_events(Entries=[entry])
        if answer.get("FailedEntryCount"):
            raise RuntimeError(str(answer["Entries"][0].get("ErrorMessage", "the event was not taken")))
