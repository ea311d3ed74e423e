"""A process that predicts in a loop, as a warm function does; run by test_freezing.py with a bucket's environment.

Each line on stdin makes it ask once for a prediction; each line on stdout is the version that answered and how long
it took. REFRESH_S of the environment makes half a minute short.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from functions.predict import champions as module
from functions.predict.champions import Champions
from lehr.aws.readers import open_readers
from lehr.json_log import JsonLog
from lehr_runtime.packages import load_package


def main() -> None:
    module.REFRESH_S = float(os.environ["REFRESH_S"])
    module.GIVE_UP_S = float(os.environ["GIVE_UP_S"])
    store, registry = open_readers("artifacts", "table")
    load = partial(load_package, store, directory=Path(tempfile.mkdtemp()), threads=1)
    champions = Champions(store, registry, load, JsonLog(service="test", stream=sys.stderr))
    x = np.zeros((1, 28, 28), np.uint8)
    for _ in sys.stdin:
        begin = time.perf_counter()
        model = champions.get("mnist").model
        model.predictor.predict(x)
        print(model.version, f"{time.perf_counter() - begin:.6f}", flush=True)


if __name__ == "__main__":
    main()
