"""One process of a training that keeps its loss after every step: `python recorder.py ROOT FILE [FAULT]`.

A fault takes a part of what makes several processes one training away.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from lehr.contracts.training import Int8, Parity
from lehr_trainer import main, parallel, trained_package
from lehr_trainer.learner import Learner

LOSSES: list[float] = []


def record(update: Any) -> Any:
    """Keep what each update adds to the sum of this process' losses."""

    def recorded(self: Learner, examples: Any, rows: Any, number: int, sums: Any, draws: Any = None) -> float:
        before = float(sums.loss)
        seconds: float = update(self, examples, rows, number, sums, draws)
        LOSSES.append(float(sums.loss) - before)
        return seconds

    return recorded


def unweighted(share: Any) -> Any:
    return lambda self, rows, draws: replace(share(self, rows, draws), weight=1.0)


def without_export(model: Any, folder: Path, *rest: Any, **options: Any) -> Parity:
    folder.mkdir(exist_ok=True)
    return Parity(rows=0, max_absolute_difference=0.0, tolerance=0.0, argmax_disagreements=0)


if __name__ == "__main__":
    root, target, *fault = sys.argv[1:]
    Learner.update = record(Learner.update)  # type: ignore[method-assign]
    vars(trained_package)["export_model"] = without_export
    vars(trained_package)["publish_int8"] = lambda *rest: Int8(is_published=False, reason="left out")
    if fault == ["unweighted"]:
        parallel.Group.share = unweighted(parallel.Group.share)  # type: ignore[method-assign]
    if fault == ["unreduced"]:
        parallel.Group.replicate = lambda self, model: model  # type: ignore[method-assign]
    if fault == ["unsynchronised"]:
        vars(main)["synchronised_batchnorm"] = lambda *_: nullcontext()
    code = main.run(Path(root), None, os.environ)
    Path(target).write_text(json.dumps(LOSSES))
    sys.exit(code)
