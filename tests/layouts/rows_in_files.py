"""The same rows in every format, and what `gae compute` made of them; shared by the tests of tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import gaecli
from gaecli.summary import Summary

TABLES = (".parquet", ".arrow", ".jsonl")


def write(path: Path, columns: Mapping[str, Any]) -> Path:
    """`columns`: lists, NumPy or Arrow arrays."""
    if path.suffix == ".npz":
        np.savez(path, **{name: _array(cells) for name, cells in columns.items()})
        return path
    table = pa.table(dict(columns))
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".arrow":
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    return path


def _array(cells: Any) -> Any:
    """Texts as NumPy's own, and not as Python objects."""
    array = np.asarray(cells)
    return np.array(array.tolist()) if array.dtype == np.object_ else array


def column(path: Path, name: str) -> list[Any]:
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return list(arrays[name].tolist())
    if path.suffix == ".parquet":
        return list(pq.read_table(path)[name].to_pylist())
    if path.suffix == ".arrow":
        with pa.ipc.open_file(path) as file:
            return list(file.read_all()[name].to_pylist())
    return [json.loads(line)[name] for line in path.read_text().splitlines()]


def computed(path: Path, columns: Mapping[str, Any], **options: Any) -> tuple[list[Any], Summary]:
    """(the advantages, the summary) of these columns in a file of this format."""
    write(path, columns)
    summary = gaecli.compute(path, **options)
    return column(path, "advantage"), summary


def advantages(
    rewards: Sequence[float], values: Sequence[float], *, is_terminal: bool = False, beyond: float = 0.0
) -> list[float]:
    """Of one trajectory in order: δ and the recursion with γ = 0.99 and λ = 0.95, in plain floats."""
    found: list[float] = []
    following, advantage = (0.0 if is_terminal else beyond), 0.0
    for reward, value in zip(reversed(rewards), reversed(values), strict=True):
        advantage = reward + 0.99 * following - value + 0.99 * 0.95 * advantage
        following = value
        found.append(advantage)
    return found[::-1]
