"""Step Functions of the local cloud: moto's interpreter with its gaps filled.

moto carries LocalStack's interpreter of the states language, without its JSONata evaluator, without SageMaker
and with some conversions cut out. Each gap is filled in a module of its own, which alone touches the private
names it needs; this one puts them in place, and decides how the interpreter reaches the other services.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

import boto3
from botocore.config import Config
from moto.core.config import default_user_config
from moto.stepfunctions.parser.asl.utils import boto_client

from lehr_local import (
    api_errors,
    execution_records,
    jsonata_fields,
    service_calls,
    service_tasks,
    state_failures,
    state_roles,
)
from lehr_local.settings import ACCESS_KEY_ID, SECRET_ACCESS_KEY, LocalSettings


def install(settings: LocalSettings) -> None:
    """Make moto, in this process, run state machines as the design uses them. Idempotent.

    Has to be called before the server starts. `settings` say where the interpreter calls the other services.
    """
    # The interpreter finds the server by this variable and by nothing else.
    os.environ["MOTO_PORT"] = str(settings.port)
    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    boto_client.boto3 = CachedClients()
    # It logs every failing state with the whole of its definition; the reason stands in the history.
    logging.getLogger("moto.stepfunctions.parser").setLevel(logging.CRITICAL)
    service_calls.install()
    service_tasks.install()
    state_failures.install()
    state_roles.install(settings)
    jsonata_fields.install()
    execution_records.install()
    api_errors.install()


class CachedClients:
    """Stands in for boto3 in the interpreter, which would make a client, in some 50 ms, for every call."""

    def __init__(self) -> None:
        self._session = boto3.Session()
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, str, str], Any] = {}

    def client(self, *, service_name: str, region_name: str, config: Config, **options: Any) -> Any:
        """One client for each service, region and key; botocore's clients may be shared between threads."""
        with self._lock:
            access_key_id = options.get("access_key_id", ACCESS_KEY_ID)
            key = (service_name, region_name, access_key_id)
            if key not in self._clients:
                self._clients[key] = self._session.client(
                    service_name=service_name,
                    region_name=region_name,
                    endpoint_url=options.get("endpoint_url"),
                    aws_access_key_id=access_key_id,
                    aws_secret_access_key=SECRET_ACCESS_KEY,
                    config=config.merge(Config(max_pool_connections=64)),
                )
            return self._clients[key]
