"""Which process of how many this is: one pure function from what a service says to ranks.

Read in this order, the first that speaks is believed:

1. torchrun's variables (RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT): a process that a
   launcher has started;
2. SageMaker's resourceconfig.json (`hosts`, `current_host`, `network_interface_name`);
3. the same as SM_HOSTS, SM_CURRENT_HOST and SM_NETWORK_INTERFACE_NAME;
4. AWS Batch's variables of a multi-node job (AWS_BATCH_JOB_NUM_NODES, ..._NODE_INDEX, ..._MAIN_NODE_INDEX,
   ..._MAIN_NODE_PRIVATE_IPV4_ADDRESS, which the main node itself is not given);
5. nothing: one host.

What is incomplete is an error, and so are two that name different jobs. In the cases 2 to 5 this is the process that
launches the others of its host (`launch.py`), and the ranks are those of the first that it will start. The first host
in the order of the names, or Batch's main node, has rank 0. MASTER_ADDR and MASTER_PORT may be set alone, where that
host listens at another address than its name or at another port than 29500.

Variables: https://docs.pytorch.org/docs/stable/elastic/run.html, https://docs.aws.amazon.com/sagemaker/latest/dg/
your-algorithms-training-algo-running-container.html, https://docs.aws.amazon.com/batch/latest/userguide/job_env_vars.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from lehr_trainer.errors import JobInputError

MASTER_PORT = 29500
RESOURCES = "input/config/resourceconfig.json"
_LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_BATCH = "AWS_BATCH_JOB_"
# Unlimited, for a number that has no upper bound of its own.
_MANY = 2**31


class Ranks(msgspec.Struct, frozen=True, kw_only=True):
    """The place of a process. `master_address` is empty where nobody else has to find it: on one host.

    `interface` is the network interface between the hosts, if it was named. `is_launched`: by a launcher, which has
    given it its rank; otherwise this process has to launch `processes_per_node` if `world_size` is more than 1.
    """

    rank: int = 0
    local_rank: int = 0
    world_size: int = 1
    master_address: str = ""
    master_port: int = MASTER_PORT
    node_count: int = 1
    processes_per_node: int = 1
    interface: str = ""
    is_launched: bool = False

    @property
    def node(self) -> int:
        """The number of its host, from 0."""
        return self.rank // self.processes_per_node


def is_launched(environ: Mapping[str, str]) -> bool:
    """Whether a launcher has started this process and given it its rank."""
    return any(name in environ for name in _LAUNCHED[:3])


def find_ranks(environ: Mapping[str, str], resources: Mapping[str, Any], *, processes: int = 1) -> Ranks:
    """The ranks of this process. `resources` is SageMaker's resourceconfig.json, empty if there is none.

    `processes` are those of each host; a launched process is told by its launcher. Raises JobInputError for what is
    incomplete or contradicts itself.
    """
    if is_launched(environ):
        return _launched(environ)
    node, nodes, address, interface = _node(environ, resources)
    return Ranks(
        rank=node * processes,
        world_size=nodes * processes,
        master_address=environ.get("MASTER_ADDR") or address if nodes > 1 else "",
        master_port=_number(environ, "MASTER_PORT", 1, 65536) if "MASTER_PORT" in environ else MASTER_PORT,
        node_count=nodes,
        processes_per_node=processes,
        interface=interface,
    )


def _launched(environ: Mapping[str, str]) -> Ranks:
    missing = [name for name in _LAUNCHED if not environ.get(name)]
    if missing:
        raise JobInputError(
            f"of torchrun's variables {', '.join(missing)} are not set",
            place="environment",
            hint="set all of them, or none: python -m lehr_trainer train starts its processes itself",
        )
    world = _number(environ, "WORLD_SIZE", 1)
    processes = _number(environ, "LOCAL_WORLD_SIZE", 1)
    if world % processes:
        raise JobInputError(
            f"WORLD_SIZE {world} is no multiple of LOCAL_WORLD_SIZE {processes}",
            place="environment",
            hint="every host has the same number of processes",
        )
    rank = _number(environ, "RANK", 0, world)
    local_rank = _number(environ, "LOCAL_RANK", 0, processes)
    if rank % processes != local_rank:
        raise JobInputError(
            f"RANK {rank} and LOCAL_RANK {local_rank} do not fit {processes} processes a host",
            place="environment",
            hint="rank = number of the host x processes + local rank",
        )
    return Ranks(
        rank=rank,
        local_rank=local_rank,
        world_size=world,
        master_address=environ["MASTER_ADDR"],
        master_port=_number(environ, "MASTER_PORT", 1, 65536),
        node_count=world // processes,
        processes_per_node=processes,
        is_launched=True,
    )


def _node(environ: Mapping[str, str], resources: Mapping[str, Any]) -> tuple[int, int, str, str]:
    """Number of this host, how many there are, the address of the first, the interface between them."""
    told = [
        (place, hosts, current, interface)
        for place, hosts, current, interface in (
            (
                RESOURCES,
                resources.get("hosts"),
                resources.get("current_host"),
                resources.get("network_interface_name"),
            ),
            (
                "SM_HOSTS",
                _hosts_variable(environ),
                environ.get("SM_CURRENT_HOST"),
                environ.get("SM_NETWORK_INTERFACE_NAME"),
            ),
        )
        if hosts
    ]
    for place, hosts, current, _ in told:
        if not isinstance(hosts, list) or not all(isinstance(host, str) and host for host in hosts):
            raise JobInputError("the hosts are no list of names", place=place)
        if len(set(hosts)) != len(hosts):
            raise JobInputError(f"names a host twice: {', '.join(sorted(hosts))}", place=place)
        if current not in hosts:
            raise JobInputError(
                f"the current host {current!r} is none of {', '.join(sorted(hosts))}", place=place
            )
    if len(told) == 2 and (sorted(told[0][1]), told[0][2]) != (sorted(told[1][1]), told[1][2]):
        raise JobInputError(
            f"says {told[0][2]} of {', '.join(sorted(told[0][1]))}, and SM_HOSTS says {told[1][2]} of "
            f"{', '.join(sorted(told[1][1]))}",
            place=RESOURCES,
            hint="leave out SM_HOSTS and SM_CURRENT_HOST, the file is enough",
        )
    nodes = _number(environ, f"{_BATCH}NUM_NODES", 1) if f"{_BATCH}NUM_NODES" in environ else 1
    if told and len(told[0][1]) > 1:
        if nodes > 1:
            raise JobInputError(
                f"names {len(told[0][1])} hosts, and {_BATCH}NUM_NODES is {nodes}",
                place=told[0][0],
                hint="a job is SageMaker's or Batch's: leave out one of them",
            )
        hosts = sorted(told[0][1])
        return hosts.index(told[0][2]), len(hosts), hosts[0], told[0][3] or ""
    return (*_batch_node(environ, nodes), "") if nodes > 1 else (0, 1, "", "")


def _batch_node(environ: Mapping[str, str], nodes: int) -> tuple[int, int, str]:
    index = _number(environ, f"{_BATCH}NODE_INDEX", 0, nodes)
    name = f"{_BATCH}MAIN_NODE_INDEX"
    main = _number(environ, name, 0, nodes) if name in environ else 0
    if index == main:
        # It hears on all its addresses, and is not told the one that the others know.
        return 0, nodes, "127.0.0.1"
    name = f"{_BATCH}MAIN_NODE_PRIVATE_IPV4_ADDRESS"
    if not environ.get(name):
        raise JobInputError(
            f"{name} is not set on node {index} of {nodes}",
            place="environment",
            hint="Batch gives it to every node but the main one",
        )
    return (index - main) % nodes, nodes, environ[name]


def _hosts_variable(environ: Mapping[str, str]) -> Any:
    text = environ.get("SM_HOSTS", "")
    try:
        return json.loads(text) if text else None
    except ValueError as fault:
        raise JobInputError(f"is not JSON: {text!r}", place="SM_HOSTS") from fault


def _number(environ: Mapping[str, str], name: str, low: int, high: int = _MANY) -> int:
    """A whole number, at least `low` and below `high`."""
    text = environ.get(name, "")
    if not (text.isascii() and text.isdecimal() and low <= int(text) < high):
        limit = f" and below {high}" if high < _MANY else ""
        raise JobInputError(
            f"{name} is {text!r}", place="environment", hint=f"it is a whole number, {low} or more{limit}"
        )
    return int(text)
