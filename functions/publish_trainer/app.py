"""PublishTrainer: names the image that trains, and puts the trainer's source where a stock image finds it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Tracer

from functions.publish_trainer.publish import bundle, find_code, own_trainer, stock_trainer
from lehr.contracts.workflow import PublishedTrainer
from lehr.ports import ObjectStore
from lehr.settings import Environment

NO_IMAGE = "none"

logger = Logger()
tracer = Tracer()


class Settings(Environment, frozen=True, kw_only=True):
    artifact_bucket: str
    own_image: str
    gpu_image: str
    cpu_image: str


@cache
def artifacts(bucket: str) -> ObjectStore:
    """The composition root: adapters are built on the first invocation."""
    from lehr.aws.connect import open_bucket

    return open_bucket(bucket)


@cache
def files() -> Mapping[str, bytes]:
    """Layers never change under a function, so its process packs and hashes them once."""
    return bundle(find_code())


@logger.inject_lambda_context
@tracer.capture_lambda_handler
def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Anything in, PublishedTrainer out."""
    trainer = answer(Settings.read(os.environ))
    logger.info("trainer", extra=trainer.to_value())
    return trainer.to_value()


def answer(settings: Settings) -> PublishedTrainer:
    if settings.own_image != NO_IMAGE:
        return own_trainer(settings.own_image)
    return stock_trainer(
        files(),
        artifacts(settings.artifact_bucket),
        gpu_image=settings.gpu_image,
        cpu_image=settings.cpu_image,
    )
