"""Starts trainings to be killed: torch is loaded once, and each training is a fork of this process.

    python tests/unit/trainer/forked_trainings.py '{"fsync_s": 0.003, "checkpoint_every_s": 0.02, "forget_rng": false}'

One line in for each, the root of a job and the file for its log, as JSON; two lines out, the process id and, once it
has ended, its exit status as `subprocess` gives it. A fork does what `python -m lehr_trainer train` does. What is
changed is what makes kills meet more: checkpoints often, and a slower disk; and for the negative control, random
streams that are not restored.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from lehr_trainer import export, progress, train
from lehr_trainer.__main__ import main


def serve(*, fsync_s: float, checkpoint_every_s: float, forget_rng: bool) -> None:
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        # What an export imports, which takes longer than the export.
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2)).eval()
        export.write_graph(model, Path(folder) / "model.onnx", input_shape=[2, 2])
    train.CHECKPOINT_EVERY_S = checkpoint_every_s
    if forget_rng:
        assert "restore_rng" in vars(progress), "the control would control nothing"
        vars(progress)["restore_rng"] = lambda state: None
    fsync = os.fsync

    def slow_fsync(descriptor: Any) -> None:
        time.sleep(fsync_s)
        fsync(descriptor)

    vars(os)["fsync"] = slow_fsync
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _train(order["root"], order["log"])
        print(child, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _train(root: str, log: str) -> None:
    code = 70
    try:
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(target, 1)
        os.dup2(target, 2)
        os.environ["LEHR_ML_ROOT"] = root
        code = main(["train"])
    finally:
        os._exit(code)


if __name__ == "__main__":
    serve(**json.loads(sys.argv[1]))
