"""Inputs of a few steps, as rows, lists and arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

NAN = float("nan")
BASE: dict[str, Any] = {
    "reward": [1.0, 2.0, 3.0, 4.0],
    "value": [0.5, 0.5, 0.5, 0.5],
    "done": [False, True, False, True],
}


def but(**columns: Any) -> dict[str, Any]:
    """The base file with other columns; None takes one out."""
    return {name: cells for name, cells in {**BASE, **columns}.items() if cells is not None}


def write(path: Path, columns: Any) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **columns)
    else:
        pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path)
    return path


TWO_NAMES = pa.Table.from_arrays(
    [pa.array(BASE["reward"])] * 2 + [pa.array(BASE["value"]), pa.array(BASE["done"])],
    names=["reward", "reward", "value", "done"],
)
IDS = {"episode_id": [0, 0, 1, 1]}
LISTS: dict[str, Any] = {"rewards": [[1.0, 2.0], [3.0]], "values": [[0.5, 0.5], [0.5]]}
DENSE: dict[str, Any] = {
    "rewards": np.ones((4, 3)),
    "values": np.zeros((4, 3)),
    "last_values": np.zeros(3),
    "terminated": np.zeros((4, 3), bool),
}


def is_arrays(columns: Any) -> bool:
    return isinstance(columns, dict) and isinstance(next(iter(columns.values())), np.ndarray)
