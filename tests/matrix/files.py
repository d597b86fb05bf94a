"""Files of every layout and format from arrays of [N, T] cells, and the advantages that were written into them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

import gaecli
from gaecli.errors import GaeError

#: Layout -> the suffixes of the formats that it is tried in.
FORMATS = {
    "long": (".parquet", ".arrow", ".jsonl", ".csv", ".npz"),
    "nested": (".parquet", ".arrow", ".jsonl"),
    "time-major": (".npz",),
    "batch-major": (".npz",),
}
CELLS = [(layout, suffix) for layout, suffixes in FORMATS.items() for suffix in suffixes]
#: Each layout once, for what has been tried in all formats under another name.
LAYOUTS = [(layout, suffixes[0]) for layout, suffixes in FORMATS.items()]


def write(folder: Path, layout: str, suffix: str, arrays: Mapping[str, np.ndarray]) -> Path:
    """`arrays`: [N, T] or, one longer, [N, T + 1]; [N] is a number per environment."""
    path = folder / f"rollout{suffix}"
    columns = {name: _as(layout, cells) for name, cells in arrays.items()}
    if suffix == ".npz":
        np.savez(path, **columns)
    elif suffix == ".jsonl":
        rows = zip(*(_plain(column) for column in columns.values()), strict=True)
        path.write_text("".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows))
    elif suffix == ".csv":
        pl.DataFrame(columns).write_csv(path)
    else:
        table = pa.table({name: _arrow(column) for name, column in columns.items()})
        if suffix == ".arrow":
            with pa.ipc.new_file(path, table.schema) as writer:
                writer.write_table(table)
        else:
            pq.write_table(table, path)
    return path


def outcome(path: Path, layout: str, *, read: bool = True, **settings: Any) -> Any:
    """[N, T] advantages that `gaecli.compute` writes into the file, or its refusal. Without `read`, None for them."""
    if layout in ("time-major", "batch-major"):
        settings["layout"] = layout
    try:
        gaecli.compute(path, **settings)
    except GaeError as error:
        return error
    if not read:
        return None
    found = read_column(path, "advantage")
    return found.T if layout == "time-major" else found


def _as(layout: str, cells: np.ndarray) -> np.ndarray:
    if layout == "long":
        return cells.reshape(-1)
    return np.ascontiguousarray(cells.T) if layout == "time-major" and cells.ndim == 2 else cells


def _plain(column: np.ndarray) -> list[Any]:
    return column.tolist()


def _arrow(column: np.ndarray) -> pa.Array:
    return pa.array(list(column)) if column.ndim > 1 else pa.array(column)


def read_column(path: Path, name: str) -> np.ndarray:
    if path.suffix == ".npz":
        return np.asarray(np.load(path)[name], np.float64)
    if path.suffix == ".jsonl":
        return np.array([json.loads(line)[name] for line in path.read_text().splitlines()])
    if path.suffix == ".csv":
        return pl.read_csv(path, infer_schema_length=None)[name].to_numpy()
    if path.suffix == ".arrow":
        with pa.memory_map(str(path)) as source:
            return np.array(pa.ipc.open_file(source).read_all().column(name).to_pylist())
    return np.array(pq.read_table(path).column(name).to_pylist())
