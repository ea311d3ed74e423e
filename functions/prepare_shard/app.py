"""PrepareShard: decodes one unit of the plan, checks it, and writes its shards. One call per unit, in parallel."""

from __future__ import annotations

import os
from functools import cache, partial
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.prepare_shard.calls import prepare_call, prepare_until
from functions.prepare_shard.units import read_unit
from lehr.contracts.prepare_calls import PrepareCall
from lehr.contracts.table_units import PrepareTableUnit
from lehr.ports import ObjectStore
from lehr.settings import Environment

# Of the 900 s: more than it takes to write what a call has read by then.
HANDOVER_MS = 240_000
# What a unit should have before it, so that it is not cut where time happens to run out.
BEGIN_MS = 600_000

logger = Logger()
metrics = Metrics()
tracer = Tracer()


class OptionalSettings(Environment, frozen=True, kw_only=True):
    """`pii_key` is the stack's secret; without one no table with a hashed column is prepared."""

    pii_key: str = ""


class Settings(OptionalSettings, frozen=True, kw_only=True):
    data_bucket: str
    artifact_bucket: str


@cache
def stores() -> tuple[ObjectStore, ObjectStore]:
    """The composition root: raw data and artifacts; adapters are built on the first invocation."""
    from lehr.aws.connect import open_bucket

    settings = Settings.read(os.environ)
    return open_bucket(settings.data_bucket), open_bucket(settings.artifact_bucket)


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """A unit of any kind in, or a call of several; the last one's index and the number of rows out.

    What is left when time runs short comes out as what came in, for the next call. Raises DataError's children for data
    to put right.
    """
    pii_key = OptionalSettings.read(os.environ).pii_key
    is_late = partial(_has_less, context, HANDOVER_MS)
    rest: PrepareTableUnit | PrepareCall | None = None
    if event.get("kind") == "call":
        call = PrepareCall.from_value(event)
        may_begin = partial(_has_more, context, BEGIN_MS)
        results, rest = prepare_call(call, *stores(), pii_key, is_late=is_late, may_begin=may_begin)
    else:
        answer = prepare_until(read_unit(event), *stores(), pii_key, is_late=is_late)
        results = [] if isinstance(answer, PrepareTableUnit) else [answer]
        rest = answer if isinstance(answer, PrepareTableUnit) else None
    rows = sum(shard.rows for result in results for shard in result.shards)
    refused = sum(result.refused for result in results)
    metrics.add_metric(name="RowsRefused", unit=MetricUnit.Count, value=refused)
    metrics.add_metric(name="RowsPrepared", unit=MetricUnit.Count, value=rows)
    last = results[-1].index if results else -1
    logger.info(
        "handed over" if rest else "prepared",
        extra={"project": event["project"], "run": event["run"], "units": len(results), "rows": rows},
    )
    return rest.to_value() if rest else {"index": last, "rows": rows}


def _has_less(context: LambdaContext, milliseconds: int) -> bool:
    return context.get_remaining_time_in_millis() < milliseconds


def _has_more(context: LambdaContext, milliseconds: int) -> bool:
    return not _has_less(context, milliseconds)
