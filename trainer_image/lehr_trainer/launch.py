"""Starting the processes of this host, by torchrun's launcher, and telling how they ended.

Each is `python -m lehr_trainer train` once more, with torchrun's variables. None is started again here: a job of which
one process failed is a job that failed, and a checkpoint carries over to the next attempt. SIGTERM is passed on to all
processes, which agree on a step to stop at; the processes of a launcher that was killed end themselves
(`follow_launcher`).

The only module that knows `torch.distributed.launcher`. One process on one host needs none of it.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from lehr_trainer.errors import ProcessFailedError
from lehr_trainer.job import read_failure, write_failure
from lehr_trainer.ranks import Ranks
from lehr_trainer.stop import StopFlag

LAUNCHER = "LEHR_LAUNCHER"
# SageMaker kills a container two minutes after SIGTERM.
STOP_GRACE_S = 100
# How long the hosts wait for one another at the start.
MEETING_S = 900
_FOLLOW_EVERY_S = 1.0


def run_processes(ranks: Ranks, root: Path, environ: Mapping[str, str], stop: StopFlag) -> int:
    """The processes of this host, to their end. Returns the exit code of the job: 0 trained or stopped, 1 failed.

    What one of them has left as its reason stays, unless another was killed: that one left none, and others missed it.
    """
    try:
        has_ended = _launch(ranks, root, environ, stop)
    except ProcessFailedError as fault:
        write_failure(root, str(fault), keep=not fault.was_killed)
        print(f"FAILED: {read_failure(root)}", flush=True)
        return 1
    if not has_ended:
        print("the processes of this host were stopped", flush=True)
    return 0


def follow_launcher(environ: Mapping[str, str]) -> None:
    """End this process once the one that launched it is gone: nobody would stop it any more."""
    launcher = environ.get(LAUNCHER, "")
    if not launcher.isdecimal():
        return

    def follow() -> None:
        while os.getppid() == int(launcher):
            time.sleep(_FOLLOW_EVERY_S)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=follow, name="follow-launcher", daemon=True).start()


def _launch(ranks: Ranks, root: Path, environ: Mapping[str, str], stop: StopFlag) -> bool:
    """True: all processes trained; False: they were asked to stop. Only the main thread may call this.

    Raises ProcessFailedError when one has failed or was killed.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    def stopped(signum: int, frame: FrameType | None) -> None:
        raise SignalException(f"process {os.getpid()} got signal {signum}", signal.Signals(signum))

    variables = dict(environ) | {
        "LEHR_ML_ROOT": str(root),
        LAUNCHER: str(os.getpid()),
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(STOP_GRACE_S),
    }
    if ranks.node_count == 1:
        variables.setdefault("GLOO_SOCKET_IFNAME", "lo")
    elif ranks.interface:
        variables = {f"{name}_SOCKET_IFNAME": ranks.interface for name in ("GLOO", "NCCL")} | variables
    with TemporaryDirectory() as folder, _environment(variables), _signals_kept():
        # torchrun listens only once its processes run; until then the hosts may wait for one another for minutes.
        signal.signal(signal.SIGTERM, stopped)
        try:
            if stop.is_set:
                return False
            config = LaunchConfig(
                min_nodes=ranks.node_count,
                max_nodes=ranks.node_count,
                nproc_per_node=ranks.processes_per_node,
                run_id="lehr",
                rdzv_backend="static",
                rdzv_endpoint=_endpoint(ranks),
                rdzv_configs={"rank": ranks.node, "timeout": MEETING_S},
                max_restarts=0,
                logs_specs=DefaultLogsSpecs(log_dir=folder),
            )
            elastic_launch(config, sys.executable)("-m", "lehr_trainer", "train")
        except SignalException:
            return False
        except ChildFailedError as fault:
            ends = {rank: failure.exitcode for rank, failure in fault.failures.items()}
            raise process_failure(ends) from None
    return True


def process_failure(exit_codes: Mapping[int, int]) -> ProcessFailedError:
    """The error for processes that ended so, by rank: of several, one that was killed is told of.

    A code below 0 is a signal; SIGTERM is what the launcher ends the others with.
    """
    killed = {rank: code for rank, code in exit_codes.items() if code < 0 and code != -signal.SIGTERM}
    rank, code = min((killed or exit_codes).items())
    if not killed:
        return ProcessFailedError(f"the process of rank {rank} ended with exit code {code}")
    guess = ": the host may have run out of memory" if code == -signal.SIGKILL else ""
    return ProcessFailedError(
        f"the process of rank {rank} was killed by {signal.Signals(-code).name}{guess}", was_killed=True
    )


def _endpoint(ranks: Ranks) -> str:
    if ranks.node_count > 1:
        return f"{ranks.master_address}:{ranks.master_port}"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """torchrun's processes inherit this process' environment, and there is no other way to give them one."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """The handlers of this process are afterwards what they were; torchrun sets its own."""
    names = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    before = {name: signal.getsignal(name) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
