"""The rank of a process is a function of what the services say."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from lehr.contracts.recipe_tables import Training
from lehr_trainer.errors import JobInputError
from lehr_trainer.launch import process_failure
from lehr_trainer.processes import refuse_misfits
from lehr_trainer.ranks import Ranks, find_ranks

THREE = ["algo-1", "algo-2", "algo-3"]
MAIN = {"AWS_BATCH_JOB_NUM_NODES": "3", "AWS_BATCH_JOB_NODE_INDEX": "0", "AWS_BATCH_JOB_MAIN_NODE_INDEX": "0"}
CHILD = MAIN | {
    "AWS_BATCH_JOB_NODE_INDEX": "2",
    "AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS": "10.0.0.7",
}
TORCHRUN = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "algo-1",
    "MASTER_PORT": "29511",
}


def sagemaker(current: str, hosts: list[str] | None = None) -> dict[str, Any]:
    return {"current_host": current, "hosts": hosts or THREE, "network_interface_name": "eth0"}


def toolkit(current: str, hosts: list[str] | None = None) -> dict[str, str]:
    return {"SM_CURRENT_HOST": current, "SM_HOSTS": json.dumps(hosts or THREE)}


@pytest.mark.parametrize(
    ("environ", "resources", "processes", "expected"),
    [
        ({}, {}, 1, Ranks()),
        ({}, {}, 4, Ranks(world_size=4, processes_per_node=4)),
        ({}, sagemaker("algo-1", ["algo-1"]), 1, Ranks()),
        (
            {},
            sagemaker("algo-3"),
            1,
            Ranks(rank=2, world_size=3, master_address="algo-1", node_count=3, interface="eth0"),
        ),
        (
            {},
            sagemaker("algo-2", ["algo-2", "algo-1"]),
            8,
            Ranks(
                rank=8,
                world_size=16,
                master_address="algo-1",
                node_count=2,
                processes_per_node=8,
                interface="eth0",
            ),
        ),
        (toolkit("algo-2"), {}, 1, Ranks(rank=1, world_size=3, master_address="algo-1", node_count=3)),
        (
            toolkit("algo-2"),
            sagemaker("algo-2"),
            1,
            Ranks(rank=1, world_size=3, master_address="algo-1", node_count=3, interface="eth0"),
        ),
        (MAIN, {}, 1, Ranks(world_size=3, master_address="127.0.0.1", node_count=3)),
        (
            CHILD,
            {},
            2,
            Ranks(rank=4, world_size=6, master_address="10.0.0.7", node_count=3, processes_per_node=2),
        ),
        (
            MAIN | {"AWS_BATCH_JOB_MAIN_NODE_INDEX": "2"} | {"AWS_BATCH_JOB_NODE_INDEX": "2"},
            {},
            1,
            Ranks(world_size=3, master_address="127.0.0.1", node_count=3),
        ),
        (MAIN | {"AWS_BATCH_JOB_NUM_NODES": "1"}, {}, 1, Ranks()),
        (MAIN | {"AWS_BATCH_JOB_NUM_NODES": "1"}, sagemaker("algo-1", ["algo-1"]), 1, Ranks()),
        (
            {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "31000"},
            sagemaker("algo-1"),
            1,
            Ranks(
                world_size=3, master_address="127.0.0.1", master_port=31000, node_count=3, interface="eth0"
            ),
        ),
        ({"MASTER_ADDR": "10.0.0.1"}, {}, 1, Ranks()),
        (
            TORCHRUN | toolkit("algo-1") | CHILD,
            sagemaker("algo-1"),
            1,
            Ranks(
                rank=5,
                local_rank=1,
                world_size=8,
                master_address="algo-1",
                master_port=29511,
                node_count=2,
                processes_per_node=4,
                is_launched=True,
            ),
        ),
    ],
)
def test_ranks(environ: dict[str, str], resources: dict[str, Any], processes: int, expected: Ranks) -> None:
    assert find_ranks(environ, resources, processes=processes) == expected


@pytest.mark.parametrize(
    ("environ", "resources", "message"),
    [
        ({"RANK": "0"}, {}, "WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT are not set"),
        (TORCHRUN | {"RANK": "8"}, {}, r"RANK is '8' \(it is a whole number, 0 or more and below 8\)"),
        (TORCHRUN | {"LOCAL_RANK": "2"}, {}, "RANK 5 and LOCAL_RANK 2 do not fit 4 processes a host"),
        (TORCHRUN | {"WORLD_SIZE": "7"}, {}, "WORLD_SIZE 7 is no multiple of LOCAL_WORLD_SIZE 4"),
        (TORCHRUN | {"MASTER_PORT": "x"}, {}, "MASTER_PORT is 'x'"),
        ({}, sagemaker("algo-9"), "the current host 'algo-9' is none of algo-1, algo-2, algo-3"),
        ({}, sagemaker("algo-1", ["algo-1", "algo-1"]), "names a host twice"),
        ({}, {"hosts": "algo-1"}, "the hosts are no list of names"),
        ({"SM_HOSTS": "[", "SM_CURRENT_HOST": "algo-1"}, {}, "SM_HOSTS: is not JSON"),
        (toolkit("algo-1"), sagemaker("algo-2"), "says algo-2 of .*, and SM_HOSTS says algo-1 of"),
        (CHILD, sagemaker("algo-1"), "names 3 hosts, and AWS_BATCH_JOB_NUM_NODES is 3"),
        (MAIN | {"AWS_BATCH_JOB_NODE_INDEX": "3"}, {}, "NODE_INDEX is '3'"),
        (MAIN | {"AWS_BATCH_JOB_NODE_INDEX": "1"}, {}, "MAIN_NODE_PRIVATE_IPV4_ADDRESS is not set on node 1"),
        ({"AWS_BATCH_JOB_NUM_NODES": "2"}, {}, "AWS_BATCH_JOB_NODE_INDEX is ''"),
        ({"AWS_BATCH_JOB_NUM_NODES": "two"}, {}, "AWS_BATCH_JOB_NUM_NODES is 'two'"),
    ],
)
def test_what_is_incomplete_or_contradicts_itself_is_refused(
    environ: dict[str, str], resources: dict[str, Any], message: str
) -> None:
    with pytest.raises(JobInputError, match=message):
        find_ranks(environ, resources)


def test_the_ranks_of_all_hosts_are_all_ranks_once() -> None:
    hosts = [f"algo-{number}" for number in range(1, 13)]
    ranks = [find_ranks({}, sagemaker(host, hosts), processes=4) for host in hosts]
    assert sorted(one.rank + local for one in ranks for local in range(4)) == list(range(48))
    assert {one.master_address for one in ranks} == {"algo-1"}
    assert sorted(one.node for one in ranks) == list(range(12))


@pytest.mark.parametrize(
    ("ends", "message", "was_killed"),
    [
        ({1: 1, 0: 1}, "the process of rank 0 ended with exit code 1", False),
        ({0: 1, 3: -signal.SIGSEGV}, "the process of rank 3 was killed by SIGSEGV", True),
        ({0: -signal.SIGTERM, 1: 2}, "the process of rank 0 ended with exit code -15", False),
        (
            {2: -signal.SIGKILL},
            "the process of rank 2 was killed by SIGKILL: the host may have run out of",
            True,
        ),
    ],
)
def test_the_process_that_was_killed_is_told_of(ends: dict[int, int], message: str, was_killed: bool) -> None:
    failure = process_failure(ends)
    assert str(failure).startswith(message)
    assert failure.was_killed is was_killed


@pytest.mark.parametrize(
    ("training", "ranks", "message"),
    [
        (Training(batch_size=4), Ranks(world_size=5), "batch_size is 4, fewer rows than the 5 processes"),
        (Training(sharding="fsdp"), Ranks(), 'sharding = "fsdp" has one process'),
    ],
)
def test_settings_that_make_no_sense_for_the_processes_are_refused(
    training: Training, ranks: Ranks, message: str
) -> None:
    with pytest.raises(JobInputError, match=message):
        refuse_misfits(training, ranks)
