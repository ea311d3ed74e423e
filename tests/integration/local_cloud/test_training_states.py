"""The states of a trial as they stand in the state machine, run by the interpreter, with a trainer of a few lines.

What lies around them is left out: the variables that earlier states assign are given, and the Map is the whole machine.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from lehr.attempts import attempts_of
from lehr.channel_lists import write_channel_list
from lehr.contracts.recipe_tables import Backend
from tests.integration.local_cloud.orchestration_cloud import BUCKET, Orchestration, orchestration, unique
from tests.integration.local_cloud.test_batch_jobs import PRELUDE, container, describe, log

__all__ = ["orchestration"]

ROOT = Path(__file__).parents[3]
KEY = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"
# Says where it runs; of several nodes all do.
TELLS = """
told = {name: value for name, value in os.environ.items() if name[:4] in ('LEHR', 'AWS_')}
print(json.dumps(told), flush=True)
"""
# The job ends with its main node, which therefore waits until the other one has spoken.
WAITS = """
spoken = pathlib.Path(SPOKEN)
if os.environ['AWS_BATCH_JOB_NODE_INDEX'] == '1': spoken.touch()
while not spoken.exists(): time.sleep(0.02)
"""
FAILS = "print('no such layer'); sys.exit(3)"


class Trials:
    """A local cloud with the two queues and the two job definitions that a stack with Batch has."""

    def __init__(self, cloud: Orchestration) -> None:
        self.cloud = cloud
        self.batch = cloud.client("batch")
        self.spot, self.on_demand = self._queue("SPOT"), self._queue("EC2")

    def _queue(self, kind: str) -> str:
        name = unique(kind)
        environment = self.batch.create_compute_environment(
            computeEnvironmentName=name,
            type="MANAGED",
            computeResources={
                "type": kind,
                "minvCpus": 0,
                "maxvCpus": 64,
                "instanceTypes": ["g5"],
                "subnets": ["subnet-of-the-user"],
                "securityGroupIds": ["sg-of-the-user"],
                "instanceRole": "ecsInstanceRole",
            },
        )["computeEnvironmentArn"]
        order = [{"order": 1, "computeEnvironment": environment}]
        arn: str = self.batch.create_job_queue(
            jobQueueName=name, priority=1, state="ENABLED", computeEnvironmentOrder=order
        )["jobQueueArn"]
        return arn

    def run(self, backend: Backend, script: str, **substitutions: str) -> list[dict[str, Any]]:
        """What TrainTrials gives for one trial."""
        machine = self._machine(script, substitutions)
        end = self.cloud.run(machine, self._variables(backend))
        assert end["status"] == "SUCCEEDED", end
        results: list[dict[str, Any]] = json.loads(end["output"])
        return results

    def _machine(self, script: str, substitutions: dict[str, str]) -> dict[str, Any]:
        single, several = self._definitions(script)
        given = {
            "StackName": "lehr-test",
            "JobPrefix": "lehr-51af3dc0-",
            "TrainingRoleArn": "arn:aws:iam::123456789012:role/training",
            "TrainerImageUri": "trainer:1",
            "KmsKeyArn": "",
            "TrainingSubnetIds": "",
            "TrainingSecurityGroupIds": "",
            "BatchSpotQueue": self.spot,
            "BatchQueue": self.on_demand,
            "BatchJobDefinition": single,
            "BatchNodesJobDefinition": several,
        } | substitutions
        trials = yaml.safe_load((ROOT / "statemachine/retrain.asl.yaml").read_text())["States"]["TrainTrials"]
        states = trials["ItemProcessor"]["States"]
        states["RequestTraining"]["Output"]["AlgorithmSpecification"] = {
            "TrainingImage": "trainer:1",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python3", "-c"],
            "ContainerArguments": [PRELUDE + script],
        }
        text = json.dumps(trials)
        for name, value in given.items():
            text = text.replace(f"${{{name}}}", value)
        trials = json.loads(text)
        del trials["Catch"]
        assign = {name: f"{{% $states.input.{name} %}}" for name in self._variables(Backend())}
        return {
            "Given": {"Type": "Pass", "Assign": assign, "Next": "TrainTrials"},
            "TrainTrials": trials | {"Next": "Results"},
            "Results": {"Type": "Pass", "Output": "{% $results %}", "End": True},
        }

    def _definitions(self, script: str) -> tuple[str, str]:
        single = self.batch.register_job_definition(
            jobDefinitionName=unique("single"), type="container", containerProperties=container(script)
        )
        nodes = [{"targetNodes": "0:", "container": container(script)}]
        several = self.batch.register_job_definition(
            jobDefinitionName=unique("several"),
            type="multinode",
            nodeProperties={"numNodes": 2, "mainNode": 0, "nodeRangeProperties": nodes},
        )
        return single["jobDefinitionArn"], several["jobDefinitionArn"]

    def _variables(self, backend: Backend) -> dict[str, Any]:
        run, prefix = unique("")[1:], f"s3://{BUCKET}/"
        for name in ("code", "manifest", "shards"):
            self.cloud.put(f"{name}/file", b"x")
        self.cloud.put("train.json", write_channel_list(f"{prefix}shards/", ["file"]))
        return {
            "project": "mnist",
            "run": run,
            "codeUri": f"{prefix}code/",
            "dataset": {
                "manifest_uri": f"{prefix}manifest/",
                "train_uri": f"{prefix}train.json",
                "validation_uri": "",
                "rows": {"validation": 0},
            },
            "proposal": {"trials": [{"id": "0", "name": "0", "hyperparameters": {"epochs": "5"}}]},
            "trialConcurrency": 1,
            "attempts": msgspec.to_builtins(attempts_of(backend)),
            "resources": {
                "instance_type": backend.instance_type,
                "instance_count": backend.instance_count,
                "volume_gb": 50,
                "max_runtime_s": 600,
                "vcpus": 1,
                "memory_mb": 2048,
                "gpus": 0,
            },
            # An image of one's own: the stand-ins below need no source.
            "trainer": {
                "version": "",
                "uri": "",
                "gpu_image": "i",
                "cpu_image": "i",
                "entrypoint": ["python", "-m", "lehr_trainer"],
            },
            "checkpointPrefix": f"{prefix}runs/{run}/checkpoints/",
            "outputPrefix": f"{prefix}runs/{run}/trials/",
            "initialVersion": "",
            "initialUri": "",
        }

    def batch_job(self, name: str, queue: str) -> dict[str, Any]:
        """Batch's description of the one job of this name."""
        filters = [{"name": "JOB_NAME", "values": [name]}]
        (found,) = self.batch.list_jobs(jobQueue=queue, filters=filters)["jobSummaryList"]
        return describe(self.cloud, found["jobId"])


