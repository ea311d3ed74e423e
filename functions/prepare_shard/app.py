"""PrepareShard: decodes one unit of the plan, checks it, and writes its shards. One call per unit, in parallel."""

from __future__ import annotations

import os
from functools import cache, partial
from typing import Any

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.prepare_shard.tables import prepare_part
from functions.prepare_shard.units import prepare_unit, read_unit
from lehr.contracts.table_units import PrepareTableUnit
from lehr.ports import ObjectStore
from lehr.settings import Environment

# Of the 900 s: more than it takes to write what a call has read by then.
HANDOVER_MS = 240_000

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
    """A unit of any kind in, its index and number of rows out; raises DataError's children for data to put right.

    What is left of a table's unit when time runs short comes out as a unit, for the next call.
    """
    unit = read_unit(event)
    pii_key = OptionalSettings.read(os.environ).pii_key
    result = (
        prepare_part(unit, *stores(), pii_key, is_late=partial(_is_late, context))
        if isinstance(unit, PrepareTableUnit)
        else prepare_unit(unit, *stores())
    )
    if isinstance(result, PrepareTableUnit):
        logger.info("handed over", extra={"index": unit.index, "first": result.first})
        return result.to_value()
    metrics.add_metric(name="RowsRefused", unit=MetricUnit.Count, value=result.refused)
    rows = sum(shard.rows for shard in result.shards)
    metrics.add_metric(name="RowsPrepared", unit=MetricUnit.Count, value=rows)
    logger.info(
        "prepared", extra={"project": unit.project, "run": unit.run, "index": unit.index, "rows": rows}
    )
    return {"index": result.index, "rows": rows}


def _is_late(context: LambdaContext) -> bool:
    return context.get_remaining_time_in_millis() < HANDOVER_MS
