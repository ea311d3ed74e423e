"""Which cloud a command talks to: the one that AWS_ENDPOINT_URL names, the local one of this folder, or AWS."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from lehr_cli.failures import CommandError

STATE_DIR = ".lehr"
_LOCAL_KEYS = ("local", "local-secret")  # accepted by a local cloud only; its info document may name others
_CONFIG = Config(connect_timeout=3, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 4})


@dataclass(frozen=True, kw_only=True)
class Target:
    """A cloud and the session that reaches it; `info` is the local cloud's own description of itself."""

    session: Any
    region: str
    endpoint_url: str | None = None
    info: Mapping[str, Any] | None = None

    @property
    def is_local(self) -> bool:
        return self.info is not None

    @property
    def poll_s(self) -> float:
        """How long to wait between two looks at a run: AWS counts and limits the calls."""
        return 0.3 if self.endpoint_url else 2.0

    @property
    def ca_file(self) -> Path | None:
        return Path(self.info["ca_file"]) if self.info and self.info.get("ca_file") else None

    def client(self, service: str) -> Any:
        return self.session.client(service, endpoint_url=self.endpoint_url, config=_CONFIG)

    def table(self, name: str) -> Any:
        resource = self.session.resource("dynamodb", endpoint_url=self.endpoint_url, config=_CONFIG)
        return resource.Table(name)

    def describe(self) -> str:
        """The dim line that says where the command works."""
        if self.is_local:
            return f"local cloud at {self.endpoint_url}"
        if self.endpoint_url:
            return f"cloud at {self.endpoint_url} (AWS_ENDPOINT_URL)"
        account = self.client("sts").get_caller_identity()["Account"]
        return f"AWS, account {account}, region {self.region}"


def choose_target(
    *,
    is_aws: bool,
    region: str | None,
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Target:
    """Find the cloud to talk to. Raises CommandError when the environment and --aws contradict each other."""
    environ = os.environ if environ is None else environ
    named = environ.get("AWS_ENDPOINT_URL")
    if named and is_aws:
        raise CommandError(
            f"--aws asks for AWS, but AWS_ENDPOINT_URL is set to {named}",
            "run `unset AWS_ENDPOINT_URL`, or drop --aws",
        )
    # boto3 reads AWS_DEFAULT_REGION only; the other SDKs, and the command line of AWS, read this one first.
    region = region or environ.get("AWS_REGION")
    info = None if is_aws else running_local_cloud(folder or Path.cwd())
    if named and (info is None or not _same_place(named, str(info["endpoint_url"]))):
        session = boto3.Session(region_name=region)
        return Target(session=session, region=_region(session), endpoint_url=named)
    if info is not None:
        return local_target(info)
    session = boto3.Session(region_name=region)
    return Target(session=session, region=_region(session))


def local_target(info: Mapping[str, Any]) -> Target:
    """The target that a local cloud's info document describes."""
    key, secret = local_credentials(info)
    session = boto3.Session(
        aws_access_key_id=key, aws_secret_access_key=secret, region_name=str(info["region"])
    )
    return Target(
        session=session, region=str(info["region"]), endpoint_url=str(info["endpoint_url"]), info=info
    )


def local_credentials(info: Mapping[str, Any]) -> tuple[str, str]:
    """Access key id and secret of a local cloud."""
    return (
        str(info.get("access_key_id", _LOCAL_KEYS[0])),
        str(info.get("secret_access_key", _LOCAL_KEYS[1])),
    )


def running_local_cloud(folder: Path) -> Mapping[str, Any] | None:
    """The info document of the local cloud started in `folder`, if it is alive and listening."""
    try:
        info: Mapping[str, Any] = json.loads((folder / STATE_DIR / "local.json").read_bytes())
        os.kill(int(info["pid"]), 0)
        # The pid may have been given to another process since, so the port has to answer too.
        with socket.create_connection(("localhost", int(info["port"])), timeout=1.0):
            return info
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _region(session: Any) -> str:
    if not session.region_name:
        raise CommandError(
            "no local cloud runs in this folder, and no AWS region is set",
            "run `lehr local up` for the one, or add --region eu-west-1 for the other",
        )
    return str(session.region_name)


def _same_place(one: str, other: str) -> bool:
    return urlsplit(one).port == urlsplit(other).port and urlsplit(one).hostname in {"localhost", "127.0.0.1"}