@pytest.fixture(scope="module")
def trials(orchestration: Orchestration) -> Trials:
    return Trials(orchestration)


def on_batch(**members: Any) -> Backend:
    return Backend(kind="batch", **members)


def test_a_job_of_two_nodes_is_submitted_on_demand_with_the_same_settings_for_both(trials: Trials) -> None:
    script = TELLS + WAITS.replace("SPOKEN", repr(str(trials.cloud.state_dir / unique("spoken"))))
    (result,) = trials.run(on_batch(instance_count=2, instance_type="ml.g5.2xlarge"), script)
    assert result["status"] == "Completed"
    assert result["job"].endswith("-0-a0r0d0")
    assert (result["instance_type"], result["earlier"]) == ("g5.2xlarge", [])
    job = trials.batch_job(result["job"], trials.on_demand)
    assert job["nodeProperties"]["numNodes"] == 2
    assert job["tags"]["lehr:stack"] == "lehr-test"
    for node in range(2):
        found = describe(trials.cloud, f"{job['jobId']}#{node}")
        assert found["container"]["instanceType"] == "g5.2xlarge"
        (line,) = log(trials.cloud, found)
        told = json.loads(line)
        assert (told["AWS_BATCH_JOB_NUM_NODES"], told["AWS_BATCH_JOB_NODE_INDEX"]) == ("2", str(node))
        assert (told["LEHR_PROJECT"], told["LEHR_TRIAL"]) == ("mnist", "0")
        assert json.loads(told["LEHR_HYPERPARAMETERS"]) == {"epochs": "5"}


def test_a_job_of_one_node_has_neither_nodes_nor_an_instance_type(trials: Trials) -> None:
    (result,) = trials.run(on_batch(), TELLS)
    job = trials.batch_job(result["job"], trials.spot)
    assert "nodeProperties" not in job
    assert "instanceType" not in job["container"]
    (line,) = log(trials.cloud, job)
    assert "AWS_BATCH_JOB_NUM_NODES" not in json.loads(line)


def test_a_job_of_two_nodes_that_fails_ends_its_trial_under_its_own_name(trials: Trials) -> None:
    (result,) = trials.run(on_batch(instance_count=2), FAILS)
    assert (result["status"], result["earlier"]) == ("Failed", [])
    assert trials.batch_job(result["job"], trials.on_demand)["status"] == "FAILED"


def test_a_training_job_carries_key_subnets_and_warm_pool_through_the_interpreter(trials: Trials) -> None:
    backend = Backend(spot=False, instance_type="ml.c5.xlarge", instance_count=2, keep_alive_s=60)
    (result,) = trials.run(
        backend,
        "pass",
        KmsKeyArn=KEY,
        TrainingSubnetIds="subnet-12345678,subnet-87654321",
        TrainingSecurityGroupIds="sg-12345678",
    )
    assert result["status"] == "Completed"
    job = trials.cloud.job(result["job"])
    assert job["ResourceConfig"] == {
        "InstanceType": "ml.c5.xlarge",
        "InstanceCount": 2,
        "VolumeSizeInGB": 50,
        "VolumeKmsKeyId": KEY,
        "KeepAlivePeriodInSeconds": 60,
    }
    assert job["OutputDataConfig"]["KmsKeyId"] == KEY
    assert job["VpcConfig"]["Subnets"] == ["subnet-12345678", "subnet-87654321"]
    assert job["EnableInterContainerTrafficEncryption"] is True


def test_without_them_a_training_job_has_none_and_goes_on_to_the_next_attempt_under_another_name(
    trials: Trials,
) -> None:
    script = (
        "failure = pathlib.Path(os.environ['LEHR_ML_ROOT']) / 'output/failure'\n"
        "if '-a0' in os.environ['TRAINING_JOB_NAME']:\n"
        "    failure.write_text('CapacityError: none is left')\n    sys.exit(1)"
    )
    (result,) = trials.run(Backend(), script)
    assert result["job"].endswith("-0-a1r0d0")
    assert [attempt["job"] for attempt in result["earlier"]] == [result["job"].replace("-a1", "-a0")]
    job = trials.cloud.job(result["job"])
    assert not job.get("VpcConfig")
    assert not {"VolumeKmsKeyId", "KeepAlivePeriodInSeconds"} & job["ResourceConfig"].keys()
    assert "KmsKeyId" not in job["OutputDataConfig"]
