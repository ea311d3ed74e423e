"""A local S3, DynamoDB and KMS: moto in a process of its own, with the project's bucket, registry table and key."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import boto3

from benchmarks.rig.process import Child, free_port
from lehr.aws.registry import DynamoModelRegistry
from lehr.aws.s3 import S3ObjectStore

ROOT = Path(__file__).parents[2]
BUCKET = "artifacts"
TABLE = "registry"
REGION = "us-east-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local-secret"}


class LocalStore:
    """moto's server on the loopback interface. `endpoint_url` is what AWS_ENDPOINT_URL is set to."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.endpoint_url = f"http://localhost:{self.port}"
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder)}
        self._process = Child(command, environment=environment, folder=folder, log=folder / "store.log")
        try:
            self._process.wait_for_port(self.port)
            self._client("s3").create_bucket(Bucket=BUCKET)
            self._client("dynamodb").create_table(
                TableName=TABLE,
                AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
                KeySchema=[
                    {"AttributeName": "pk", "KeyType": "HASH"},
                    {"AttributeName": "sk", "KeyType": "RANGE"},
                ],
                BillingMode="PAY_PER_REQUEST",
            )
        except BaseException:
            self.close()
            raise
        made = self._client("kms").create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
        self.signing_key: str = made["KeyMetadata"]["Arn"]
        self.objects = S3ObjectStore(BUCKET, self._client("s3"))
        self.registry = DynamoModelRegistry(
            self._session().resource("dynamodb", endpoint_url=self.endpoint_url).Table(TABLE)
        )

    def environment(self, endpoint_url: str = "") -> dict[str, str]:
        """What a process needs to reach it, directly or by another address that leads to it."""
        return CREDENTIALS | {
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": endpoint_url or self.endpoint_url,
        }

    def close(self) -> None:
        self._process.close()

    def _session(self) -> Any:
        return boto3.Session(
            CREDENTIALS["AWS_ACCESS_KEY_ID"], CREDENTIALS["AWS_SECRET_ACCESS_KEY"], region_name=REGION
        )

    def _client(self, service: str) -> Any:
        return self._session().client(service, endpoint_url=self.endpoint_url)
