"""The `/opt/ml` contract of a SageMaker training container, as a folder and an environment.

Contract: docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lehr_local.ml_root import ML_ROOT, relocate, relocate_command
from lehr_local.settings import SECRET_ACCESS_KEY, LocalSettings

FIRST_HOST = "algo-1"
# SageMaker keeps this much of output/failure in the reason of the failure.
_FAILURE_LIMIT = 1024


@dataclass(frozen=True)
class TrainingContainer:
    """The folder of one job on one of its hosts. `request` is the body of CreateTrainingJob.

    The names of the hosts lead nowhere on this machine, so that jobs of several are told where the first one listens.
    """

    settings: LocalSettings
    request: Mapping[str, Any]
    host: str = FIRST_HOST
    master_port: int = 0

    @property
    def name(self) -> str:
        return str(self.request["TrainingJobName"])

    @property
    def hosts(self) -> list[str]:
        """Of the whole job, the first one first."""
        return [f"algo-{number + 1}" for number in range(instance_count(self.request))]

    @property
    def is_first(self) -> bool:
        return self.host == FIRST_HOST

    def on_all_hosts(self) -> list[TrainingContainer]:
        """One for each host of the job; this one is of the first."""
        if len(self.hosts) == 1:
            return [self]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        return [dataclasses.replace(self, host=host, master_port=port) for host in self.hosts]

    @property
    def base(self) -> Path:
        jobs = self.settings.state_dir.absolute() / "jobs"
        # No job's name has an @.
        return jobs / (self.name if self.is_first else f"{self.name}@{self.host}")

    @property
    def model_dir(self) -> Path:
        return self.base / "model"

    @property
    def output_data_dir(self) -> Path:
        return self.base / "output" / "data"

    @property
    def checkpoint_dir(self) -> Path:
        config = self.request.get("CheckpointConfig") or {}
        return Path(relocate(config.get("LocalPath") or f"{ML_ROOT}/checkpoints", self.base))

    @property
    def home(self) -> Path:
        return self.base / "home"

    def channel_dir(self, channel: str) -> Path:
        return self.base / "input" / "data" / channel

    def prepare(self) -> None:
        """Make the folders and the files under input/config; what a former job of this name left is removed."""
        shutil.rmtree(self.base, ignore_errors=True)
        for folder in (self.model_dir, self.output_data_dir, self.checkpoint_dir, self.home):
            folder.mkdir(parents=True)
        for channel in self._channels():
            self.channel_dir(channel).mkdir(parents=True)
        config = self.base / "input" / "config"
        config.mkdir(parents=True)
        (config / "hyperparameters.json").write_text(json.dumps(self._hyperparameters()))
        (config / "inputdataconfig.json").write_text(json.dumps(self._channels()))
        (config / "resourceconfig.json").write_text(json.dumps(self._resources()))

    def argv(self) -> list[str]:
        """What is run: ContainerEntrypoint and ContainerArguments.

        `python` and `python3` are the interpreter of the settings. Without an entry point it is
        `python -m lehr_trainer train`, which is what the ENTRYPOINT of the trainer's image and SageMaker's
        default argument come to.
        """
        algorithm = self.request["AlgorithmSpecification"]
        entrypoint = list(algorithm.get("ContainerEntrypoint") or [])
        arguments = list(algorithm.get("ContainerArguments") or [])
        if not entrypoint:
            entrypoint, arguments = ["python", "-m", "lehr_trainer"], arguments or ["train"]
        return relocate_command([*entrypoint, *arguments], self.base, self.settings.python)

    def environment(self) -> dict[str, str]:
        """All variables of the process; nothing comes from the environment of the local cloud."""
        environment = {
            "PATH": f"{self.settings.python.parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "AWS_REGION": self.settings.region,
            "AWS_DEFAULT_REGION": self.settings.region,
            # Without it the SDK looks for credentials on the network of a machine that is not in AWS.
            "AWS_EC2_METADATA_DISABLED": "true",
            "LEHR_ML_ROOT": str(self.base),
            "TRAINING_JOB_NAME": self.name,
            "TRAINING_JOB_ARN": (
                f"arn:aws:sagemaker:{self.settings.region}:{self.settings.account_id}:training-job/{self.name}"
            ),
            **self._toolkit_variables(),
        }
        if self.master_port:
            environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(self.master_port)}
        if not self.request.get("EnableNetworkIsolation"):
            environment |= {
                "AWS_ENDPOINT_URL": self.settings.endpoint_url,
                "AWS_ACCESS_KEY_ID": self.settings.authority.key_of(self.request["RoleArn"]),
                "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
            }
        own = self.request.get("Environment") or {}
        return environment | {name: relocate(value, self.base) for name, value in own.items()}

    def failure_text(self) -> str:
        """What the trainer wrote to output/failure, or nothing."""
        path = self.base / "output" / "failure"
        return path.read_text(errors="replace")[:_FAILURE_LIMIT].strip() if path.is_file() else ""

    def clean(self) -> None:
        """Remove all but input/config and output/failure, by which a person can see what the job was."""
        for folder in (
            self.base / "input" / "data",
            self.base / "trainer",
            self.model_dir,
            self.output_data_dir,
            self.checkpoint_dir,
            self.home,
        ):
            shutil.rmtree(folder, ignore_errors=True)

    def _toolkit_variables(self) -> dict[str, str]:
        # Those of the SageMaker training toolkit, which AWS's framework images run.
        resources, hyperparameters, channels = self._resources(), self._hyperparameters(), self._channels()
        fixed = {
            "SM_MODEL_DIR": str(self.model_dir),
            "SM_INPUT_DIR": str(self.base / "input"),
            "SM_INPUT_CONFIG_DIR": str(self.base / "input" / "config"),
            "SM_OUTPUT_DIR": str(self.base / "output"),
            "SM_OUTPUT_DATA_DIR": str(self.output_data_dir),
            "SM_CURRENT_HOST": self.host,
            "SM_HOSTS": json.dumps(self.hosts),
            "SM_CURRENT_INSTANCE_TYPE": resources["current_instance_type"],
            "SM_NETWORK_INTERFACE_NAME": "lo",
            "SM_NUM_CPUS": str(os.cpu_count() or 1),
            "SM_NUM_GPUS": str(len(list(Path("/dev").glob("nvidia[0-9]*")))),
            "SM_HPS": json.dumps(hyperparameters),
            "SM_CHANNELS": json.dumps(sorted(channels)),
            "SM_INPUT_DATA_CONFIG": json.dumps(channels),
            "SM_RESOURCE_CONFIG": json.dumps(resources),
            "SM_TRAINING_ENV": json.dumps({"job_name": self.name, "hyperparameters": hyperparameters}),
        }
        by_channel = {f"SM_CHANNEL_{name.upper()}": str(self.channel_dir(name)) for name in channels}
        by_name = {f"SM_HP_{name.upper()}": value for name, value in hyperparameters.items()}
        return fixed | by_channel | by_name

    def _hyperparameters(self) -> dict[str, str]:
        return {name: str(value) for name, value in (self.request.get("HyperParameters") or {}).items()}

    def _channels(self) -> dict[str, dict[str, str]]:
        return {
            channel["ChannelName"]: {
                "TrainingInputMode": "File",
                "S3DistributionType": "FullyReplicated",
                "RecordWrapperType": channel.get("RecordWrapperType") or "None",
                **({"ContentType": channel["ContentType"]} if channel.get("ContentType") else {}),
            }
            for channel in self.request.get("InputDataConfig") or []
        }

    def _resources(self) -> dict[str, Any]:
        instance_type = selected_instance_type(self.request)
        return {
            "current_host": self.host,
            "current_instance_type": instance_type,
            "current_group_name": "homogeneousCluster",
            "hosts": self.hosts,
            "instance_groups": [
                {
                    "instance_group_name": "homogeneousCluster",
                    "instance_type": instance_type,
                    "hosts": self.hosts,
                }
            ],
            "network_interface_name": "lo",
        }


def instance_count(request: Mapping[str, Any]) -> int:
    """How many hosts the job has: the number beside the type, or that of the first of its preferences."""
    resources = request["ResourceConfig"]
    preferences = resources.get("InstancePreferences") or [{}]
    return int(resources.get("InstanceCount") or preferences[0].get("InstanceCount") or 1)


def selected_instance_type(request: Mapping[str, Any]) -> str:
    """The type that the job runs on: the one named, or the first of its preferences."""
    resources = request["ResourceConfig"]
    preferences = [item.get("InstanceType") for item in resources.get("InstancePreferences") or []]
    return str(resources.get("InstanceType") or next(iter(preferences), "") or "")
