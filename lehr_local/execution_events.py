"""The event that Step Functions sends at the end of an execution, which moto's interpreter does not.

https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html. Of the changes of status the end is
the one that is simulated; an execution that was stopped from outside has one too.
"""

from __future__ import annotations

import datetime
import json
import logging
import uuid
from typing import Any

from moto.events.models import events_backends

logger = logging.getLogger(__name__)


def announce_end(execution: Any) -> None:
    """Send the event to every rule of the region; a fault of one is logged, and changes no execution."""
    try:
        event = end_event(execution)
        for bus in list(events_backends[execution.account_id][execution.region_name].event_buses.values()):
            for rule in list(bus.rules.values()):
                rule.send_to_targets(dict(event), transform_input=False)
    except Exception:
        logger.exception("the end of %s was not announced", execution.exec_arn)


def end_event(execution: Any) -> dict[str, Any]:
    """The event; times of its detail are in milliseconds."""
    stopped = execution.stop_date or datetime.datetime.now(tz=datetime.UTC)
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "account": execution.account_id,
        # As moto has it; the delivery makes it a text.
        "time": stopped.timestamp(),
        "region": execution.region_name,
        "resources": [execution.exec_arn],
        "detail": {
            "executionArn": execution.exec_arn,
            "stateMachineArn": execution.exec_arn.replace(":execution:", ":stateMachine:").rpartition(":")[0],
            "name": execution.name,
            "status": execution.exec_status.value,
            "startDate": int(execution.start_date.timestamp() * 1000),
            "stopDate": int(stopped.timestamp() * 1000),
            "input": json.dumps(execution.input_data),
            "output": None if execution.output is None else json.dumps(execution.output),
            "error": execution.error,
            "cause": execution.cause,
        },
    }
