"""Where a unit's rows come from, and which others in the data are the same: what checks over all units work with."""

from __future__ import annotations

import numpy as np

from lehr import layout
from lehr.contracts.dataset import PrepareUnit
from lehr.contracts.file_units import PrepareFilesUnit
from lehr.contracts.table_units import PrepareTableUnit
from lehr.ports import ObjectStore
from lehr_runtime.shards import write_shard


def write_origins(
    unit: PrepareUnit | PrepareTableUnit | PrepareFilesUnit,
    hashes: np.ndarray,
    lines: np.ndarray,
    artifacts: ObjectStore,
    part: str = "",
) -> None:
    """Write each row's hash (uint64), and its line, or its place in the file or in the unit's list of files.

    Both are in the order of the unit's shards.
    """
    raw = write_shard({"hash": hashes, "line": lines.astype(np.int64)})
    artifacts.put(layout.unit_rows_key(unit.project, unit.run, unit.index, part), raw)
