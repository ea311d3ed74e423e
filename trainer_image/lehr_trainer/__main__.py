"""The entry point of every trainer container: `python -m lehr_trainer train`, or `batch`.

`train` is what SageMaker starts a container with: it trains from the files under /opt/ml. Exit codes: 0 trained, or
stopped by SIGTERM with a checkpoint; 1 failed, with the reason in `output/failure`; 2 called wrongly. `batch` is the
same as a job of AWS Batch (`batch_job.py` has its exit codes). LEHR_ML_ROOT names another root than /opt/ml.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lehr_trainer.stop import StopFlag


def main(arguments: list[str]) -> int:
    if arguments not in (["train"], ["batch"]):
        print("usage: python -m lehr_trainer train | batch", file=sys.stderr)
        return 2
    root = Path(os.environ.get("LEHR_ML_ROOT", "/opt/ml"))
    stop = StopFlag()
    stop.listen()
    # Imported after listening: torch takes seconds to load, and a SIGTERM in that time counts too.
    if arguments == ["batch"]:
        from lehr_trainer.batch_job import run_here

        return run_here(root, stop)
    from lehr_trainer.main import run

    return run(root, stop)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
