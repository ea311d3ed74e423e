"""Where the local cloud lives and listens: the one value every part of it is handed."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from lehr_local.authority import USER_KEY_ID, Authority, NoAuthority

ACCOUNT_ID = "123456789012"
REGION = "us-east-1"
ACCESS_KEY_ID = USER_KEY_ID
SECRET_ACCESS_KEY = "local-secret"


@dataclass(frozen=True, kw_only=True)
class LocalSettings:
    """Configuration of one local cloud.

    `state_dir` holds everything it writes (code of functions, training jobs, log, certificate);
    `python` is the interpreter of the handlers and of the trainer; `authority` says who may do what.
    """

    state_dir: Path
    port: int
    https_port: int
    account_id: str = ACCOUNT_ID
    region: str = REGION
    python: Path = field(default_factory=lambda: Path(sys.executable))
    authority: Authority = field(default_factory=NoAuthority, compare=False, repr=False)

    @property
    def endpoint_url(self) -> str:
        """What `AWS_ENDPOINT_URL` is set to; moto's URL patterns want `localhost`, not 127.0.0.1."""
        return f"http://localhost:{self.port}"

    @property
    def ca_file(self) -> Path:
        return self.state_dir / "ca.pem"
