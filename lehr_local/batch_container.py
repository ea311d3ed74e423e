"""The process of one node of one attempt of a Batch job: its folder, its command, its environment.

Variables: docs.aws.amazon.com/batch/latest/userguide/job_env_vars.html
"""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lehr_local.ml_root import relocate, relocate_command
from lehr_local.settings import SECRET_ACCESS_KEY, LocalSettings

# Below those that systems give out by themselves.
_FIRST_PORT, _PORTS = 20_000, 10_000


@dataclass(frozen=True, kw_only=True)
class BatchContainer:
    """One node. `document` is its container of the job definition, with the overrides of the job."""

    settings: LocalSettings
    document: Mapping[str, Any]
    job_id: str
    attempt: int
    queue: str
    compute_environment: str
    array_index: int | None = None
    node_index: int | None = None
    node_count: int = 1
    main_node: int = 0

    @property
    def base(self) -> Path:
        # A folder for each attempt: on AWS it may run on another host, which has nothing of the one before.
        name = self.job_id.replace(":", "-").replace("#", "-node-")
        node = "" if self.node_index is None else f"-node-{self.node_index}"
        return self.settings.state_dir.absolute() / "jobs" / "batch" / f"{name}{node}-{self.attempt}"

    @property
    def home(self) -> Path:
        return self.base / "home"

    def prepare(self) -> None:
        shutil.rmtree(self.base, ignore_errors=True)
        self.home.mkdir(parents=True)

    def clean(self) -> None:
        """Drop the folder, as the host drops the container; the log stays."""
        shutil.rmtree(self.base, ignore_errors=True)

    def argv(self) -> list[str]:
        """The command after the ENTRYPOINT of its image; `python` and `python3` are the interpreter of the settings."""
        command = with_entrypoint(
            str(self.document.get("image", "")), list(self.document.get("command") or [])
        )
        return relocate_command(command, self.base, self.settings.python)

    def environment(self) -> dict[str, str]:
        """All variables of the process; nothing comes from the environment of the local cloud."""
        given = {
            item["name"]: relocate(item.get("value", ""), self.base)
            for item in self.document.get("environment") or []
        }
        return {
            "PATH": f"{self.settings.python.parent}:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            **given,
            "HOME": str(self.home),
            "TMPDIR": str(self.home),
            "LEHR_ML_ROOT": str(self.base),
            "AWS_REGION": self.settings.region,
            "AWS_DEFAULT_REGION": self.settings.region,
            "AWS_ENDPOINT_URL": self.settings.endpoint_url,
            "AWS_EC2_METADATA_DISABLED": "true",
            **self._credentials(),
            "AWS_BATCH_JOB_ID": self._own_id(),
            "AWS_BATCH_JOB_ATTEMPT": str(self.attempt),
            "AWS_BATCH_JQ_NAME": self.queue,
            "AWS_BATCH_CE_NAME": self.compute_environment,
            **self._place(),
        }

    def _credentials(self) -> dict[str, str]:
        # Without a job role a container on AWS has no credentials of its own.
        role = self.document.get("jobRoleArn")
        if not role:
            return {}
        return {
            "AWS_ACCESS_KEY_ID": self.settings.authority.key_of(role),
            "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        }

    def _own_id(self) -> str:
        return self.job_id if self.node_index is None else f"{self.job_id}#{self.node_index}"

    def _place(self) -> dict[str, str]:
        if self.array_index is not None:
            return {"AWS_BATCH_JOB_ARRAY_INDEX": str(self.array_index)}
        if self.node_index is None:
            return {}
        variables = {
            "AWS_BATCH_JOB_NUM_NODES": str(self.node_count),
            "AWS_BATCH_JOB_NODE_INDEX": str(self.node_index),
            "AWS_BATCH_JOB_MAIN_NODE_INDEX": str(self.main_node),
            # Nodes on AWS have an address each; here all jobs share one, so that each needs a port of its own.
            "MASTER_PORT": str(_FIRST_PORT + zlib.crc32(f"{self.job_id} {self.attempt}".encode()) % _PORTS),
        }
        if self.node_index != self.main_node:
            # On AWS too the main node is not told its own address this way.
            variables["AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS"] = "127.0.0.1"
        return variables


def with_entrypoint(image: str, command: list[str]) -> list[str]:
    """What a container of `image` runs, for the two images whose ENTRYPOINT is known here.

    Batch replaces an image's CMD, never its ENTRYPOINT. That of AWS's PyTorch training container
    (start_with_right_hostname.sh) joins the words of the command and evaluates them in its shell.
    """
    repository = image.rpartition("/")[2].partition("@")[0].partition(":")[0]
    if repository == "pytorch-training":
        return ["bash", "-c", " ".join(command)]
    if repository.endswith("-trainer"):  # built from trainer_image/Dockerfile
        return ["python", "-m", "lehr_trainer", *(command or ["train"])]
    return command
