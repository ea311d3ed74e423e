"""`python -m lehr_trainer train`: SageMaker starts a container with the one argument `train`.

Exit codes: 0 trained, or stopped by SIGTERM with a checkpoint; 1 failed, with the reason in `output/failure`;
2 called wrongly. LEHR_ML_ROOT names another root than /opt/ml.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lehr_trainer.stop import StopFlag


def main(arguments: list[str]) -> int:
    if arguments != ["train"]:
        print("usage: python -m lehr_trainer train", file=sys.stderr)
        return 2
    stop = StopFlag()
    stop.listen()
    # Imported after listening: torch takes seconds to load, and a SIGTERM in that time counts too.
    from lehr_trainer.main import run

    return run(Path(os.environ.get("LEHR_ML_ROOT", "/opt/ml")), stop)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
