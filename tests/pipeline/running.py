"""Runs of the pipeline in this process, cut into blocks as small as a test wants them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st

import gaecli
from gaecli.commands import compute as run
from gaecli.pipeline import column_builder
from gaecli.settings import RunOptions
from gaecli.summary import Summary
from gaecli.writing import outputs

#: For no block, for some, and for all of them.
STORE_BYTES = (0, 400, 1500, None)
STORES = st.sampled_from(STORE_BYTES)


@contextmanager
def small_blocks(
    rows: int | None = None,
    *,
    store_bytes: int | None = None,
    dtype: type = np.float32,
    ahead: bool = True,
) -> Iterator[Path]:
    """An empty folder, and runs in blocks of `rows` rows that write numbers of `dtype`.

    With float64 what is computed can be seen in full. What does not fit into `store_bytes` is not kept for
    the second look but read again. `ahead`: a small file goes the way of a large one, of which blocks are finished
    while others are looked at.
    """
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        if rows is not None:
            patch.setattr(run, "rows_per_block", lambda memory_bytes: rows)
        if store_bytes is not None:
            patch.setattr(run, "_STORE_SHARE", store_bytes / RunOptions().memory_bytes)
        if ahead:
            patch.setattr(outputs, "_EARLY_COPY_BYTES", 0)
        patch.setattr(column_builder, "OUTPUT_DTYPE", np.dtype(dtype))
        yield Path(folder)


def computed(path: Path, **settings: Any) -> tuple[Summary, dict[str, np.ndarray]]:
    """`gaecli.compute` into the file, and the columns that it then has; null as NaN."""
    summary = gaecli.compute(path, **settings)
    assert [file.status for file in summary.files] == ["written"], summary.files
    return summary, columns_of(path)


def columns_of(path: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(path)
    return {
        name: np.array([np.nan if item is None else item for item in table.column(name).to_pylist()])
        for name in table.column_names
    }
