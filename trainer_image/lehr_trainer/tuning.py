"""How a step runs fastest on this machine, found by trying it: the number of threads, and torch.compile.

Both decide bits, since sums are cut by threads and kernels are fused by the compiler. So what was found is part of a
checkpoint, and a resumed run uses it instead of trying again. An update too small for threads to pay is not tried, and
runs on one: its bits do not depend on what else the machine was doing. More than one thread and a compiled step must be
clearly faster, for the same reason.

CUDA graphs ("reduce-overhead") are left out where an update has several passes: a graph gives its gradients the same
memory every time, and would overwrite what is being added up: https://github.com/pytorch/pytorch/issues/169545.

What is tried is a forward and a backward pass of the first batch on a copy of the model; random streams, weights and
statistics stay as they are.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from lehr_trainer.determinism import capture_rng, restore_rng
from lehr_trainer.errors import JobInputError
from lehr_trainer.memory import is_out_of_memory

Log = Callable[[str], None]
Pass = Callable[[], None]
CompileMode = Literal["", "default", "reduce-overhead"]

# 50 MFLOP are about half a millisecond of one core.
ONE_THREAD_BELOW_FLOPS = 50e6
THREADS_PAY_FROM = 1.3
COMPILING_PAYS_FROM = 1.1
TRY_COMPILING_ABOVE_S = 600.0
_WARM_UP, _TIMED, _ENOUGH_S = 2, 7, 0.5


@dataclass(frozen=True)
class Tuning:
    """What a run found; `compile_mode` is torch.compile's, or empty."""

    threads: int = 1
    compile_mode: CompileMode = ""

    def state(self) -> dict[str, Any]:
        return asdict(self)


def tune(
    make_pass: Callable[[CompileMode], Pass],
    *,
    flops_per_update: float | None,
    updates: int,
    compiling: Literal["auto", "off", "on"],
    device: Any,
    environ: Mapping[str, str],
    log: Log,
    adds_up: bool = False,
) -> Tuning:
    """Find what is fastest. `make_pass` gives a pass over the first batch in a mode of torch.compile.

    `adds_up`: the gradients of several passes make an update.
    Raises JobInputError for a LEHR_THREADS that is no number, or where compiling = "on" and torch cannot compile.
    """
    streams = capture_rng()
    try:
        threads = _threads(make_pass, flops_per_update, device, environ, log)
        torch.set_num_threads(threads)
        mode: CompileMode = ""
        if compiling != "off":
            with_graphs = device.type != "cpu" and not adds_up
            modes: list[CompileMode] = ["default", "reduce-overhead"] if with_graphs else ["default"]
            mode = _compile_mode(make_pass, modes, updates, compiling, device, log)
        log(
            f"training runs on {threads} {'thread' if threads == 1 else 'threads'}"
            f"{f', compiled ({mode})' if mode else ''}"
        )
        return Tuning(threads, mode)
    finally:
        restore_rng(streams)


def shared_threads(flops_per_update: float | None, processes: int, environ: Mapping[str, str]) -> int:
    """Of each of several processes of a host, which cannot try alone: LEHR_THREADS, or its share of the cores."""
    wish = threads_wished(environ)
    is_small = flops_per_update is not None and flops_per_update < ONE_THREAD_BELOW_FLOPS
    return wish or (1 if is_small else max(1, cores() // processes))


def refuse_compiling(compiling: str) -> None:
    """Raise JobInputError if several processes are to compile: torch's copies of a model were not tried with it."""
    if compiling == "on":
        raise JobInputError(
            'compile = "on" does not go with several processes',
            place="training.compile",
            hint='take compile = "auto" or "off", or one process',
        )


def threads_wished(environ: Mapping[str, str]) -> int:
    """LEHR_THREADS, or 0 where it is not set. Raises JobInputError."""
    wish = environ.get("LEHR_THREADS", "")
    if wish and (not wish.isdecimal() or int(wish) < 1):
        raise JobInputError(f"LEHR_THREADS is {wish!r}", hint="it is a number of threads, 1 or more")
    return int(wish or 0)


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _threads(
    make_pass: Callable[[CompileMode], Pass],
    flops_per_update: float | None,
    device: Any,
    environ: Mapping[str, str],
    log: Log,
) -> int:
    """LEHR_THREADS if set; else as many as there are cores, if one thread is clearly slower."""
    if wish := threads_wished(environ):
        return wish
    every = cores()
    is_small = flops_per_update is not None and flops_per_update < ONE_THREAD_BELOW_FLOPS
    if every == 1 or is_small or device.type != "cpu":
        return 1
    seconds = {}
    try:
        one_pass = make_pass("")
        for threads in (1, every):
            torch.set_num_threads(threads)
            seconds[threads] = seconds_of(one_pass, device)
    except Exception as fault:
        # Not every module of a project can be copied; what its steps do wrong, the first of them will say.
        log(f"threads cannot be tried: {reason_of(fault)}")
        return 1
    gain = seconds[1] / seconds[every]
    log(f"{every} threads have {gain:.2f} times the rate of one")
    return every if gain >= THREADS_PAY_FROM else 1


def _compile_mode(
    make_pass: Callable[[CompileMode], Pass],
    modes: Sequence[CompileMode],
    updates: int,
    compiling: Literal["auto", "on"],
    device: Any,
    log: Log,
) -> CompileMode:
    """The fastest of `modes`: with "auto", none unless the run is long, on a GPU, and a mode is clearly faster."""
    if compiling == "auto" and device.type == "cpu":
        return ""
    try:
        plain = seconds_of(make_pass(""), device)
    except Exception as fault:
        if compiling == "on":
            raise
        log(f"torch.compile cannot be tried: {reason_of(fault)}")
        return ""
    if compiling == "auto" and plain * updates < TRY_COMPILING_ABOVE_S:
        return ""
    seconds: dict[CompileMode, float] = {}
    for mode in modes:
        started = time.monotonic()
        try:
            seconds[mode] = seconds_of(make_pass(mode), device)
        except Exception as fault:
            # torch.compile needs a compiler, and bears not every module; either is no reason to fail a run.
            if compiling == "on" and is_out_of_memory(fault):
                raise
            if compiling == "on":
                raise JobInputError(
                    f"torch.compile fails: {reason_of(fault)}",
                    place="training.compile",
                    hint='take compile = "auto" or "off"',
                ) from fault
            log(f"torch.compile ({mode}) is left out: {reason_of(fault)}")
            continue
        log(
            f"torch.compile ({mode}) has {plain / seconds[mode]:.2f} times the rate, found in "
            f"{time.monotonic() - started:.0f} s"
        )
    best: CompileMode = min(seconds, key=lambda mode: seconds[mode]) if seconds else ""
    if compiling == "on" or (best and plain / seconds[best] >= COMPILING_PAYS_FROM):
        return best
    return ""


def reason_of(fault: Exception) -> str:
    """The first line of what it says, or its name."""
    return str(fault).strip().partition("\n")[0] or type(fault).__name__


def compiled(model: Any, mode: CompileMode) -> Any:
    """`model` as a callable in a mode of torch.compile, or itself."""
    return torch.compile(model, mode=mode, dynamic=False) if mode else model


def seconds_of(one_pass: Pass, device: Any) -> float:
    """The median of some passes, after two that are not counted; fewer passes where they are long."""
    for _ in range(_WARM_UP):
        one_pass()
    _wait(device)
    seconds: list[float] = []
    while len(seconds) < _TIMED and (not seconds or sum(seconds) < _ENOUGH_S):
        started = time.perf_counter()
        one_pass()
        _wait(device)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _wait(device: Any) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
