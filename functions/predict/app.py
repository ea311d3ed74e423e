"""Predict: the HTTPS endpoint. Raw inputs in, labels with probabilities out, by the project's champion.

Nothing of Powertools is on this path. Its tracer brings botocore along, its resolver and metrics cost a request more
than the model of the MNIST example does (docs/adr/0013-a-route-table.md), and importing its logger was a fifth of a
cold start (docs/adr/0011-predict-without-boto3.md). Active tracing of the function itself needs no SDK.

The collector rests while modules are imported: they make many objects and leave no garbage. What they made is then
frozen, so that no collection looks at it again.
"""

# ruff: noqa: E402
from __future__ import annotations

import gc

gc.disable()

import os
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from functions.predict.champions import Champions
from functions.predict.embedded_metrics import write_fallback, write_prediction, write_request, write_scored
from functions.predict.handlers import Services
from functions.predict.problems import refuse
from functions.predict.routes import respond
from functions.predict.snapshots import is_for_snapshot, prepare_snapshot
from lehr.http.gateway import Answer, Request
from lehr.http.problems import internal_error
from lehr.json_log import JsonLog
from lehr.settings import Environment
from lehr_runtime.packages import load_package
from lehr_runtime.session import MEMORY_MB_PER_VCPU, threads_for_memory

if TYPE_CHECKING:
    from functions.predict.capture import Capture
    from functions.predict.catalogue import Catalogue
    from lehr.aws.kms_reader import SignatureReader
    from lehr.aws.readers import ChampionReader, S3Reader

logger = JsonLog()


class OptionalSettings(Environment, frozen=True, kw_only=True):
    """What may be left out. `pii_key` is the stack's secret; without one no model with a hashed column answers.

    `signing_key` is the key that must have signed a package; without one signatures are not asked for.
    `capture_rate` is a share of the predictions, 0 to 1; `capture_features` is "true" for their inputs too,
    `capture_columns` for counts of each column by itself.
    """

    pii_key: str = ""
    capture_rate: float = 0.0
    capture_features: str = "false"
    signing_key: str = ""
    capture_columns: str = "false"


class Settings(OptionalSettings, frozen=True, kw_only=True):
    artifact_bucket: str
    registry_table: str
    warm_projects: str = ""


@cache
def readers() -> tuple[S3Reader, ChampionReader]:
    """The composition root: no boto3, on the way here nor later."""
    from lehr.aws.readers import open_readers

    settings = Settings.read(os.environ)
    return open_readers(settings.artifact_bucket, settings.registry_table)


@cache
def signatures() -> SignatureReader | None:
    """Who is asked whether a package is signed by the stack's key; None where no package has to be."""
    key = OptionalSettings.read(os.environ).signing_key
    if not key:
        return None
    from lehr.aws.kms_reader import open_signature_reader

    return open_signature_reader(key)


@cache
def champions() -> Champions:
    """What answers predictions, opened by the first of them, or for the snapshot."""
    (store, registry), verifier = readers(), signatures()
    # As tempfile would make it, without the five modules that it imports.
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"lehr-models-{os.urandom(8).hex()}"  # noqa: S108
    folder.mkdir(mode=0o700)
    load = partial(
        load_package,
        store,
        directory=folder,
        threads=threads_for_memory(
            int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", MEMORY_MB_PER_VCPU))
        ),
        verifier=verifier,
        has_reference=_captures_columns(OptionalSettings.read(os.environ)),
    )
    opened = Champions(store, registry, load, logger, on_fallback=write_fallback, on_scored=write_scored)
    if is_for_snapshot(os.environ):
        projects = Settings.read(os.environ).warm_projects
        prepare_snapshot(opened, projects, [store, registry, *([verifier] if verifier else [])], logger)
    return opened


@cache
def catalogue() -> Catalogue:
    """What /models lists, by the same readers."""
    from functions.predict.catalogue import Catalogue

    return Catalogue(*readers())


@cache
def capture() -> Capture | None:
    """What writes captured predictions; None for a rate of 0, when nothing of it is even imported."""
    settings = OptionalSettings.read(os.environ)
    if settings.capture_rate <= 0:
        return None
    from functions.predict.capture import Capture

    return Capture(settings.capture_rate, logger, has_features=settings.capture_features == "true")


def _captures_columns(settings: OptionalSettings) -> bool:
    return settings.capture_rate > 0 and settings.capture_columns == "true"


@cache
def pii_key() -> str:
    """What values of hashed columns are hashed with, as they were where the model was trained."""
    return OptionalSettings.read(os.environ).pii_key


if is_for_snapshot(os.environ):
    champions()
    capture()


gc.freeze()
gc.enable()

SERVICES = Services(lambda: champions(), lambda: catalogue(), lambda: capture(), lambda: pii_key())


def handler(event: dict[str, Any], context: Any) -> Answer:
    """API Gateway payload 2.0 in and out. Whatever was not foreseen is one 500 with the request's id."""
    predicted = None
    try:
        request = Request(event)
        answer = respond(request, SERVICES)
        predicted = request.predicted
    except Exception:
        logger.exception("request failed", extra={"function_request_id": context.aws_request_id})
        answer = refuse(internal_error(context.aws_request_id), str(event.get("rawPath", "")))
    if predicted is None:
        write_request()
    else:
        write_prediction(*predicted)
    return answer
