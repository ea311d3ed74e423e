"""Reads files for `benchmarks.prepare` as a user of pandas or pyarrow would, on one thread: numbers as float32, texts.

Asked by lines `<peer> <format> <path>` on its input; answers each with one of wall and processor seconds.
"""

import json
import sys
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq


def with_pandas(kind: str, path: str) -> None:
    read = {
        "csv": pd.read_csv,
        "jsonl": lambda name: pd.read_json(name, lines=True),
        "parquet": pd.read_parquet,
    }
    frame = read[kind](path)
    frame.select_dtypes("number").to_numpy(np.float32)


def with_pyarrow(kind: str, path: str) -> None:
    if kind == "csv":
        table = pa.csv.read_csv(path, read_options=pa.csv.ReadOptions(use_threads=False))
    elif kind == "jsonl":
        table = pa.json.read_json(path, read_options=pa.json.ReadOptions(use_threads=False))
    else:
        table = pq.read_table(path, use_threads=False)
    numbers = [column for column in table.columns if not pa.types.is_string(column.type)]
    np.stack([column.to_numpy().astype(np.float32) for column in numbers], axis=1)


def main() -> None:
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    for line in sys.stdin:
        peer, kind, path = line.split()
        wall, cpu = time.perf_counter(), time.process_time()
        (with_pandas if peer == "pandas" else with_pyarrow)(kind, path)
        print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]), flush=True)


main()
