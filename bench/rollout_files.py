"""Synthetic rollout files for benchmarks: `wide` has 8 float32 observations and an action (55 bytes a row
before compression), `lean` has the columns that GAE needs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP_ROWS = 1_000_000


def write_rollouts(
    path: Path, num_rows: int, *, wide: bool = True, episode_steps: int | None = 200, seed: int = 0
) -> None:
    """`episode_steps=None` makes one episode over everything."""
    generator = np.random.default_rng(seed)
    writer: pq.ParquetWriter | None = None
    for start in range(0, num_rows, ROW_GROUP_ROWS):
        rows = np.arange(start, min(start + ROW_GROUP_ROWS, num_rows))
        table = _table(rows, num_rows, generator, wide, episode_steps)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
    if writer is not None:
        writer.close()


def _table(
    rows: np.ndarray, num_rows: int, generator: np.random.Generator, wide: bool, episode_steps: int | None
) -> pa.Table:
    count = len(rows)
    columns: dict[str, pa.Array] = {}
    if wide:
        observations = generator.standard_normal(count * 5, dtype=np.float32)
        columns["obs"] = pa.FixedSizeListArray.from_arrays(pa.array(observations), 5)
        columns["action"] = pa.array(generator.integers(0, 4, count))
    columns["reward"] = pa.array(generator.standard_normal(count, dtype=np.float32))
    columns["value"] = pa.array(generator.standard_normal(count, dtype=np.float32))
    if episode_steps is None:
        columns["done"] = pa.array(rows == num_rows - 1)
        columns["episode_id"] = pa.array(np.zeros(count, np.int64))
    else:
        columns["done"] = pa.array((rows + 1) % episode_steps == 0)
        columns["episode_id"] = pa.array(rows // episode_steps)
    return pa.table(columns)
