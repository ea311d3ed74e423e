"""A handler called without any transport: session creation, and each call against a bare `session.run` beside it.

Run as a program, this module is the process that is measured, with nothing of the project on its path but what the
contender has. Its figures go to the file that its input names, since the handler writes its log to standard output.
"""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from time import perf_counter_ns
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.rig.contenders import Contender
    from benchmarks.rig.models import ExportedModel
    from benchmarks.rig.one_core import OneCore
    from benchmarks.rig.store import LocalStore

WARM_UP = 20


def measure(
    contender: Contender,
    store: LocalStore,
    model: ExportedModel,
    core: OneCore,
    events: Mapping[str, Mapping[str, Any]],
    *,
    blocks: int,
    calls: int,
) -> dict[str, Any]:
    """One process of `contender`: `blocks` rounds of `calls` calls of each event and of the bare session, in turn.

    Gives `session_ms` (of the first session that the handler opens; None if it opens none through onnxruntime's
    Python class), `times_us` by event and for "session.run", and the first `results` by event.
    """
    from benchmarks.rig.contenders import process_environment
    from lehr.contracts.package import MODEL_FILE

    scratch = Path(tempfile.mkdtemp(prefix="lehr-bench-"))
    try:
        (scratch / MODEL_FILE).write_bytes(model.files[MODEL_FILE])
        task = {
            "handler": contender.handler,
            "events": events,
            "blocks": blocks,
            "calls": calls,
            "model": str(scratch / MODEL_FILE),
            "input": model.signature.input.name,
            "row": model.row.tobytes().hex(),
            "shape": list(model.row.shape),
            "figures": str(scratch / "figures.json"),
        }
        done = subprocess.run(
            core.wrap([str(contender.python), str(Path(__file__).resolve())]),
            input=json.dumps(task).encode(),
            env=process_environment(contender, store, model.name, scratch),
            cwd=contender.code,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{contender.name}: {done.stderr.decode(errors='replace')[-3000:]}")
        figures: dict[str, Any] = json.loads((scratch / "figures.json").read_bytes())
        return figures
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _child(task: dict[str, Any]) -> dict[str, Any]:
    import numpy as np
    import onnxruntime as ort

    opened_ms: list[float] = []
    plain = ort.InferenceSession

    class Timed(plain):  # type: ignore[misc, valid-type]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            begin = perf_counter_ns()
            super().__init__(*arguments, **options)
            opened_ms.append((perf_counter_ns() - begin) / 1e6)

    ort.InferenceSession = Timed
    module, _, name = task["handler"].rpartition(".")
    handler = getattr(importlib.import_module(module), name)
    context = SimpleNamespace(
        function_name="predict",
        function_version="$LATEST",
        memory_limit_in_mb=1769,
        invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:predict",
        aws_request_id="request-1",
        get_remaining_time_in_millis=lambda: 29_000,
    )
    results = {event: handler(body, context) for event, body in task["events"].items()}
    session_ms = opened_ms[0] if opened_ms else None

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    bare = plain(task["model"], options, providers=["CPUExecutionProvider"])
    row = np.frombuffer(bytes.fromhex(task["row"]), np.uint8).reshape(task["shape"])
    feed = {task["input"]: row}
    cases: dict[str, Callable[[], Any]] = {"session.run": lambda: bare.run(None, feed)}
    for event, result in results.items():
        if result["statusCode"] == 200:
            cases[event] = partial(_call, handler, task["events"][event], context)
    times: dict[str, list[float]] = {case: [] for case in cases}
    for block in range(task["blocks"] + 1):
        order = list(cases.items())
        for case, call in order[block % len(order) :] + order[: block % len(order)]:
            for _ in range(task["calls"] if block else min(WARM_UP, task["calls"])):
                begin = perf_counter_ns()
                call()
                end = perf_counter_ns()
                if block:
                    times[case].append((end - begin) / 1e3)
    return {"session_ms": session_ms, "times_us": times, "results": results}


def _call(handler: Callable[..., dict[str, Any]], event: dict[str, Any], context: object) -> None:
    result = handler(event, context)
    if result["statusCode"] != 200:
        raise RuntimeError(f"a warm call was answered {result['statusCode']}: {result.get('body')}")


if __name__ == "__main__":
    work = json.load(sys.stdin)
    # Not this file's folder: its modules are no part of what is measured.
    sys.path.pop(0)
    Path(work["figures"]).write_text(json.dumps(_child(work)))
